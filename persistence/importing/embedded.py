"""Brings what an embedded server kept in its data folder over to the databases of a distributed one.

Everything keeps its id, so all of it may be done again, and goes on where it was broken off by doing it again: a result
that is there is met by itself. What is read is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from persistence.bans import SqliteBans
from persistence.bans.mysql import MysqlBans
from persistence.catalogue import Added, EmbeddedCatalogue
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.errors import StoreError
from persistence.results import Linked, Outcome, ResultStore, SqliteResults
from session.result import Result

__all__ = ["Moved", "move_bans", "move_catalogue", "move_results"]

_VERIFIED_AT_ONCE = 16
"""Results read back of each page, spread over it."""


@dataclass(slots=True)
class Moved:
    """What moving results came to."""

    results: int = 0
    """Copies that were not there yet."""
    known: int = 0
    """Copies that were there."""
    races: int = 0
    """Races that are over, those that were there included."""
    links: int = 0
    """Guests whose past is an account's, those that were there included."""
    public: int = 0
    """Results that their owners had made public."""
    damaged: list[bytes] = field(default_factory=list)
    """Sessions (16 bytes) of which a copy cannot be read; they stay where they are."""
    damaged_races: list[str] = field(default_factory=list)
    """Ids of races that cannot be read; they stay, too."""
    refused: dict[int, str] = field(default_factory=dict)
    """Guests that could not be linked, and why."""


async def move_catalogue(old: EmbeddedCatalogue, new: MysqlCatalogue, *, now_ms: int) -> Added:
    """Bring tests and word lists over, with their ids and versions, all or nothing. Raises `CatalogueError`."""
    shelf = old.shelf
    return await new.take(
        list(shelf.versions()), list(shelf.list_versions()), await old.origins(), created_at_ms=now_ms
    )


async def move_bans(old: SqliteBans, new: MysqlBans, *, now_ms: int) -> tuple[int, int]:
    """Bring over the bans that are not over; how many, and how many there were of whom there was one.

    Where both have one the new one stays: it is the later word. Raises `StoreError`.
    """
    bans = await old.read(now_ms=now_ms)
    taken = await new.take(bans, now_ms=now_ms)
    return taken, len(bans) - taken


async def move_results(old: SqliteResults, new: ResultStore, *, progress: Callable[[str, int, int], None]) -> Moved:
    """Bring results over, then which of them are public, names, races, and the links of guests to accounts.

    Raises `StoreError`.

    `progress` is told the step, how much of it is done, and of how much. Each page is read back from the new store in
    part, so that a store that only says that it has written is found out at the first page and not after the move.
    """
    moved = Moved()
    total, done = await old.count(), 0
    progress("results", done, total)
    async for page, damaged in old.copies():
        moved.damaged += damaged
        written = await new.write(page)
        fresh = sum(one.outcome is not Outcome.REPEATED for one in written)
        moved.results += fresh
        moved.known += len(page) - fresh
        await _verify(new, page)
        done += len({result.session for result in page} | set(damaged))
        progress("results", done, total)
    async for words in old.words():
        await new.take_words(words)
        moved.public += sum(one.public for one in words)
        progress("public results", moved.public, moved.public)
    async for names in old.names():
        await new.take_names(names)
    async for races, lost in old.races.all():
        moved.damaged_races += lost
        await new.races.write(races)
        for race in races[:1]:
            if await new.races.of(race.id) is None:
                raise StoreError(f"race {race.id} was written and is not there", retriable=False)
        moved.races += len(races)
        progress("races", moved.races, moved.races)
    links = await old.links()
    for done, (guest, account, at_ms) in enumerate(links):
        progress("links of guests", done, len(links))
        linked = await new.link(guest, account, at_ms=at_ms)
        if linked is Linked.TAKEN or linked is Linked.FULL:
            moved.refused[guest] = "another account has it" if linked is Linked.TAKEN else f"{account} has too many"
        else:
            moved.links += 1
    return moved


async def _verify(store: ResultStore, page: list[Result]) -> None:
    for result in page[:: max(1, len(page) // _VERIFIED_AT_ONCE)]:
        there = await store.by_id(result.session)
        if there is None or there.user != result.user:
            raise StoreError(f"the result {result.session.hex()} was written and is not there", retriable=False)
