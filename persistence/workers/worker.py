"""The worker: takes batches from its feed, puts them through the pipeline, and commits what is done.

One batch at a time is *under way*; a rebalance waits for it. Beside it there are

- partitions in *trouble*: something of them could not be stored just now (a shard is away). They are paused, and each
  is tried again by a task of its own, later and later, while the others go on.
- partitions that *owe*: their results are stored, but what follows (lists, boards, notices, analytics) could not be
  done. Their results go on being stored and nothing more is committed of them; once it can be done again they are read
  again from the first that owes. So no row waits for a cache, and no memory grows while one is away; a worker that dies
  meanwhile has committed nothing that was not done.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self

import structlog

from persistence.errors import StoreError
from persistence.workers.backoff import BackOff
from persistence.workers.batch import Batch, Pipeline
from persistence.workers.feed import Feed
from persistence.workers.meter import Meter

__all__ = ["Worker", "WorkerFacts", "WorkerOptions"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Pace of a worker."""

    batch_rows: int = 100
    """Most results in one batch."""
    backoff_min_ms: int = 50
    """First wait after a failure; doubles, with full jitter."""
    backoff_max_ms: int = 5_000
    """Longest wait between two tries."""
    patience_ms: int = 10_000
    """How long a rebalance, or stopping, waits for the batch under way; then it is given up, and done by whoever is
    next."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; 1 or more is allowed")
        if self.batch_rows > 1_000:
            raise ValueError(f"batch_rows is {self.batch_rows}; at most 1000 is allowed")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The state of a worker."""

    troubled: dict[int, str]
    """Partitions that wait because something of them could not be stored, and why."""
    owing: int
    """Partitions whose results are stored, and what follows from them is not done."""
    fault: str | None
    """Why what follows cannot be done just now; None when all is well."""


