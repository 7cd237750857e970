"""A feed of what Kafka has since an instant, once: for reading again what a database may have lost.

It belongs to no group, so the workers that are running go on beside it, and nothing of their offsets is moved. What it
ends with is what the topic had when it was opened; what is sent later is the workers' affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from persistence.errors import StoreError
from persistence.workers.feed import FeedFacts, Record, Revoked
from persistence.workers.kafka import stop

__all__ = ["KafkaRange"]


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
        consumer = self._consumer = AIOKafkaConsumer(self._topic, **self._connection, enable_auto_commit=False)
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
        starts = await consumer.offsets_for_times(dict.fromkeys(places, self._since_ms))
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
        """Wait for records and give some."""
        try:
            came = await self._consumer.getmany(timeout_ms=60_000, max_records=most)
        except KafkaError as error:
            raise StoreError(f"Kafka cannot be read: {error}", retriable=True) from error
        taken: list[Record] = []
        for place, records in came.items():
            end = self._ends[place.partition]
            taken += [record for record in records if record.offset < end]
            if records and records[-1].offset + 1 >= end:
                self._consumer.pause(place)
        return taken

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
