"""What accounts are called, in the embedded store's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from persistence.results.names import Called
from persistence.sqlite import transaction

__all__ = ["SCHEMA", "after", "call", "names", "put"]

SCHEMA = (
    """CREATE TABLE user_names (
        user_id INTEGER PRIMARY KEY NOT NULL CHECK (user_id > 0),
        name TEXT NOT NULL,
        changes INTEGER NOT NULL
    )""",
)

_CALL = """
    INSERT INTO user_names (user_id, name, changes) VALUES (?, ?, 1)
    ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, changes = changes + 1 WHERE name <> excluded.name
"""
_PUT = """
    INSERT INTO user_names (user_id, name, changes) VALUES (?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, changes = excluded.changes
    WHERE excluded.changes > changes
"""


def call(connection: sqlite3.Connection, said: Mapping[int, str]) -> None:
    """Let accounts be called so from now on."""
    with transaction(connection):
        connection.executemany(_CALL, said.items())


def put(connection: sqlite3.Connection, words: Sequence[Called]) -> None:
    """Take over what was said elsewhere, where it is the later word."""
    with transaction(connection):
        connection.executemany(_PUT, words)


def names(connection: sqlite3.Connection, users: Sequence[int]) -> dict[int, str]:
    """What those of these users are called who have a name."""
    rows = connection.execute(
        f"SELECT user_id, name FROM user_names WHERE user_id IN ({','.join('?' * len(users))}) AND name <> ''", users
    )
    return dict(rows.fetchall())


def after(connection: sqlite3.Connection, *, user: int, limit: int) -> list[Called]:
    """The users that follow an id, by id."""
    rows = connection.execute(
        "SELECT user_id, name, changes FROM user_names WHERE user_id > ? ORDER BY user_id LIMIT ?", (user, limit)
    )
    return [Called(*row) for row in rows.fetchall()]
