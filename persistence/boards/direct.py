"""Leaderboards that keep nothing: the store answers, no deeper than `reading.DEEPEST`.

For a process that reads what others store and shares no Redis with them, so that nobody tells it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from persistence.boards import reading
from persistence.boards.port import BoardPage, BoardsFacts, BoardsOptions, Progressed, Ranked
from persistence.results.bests import Board, Period, Span
from persistence.results.port import ResultStore, Written


class StoreBoards:
    """`Boards` without a copy of what is on them: the size of a board is not known, and nobody's rank is news."""

    def __init__(self, store: ResultStore, options: BoardsOptions | None = None) -> None:
        self._store = store
        self._top = (options or BoardsOptions()).top
        self._reads = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        """The store knows already."""
        return [{} for _ in written]

    async def page(self, board: Board, period: Period, *, offset: int, count: int) -> BoardPage:
        """`count` entries after the first `offset`."""
        self._reads += 1
        return await reading.page(self._store, board, period, self._top, offset=offset, count=count)

    async def around(self, board: Board, period: Period, user: int, *, count: int) -> BoardPage:
        """`count` entries with the user's in the middle."""
        self._reads += 1
        return await reading.around(self._store, board, period, self._top, user, count=count)

    async def rank(self, board: Board, period: Period, user: int) -> Ranked | None:
        """The user's entry."""
        page = await self.around(board, period, user, count=1)
        return page.entries[0] if page.entries else None

    async def remove(self, user: int) -> None:
        """The store has forgotten the user already."""

    async def rebuild(self, board: Board, period: Period, *, progressed: Progressed | None = None) -> int:
        """There is nothing to rebuild."""
        return 0

    def facts(self) -> BoardsFacts:
        """Facts for metrics."""
        return BoardsFacts(submitted=0, reads=self._reads, fallbacks=self._reads, fillings=0, failures=0)

    async def ping(self) -> None:
        """Raise `StoreError` where the store does not answer."""
        await self._store.ping()
