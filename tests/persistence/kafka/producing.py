"""Producers for tests, records that tell where they come from, and what came of them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from persistence.kafka.cluster import Cluster
from persistence.kafka.lot import Lot, Outgoing
from persistence.kafka.options import KafkaOptions
from persistence.kafka.producer import Producer

WITHIN_S = 120.0


def record(i: int, size: int = 1) -> Outgoing:
    """The i-th record of a test. Of now: brokers delete what is older than the topic's retention."""
    now_ms = time.time_ns() // 1_000_000
    return Outgoing(b"%d" % (i % 7), b"%d" % i + b" " * (size - 1), [("number", b"%d" % i)], now_ms)


@asynccontextmanager
async def producing(servers: Sequence[str], *topics: str, **options: Any) -> AsyncIterator[Producer]:
    """A producer for some topics."""
    settings = KafkaOptions(servers=tuple(servers), **options)
    async with Cluster(settings, topics, client_id="test") as cluster, Producer(cluster, settings) as producer:
        yield producer


async def brought(producer: Producer, *lots: Lot, turn_s: float = WITHIN_S) -> None:
    """Send lots until they are kept, however often that takes."""
    async with asyncio.timeout(WITHIN_S):
        while not all(lot.kept for lot in lots):
            await producer.send(lots, within_s=turn_s)
            refused = [str(lot.answer) for lot in lots if lot.answer is not None and not lot.answer.retriable]
            assert not refused, refused
            await asyncio.sleep(0.01)


def numbers(records: Iterable[Any]) -> list[int]:
    """Which of a test's records these are."""
    return [int(record.value) for record in records]


def once_and_in_order(records: Sequence[Any], count: int) -> None:
    """Records 0 to `count` - 1 are there once each, and in each partition in their order."""
    found = Counter(numbers(records))
    assert not (lost := set(range(count)) - set(found)), f"{len(lost)} are lost: {sorted(lost)[:20]}"
    assert not (doubled := [i for i, times in found.items() if times > 1]), f"{len(doubled)} doubled: {doubled[:20]}"
    by_partition: dict[int, list[int]] = {}
    for one in records:
        by_partition.setdefault(one.partition, []).append(int(one.value))
    for its in by_partition.values():
        assert its == sorted(its)