class Worker:
    """Opened, it works until it is closed. Feed and pipeline belong to whoever opened them."""

    def __init__(
        self,
        feed: Feed,
        pipeline: Pipeline,
        options: WorkerOptions = WorkerOptions(),
        *,
        meter: Meter | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._feed = feed
        self._pipeline = pipeline
        self._options = options
        self._meter = meter or Meter()
        self._back_off = BackOff(options.backoff_min_ms, options.backoff_max_ms, chance or random.Random())
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._turn: asyncio.Task[None] | None = None
        self._taking = False
        """Whether the turn is still waiting for records: then it may be cut short without losing anything."""
        self._batch: Batch | None = None
        """What the turn works on."""
        self._lanes: dict[int, asyncio.Task[None]] = {}
        """Partitions in trouble, and the task that tries each again."""
        self._faults: dict[int, str] = {}
        self._owed: dict[int, int] = {}
        """Partitions that owe, and the offset from which on they do."""
        self._recovery: asyncio.Task[None] | None = None
        self._recovered = False
        self._relapses = 0
        """How often what follows has failed since it last succeeded."""
        self._fault: str | None = None
        self._uncommitted: dict[int, int] = {}
        """Ends that are done and that the log could not be told of yet."""
        feed.watch(self._revoked)

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._work(), name="worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the batch under way within the time for it, and take no more."""
        self._stopping = True
        if self._task is None:
            return
        self._interrupt()
        if self._recovery is not None:
            self._recovery.cancel()
        for lane in self._lanes.values():
            lane.cancel()
        try:
            await self._patiently(self._turn)
            await self._commit({})
        finally:
            rest = [task for task in (self._task, self._recovery, *self._lanes.values()) if task is not None]
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)

    async def alive(self) -> None:
        """Raise `StoreError` where the worker has stopped."""
        if self._task is None or self._task.done():
            raise StoreError("the worker has stopped", retriable=False)

    async def ping(self) -> None:
        """Raise `StoreError` where results cannot be stored, or what follows cannot be done."""
        await self.alive()
        if self._faults:
            partition, fault = next(iter(self._faults.items()))
            raise StoreError(f"{len(self._faults)} partitions wait; partition {partition}: {fault}", retriable=True)
        if self._fault is not None:
            raise StoreError(self._fault, retriable=True)

    def facts(self) -> WorkerFacts:
        """Facts for metrics; cheap."""
        return WorkerFacts(dict(self._faults), len(self._owed), self._fault)

    # -- the turns -----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        tries = 0
        while not self._stopping:
            if self._recovered:
                self._pay()
            self._taking = True
            self._turn = asyncio.get_running_loop().create_task(self._take_and_handle(), name="worker's turn")
            await asyncio.wait([self._turn])
            if self._turn.cancelled() or self._turn.exception() is None:
                tries = 0
                continue
            # the feed's own fault, or a bug of it: nothing was taken
            log.error("a worker's turn failed", exc_info=self._turn.exception())
            await asyncio.sleep(self._back_off.seconds(tries))
            tries += 1

    async def _take_and_handle(self) -> None:
        try:
            records = await self._feed.take(self._options.batch_rows)
        finally:
            self._taking = False
        # From here to the next `await` nobody else has a turn: a rebalance finds either no records taken, or the batch.
        if not records:
            return
        batch = self._batch = Batch(records)
        self._meter.batch(len(records))
        try:
            troubled = await self._handle(batch)
        finally:
            self._batch = None
        for partition, fault in troubled.items():
            self._trouble(partition, batch.part([partition]), fault)

    async def _handle(self, batch: Batch) -> dict[int, Exception]:
        """Put a batch through the pipeline and commit what is done; what is not, by partition."""
        troubled: dict[int, Exception]
        try:
            await self._pipeline.prepare(batch)
            troubled = await self._pipeline.keep(batch)
        except StoreError as error:  # something that playing a result again needs is away
            return dict.fromkeys(batch.ends, error)
        except Exception as error:  # a bug; it is tried again, apart, and in the end the record's own fault
            log.exception("a batch could not be stored", records=len(batch.records))
            return dict.fromkeys(batch.ends, error)
        await self._follow(batch)
        await self._commit({p: end for p, end in batch.ends.items() if p not in troubled and p not in self._owed})
        return troubled

    def _interrupt(self) -> None:
        """End a turn that waits for records."""
        if self._taking and self._turn is not None:
            self._turn.cancel()

    async def _patiently(self, turn: asyncio.Task[None] | None) -> None:
        """Wait for a turn that works on a batch, and end it where that takes too long."""
        if turn is None or turn.done():
            return
        _, late = await asyncio.wait([turn], timeout=self._options.patience_ms / 1000)
        if late:
            log.warning("a batch was given up: it took too long", patience_ms=self._options.patience_ms)
            turn.cancel()
            await asyncio.wait([turn])

    async def _commit(self, ends: dict[int, int]) -> None:
        ends, self._uncommitted = self._uncommitted | ends, {}
        if not ends:
            return
        began = time.perf_counter()
        try:
            await self._feed.commit(ends)
        except Exception as error:
            # the next batch's commit says it too; whoever reads these records again before that meets his own rows
            log.warning("offsets could not be committed now", why=str(error) or repr(error))
            self._uncommitted = ends | self._uncommitted
        else:
            self._meter.step("commit", time.perf_counter() - began)

    # -- rebalances ----------------------------------------------------------------------------------------------

    async def _revoked(self, partitions: Collection[int]) -> None:
        """Finish the batch under way, let go of all else that concerns these partitions."""
        gone = frozenset(partitions)
        batch = self._batch
        if batch is not None:
            await self._patiently(self._turn)
            if self._turn is not None and self._turn.cancelled():
                for partition in batch.starts.keys() - gone:
                    self._feed.rewind(partition, batch.starts[partition])
        lanes = [self._lanes[partition] for partition in gone & self._lanes.keys()]
        for lane in lanes:
            lane.cancel()
        if lanes:
            await asyncio.wait(lanes)
        await self._commit({})
        for partition in gone:
            for known in (self._lanes, self._faults, self._owed, self._uncommitted):
                known.pop(partition, None)
        self._told_owing()

    # -- trouble -------------------------------------------------------------------------------------------------

    def _trouble(self, partition: int, batch: Batch, fault: Exception) -> None:
        """Set a partition aside and try it again by itself."""
        self._feed.pause(partition)
        self._meter.troubled(partition, str(fault))
        if not self._faults:
            log.error("results cannot be stored; their partitions wait", partition=partition, why=str(fault))
        self._faults[partition] = str(fault)
        self._lanes[partition] = asyncio.get_running_loop().create_task(
            self._try_again(partition, batch), name=f"partition {partition}"
        )

    async def _try_again(self, partition: int, batch: Batch) -> None:
        while True:
            await asyncio.sleep(self._back_off.seconds(batch.tries))
            batch.tries += 1
            troubled = await self._handle(batch)
            if not troubled:
                break
            self._faults[partition] = str(troubled[partition])
        del self._lanes[partition], self._faults[partition]
        self._feed.resume(partition)
        if not self._faults:
            log.warning("results of all partitions are stored again")

    # -- debts ---------------------------------------------------------------------------------------------------

    async def _follow(self, batch: Batch) -> None:
        """Do what follows, or note from where on it is owed."""
        if not batch.stored:
            return
        if not self._owed:
            try:
                await self._pipeline.follow(batch)
            except StoreError as error:
                self._fault = str(error)
                log.error("results are stored, but what follows cannot be done; it is owed", why=self._fault)
            else:
                self._relapses = 0
                return
        for partition, start in batch.starts.items():
            self._owed.setdefault(partition, start)
        self._told_owing()
        if self._recovery is None:
            self._recovery = asyncio.get_running_loop().create_task(self._recover(), name="worker's recovery")

    async def _recover(self) -> None:
        """Wait until what follows can be done again."""
        while True:
            await asyncio.sleep(self._back_off.seconds(self._relapses))
            self._relapses += 1
            try:
                await self._pipeline.ping_effects()
            except Exception as error:  # whatever they fail with, they are asked again
                self._fault = str(error) or repr(error)
            else:
                break
        self._recovered = True
        self._interrupt()

    def _pay(self) -> None:
        """Between two turns: have all partitions that owe read again from where they do."""
        log.warning("what follows from stored results is done again", partitions=len(self._owed))
        for partition, offset in self._owed.items():
            lane = self._lanes.pop(partition, None)
            if lane is not None:
                lane.cancel()
                self._faults.pop(partition, None)
            self._feed.rewind(partition, offset)
            self._feed.resume(partition)
        self._owed.clear()
        self._fault = None
        self._recovered = False
        self._recovery = None
        self._told_owing()

    def _told_owing(self) -> None:
        self._meter.owing(len(self._owed))
