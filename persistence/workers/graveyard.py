"""The dead letters as operators see them: read, put back where they came from, dropped.

Nothing here belongs to a group, and nothing is taken out of the topic: what was put back or dropped is settled by a
record that says so (`persistence.stream.dead_letter`). Two people who settle the same letter do no harm: a result that
is put back twice meets its own row.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Self

from persistence.errors import StoreError
from persistence.kafka.lot import Outgoing
from persistence.kafka.options import KafkaOptions
from persistence.stream.dead_letter import Buried, Settlement, exhume, put_back, settle, settlement
from persistence.stream.record import partition_of
from persistence.workers.feed import Record
from persistence.workers.kafka_range import KafkaRange
from persistence.workers.outgoing import Sender
from session.identity import IdentityError, user_from_text

__all__ = ["Graveyard", "Letter"]

_READ_AT_ONCE = 500


class Letter(NamedTuple):
    """A dead letter, and whether it is settled."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    buried: Buried | None
    """What it says of itself; None for a record that no worker of ours has put there."""
    settled: Settlement | None

    @property
    def name(self) -> str:
        """What it is called in commands: `partition/offset`."""
        return f"{self.partition}/{self.offset}"


class Graveyard:
    """The topic of dead letters. An async context manager; entering needs no broker."""

    def __init__(
        self,
        options: KafkaOptions,
        *,
        client_id: str,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._options = options
        self._client_id = client_id
        self._clock_ms = clock_ms
        self._topic = options.dead_letter_topic
        self._origins = (options.results_topic, options.analytics_topic)
        self._sender = Sender(options, client_id=client_id, topics=(*self._origins, self._topic))

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sender.__aexit__(kind, error, trace)

    def obstacle(self, letter: Letter) -> str | None:
        """Why a letter cannot be put back; None where it can."""
        buried = letter.buried
        if buried is None:
            return "it does not say where it came from"
        if buried.topic not in self._origins:
            return f"it came from the topic {buried.topic}, which is none of ours ({', '.join(self._origins)})"
        if letter.value is None:
            place = f"{buried.topic}/{buried.partition}/{buried.offset}"
            return f"it has no value; what it was lies in {place}, as long as that topic keeps it"
        return None

    async def letters(self, *, settled_too: bool = False) -> AsyncGenerator[Letter, None]:
        """The letters that are there now, each partition's in order. Raises StoreError.

        The topic is read twice, so that what is kept in memory meanwhile is only which letters are settled.
        """
        settlements: dict[tuple[int, int], Settlement] = {}
        async for record in self._records():
            found = settlement(record.headers)
            if found is not None:
                settlements[found.partition, found.offset] = found
        async for record in self._records():
            settled = settlements.get((record.partition, record.offset))
            if settlement(record.headers) is None and (settled_too or settled is None):
                yield Letter(record.partition, record.offset, record.key, record.value, exhume(record.headers), settled)

    async def _records(self) -> AsyncGenerator[Record, None]:
        connection = self._options.client(self._client_id)
        async with KafkaRange(self._topic, connection, since_ms=0) as range_:
            while range_.done < range_.total:
                records = await range_.take(_READ_AT_ONCE)
                if not records and range_.done < range_.total:
                    raise StoreError("Kafka gives no more of the dead letters just now", retriable=True)
                for record in records:
                    yield record
                await range_.commit({record.partition: record.offset + 1 for record in records})

    async def put_back(self, letters: Sequence[Letter]) -> None:
        """Send letters to where they came from, with their attempt counted up, and settle them.

        There must be no `obstacle`. Raises StoreError; what was sent by then may not be settled, and is sent once more
        the next time.
        """
        by_topic: dict[str, dict[int, list[Outgoing]]] = {}
        for letter in letters:
            buried = letter.buried
            assert buried is not None
            assert self.obstacle(letter) is None
            partitions = await self._sender.partitions(buried.topic)
            record = put_back(letter.key, letter.value, buried.headers, at_ms=self._clock_ms())
            place = _place(letter.key, buried, partitions)
            by_topic.setdefault(buried.topic, {}).setdefault(place, []).append(record)
        for topic, by_partition in by_topic.items():
            await self._sender.send(topic, by_partition)
        await self._settle(letters, "replayed")

    async def drop(self, letters: Sequence[Letter]) -> None:
        """Settle letters without more ado. Raises StoreError."""
        await self._settle(letters, "dropped")

    async def _settle(self, letters: Sequence[Letter], how: Literal["replayed", "dropped"]) -> None:
        by_partition: dict[int, list[Outgoing]] = {}
        for letter in letters:
            record = settle(
                letter.key, partition=letter.partition, offset=letter.offset, how=how, at_ms=self._clock_ms()
            )
            by_partition.setdefault(letter.partition, []).append(record)
        await self._sender.send(self._topic, by_partition)


def _place(key: bytes | None, buried: Buried, partitions: int) -> int:
    """The partition of a letter's user, or the one that it came from where its key names none."""
    try:
        return partition_of(user_from_text((key or b"").decode("ascii")), partitions)
    except (IdentityError, UnicodeDecodeError):
        return buried.partition % partitions
