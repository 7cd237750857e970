"""The drain: takes results from the spool in order, hands them to a sink until it confirms them, and drops them then.

One task does, for one batch at a time: take from the spool, judge what is not judged yet, hand to the sink, call
`on_stored` for what is confirmed, drop that from the spool. A crash between any two of these leaves the rows in the
spool; they are judged and handed on again at the next start. One batch at a time is what keeps the order.

Judging is the dear part, and nobody waits for it: it is done on the loop in slices of under a millisecond, between
which whoever types or finishes comes first, and a while longer where there are many of them. (A thread would hold the
interpreter just as long, at worse moments.)

What a sink cannot take just now is *held*: it is handed on again, later and later, and until then the later results of
its users wait behind it, while everybody else's go on. Held rows are at most a batch; when they are as many, all wait.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import structlog

from persistence.errors import StoreError
from persistence.stream.port import Sink, StreamFacts, StreamOptions
from persistence.stream.spool import Spool, Spooled
from session.identity import session_to_text
from session.result import Result

T = TypeVar("T")

log = structlog.get_logger(__name__)

_BUSY_S = 0.0002  # a turn of the loop that takes longer has others in it
_REST_S = 0.005  # what they are left then
_POLITE_S = 0.1  # for so long a batch gives way; a loop that is always busy must not keep results waiting for good
_SLICE_S = 0.0005  # a job's own steps take up to as much again
_TOLD_AT_ONCE = 32  # calls of `on_stored` in one turn of the event loop: each may write to a socket


class Drain:
    """A `Stream` from a spool to a sink.

    `on_stored(result)` is called on the event loop; what it raises is logged and holds up nothing. `chance` draws the
    jitter of back-offs. Opened after spool and sink, closed before them.
    """

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        on_stored: Callable[[Result], None],
        options: StreamOptions | None = None,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._on_stored = on_stored
        self._options = options or StreamOptions()
        self._chance = chance or random.Random()
        self._task: asyncio.Task[None] | None = None
        self._rest: asyncio.Timeout | None = None  # runs while the drain waits before the next try
        self._held: list[Spooled] = []  # oldest first
        self._held_tries = 0  # times in a row that what is held was asked about in vain
        self._held_until = 0.0  # the loop's clock
        self._breathe_at = 0.0  # when a job gives the loop free again (`perf_counter`)
        self._advanced = asyncio.Event()
        self._done_seq = 0  # all spooled rows up to this one are confirmed, or set aside
        self._stored = 0
        self._refused = 0
        self._failures = 0
        self._fault: str | None = None
        self._wait_ms = 0.0

    async def __aenter__(self) -> Self:
        self._spool.rewind()
        self._task = asyncio.get_running_loop().create_task(self._drain(), name="drain")
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
        """Wait until all that is spooled now is confirmed; False where that took too long."""
        return self._task is not None and await self._flush(self._task, timeout_ms)

    async def _flush(self, task: asyncio.Task[None], timeout_ms: int) -> bool:
        if self._rest is not None and not self._rest.expired():
            self._rest.reschedule(0)
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
        return StreamFacts(self._stored, self._refused, self._failures, self._fault, len(self._held), self._wait_ms)

    async def ping(self) -> None:
        """Raise `StoreError` where the drain has stopped or the sink refuses."""
        if self._task is None or self._task.done():
            raise StoreError("the stream has stopped", retriable=False)
        if self._fault is not None:
            raise StoreError(self._fault, retriable=True)
        await self._sink.ping()

    # -- the drain -----------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        while True:
            rows = await self._patiently(self._next)
            judged = await self._judged(rows)
            if judged:
                await self._hand_on(judged)
            if self._held:
                self._done_seq = self._held[0].seq - 1
            else:
                self._done_seq = self._spool.taken_seq
                self._recovered()
            self._advanced.set()
            if len(rows) < self._options.batch_rows and not self._held:
                # Each batch costs two commits and five turns of the loop, however few results are in it.
                await asyncio.sleep(self._options.gather_ms / 1000)

    async def _next(self) -> list[Spooled]:
        """The rows to hand on: new ones of users of whom nothing is held; what is held, once its time has come."""
        if not self._held:
            return await self._spool.take(self._options.batch_rows)
        room = self._options.batch_rows - len(self._held)
        try:
            if asyncio.get_running_loop().time() >= self._held_until:  # not after all that can be taken at once
                raise TimeoutError
            async with self._rest_until(self._held_until):
                taken = await (self._spool.take(room) if room else _for_ever())
        except TimeoutError:
            held, self._held = self._held, []
            return held
        behind = {row.order for row in self._held}
        self._held += [row for row in taken if row.order in behind]
        return [row for row in taken if row.order not in behind]

    async def _judged(self, rows: Sequence[Spooled]) -> list[Spooled]:
        """The rows with their final results; what cannot be judged is set aside."""
        judged: list[Spooled] = []
        polite_until = time.perf_counter() + _POLITE_S
        for row in rows:
            if row.settled is None:
                judged.append(row)
                continue
            try:
                result = await self._breathing(row.settled.judging(), polite_until)
            except Exception as error:  # whatever a foreign log does to the judge, it holds up nobody
                log.exception("a spooled result cannot be judged", result=row.name)
                await self._set_aside(row, f"it cannot be judged: {error!r}")
            else:
                judged.append(replace(row, record=result, settled=None))
        return judged

    async def _breathing(self, steps: Generator[None, None, T], polite_until: float) -> T:
        """Run a job in slices, with a turn of the loop between them, and a rest where the loop is busy."""
        while True:
            try:
                while time.perf_counter() < self._breathe_at:
                    next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's StopIteration bears what it returns
            begun = time.perf_counter()
            await asyncio.sleep(0)
            now = time.perf_counter()
            if now - begun > _BUSY_S and now < polite_until:
                await asyncio.sleep(_REST_S)
                now = time.perf_counter()
            self._breathe_at = now + _SLICE_S

    async def _set_aside(self, row: Spooled, why: str) -> None:
        await self._patiently(partial(self._spool.refuse, row, why))
        self._refused += 1

    async def _hand_on(self, rows: Sequence[Spooled]) -> None:
        """Hand a batch to the sink; tell of what it confirmed and drop it, set aside what it refused, hold the rest."""
        confirmed: list[Spooled] = []
        held: list[Spooled] = []
        fault: StoreError | None = None
        for row, answer in await self._patiently(partial(self._answers, rows)):
            if answer is None:
                confirmed.append(row)
            elif answer.retriable:
                held.append(row)
                fault = answer
            else:
                await self._set_aside(row, str(answer))
        await self._tell(confirmed)
        self._spool.drop(confirmed)
        self._stored += len(confirmed)
        if fault is None:
            return
        if self._held:  # they were not asked about, so their time stays what it was
            self._held = sorted([*self._held, *held], key=lambda row: row.seq)
        else:
            self._held = held
            self._held_until = self._failed(str(fault), self._held_tries)
            self._held_tries += 1

    async def _answers(self, rows: Sequence[Spooled]) -> list[tuple[Spooled, StoreError | None]]:
        return list(zip(rows, await self._sink.hand_on(rows), strict=True))

    async def _tell(self, rows: Sequence[Spooled]) -> None:
        results = [
            row.record for row in rows if isinstance(row.record, Result)
        ]  # of a race's record nobody waits to hear
        for i, result in enumerate(results, 1):
            try:
                self._on_stored(result)
            except Exception:  # the listener's fault: the result is stored, and others wait to hear of theirs
                log.exception("a listener to stored results failed", session=session_to_text(result.session))
            if i % _TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)

    # -- patience ------------------------------------------------------------------------------------------------

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds, waiting longer and longer."""
        tries = 0
        while True:
            try:
                return await attempt()
            except StoreError as error:
                fault = str(error)
            except Exception as error:  # a fault of ours must not end the drain: the spool would fill unseen
                log.exception("the stream failed")
                fault = f"{type(error).__name__}: {error}"
            until = self._failed(fault, tries)
            tries += 1
            try:
                async with self._rest_until(until):
                    await _for_ever()
            except TimeoutError:
                pass

    def _failed(self, fault: str, tries: int) -> float:
        """Note a fault; when to try again, by the loop's clock."""
        if self._fault is None:
            log.error("results cannot be handed on; they wait in the spool", why=fault)
        self._fault = fault
        self._failures += 1
        self._wait_ms = back_off_ms(self._options, tries, self._chance)
        return asyncio.get_running_loop().time() + self._wait_ms / 1000

    def _recovered(self) -> None:
        self._held_tries = 0
        if self._fault is not None:
            log.warning("results are handed on again", after=self._fault)
            self._fault = None
            self._wait_ms = 0.0

    @asynccontextmanager
    async def _rest_until(self, when: float) -> AsyncIterator[None]:
        """Raise TimeoutError at an instant (the loop's clock), or when `flush` has no time to wait for it."""
        async with asyncio.timeout_at(when) as self._rest:
            try:
                yield
            finally:
                self._rest = None


def back_off_ms(options: StreamOptions, tries: int, chance: random.Random) -> float:
    """How long to wait after so many failed tries: full jitter, but never a hot loop."""
    longest_ms = min(options.backoff_max_ms, options.backoff_min_ms << min(tries, 20))
    shortest_ms = options.backoff_min_ms / 2
    return shortest_ms + chance.random() * (longest_ms - shortest_ms)


async def _for_ever() -> NoReturn:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody has this future")
