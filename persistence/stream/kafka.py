"""The sink to Kafka: a result is confirmed when the replicas in step have it (acks=all).

A batch is sorted into lots, one a partition, and each lot is kept whole or not; so where one of a user's results is not
kept now, his later ones are not brought either. A lot whose fate is unknown stays what it is until its rows come again;
then it has been heard of, or the very same is sent again, and Kafka keeps it once. Until then nothing else goes to its
partition.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Self, TypeAlias

import structlog

from persistence.errors import StoreError
from persistence.kafka.cluster import Cluster
from persistence.kafka.lot import Lot, Outgoing, in_lots
from persistence.kafka.options import KafkaOptions
from persistence.kafka.producer import Producer, ProducerFacts
from persistence.stream.port import SinkFacts
from persistence.stream.record import encode, partition_for
from persistence.stream.spool import Spooled, wall_clock_ms

__all__ = ["KafkaSink"]

log = structlog.get_logger(__name__)

Answers: TypeAlias = "dict[int, StoreError | None]"
"""By a row's number: None, it is confirmed; else why it is not."""

_PING_S = 1.0
"""Within this it turns out whether a broker answers, though it may have to be connected first."""
_ENCODED_AT_ONCE = 32
"""Results made into records in one turn of the loop: half a millisecond."""


class _Parcel:
    """A lot, and which rows are in it."""

    __slots__ = ("lot", "seqs")

    def __init__(self, topic: str, partition: int, rows: Sequence[tuple[int, Outgoing]]) -> None:
        self.seqs = [seq for seq, _ in rows]
        self.lot = Lot(topic, partition, [record for _, record in rows])

    def one_by_one(self) -> list[_Parcel]:
        """Its rows as parcels of their own."""
        lot = self.lot
        return [_Parcel(lot.topic, lot.partition, [row]) for row in zip(self.seqs, lot.records, strict=True)]


class KafkaSink:
    """A `Sink` to the topic of results. `node`: who we are, for the records' headers and the brokers' logs."""

    def __init__(self, options: KafkaOptions, *, node: str, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._options = options
        self._topic = options.results_topic
        self._node = node
        self._clock_ms = clock_ms
        self._cluster = Cluster(options, [self._topic], client_id=f"typegate-{node}")
        self._producer = Producer(self._cluster, options)
        self._partitions = 0
        self._unsettled: dict[int, _Parcel] = {}  # by partition: what was sent and not heard of
        self._fault: str | None = None

    async def __aenter__(self) -> Self:
        """Begin to connect, and wait for nothing. Raises StoreError where a file of the options cannot be used."""
        await self._cluster.__aenter__()
        try:
            await self._cluster.connected(within_s=0)
        except StoreError:
            pass  # not yet
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.__aexit__(kind, error, trace)
        await self._cluster.__aexit__(kind, error, trace)

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        """Bring a batch, within `answer_ms`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.answer_ms / 1000
        try:
            await self._cluster.connected(within_s=until - loop.time())
            partitions = self._cluster.partitions(self._topic)
        except StoreError as error:
            self._fault = str(error)
            raise
        if partitions != self._partitions:  # the topic was widened: users' keys are in other partitions now
            self._partitions = partitions
            self._unsettled.clear()
        answers: Answers = {}
        queues = await self._parcels(rows, answers)
        while queues and (left_s := until - loop.time()) > 0:
            await self._producer.send([queue[0].lot for queue in queues.values()], within_s=left_s)
            for partition in list(queues):
                self._advance(partition, queues, answers)
        late = StoreError("there was no time left to bring it", retriable=True)
        for queue in queues.values():
            _answer(queue, late, answers)
        found = [answers[row.seq] for row in rows]
        self._fault = next((str(answer) for answer in found if answer is not None and answer.retriable), None)
        return found

    async def _parcels(self, rows: Sequence[Spooled], answers: Answers) -> dict[int, deque[_Parcel]]:
        """The batch by partition, in parcels to be brought one after the other. What cannot be brought is answered."""
        now_ms = self._clock_ms()
        sorted_: dict[int, list[tuple[int, Outgoing]]] = {}
        for i, row in enumerate(rows, 1):
            if i % _ENCODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                record = encode(row.record, node=self._node, timestamp_ms=now_ms, accepted_ms=row.accepted_ms)
            except Exception as error:  # whatever is wrong with a result holds up nobody else's
                log.exception("a result cannot be made a record", result=row.name)
                answers[row.seq] = StoreError(f"it cannot be made a record: {error!r}", retriable=False)
                continue
            sorted_.setdefault(partition_for(row.record, self._partitions), []).append((row.seq, record))
        queues: dict[int, deque[_Parcel]] = {}
        for partition, its in sorted_.items():
            queue = deque[_Parcel]()
            unsettled = self._unsettled.get(partition)
            if unsettled is not None:
                come = {seq for seq, _ in its}
                if come.isdisjoint(unsettled.seqs):
                    behind = StoreError("an earlier result of its partition is not settled yet", retriable=True)
                    answers.update(dict.fromkeys(come, behind))
                    continue
                queue.append(unsettled)
                sent = set(unsettled.seqs)
                its = [row for row in its if row[0] not in sent]
            queue.extend(self._cut(partition, its))
            queues[partition] = queue
        return queues

    def _cut(self, partition: int, rows: Sequence[tuple[int, Outgoing]]) -> Iterator[_Parcel]:
        """Rows in parcels that brokers take."""
        left = iter(rows)
        for part in in_lots([record for _, record in rows]):
            yield _Parcel(self._topic, partition, list(islice(left, len(part))))

    def _advance(self, partition: int, queues: dict[int, deque[_Parcel]], answers: Answers) -> None:
        """See what became of a partition's first parcel."""
        queue = queues[partition]
        parcel = queue[0]
        lot = parcel.lot
        if lot.open:  # the later ones must not pass it
            assert lot.answer is not None
            if lot.identity is not None:
                self._unsettled[partition] = parcel
            _answer(queue, lot.answer, answers)
            del queues[partition]
            return
        queue.popleft()
        self._unsettled.pop(partition, None)
        if lot.answer is not None and len(parcel.seqs) > 1:  # refused because of one of them, or of their sum
            queue.extendleft(reversed(parcel.one_by_one()))
        else:
            answers.update(dict.fromkeys(parcel.seqs, lot.answer))
        if not queue:
            del queues[partition]

    def facts(self) -> SinkFacts:
        """Facts for metrics; cheap."""
        reopened = max(0, self._cluster.connections - 1) + self._producer.facts().renewals
        return SinkFacts("Kafka", self._cluster.fault or self._fault, reopened)

    def producer_facts(self) -> ProducerFacts:
        """What the producer has done; cheap."""
        return self._producer.facts()

    async def ping(self) -> None:
        """Raise `StoreError` where no broker answers."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PING_S
        await self._cluster.connected(within_s=_PING_S)
        if not await self._cluster.refresh(within_s=max(0.0, until - loop.time())):
            raise StoreError(f"Kafka does not answer within {_PING_S:.0f} s", retriable=True)


def _answer(parcels: deque[_Parcel], answer: StoreError, answers: Answers) -> None:
    for parcel in parcels:
        answers.update(dict.fromkeys(parcel.seqs, answer))
