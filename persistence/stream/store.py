"""The embedded sink: the result store of the same process, and what follows from what is in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

import structlog

from persistence.errors import StoreError
from persistence.results.port import ResultStore, Stored
from persistence.stream.port import SinkFacts
from persistence.stream.spool import Spooled
from session.race_record import RaceRecord
from session.result import Result

log = structlog.get_logger(__name__)


Follow: TypeAlias = Callable[[Sequence[Stored]], Awaitable[None]]
"""Does what follows from stored results; a retriable `StoreError`: not now, all of it again."""

_OWED = 10_000
"""Most results remembered of which this is owed; others' lists and boards are read from the store in time."""
_OWED_AT_ONCE = 500


class StoreSink:
    """A `Sink` without a broker: a batch is one transaction of the store. `follow` does what follows from it.

    A result is confirmed when it is in the store. What cannot follow now is tried again every `again_s`, as long as
    this is open.
    """

    def __init__(self, store: ResultStore, *, follow: Follow | None = None, again_s: float = 1.0) -> None:
        self._store = store
        self._again_s = again_s
        self._follow = follow
        self._fault: str | None = None
        self._owed: deque[Stored] = deque(maxlen=_OWED)
        self._turn = asyncio.Lock()
        self._paying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.wait([self._paying])
            log.warning("caches and leaderboards were not told of stored results", results=len(self._owed))

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        """Write a batch, results and then races; what can never be stored is found by halving."""
        stored: list[Stored] = []
        results = [row for row in rows if isinstance(row.record, Result)]
        answers = dict(zip((row.seq for row in results), await self._write(results, stored), strict=True))
        if self._follow is not None and stored:
            await self._do(self._follow, stored)
        races = [row for row in rows if isinstance(row.record, RaceRecord)]
        answers.update(zip((row.seq for row in races), await self._write_races(races), strict=True))
        return [answers[row.seq] for row in rows]

    async def _write(self, rows: Sequence[Spooled], stored: list[Stored]) -> list[StoreError | None]:
        """The answer for each; what is in the store comes to `stored`."""
        results = [row.result for row in rows]
        try:
            stored += map(Stored, results, await self._store.write(results))
        except StoreError as error:
            self._fault = str(error) if error.retriable else None
            if error.retriable:
                raise
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            return [*await self._write(rows[:half], stored), *await self._write(rows[half:], stored)]
        self._fault = None
        return [None] * len(rows)

    async def _write_races(self, rows: Sequence[Spooled]) -> list[StoreError | None]:
        """The answer for each record of a race."""
        if not rows:
            return []
        try:
            await self._store.races.write([row.record for row in rows if isinstance(row.record, RaceRecord)])
        except StoreError as error:
            if error.retriable:  # the results beside them are stored: these alone come again
                self._fault = str(error)
                return [error] * len(rows)
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            return [*await self._write_races(rows[:half]), *await self._write_races(rows[half:])]
        return [None] * len(rows)

    async def _do(self, follow: Follow, stored: Sequence[Stored]) -> None:
        self._owed.extend(stored)
        fault = await self._pay(follow)
        if fault is not None and self._paying is None:
            log.error("results are stored, but what follows cannot be done now", why=str(fault))
            self._paying = asyncio.get_running_loop().create_task(self._until_paid(follow), name="owed effects")

    async def _until_paid(self, follow: Follow) -> None:
        while True:
            await asyncio.sleep(self._again_s)
            if await self._pay(follow) is None:
                break
        self._paying = None
        log.warning("what follows from stored results is done again")

    async def _pay(self, follow: Follow) -> StoreError | None:
        """Do what is owed, in order; why it cannot be done now, where it cannot."""
        async with self._turn:
            while self._owed:
                part = [self._owed.popleft() for _ in range(min(len(self._owed), _OWED_AT_ONCE))]
                try:
                    await follow(part)
                except StoreError as error:
                    self._owed.extendleft(reversed(part))
                    return error
                except Exception:  # a fault of ours; the results are stored all the same
                    log.exception("what follows from stored results failed", results=len(part))
        return None

    def facts(self) -> SinkFacts:
        """Facts for metrics."""
        return SinkFacts(place="store", fault=self._fault, reopened=0)

    async def ping(self) -> None:
        """Raise `StoreError` where the store does not answer."""
        await self._store.ping()
