"""A feed from Kafka: a consumer of a group, with commits by hand.

What aiokafka leaves to its user, and where that is done here:

- `start` fails at once while no broker answers, and does not survive every fault: a task of ours opens a consumer,
  and a new one where the old one is beyond help.
- `getmany` gives what has arrived, be it one record: `take` goes on asking for a short time.
- a commit is tried for ever while its coordinator is away: ours has a limit, and the next one says it again.
- fetched records of partitions that are given up are dropped by it; those that `take` has gathered are dropped by us.
- a group that is new begins at the first record or behind the last one: `since_ms` lets it begin between them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from persistence.errors import StoreError
from persistence.workers.backoff import BackOff
from persistence.workers.feed import FeedFacts, FeedOptions, Record, Revoked

__all__ = ["KafkaFeed", "stop"]

log = structlog.get_logger(__name__)

_CLOSE_S = 5.0
"""Time for leaving the group; who does not get to it is noticed to be gone after `session_ms`."""
_METADATA_MS = 30_000
"""How soon a change of the topic's partitions is noticed."""


class KafkaFeed:
    """A `Feed` of one topic. `connection` are aiokafka's own arguments: where the brokers are, and how one gets in.

    A partition of which the group has committed nothing is given from its beginning on, or where `since_ms` is given
    from the first record that was sent at that instant (epoch ms, asked for at the time) or later.
    """

    def __init__(
        self,
        topic: str,
        connection: Mapping[str, Any],
        options: FeedOptions | None = None,
        *,
        since_ms: Callable[[], int] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._topic = topic
        self._connection = connection
        self._options = options or FeedOptions()
        self._since_ms = since_ms
        self._back_off = BackOff(100, 5_000, chance or random.Random())
        self._revoked: Revoked | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._ready = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._gathered: list[Record] = []
        """Records that have been fetched for a `take` that is not done."""
        self._held: frozenset[int] = frozenset()
        self._places: dict[int, int] = {}
        """The offset after the last record that was gathered."""
        self._rebalances = 0
        self._failures = 0
        """How often a consumer could not be opened, or failed, since the last one that gave something."""
        self._fault: str | None = "not connected yet"

    # -- opening and closing -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="kafka feed")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)

    async def _connect(self) -> None:
        """Open a consumer, however long it takes."""
        while True:
            if self._failures:
                await asyncio.sleep(self._back_off.seconds(self._failures - 1))
            try:
                self._consumer = await self._open()
            except Exception as error:  # also what nobody foresaw: nobody else would open one
                fault = str(error) or repr(error)
                if self._fault != fault:
                    foreseen = isinstance(error, (KafkaError, OSError, StoreError))
                    log.warning("Kafka cannot be read", why=fault, exc_info=None if foreseen else error)
                self._fault = fault
                self._failures += 1
            else:
                self._fault = None
                self._ready.set()
                return

    async def _open(self) -> AIOKafkaConsumer:
        options = self._options
        consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=options.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),  # neighbours lie in one shard
            session_timeout_ms=options.session_ms,
            heartbeat_interval_ms=options.session_ms // 4,
            rebalance_timeout_ms=options.rebalance_ms,
            fetch_max_bytes=options.fetch_bytes,
            max_partition_fetch_bytes=options.partition_bytes,
            metadata_max_age_ms=_METADATA_MS,
        )
        try:
            await consumer.start()
            if self._topic not in await consumer.topics():
                raise StoreError(
                    f"there is no topic {self._topic}; make it with: typegate topics create", retriable=True
                )
        except BaseException:
            await stop(consumer)
            raise
        # after the start, which would else wait for the group
        consumer.subscribe([self._topic], listener=_Listener(self, consumer))
        return consumer

    async def _reopen(self, consumer: AIOKafkaConsumer, fault: str) -> None:
        """Give up a consumer that is beyond help, and begin with a new one."""
        log.error("the Kafka consumer failed; a new one takes its place", why=fault)
        self._fault = fault
        self._failures += 1
        self._ready.clear()
        self._consumer = None
        await self.given_up(self._held)
        await stop(consumer)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="kafka feed")

    # -- the group -----------------------------------------------------------------------------------------------

    def watch(self, revoked: Revoked) -> None:
        """Say who is to be told before partitions are given up."""
        self._revoked = revoked

    async def given_up(self, partitions: Collection[int]) -> None:
        """All partitions are about to be shared out anew."""
        self._gathered = [record for record in self._gathered if record.partition not in partitions]
        if self._revoked is not None and partitions:
            await self._revoked(partitions)
        self._held = self._held.difference(partitions)
        for partition in partitions:
            self._places.pop(partition, None)

    async def begin(self, consumer: AIOKafkaConsumer, places: Collection[TopicPartition]) -> None:
        """Let those of our new partitions that nobody has committed anything of begin at `since_ms`."""
        if self._since_ms is None or not places:
            return
        consumer.pause(*places)  # what is fetched meanwhile may be older
        try:
            new = [place for place in places if await consumer.committed(place) is None]
            if new:
                ends = await consumer.end_offsets(new)
                starts = await consumer.offsets_for_times(dict.fromkeys(new, max(0, self._since_ms())))
                for place in new:
                    start = starts[place]
                    consumer.seek(place, ends[place] if start is None else start.offset)
        except KafkaError as error:
            # whoever reads must not be kept from all of it by where it begins
            log.warning("where to begin cannot be asked for; it is at the beginning", why=str(error) or repr(error))
        finally:
            consumer.resume(*places)

    def given(self, partitions: Collection[int]) -> None:
        """These partitions are ours now."""
        self._held = frozenset(partitions)
        self._rebalances += 1
        log.info("partitions are shared out", held=len(self._held), topic=self._topic)

    # -- records -------------------------------------------------------------------------------------------------

    async def take(self, most: int) -> Sequence[Record]:
        """Wait for records and give some, gathered for a short time."""
        loop = asyncio.get_running_loop()
        until: float | None = None
        while len(self._gathered) < most:
            if until is not None and loop.time() >= until:
                break
            if until is None and self._gathered:
                until = loop.time() + self._options.gather_ms / 1000
            wait_ms = 60_000 if until is None else max(1, round((until - loop.time()) * 1000))
            await self._gather(most - len(self._gathered), wait_ms)
        taken, self._gathered = self._gathered[:most], self._gathered[most:]
        return taken

    async def _gather(self, most: int, wait_ms: int) -> None:
        """Wait for records for at most so long, and gather what has come."""
        await self._ready.wait()
        consumer = self._consumer
        assert consumer is not None
        try:
            came = await consumer.getmany(timeout_ms=wait_ms, max_records=most)
        except Exception as error:
            await self._reopen(consumer, str(error) or repr(error))
            return
        if came:
            self._failures = 0
        for place, records in came.items():
            if records:
                self._gathered += records
                self._places[place.partition] = records[-1].offset + 1

    def pause(self, partition: int) -> None:
        """Give nothing of a partition until it is resumed."""
        if self._consumer is not None and partition in self._held:
            self._consumer.pause(TopicPartition(self._topic, partition))

    def resume(self, partition: int) -> None:
        """Give a paused partition's records again."""
        if self._consumer is not None and partition in self._held:
            self._consumer.resume(TopicPartition(self._topic, partition))

    def rewind(self, partition: int, offset: int) -> None:
        """Give a partition's records from this offset on, once more."""
        if self._consumer is not None and partition in self._held:
            # what a take that was cut short has gathered lies behind it
            self._gathered = [record for record in self._gathered if record.partition != partition]
            self._consumer.seek(TopicPartition(self._topic, partition), offset)
            self._places[partition] = offset

    async def commit(self, ends: Mapping[int, int]) -> None:
        """Say of each partition up to where all is done."""
        consumer = self._consumer
        if consumer is None:
            return
        offsets = {TopicPartition(self._topic, p): end for p, end in ends.items() if p in self._held}
        if not offsets:
            return
        try:
            async with asyncio.timeout(self._options.commit_ms / 1000):
                await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            log.info("offsets were not committed: the partitions are others' now", partitions=len(offsets))
        except TimeoutError:
            raise StoreError(f"no answer within {self._options.commit_ms} ms", retriable=True) from None
        except KafkaError as error:
            raise StoreError(str(error) or repr(error), retriable=True) from error

    # -- facts ---------------------------------------------------------------------------------------------------

    def facts(self) -> FeedFacts:
        """Facts for metrics; cheap."""
        lag: dict[int, int] = {}
        if self._consumer is not None:
            for place in self._consumer.assignment():
                end = self._consumer.highwater(place)
                if end is not None and place.partition in self._places:
                    lag[place.partition] = max(0, end - self._places[place.partition])
        return FeedFacts(self._held, lag, self._rebalances, self._fault)

    async def ping(self) -> None:
        """Raise `StoreError` where Kafka does not answer."""
        if self._fault is not None or self._consumer is None:
            raise StoreError(self._fault or "closed", retriable=True)
        try:
            await self._consumer.topics()
        except Exception as error:
            raise StoreError(str(error) or repr(error), retriable=True) from error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes the group's decisions on."""

    def __init__(self, feed: KafkaFeed, consumer: AIOKafkaConsumer) -> None:
        self._feed = feed
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Before a rebalance."""
        await self._feed.given_up([place.partition for place in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """After it."""
        try:
            await self._feed.begin(self._consumer, assigned)
        finally:
            self._feed.given([place.partition for place in assigned])


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer in bounded time, whatever its brokers do."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await consumer.stop()
    except TimeoutError:
        log.warning("Kafka did not hear that this worker leaves")
    except Exception as error:
        log.warning("the Kafka consumer did not close well", why=str(error) or repr(error))
