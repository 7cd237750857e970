"""The embedded leaderboards: those of this process, each read from the store when it is first asked for.

They agree with the store as long as all that is written to it is submitted here: by one process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeAlias

import structlog

from persistence.boards.entries import best_of, entry_of, user_of
from persistence.boards.port import BoardPage, BoardsFacts, BoardsOptions, Progressed, Ranked, is_news
from persistence.boards.ranks import Ranks
from persistence.boards.reading import Filling, first_around
from persistence.results.bests import Board, Period, PersonalBest, Span
from persistence.results.port import ResultStore, Written

log = structlog.get_logger(__name__)

Name: TypeAlias = tuple[Board, Period]


class _Kept:
    """A board in memory; `filling` until it is complete."""

    __slots__ = ("filling", "ranks", "touched")

    def __init__(self, top: int) -> None:
        self.ranks = Ranks(top)
        self.filling: asyncio.Task[None]
        self.touched: set[int] = set()
        """Users that something was submitted of since the filling began: what it reads of them may be old."""


class MemoryBoards:
    """`Boards` of one process."""

    def __init__(self, store: ResultStore, options: BoardsOptions | None = None) -> None:
        self._store = store
        self._options = options or BoardsOptions()
        self._kept: OrderedDict[Name, _Kept] = OrderedDict()
        self._submitted = self._reads = self._fillings = self._failures = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fillings = [kept.filling for kept in self._kept.values()]
        for filling in fillings:
            filling.cancel()
        if fillings:
            await asyncio.wait(fillings)
        self._kept.clear()

    # -- changing ------------------------------------------------------------------------------------------------

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        """Take note of what the store told."""
        for one in written:
            for place, best in one.bests.items():
                if is_news(one, best):
                    self._submit((place.board, place.period), place.user, best, one.session)
        return [self._ranks(one) for one in written]

    def _submit(self, name: Name, user: int, best: PersonalBest | None, session: bytes) -> None:
        kept = self._kept.get(name)
        if kept is None:
            return  # it is read from the store when somebody asks
        self._submitted += 1
        if not kept.filling.done():
            kept.touched.add(user)
        if kept.ranks.submit(user, None if best is None else entry_of(best), session):
            del self._kept[name]

    def _ranks(self, one: Written) -> dict[Span, int]:
        """The places of a result where it is its user's best."""
        ranks: dict[Span, int] = {}
        for best in one.set:
            kept = self._kept.get((best.place.board, best.place.period))
            if kept is not None and kept.filling.done() and kept.ranks.entry(best.place.user) == entry_of(best):
                at = kept.ranks.rank(best.place.user)
                assert at is not None
                ranks[best.place.period.span] = at + 1
        return ranks

    async def remove(self, user: int) -> None:
        """Take a user from every board."""
        for name, kept in list(self._kept.items()):
            if not kept.filling.done():
                kept.touched.add(user)
            if kept.ranks.remove(user) and kept.ranks.floor is not None:
                del self._kept[name]

    async def rebuild(self, board: Board, period: Period, *, progressed: Progressed | None = None) -> int:
        """Read a board from the store now."""
        self._kept.pop((board, period), None)
        return len((await self._board(board, period, progressed)).ranks)

    # -- reading -------------------------------------------------------------------------------------------------

    async def page(self, board: Board, period: Period, *, offset: int, count: int) -> BoardPage:
        """`count` entries after the first `offset`."""
        ranks = (await self._read(board, period)).ranks
        return _page(ranks, board, period, offset, count)

    async def around(self, board: Board, period: Period, user: int, *, count: int) -> BoardPage:
        """`count` entries with the user's in the middle."""
        ranks = (await self._read(board, period)).ranks
        at = ranks.rank(user)
        if at is None:
            return BoardPage((), size=len(ranks))
        return _page(ranks, board, period, first_around(at, count), count)

    async def rank(self, board: Board, period: Period, user: int) -> Ranked | None:
        """The user's entry."""
        ranks = (await self._read(board, period)).ranks
        at = ranks.rank(user)
        return None if at is None else Ranked(at + 1, best_of(ranks.slice(at, at + 1)[0], board, period))

    async def _read(self, board: Board, period: Period) -> _Kept:
        self._reads += 1
        return await self._board(board, period)

    # -- filling -------------------------------------------------------------------------------------------------

    async def _board(self, board: Board, period: Period, progressed: Progressed | None = None) -> _Kept:
        """The board, complete. Raises `StoreError` as the store does."""
        name = (board, period)
        kept = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = _Kept(self._options.top)
            kept.filling = asyncio.get_running_loop().create_task(self._fill(name, kept, progressed))
            kept.filling.add_done_callback(_seen)
            self._evict()
        self._kept.move_to_end(name)
        await asyncio.shield(kept.filling)
        return kept

    async def _fill(self, name: Name, kept: _Kept, progressed: Progressed | None) -> None:
        board, period = name
        try:
            reading = Filling(self._store, board, period, self._options.top)
            async for entries in reading.parts():
                kept.ranks.fill(entry for entry in entries if user_of(entry[1]) not in kept.touched)
                if progressed is not None:
                    progressed(reading.read)
                await asyncio.sleep(0)
            kept.ranks.filled(reading.floor)
            self._fillings += 1
            if reading.floor is not None and len(kept.ranks) < self._options.top and self._kept.get(name) is kept:
                del self._kept[name]  # a place became free meanwhile, and who comes next was not read
        except BaseException:
            self._failures += 1
            if self._kept.get(name) is kept:
                del self._kept[name]
            raise

    def _evict(self) -> None:
        """Drop the board used least lately; not one that somebody waits for."""
        if len(self._kept) > self._options.kept:
            for name, kept in self._kept.items():
                if kept.filling.done():
                    del self._kept[name]
                    return

    def facts(self) -> BoardsFacts:
        """Facts for metrics."""
        return BoardsFacts(self._submitted, self._reads, 0, self._fillings, self._failures)

    async def ping(self) -> None:
        """Memory answers always."""


def _page(ranks: Ranks, board: Board, period: Period, offset: int, count: int) -> BoardPage:
    entries = enumerate(ranks.slice(offset, offset + count), offset + 1)
    return BoardPage(tuple(Ranked(rank, best_of(entry, board, period)) for rank, entry in entries), size=len(ranks))


def _seen(task: asyncio.Task[None]) -> None:
    """Look at the outcome of a filling for which nobody may be waiting any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a leaderboard could not be read from the store", why=str(error))
