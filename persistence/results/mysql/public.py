"""Which results are public, as SQL: decided in the shard that is read, then written down in any other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from persistence.mysql.literals import blob
from persistence.mysql.pool import Connection
from persistence.results.public import MOST_PUBLIC, Visibility

__all__ = [
    "TABLE",
    "delete_dropped",
    "is_public",
    "publish",
    "put",
    "put_statement",
    "select_of_user",
    "sessions",
    "unpublish",
    "word",
]

TABLE: Final = "public_results"

_COLUMNS: Final = "id, user_id, public, changes"


async def publish(connection: Connection, session: bytes, user: int) -> Visibility | None:
    """Let a result be public; what holds, or None where its user has too many that are."""
    ((others,),) = await connection.ask(
        f"SELECT COUNT(*) FROM {TABLE} FORCE INDEX (of_user) "
        f"WHERE user_id = {int(user)} AND public AND id <> {blob(session)}"
    )
    if others >= MOST_PUBLIC:
        return None
    # assignments are made from left to right
    await connection.run(
        f"INSERT INTO {TABLE} ({_COLUMNS}) VALUES ({blob(session)}, {int(user)}, TRUE, 1) "
        "ON DUPLICATE KEY UPDATE changes = changes + (NOT public), public = TRUE"
    )
    return await _word(connection, session)


async def unpublish(connection: Connection, session: bytes) -> Visibility | None:
    """Let a result be its owner's alone; what holds, or None where nothing was ever said of it."""
    await connection.run(
        f"UPDATE {TABLE} FORCE INDEX (PRIMARY) SET changes = changes + 1, public = FALSE "
        f"WHERE id = {blob(session)} AND public"
    )
    return await _word(connection, session)


async def put(connection: Connection, words: Sequence[Visibility]) -> None:
    """Take over what was said elsewhere, where it is the later word."""
    if words:
        await connection.run(put_statement(words))


def put_statement(words: Iterable[Visibility]) -> str:
    """Likewise, as a statement; of one word at least."""
    values = ", ".join(f"({blob(one.session)}, {one.user}, {int(one.public)}, {one.changes})" for one in words)
    return (
        f"INSERT INTO {TABLE} ({_COLUMNS}) VALUES {values} ON DUPLICATE KEY UPDATE "
        "public = IF(VALUES(changes) > changes, VALUES(public), public), changes = GREATEST(changes, VALUES(changes))"
    )


async def is_public(connection: Connection, session: bytes) -> bool:
    """Whether a result is public."""
    return bool(await connection.ask(f"SELECT 1 FROM {TABLE} WHERE id = {blob(session)} AND public"))


async def sessions(connection: Connection, user: int) -> list[bytes]:
    """A user's results that are public."""
    rows = await connection.ask(
        f"SELECT id FROM {TABLE} FORCE INDEX (of_user) WHERE user_id = {int(user)} AND public ORDER BY id"
    )
    return [session for (session,) in rows]


async def delete_dropped(connection: Connection, *, before_ms: int, most: int) -> int:
    """Delete words of results from before an instant that are not there any more, so many at most; how many."""
    gone = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.id = {TABLE}.id)"
        for table in ("test_results", "test_results_late")
    )
    first = (before_ms << 80).to_bytes(16, "big")  # an id begins with its instant
    return await connection.run(f"DELETE FROM {TABLE} WHERE id < {blob(first)} AND {gone} LIMIT {int(most)}")


def select_of_user(user: int) -> str:
    """Read all that was said of a user's results; each row makes a word by `word`."""
    return f"SELECT {_COLUMNS} FROM {TABLE} FORCE INDEX (of_user) WHERE user_id = {int(user)}"


def word(row: Sequence[Any]) -> Visibility:
    """A row as it was read."""
    session, user, public, changes = row
    return Visibility(session, user, bool(public), changes)


async def _word(connection: Connection, session: bytes) -> Visibility | None:
    rows = await connection.ask(f"SELECT {_COLUMNS} FROM {TABLE} WHERE id = {blob(session)}")
    return word(rows[0]) if rows else None
