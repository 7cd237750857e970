"""The port of races that are over: what any store of them promises, and the pages in which a user's are read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from persistence.errors import CursorError, StoreError
from session.identity import is_race
from session.race import DamagedRace
from session.race_record import RaceRecord

__all__ = ["BEGINNING", "Place", "RacePage", "RaceRecords", "begin", "listed", "packed", "page_of", "unpacked"]

log = structlog.get_logger(__name__)

MAX_PAGE: Final = 100
"""Most races of one page."""

Place = tuple[int, str]
"""Where a race stands among a user's: its start instant (epoch ms), then its id."""

BEGINNING: Final[Place] = (1 << 62, "")
"""Before all of them, the newest first."""


class RacePage(NamedTuple):
    """Some of a user's races, the newest first, and where the next page begins."""

    races: tuple[RaceRecord, ...]
    cursor: str | None
    """Give it back to get the next page; None when there is no more."""


class RaceRecords(Protocol):
    """Races that are over, one row each, with its racers.

    Guarantees:

    - **Durable.** When `write` returns, every record given is committed (fsync) or was there already.
    - **Idempotent.** Whatever records of a race come, in whatever order and however often, that of the greatest version
      stays.
    - **Whole.** A race and its racers are written in one transaction. So its racers' users are found by it, and it by
      them: whoever erases a user finds every race that the user was in.
    - **Read your writes.** `of` sees what was written before it began; `by_user` soon.
    - **Kept as long as results.** In files for good; in MySQL as long as results stay there (`hot_days`).
    """

    async def write(self, records: Sequence[RaceRecord]) -> None:
        """Store records. Raises `StoreError`; written again they do no harm."""
        ...

    async def of(self, race: str) -> RaceRecord | None:
        """The record of a race, by its id; None where there is none, or the id has not the form of one."""
        ...

    async def by_user(
        self, user: int, *, guests: Sequence[int] = (), limit: int = 10, cursor: str | None = None
    ) -> RacePage:
        """The races that a user was in, and those of `guests`, newest first, `limit` 1 to 100. Raises `CursorError`.

        One that cannot be read is left out, and told in the log; so a page may have fewer than there are.
        """
        ...


def begin(cursor: str | None, limit: int) -> Place:
    """The place after which a page begins. Raises `CursorError`, and ValueError for a limit that is not allowed."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit is {limit}; allowed is 1 to {MAX_PAGE}")
    if cursor is None:
        return BEGINNING
    if len(cursor) == 28 and cursor.isascii():
        try:
            read = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except binascii.Error:
            read = b""
        started_ms, race = int.from_bytes(read[:8], "big"), read[8:].decode("latin-1")
        if is_race(race) and started_ms < BEGINNING[0]:
            return started_ms, race
    raise CursorError("this cursor was not given by this list; begin again without one")


def page_of(lists: Iterable[Iterable[tuple[Place, RaceRecord | None]]], limit: int) -> RacePage:
    """The page of several lists as of `listed`, each of one more race than `limit` if there are as many."""
    found = {place: record for rows in lists for place, record in rows}
    places = sorted(found, reverse=True)
    cursor = None
    if len(places) > limit:
        started_ms, race = places[limit - 1]
        cursor = base64.urlsafe_b64encode(started_ms.to_bytes(8, "big") + race.encode()).decode()
    records = (found[place] for place in places[:limit])
    return RacePage(tuple(record for record in records if record is not None), cursor)


def listed(started_ms: int, race: str, packed: bytes) -> tuple[Place, RaceRecord | None]:
    """A row of a list: its place, and its record, None where that cannot be read."""
    try:
        return (started_ms, race), RaceRecord.unpack(packed)
    except DamagedRace as error:
        log.error("a stored race cannot be read; lists leave it out", race=race, why=str(error))
        return (started_ms, race), None


def packed(record: RaceRecord) -> bytes:
    """A record for its row. Raises `StoreError`, not retriable, for one that no row can hold."""
    try:
        return record.pack()
    except Exception as error:  # whatever the codec dislikes in it, it is this race's fault and not the store's
        raise StoreError(f"race {record.id!r:.40} cannot be stored: {error!r}", retriable=False) from error


def unpacked(packed: bytes) -> RaceRecord:
    """A row's record. Raises `StoreError`, not retriable, where it cannot be read."""
    try:
        return RaceRecord.unpack(packed)
    except DamagedRace as error:
        raise StoreError(f"a stored race cannot be read: {error}", retriable=False) from error
