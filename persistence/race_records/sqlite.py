"""Races that are over in the embedded store's file, for good as results are."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from persistence.errors import StoreError
from persistence.race_records.port import RacePage, begin, listed, packed, page_of, unpacked
from persistence.sqlite import SqliteThreads, transaction
from session.identity import is_race
from session.race_record import RaceRecord

__all__ = ["TABLES", "SqliteRaceRecords"]

TABLES: Final = (
    """CREATE TABLE races (
        id TEXT PRIMARY KEY NOT NULL,
        started_ms INTEGER NOT NULL,
        version INTEGER NOT NULL,
        packed BLOB NOT NULL
    )""",
    """CREATE TABLE race_racers (
        race_id TEXT NOT NULL,
        lane INTEGER NOT NULL,
        user_id INTEGER NOT NULL,
        started_ms INTEGER NOT NULL,
        PRIMARY KEY (race_id, lane)
    ) WITHOUT ROWID""",
    "CREATE INDEX races_of_user ON race_racers (user_id, started_ms DESC, race_id DESC)",
)
"""Steps of the file's schema."""

_AT_ONCE: Final = 100
_PAGE: Final = """
    SELECT racer.started_ms, racer.race_id, packed FROM race_racers AS racer JOIN races ON races.id = racer.race_id
    WHERE racer.user_id = ? AND (racer.started_ms, racer.race_id) < (?, ?)
    ORDER BY racer.started_ms DESC, racer.race_id DESC LIMIT ?
"""


class SqliteRaceRecords:
    """`RaceRecords` by the threads of a store of results."""

    def __init__(self, writer: SqliteThreads, readers: SqliteThreads) -> None:
        self._writer = writer
        self._readers = readers

    async def write(self, records: Sequence[RaceRecord]) -> None:
        """Store records in one transaction."""
        rows = [(one, packed(one)) for one in records]
        if rows:
            await self._writer.run(lambda connection: _write(connection, rows))

    async def of(self, race: str) -> RaceRecord | None:
        """The record of a race."""
        if not is_race(race):
            return None
        found = await self._readers.run(
            lambda connection: connection.execute("SELECT packed FROM races WHERE id = ?", (race,)).fetchone()
        )
        return None if found is None else unpacked(found[0])

    async def by_user(
        self, user: int, *, guests: Sequence[int] = (), limit: int = 10, cursor: str | None = None
    ) -> RacePage:
        """A user's races, newest first."""
        before = begin(cursor, limit)
        lists = await self._readers.run(
            lambda connection: [
                [listed(*row) for row in connection.execute(_PAGE, (one, *before, limit + 1)).fetchall()]
                for one in (user, *guests)
            ]
        )
        return page_of(lists, limit)

    async def all(self) -> AsyncIterator[tuple[list[RaceRecord], list[str]]]:
        """Every race, by id, in pages; and the ids of those that cannot be read."""
        after = ""
        while rows := await self._readers.run(partial(_some, after=after)):
            after = rows[-1][0]
            found: list[RaceRecord] = []
            damaged: list[str] = []
            for race, row in rows:
                try:
                    found.append(unpacked(row))
                except StoreError:
                    damaged.append(race)
            yield found, damaged


def _some(connection: sqlite3.Connection, *, after: str) -> list[tuple[str, bytes]]:
    return connection.execute(
        "SELECT id, packed FROM races WHERE id > ? ORDER BY id LIMIT ?", (after, _AT_ONCE)
    ).fetchall()


def _write(connection: sqlite3.Connection, rows: Sequence[tuple[RaceRecord, bytes]]) -> None:
    with transaction(connection):
        for one, bytes_ in rows:
            race = one.race
            stored = connection.execute("SELECT version FROM races WHERE id = ?", (race.id,)).fetchone()
            if stored is not None and stored[0] >= race.version:
                continue
            connection.execute(
                "INSERT OR REPLACE INTO races (id, started_ms, version, packed) VALUES (?, ?, ?, ?)",
                (race.id, one.started_ms, race.version, bytes_),
            )
            connection.execute("DELETE FROM race_racers WHERE race_id = ?", (race.id,))
            connection.executemany(
                "INSERT INTO race_racers (race_id, lane, user_id, started_ms) VALUES (?, ?, ?, ?)",
                [(race.id, racer.lane, racer.user, one.started_ms) for racer in race.people],
            )
