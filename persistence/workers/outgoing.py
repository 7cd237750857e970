"""What workers send to Kafka: dead letters and analytics events, durable when the call returns.

There is one producer, and one call at a time: all that goes out at once goes in few requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog

from persistence.errors import StoreError
from persistence.kafka.cluster import Cluster
from persistence.kafka.lot import Lot, Outgoing, in_lots
from persistence.kafka.options import KafkaOptions
from persistence.kafka.producer import Producer
from persistence.stream.dead_letter import bare, bury
from persistence.stream.record import key_of, partition_of
from persistence.workers.analytics import SCHEMA
from persistence.workers.batch import DeadLetter

__all__ = ["KafkaAnalytics", "KafkaLetters", "Sender"]

log = structlog.get_logger(__name__)

_SCHEMA = [("schema", str(SCHEMA).encode())]


class Sender:
    """Brings records to topics: those of analytics and dead letters unless others are named. Opens without a broker."""

    def __init__(self, options: KafkaOptions, *, client_id: str, topics: Sequence[str] = ()) -> None:
        topics = topics or (options.analytics_topic, options.dead_letter_topic)
        self._options = options
        self._cluster = Cluster(options, topics, client_id=client_id)
        self._producer = Producer(self._cluster, options)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where a file that the options name cannot be used."""
        await self._cluster.__aenter__()
        await self._producer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.__aexit__(kind, error, trace)
        await self._cluster.__aexit__(kind, error, trace)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises a retriable `StoreError` where nobody says so."""
        async with self._turn:
            await self._cluster.connected(within_s=self._options.request_ms / 1000)
            return self._cluster.partitions(topic)

    async def send(self, topic: str, by_partition: Mapping[int, Sequence[Outgoing]]) -> None:
        """Bring records. Raises `StoreError`, not retriable where the brokers will never take one of them."""
        lots = [Lot(topic, partition, part) for partition, records in by_partition.items() for part in in_lots(records)]
        async with self._turn:
            # one lot of a partition at a time: nearly always that is all of them
            while lots:
                now: dict[int, Lot] = {}
                for lot in lots:
                    now.setdefault(lot.partition, lot)
                await self._producer.send(list(now.values()), within_s=self._options.request_ms / 1000)
                for lot in now.values():
                    if not lot.kept:
                        raise lot.answer or StoreError(f"Kafka did not answer about {topic} in time", retriable=True)
                lots = [lot for lot in lots if not lot.kept]

    async def ping(self) -> None:
        """Raise `StoreError` where Kafka does not answer."""
        async with self._turn:
            await self._cluster.connected(within_s=self._options.request_ms / 1000)
            if not await self._cluster.refresh(within_s=self._options.request_ms / 1000):
                raise StoreError("Kafka's brokers do not answer in time", retriable=True)


class KafkaAnalytics:
    """`Analytics` in a topic, each user's events in one partition and in order."""

    def __init__(self, sender: Sender, options: KafkaOptions) -> None:
        self._sender = sender
        self._topic = options.analytics_topic

    async def publish(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Send events, each with its user."""
        partitions = await self._sender.partitions(self._topic)
        now_ms = time.time_ns() // 1_000_000
        by_partition: dict[int, list[Outgoing]] = {}
        for user, event in events:
            outgoing = Outgoing(key_of(user), event, _SCHEMA, now_ms)
            by_partition.setdefault(partition_of(user, partitions), []).append(outgoing)
        await self._sender.send(self._topic, by_partition)

    async def ping(self) -> None:
        """Raise `StoreError` where events cannot be sent."""
        await self._sender.ping()


class KafkaLetters:
    """`DeadLetters` in a topic. `worker`: the name that they bear."""

    def __init__(
        self,
        sender: Sender,
        options: KafkaOptions,
        *,
        worker: str,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._sender = sender
        self._topic = options.dead_letter_topic
        self._worker = worker
        self._clock_ms = clock_ms

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these; one that is too large is kept without its value, or even without its own key and headers."""
        partitions = await self._sender.partitions(self._topic)
        buried = [(letter, self._buried(letter)) for letter in letters]
        try:
            await self._send(buried, partitions)
        except StoreError as error:
            if error.retriable:
                raise
            log.warning("a dead letter was refused; they are sent one by one", why=str(error))
            for letter, outgoing in buried:
                await self._alone(letter, outgoing, partitions)

    async def _alone(self, letter: DeadLetter, outgoing: Outgoing, partitions: int) -> None:
        refused: StoreError | None = None
        for less in (outgoing, outgoing._replace(value=None), bare(outgoing)):
            try:
                await self._send([(letter, less)], partitions)
                return
            except StoreError as error:
                if error.retriable:
                    raise
                refused = error
        assert refused is not None
        raise refused

    async def _send(self, buried: Sequence[tuple[DeadLetter, Outgoing]], partitions: int) -> None:
        by_partition: dict[int, list[Outgoing]] = {}
        for letter, outgoing in buried:
            by_partition.setdefault(letter.record.partition % partitions, []).append(outgoing)
        await self._sender.send(self._topic, by_partition)

    def _buried(self, letter: DeadLetter) -> Outgoing:
        record = letter.record
        return bury(
            record.key,
            record.value,
            record.headers,
            reason=letter.reason,
            error=letter.error,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            worker=self._worker,
            at_ms=self._clock_ms(),
        )
