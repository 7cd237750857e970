"""The embedded stream: drains the spool into the result store of the same process.

One task does, in this order and for one batch at a time: take from the spool, write to the store (one transaction),
push to the recent lists, call `on_stored`, drop from the spool. A crash between any two of these leaves the rows in the
spool; they are written again at the next start and meet their own rows. One batch at a time is what keeps the order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog

from persistence.cache.recent import RecentResults
from persistence.errors import StoreError
from persistence.results.port import ResultStore
from persistence.stream.port import StreamFacts, StreamOptions
from persistence.stream.spool import Spool, Spooled

T = TypeVar("T")

log = structlog.get_logger(__name__)

_TOLD_AT_ONCE = 32  # calls of `on_stored` in one turn of the event loop: each may write to a socket


class InProcessStream:
    """A `Stream` without a broker.

    `on_stored(session)` is called on the event loop; what it raises is logged and holds up nothing. `recent` is told of
    what was stored; `chance` draws the jitter of back-offs.
    """

    def __init__(
        self,
        spool: Spool,
        store: ResultStore,
        on_stored: Callable[[bytes], None],
        options: StreamOptions | None = None,
        *,
        recent: RecentResults | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._spool = spool
        self._store = store
        self._on_stored = on_stored
        self._options = options or StreamOptions()
        self._recent = recent
        self._chance = chance or random.Random()
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()  # cuts a back-off short
        self._advanced = asyncio.Event()
        self._done_seq = 0  # all spooled rows up to this one are stored, or set aside
        self._stored = 0
        self._refused = 0
        self._failures = 0
        self._fault: str | None = None

    async def __aenter__(self) -> Self:
        self._spool.rewind()
        self._task = asyncio.get_running_loop().create_task(self._drain(), name="stream")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        try:
            if not task.done() and not await self._flush(task, self._options.close_ms):
                log.warning("results stay in the spool for the next start", rows=self._spool.facts().rows)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def flush(self, *, timeout_ms: int) -> bool:
        """Wait until all that is spooled now is stored; False where that took too long."""
        return self._task is not None and await self._flush(self._task, timeout_ms)

    async def _flush(self, task: asyncio.Task[None], timeout_ms: int) -> bool:
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._spool.sync()
                upto = self._spool.durable_seq
                while self._done_seq < upto and not task.done():
                    self._advanced.clear()
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return not task.done()

    def facts(self) -> StreamFacts:
        """Facts for metrics; cheap."""
        return StreamFacts(self._stored, self._refused, self._failures, self._fault)

    async def ping(self) -> None:
        """Raise `StoreError` where the drain has stopped or the store refuses."""
        if self._task is None or self._task.done():
            raise StoreError("the stream has stopped", retriable=False)
        if self._fault is not None:
            raise StoreError(self._fault, retriable=True)

    # -- the drain -----------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        while True:
            rows = await self._patiently(self._take)
            await self._patiently(partial(self._hand_on, rows))
            self._done_seq = self._spool.taken_seq
            self._advanced.set()
            if len(rows) < self._options.batch_rows:
                # Each batch costs two commits and five turns of the loop, however few results are in it.
                await asyncio.sleep(self._options.gather_ms / 1000)

    async def _take(self) -> list[Spooled]:
        return await self._spool.take(self._options.batch_rows)

    async def _hand_on(self, rows: Sequence[Spooled]) -> None:
        """Store a batch, tell of it, drop it. Safe to repeat from any point of it."""
        stored = await self._write(rows)
        if self._recent is not None:
            try:
                await self._recent.stored([row.result for row in stored])
            except Exception:  # a cache may be away; its lists end by themselves
                log.exception("the recent lists were not told of stored results", results=len(stored))
        for i, row in enumerate(stored, 1):
            try:
                self._on_stored(row.result.session)
            except Exception:  # the listener's fault: the result is stored, and others wait to hear of theirs
                log.exception("a listener to stored results failed", session=row.result.session.hex())
            if i % _TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._spool.drop(stored)
        self._stored += len(stored)

    async def _write(self, rows: Sequence[Spooled]) -> Sequence[Spooled]:
        """Write a batch; one result that can never be stored is found by halving and set aside. Those written."""
        if not rows:
            return ()
        try:
            await self._store.write([row.result for row in rows])
        except StoreError as error:
            if error.retriable:
                raise
            if len(rows) == 1:
                await self._spool.refuse(rows[0], str(error))
                self._refused += 1
                return ()
            half = len(rows) // 2
            return [*await self._write(rows[:half]), *await self._write(rows[half:])]
        return rows

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds, waiting longer and longer."""
        tries = 0
        while True:
            try:
                value = await attempt()
            except StoreError as error:
                fault = str(error)
            except Exception as error:  # a fault of ours must not end the drain: the spool would fill unseen
                log.exception("the stream failed")
                fault = f"{type(error).__name__}: {error}"
            else:
                if self._fault is not None:
                    log.warning("results are stored again", after=self._fault)
                    self._fault = None
                return value
            if self._fault is None:
                log.error("results cannot be stored; they wait in the spool", why=fault)
            self._fault = fault
            self._failures += 1
            await self._back_off(tries)
            tries += 1

    async def _back_off(self, tries: int) -> None:
        options = self._options
        longest_ms = min(options.backoff_max_ms, options.backoff_min_ms * 2 ** min(tries, 20))
        # Full jitter, but never a hot loop.
        wait_ms = options.backoff_min_ms / 2 + self._chance.random() * (longest_ms - options.backoff_min_ms / 2)
        self._hurry.clear()
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._hurry.wait()
        except TimeoutError:
            pass
