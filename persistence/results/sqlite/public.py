"""Which results are public, in the embedded store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from persistence.results.public import MOST_PUBLIC, Visibility
from persistence.sqlite import transaction

__all__ = ["SCHEMA", "after", "is_public", "publish", "put", "sessions", "unpublish"]

SCHEMA = (
    """CREATE TABLE public_results (
        id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
        user_id INTEGER NOT NULL,
        public INTEGER NOT NULL,
        changes INTEGER NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX public_of_user ON public_results (user_id, public)",
)

_PUT = """
    INSERT INTO public_results (id, user_id, public, changes) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET public = excluded.public, changes = excluded.changes
    WHERE excluded.changes > changes
"""


def publish(connection: sqlite3.Connection, *, session: bytes, user: int) -> bool:
    """Let a result be public; False where its user has too many that are."""
    with transaction(connection):
        others = connection.execute(
            "SELECT count(*) FROM public_results WHERE user_id = ? AND public AND id <> ?", (user, session)
        ).fetchone()[0]
        if others >= MOST_PUBLIC:
            return False
        connection.execute(
            "INSERT INTO public_results (id, user_id, public, changes) VALUES (?, ?, 1, 1) "
            "ON CONFLICT (id) DO UPDATE SET public = 1, changes = changes + 1 WHERE NOT public",
            (session, user),
        )
    return True


def unpublish(connection: sqlite3.Connection, *, session: bytes) -> None:
    """Let a result be its owner's alone."""
    with transaction(connection):
        connection.execute(
            "UPDATE public_results SET public = 0, changes = changes + 1 WHERE id = ? AND public", (session,)
        )


def put(connection: sqlite3.Connection, words: Sequence[Visibility]) -> None:
    """Take over what was said elsewhere, where it is the later word."""
    with transaction(connection):
        connection.executemany(_PUT, [(one.session, one.user, one.public, one.changes) for one in words])


def is_public(connection: sqlite3.Connection, *, session: bytes) -> bool:
    """Whether a result is public."""
    found = connection.execute("SELECT public FROM public_results WHERE id = ?", (session,)).fetchone()
    return found is not None and bool(found[0])


def sessions(connection: sqlite3.Connection, *, user: int) -> list[bytes]:
    """A user's results that are public."""
    rows = connection.execute("SELECT id FROM public_results WHERE user_id = ? AND public ORDER BY id", (user,))
    return [session for (session,) in rows.fetchall()]


def after(connection: sqlite3.Connection, *, session: bytes, limit: int) -> list[Visibility]:
    """The words of the sessions that follow an id, by id."""
    rows = connection.execute(
        "SELECT id, user_id, public, changes FROM public_results WHERE id > ? ORDER BY id LIMIT ?", (session, limit)
    )
    return [Visibility(one, user, bool(public), changes) for one, user, public, changes in rows.fetchall()]
