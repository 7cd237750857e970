"""Boards read from the result store: all of one, to fill it, and a few of its answers while it cannot be asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from persistence.boards.entries import Entry, entry_of
from persistence.boards.port import BoardPage, Ranked
from persistence.errors import StoreError
from persistence.results.bests import Board, Period
from persistence.results.port import ResultStore

DEEPEST = 1_000
"""Places that are looked for in the store: it counts them one by one."""
_PART = 200
"""Entries of a part: what is done with one takes two milliseconds, on the event loop."""


class Filling:
    """The best `top` entries of a board, read in parts."""

    def __init__(self, store: ResultStore, board: Board, period: Period, top: int) -> None:
        self._behind: list[bool] = []
        self._ranking = store.ranking(board, period, behind=partial(self._behind.append, True))
        self._top = top
        self.read = 0
        self.floor: Entry | None = None
        """After the last part: the last entry read, where the store has worse ones."""

    async def parts(self) -> AsyncIterator[list[Entry]]:
        """The entries, best first. Raises `StoreError` as the store does."""
        part: list[Entry] = []
        last: Entry | None = None
        async for best in self._ranking:
            if self.read == self._top:
                self.floor = last
                break
            last = entry_of(best)
            part.append(last)
            self.read += 1
            if len(part) == _PART:
                yield part
                part = []
        if part:
            yield part

    def check(self) -> None:
        """Raise a retriable `StoreError` where a part came from a server that may lack what was stored last."""
        if self._behind:
            raise StoreError("a shard's primary is away, and its replica may not have all bests", retriable=True)


async def page(store: ResultStore, board: Board, period: Period, top: int, *, offset: int, count: int) -> BoardPage:
    """`count` of the `top` entries after the first `offset`. Raises a retriable `StoreError` where that is too deep."""
    end = min(offset + count, top)
    if offset >= end:
        return BoardPage((), size=None)
    if end > DEEPEST:
        raise StoreError(f"the leaderboard cannot be read beyond place {DEEPEST} just now", retriable=True)
    found = [ranked async for ranked in _first(store, board, period, end)]
    return BoardPage(tuple(found[offset:]), size=None)


async def around(store: ResultStore, board: Board, period: Period, top: int, user: int, *, count: int) -> BoardPage:
    """`count` of the `top` entries with the user's in the middle; none where it is not among the first ones."""
    found: list[Ranked] = []
    at = None
    async for ranked in _first(store, board, period, min(DEEPEST, top)):
        found.append(ranked)
        if ranked.best.place.user == user:
            at = ranked.rank - 1
        if at is not None and len(found) >= first_around(at, count) + count:
            break
    if at is None:
        return BoardPage((), size=None)
    start = first_around(at, count)
    return BoardPage(tuple(found[start : start + count]), size=None)


def first_around(at: int, count: int) -> int:
    """Where `count` entries begin with that at `at` (0 for the first) in the middle."""
    return max(0, at - count // 2)


async def _first(store: ResultStore, board: Board, period: Period, most: int) -> AsyncIterator[Ranked]:
    rank = 0
    async for best in store.ranking(board, period):
        rank += 1
        yield Ranked(rank, best)
        if rank >= most:
            return
