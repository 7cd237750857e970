"""Bans in a file of the data folder, for a server that has no content database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from persistence.bans.entries import Ban, Who, who_text
from persistence.bans.port import KEPT_CHANGES, MOST_CHANGES, BanChanges, BanOptions, Mark, full
from persistence.bans.rows import Known, bans_of, changes_of
from persistence.errors import StoreError
from persistence.sqlite import SqliteThreads, migrate, open_file, transaction

__all__ = ["SqliteBans"]

_SCHEMA: Final = (
    (
        """
        CREATE TABLE bans (
            who      TEXT PRIMARY KEY,
            reason   TEXT NOT NULL,
            by       TEXT NOT NULL,
            since_ms INTEGER NOT NULL,
            until_ms INTEGER
        ) WITHOUT ROWID
        """,
        "CREATE TABLE mark (one INTEGER PRIMARY KEY CHECK (one = 1), mark BLOB NOT NULL)",
        "INSERT INTO mark VALUES (1, zeroblob(16))",
    ),
    (
        "CREATE TABLE changes (number INTEGER PRIMARY KEY, mark BLOB NOT NULL, who TEXT NOT NULL)",
        "CREATE INDEX changes_of_mark ON changes (mark)",
    ),
)
_NOT_OVER: Final = "(until_ms IS NULL OR until_ms > ?)"


class SqliteBans:
    """`BanStore` in a SQLite file, made where it is missing; commands and servers open it side by side."""

    def __init__(self, path: Path, options: BanOptions | None = None) -> None:
        self._path = path
        self._options = options or BanOptions()
        self._known: Known = {}
        """What was read last."""
        self._thread = SqliteThreads(f"bans {path}", self._connect)

    async def __aenter__(self) -> Self:
        """Raises `StoreError` for a file that cannot be used."""
        try:
            await self._thread.open()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the file of bans {self._path} cannot be used: {error}", retriable=False) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._thread.close()

    async def mark(self) -> Mark:
        """What tells whether there was a change."""
        return await self._thread.run(_mark)

    async def read(self, *, now_ms: int) -> Sequence[Ban]:
        """All that are not over."""

        def job(connection: sqlite3.Connection) -> dict[str, Ban]:
            rows = connection.execute(
                f"SELECT who, reason, by, since_ms, until_ms FROM bans WHERE {_NOT_OVER}", (now_ms,)
            ).fetchall()
            return bans_of(rows, self._known)

        self._known = found = await self._thread.run(job)
        return tuple(found.values())

    async def since(self, mark: Mark) -> BanChanges | None:
        """What changed since this mark, of one moment; None where that is not known any more."""

        def job(connection: sqlite3.Connection) -> BanChanges | None:
            rows = connection.execute(
                "SELECT changes.mark, changes.who, reason, by, since_ms, until_ms, mark.mark "
                "FROM mark CROSS JOIN changes LEFT JOIN bans ON bans.who = changes.who "
                "WHERE number >= (SELECT max(number) FROM changes WHERE mark = ?) ORDER BY number LIMIT ?",
                (mark, MOST_CHANGES + 2),
            ).fetchall()
            return changes_of([row[:-1] for row in rows], rows[-1][-1]) if rows else None

        return await self._thread.run(job)

    async def add(self, ban: Ban) -> None:
        """Add one, in the place of an earlier one of the same."""

        def job(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.execute(f"DELETE FROM bans WHERE NOT {_NOT_OVER}", (ban.since_ms,))
                connection.execute(
                    "REPLACE INTO bans (who, reason, by, since_ms, until_ms) VALUES (?, ?, ?, ?, ?)",
                    (who_text(ban.who), ban.reason, ban.by, ban.since_ms, ban.until_ms),
                )
                (count,) = connection.execute("SELECT count(*) FROM bans").fetchone()
                if count > self._options.most:
                    raise StoreError(full(self._options.most), retriable=False)
                _changed(connection, ban.who)

        await self._thread.run(job)

    async def remove(self, who: Who) -> bool:
        """End a ban; False where there was none."""

        def job(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                removed = connection.execute("DELETE FROM bans WHERE who = ?", (who_text(who),)).rowcount
                if removed:
                    _changed(connection, who)
                return bool(removed)

        return await self._thread.run(job)

    def _connect(self) -> sqlite3.Connection:
        connection = open_file(self._path)
        try:
            migrate(connection, self._path, _SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


def _changed(connection: sqlite3.Connection, who: Who) -> None:
    """End a change that concerned this one."""
    mark = os.urandom(16)
    number = connection.execute("INSERT INTO changes (mark, who) VALUES (?, ?)", (mark, who_text(who))).lastrowid
    assert number is not None
    connection.execute("DELETE FROM changes WHERE number <= ?", (number - KEPT_CHANGES,))
    connection.execute("UPDATE mark SET mark = ?", (mark,))


def _mark(connection: sqlite3.Connection) -> Mark:
    (mark,) = connection.execute("SELECT mark FROM mark").fetchone()
    return bytes(mark)
