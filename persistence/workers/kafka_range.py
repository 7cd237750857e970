"""A feed of what Kafka has since an instant, once: for reading again what a database may have lost.

It belongs to no group, so the workers that are running go on beside it, and nothing of their offsets is moved. What it
ends with is what the topic had when it was opened; what is sent later is the workers' affair. What retention takes
meanwhile cannot be read again, and is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from persistence.errors import StoreError
from persistence.workers.feed import FeedFacts, Record, Revoked
from persistence.workers.kafka import stop

__all__ = ["KafkaRange"]

log = structlog.get_logger(__name__)

_LOOK_MS = 2_000
"""So long nothing comes before it is looked whether anything can."""
_LOOKS = 30


class KafkaRange:
    """A `Feed` from `since_ms` (epoch ms, by the brokers' clock) to the end that the topic has at opening."""

    def __init__(self, topic: str, connection: Mapping[str, Any], *, since_ms: int) -> None:
        self._topic = topic
        self._connection = connection
        self._since_ms = since_ms
        self._consumer: AIOKafkaConsumer
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._finished = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where Kafka does not answer, or has no such topic."""
        consumer = self._consumer = AIOKafkaConsumer(
            self._topic,
            **self._connection,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where retention has taken what comes next: the first that is left
        )
        try:
            try:
                await consumer.start()
                await self._look(consumer)
            except UnknownTopicOrPartitionError:
                raise StoreError(f"Kafka has no topic {self._topic}", retriable=False) from None
            except (KafkaError, OSError) as error:
                raise StoreError(f"Kafka cannot be read: {error}", retriable=True) from error
        except BaseException:
            await stop(consumer)
            raise
        return self

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Find where it begins and ends."""
        places = sorted(consumer.assignment())  # without a group all partitions are its own
        ends = await consumer.end_offsets(places)
        starts = await consumer.offsets_for_times(dict.fromkeys(places, max(0, self._since_ms)))
        for place in places:
            start = starts[place]
            if start is None or start.offset >= ends[place]:
                consumer.pause(place)
                continue
            consumer.seek(place, start.offset)
            self._starts[place.partition] = self._done[place.partition] = start.offset
            self._ends[place.partition] = ends[place]
        self._look_whether_finished()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop(self._consumer)

    # -- progress ------------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Records in all."""
        return sum(self._ends.values()) - sum(self._starts.values())

    @property
    def done(self) -> int:
        """Records with which all is done."""
        return sum(self._done.values()) - sum(self._starts.values())

    async def finished(self) -> None:
        """Wait until all is done with all of them."""
        await self._finished.wait()

    def _look_whether_finished(self) -> None:
        if all(self._done[partition] >= end for partition, end in self._ends.items()):
            self._finished.set()

    # -- the feed ------------------------------------------------------------------------------------------------

    def watch(self, revoked: Revoked) -> None:
        """Nobody takes partitions away here."""

    async def take(self, most: int) -> Sequence[Record]:
        """Wait for records and give some; none where there are no more, or none for a minute."""
        try:
            for _ in range(_LOOKS):
                came = await self._consumer.getmany(timeout_ms=_LOOK_MS, max_records=most)
                taken = self._within(came)
                if not came:
                    await self._look_what_is_gone()
                if taken or self._finished.is_set():
                    return taken
        except KafkaError as error:
            raise StoreError(f"Kafka cannot be read: {error}", retriable=True) from error
        return []

    def _within(self, came: Mapping[TopicPartition, Sequence[Record]]) -> list[Record]:
        """What of these is in the range."""
        taken: list[Record] = []
        for place, records in came.items():
            end = self._ends[place.partition]
            some = [record for record in records if record.offset < end]
            taken += some
            if records and not some:
                self._gone(place)
            elif records and records[-1].offset + 1 >= end:
                self._consumer.pause(place)
        return taken

    async def _look_what_is_gone(self) -> None:
        """Nothing comes: is there anything left to come?"""
        waiting = [TopicPartition(self._topic, p) for p, end in self._ends.items() if self._done[p] < end]
        waiting = sorted(set(waiting) - self._consumer.paused())
        if waiting:
            for place, start in (await self._consumer.beginning_offsets(waiting)).items():
                if start >= self._ends[place.partition]:
                    self._gone(place)

    def _gone(self, place: TopicPartition) -> None:
        """The rest of a partition is there no more."""
        log.warning("records are gone that were to be read again", partition=place.partition, topic=self._topic)
        self._consumer.pause(place)
        self._done[place.partition] = self._ends[place.partition]
        self._look_whether_finished()

    def pause(self, partition: int) -> None:
        """Give nothing of a partition until it is resumed."""
        self._consumer.pause(TopicPartition(self._topic, partition))

    def resume(self, partition: int) -> None:
        """Give a paused partition's records again."""
        self._consumer.resume(TopicPartition(self._topic, partition))

    def rewind(self, partition: int, offset: int) -> None:
        """Give a partition's records from this offset on, once more."""
        place = TopicPartition(self._topic, partition)
        self._consumer.seek(place, offset)
        self._consumer.resume(place)

    async def commit(self, ends: Mapping[int, int]) -> None:
        """Note what is done; nobody else is told."""
        self._done.update(ends)
        self._look_whether_finished()

    def facts(self) -> FeedFacts:
        """Facts for metrics; cheap."""
        lag = {partition: end - self._done[partition] for partition, end in self._ends.items()}
        return FeedFacts(frozenset(self._ends), lag, 0, None)

    async def ping(self) -> None:
        """Raise `StoreError` where Kafka does not answer."""
        try:
            await self._consumer.topics()
        except (KafkaError, OSError) as error:
            raise StoreError(f"Kafka does not answer: {error}", retriable=True) from error
