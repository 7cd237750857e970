"""The embedded sink: the result store of the same process, and the recent lists in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from persistence.cache.recent import RecentResults
from persistence.errors import StoreError
from persistence.results.port import ResultStore
from persistence.stream.port import SinkFacts
from persistence.stream.spool import Spooled

log = structlog.get_logger(__name__)


class StoreSink:
    """A `Sink` without a broker: a batch is one transaction of the store. `recent` is told of what was stored.

    Store and lists belong to whoever opened them.
    """

    def __init__(self, store: ResultStore, *, recent: RecentResults | None = None) -> None:
        self._store = store
        self._recent = recent
        self._fault: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        """Write a batch; what can never be stored is found by halving."""
        answers = await self._write(rows)
        stored = [row.result for row, answer in zip(rows, answers, strict=True) if answer is None]
        if self._recent is not None and stored:
            try:
                await self._recent.stored(stored)
            except Exception:  # a cache may be away; its lists end by themselves
                log.exception("the recent lists were not told of stored results", results=len(stored))
        return answers

    async def _write(self, rows: Sequence[Spooled]) -> list[StoreError | None]:
        try:
            await self._store.write([row.result for row in rows])
        except StoreError as error:
            self._fault = str(error) if error.retriable else None
            if error.retriable:
                raise
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            return [*await self._write(rows[:half]), *await self._write(rows[half:])]
        self._fault = None
        return [None] * len(rows)

    def facts(self) -> SinkFacts:
        """Facts for metrics."""
        return SinkFacts(place="store", fault=self._fault, reopened=0)

    async def ping(self) -> None:
        """Raise `StoreError` where the store does not answer."""
        await self._store.ping()
