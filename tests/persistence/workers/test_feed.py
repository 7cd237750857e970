"""One suite over all feeds: in memory and from Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from persistence.workers.feed import Feed, FeedOptions, Record
from persistence.workers.kafka import KafkaFeed
from tests.persistence.kafka.brokers import make_topic
from tests.persistence.workers.memory import MemoryFeed, MemoryLog

PARTITIONS = 4
OPTIONS = {"gather_ms": 20, "session_ms": 12_000, "rebalance_ms": 10_000}


@dataclass
class Log:
    """A topic to write to, and feeds that read it."""

    append: Callable[[int, bytes], Awaitable[object]]
    feed: Callable[[], Feed]
    committed: Callable[[], Awaitable[dict[int, int]]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Log]:
    log = MemoryLog(PARTITIONS)

    async def committed() -> dict[int, int]:
        return dict(log.committed())

    yield Log(log.append, lambda: MemoryFeed(log), committed)


@asynccontextmanager
async def in_kafka(servers: Sequence[str], topic: str) -> AsyncIterator[Log]:
    connection: dict[str, Any] = {"bootstrap_servers": list(servers)}
    admin, producer = AIOKafkaAdminClient(**connection), AIOKafkaProducer(**connection)
    await admin.start()
    await producer.start()

    async def append(partition: int, value: bytes) -> None:
        await producer.send_and_wait(topic, value, partition=partition)

    async def committed() -> dict[int, int]:
        offsets = await admin.list_consumer_group_offsets(topic)
        return {place.partition: found.offset for place, found in offsets.items()}

    def feed() -> Feed:
        return KafkaFeed(topic, connection, FeedOptions(group=topic, **OPTIONS), chance=Random(1))

    try:
        await make_topic(servers, topic, PARTITIONS, replication=1)
        yield Log(append, feed, committed)
    finally:
        await producer.stop()
        await admin.close()


@pytest.fixture(name="log", params=["memory", "kafka"])
async def _log(request: pytest.FixtureRequest, fresh_name: Callable[[str], str]) -> AsyncIterator[Log]:
    """A topic of its own on each of the feeds."""
    if request.param == "memory":
        async with in_memory() as log:
            yield log
    else:
        async with in_kafka(request.getfixturevalue("kafka_servers"), fresh_name("feed")) as log:
            yield log


async def taken(feed: Feed, count: int, *, most: int = 100) -> list[Record]:
    """The next records, in as many takes as it needs."""
    records: list[Record] = []
    async with asyncio.timeout(60):
        while len(records) < count:
            some = await feed.take(most)
            assert len(some) <= most
            records += some
    return records


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the group, at its own pace, has come to this."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # it is facts that we look at, and they come without an event
            await asyncio.sleep(0.01)


def values(records: Sequence[Record], partition: int) -> list[bytes | None]:
    return [record.value for record in records if record.partition == partition]


async def test_records_are_given_in_order_from_the_beginning(log: Log) -> None:
    """A new group misses nothing that was sent before it."""
    for i in range(20):
        await log.append(i % 2, b"%d" % i)
    async with log.feed() as feed:
        records = await taken(feed, 20, most=7)
    assert values(records, 0) == [b"%d" % i for i in range(0, 20, 2)]
    assert values(records, 1) == [b"%d" % i for i in range(1, 20, 2)]
    assert [record.offset for record in records if record.partition == 1] == list(range(10))


async def test_the_next_one_begins_at_what_was_committed(log: Log) -> None:
    """What was given and not committed is given again."""
    for i in range(6):
        await log.append(0, b"%d" % i)
    async with log.feed() as feed:
        await taken(feed, 6)
        await feed.commit({0: 4})
    assert (await log.committed())[0] == 4
    async with log.feed() as feed:
        assert values(await taken(feed, 2), 0) == [b"4", b"5"]


async def test_a_paused_partition_waits_and_the_others_go_on(log: Log) -> None:
    """Resumed, it goes on where it was."""
    for i in range(4):
        await log.append(0, b"%d" % i)
    async with log.feed() as feed:
        assert values(await taken(feed, 2, most=2), 0) == [b"0", b"1"]
        feed.pause(0)
        await log.append(1, b"other")
        assert values(await taken(feed, 1), 1) == [b"other"]
        feed.resume(0)
        assert values(await taken(feed, 2), 0) == [b"2", b"3"]


async def test_a_partition_is_given_once_more_from_an_offset(log: Log) -> None:
    for i in range(5):
        await log.append(2, b"%d" % i)
    async with log.feed() as feed:
        await taken(feed, 5)
        feed.rewind(2, 3)
        assert values(await taken(feed, 2), 2) == [b"3", b"4"]


async def test_a_take_that_is_cancelled_has_given_none(log: Log) -> None:
    async with log.feed() as feed:
        await log.append(0, b"first")
        await taken(feed, 1)
        taking = asyncio.get_running_loop().create_task(feed.take(10))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        await log.append(0, b"second")
        assert values(await taken(feed, 1), 0) == [b"second"]


async def test_partitions_are_given_up_only_when_their_holder_is_done(log: Log) -> None:
    """What it commits then counts: the other one gets nothing twice, and neither gets what is the other's."""
    for partition in range(PARTITIONS):
        await log.append(partition, b"before")
    first = log.feed()
    told: list[Collection[int]] = []
    ends: dict[int, int] = {}

    async def revoked(partitions: Collection[int]) -> None:
        told.append(sorted(partitions))
        await first.commit(ends)

    first.watch(revoked)
    async with first:
        records = await taken(first, PARTITIONS)
        ends.update({record.partition: record.offset + 1 for record in records})
        second = log.feed()
        async with second:
            gathered: dict[str, list[Record]] = {"first": [], "second": []}

            async def gather(name: str, feed: Feed) -> None:
                while True:
                    gathered[name] += await feed.take(10)

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                takers = [group.create_task(gather("first", first)), group.create_task(gather("second", second))]
                await until(lambda: len(first.facts().held) == len(second.facts().held) == PARTITIONS // 2)
                for partition in range(PARTITIONS):
                    await log.append(partition, b"after")
                await until(lambda: sum(map(len, gathered.values())) == PARTITIONS)
                for taker in takers:
                    taker.cancel()
            assert first.facts().held | second.facts().held == set(range(PARTITIONS))
            assert {record.partition for record in gathered["first"]} == first.facts().held
            assert {record.partition for record in gathered["second"]} == second.facts().held
            assert {record.value for record in (*gathered["first"], *gathered["second"])} == {b"after"}
    assert told[0] == list(range(PARTITIONS))
    assert await log.committed() == dict.fromkeys(range(PARTITIONS), 1)


async def test_what_is_not_held_is_not_committed(log: Log) -> None:
    """Nor paused, nor rewound; it does no harm."""
    await log.append(0, b"x")
    async with log.feed() as feed:
        await taken(feed, 1)
        await feed.commit({0: 1, 99: 7})
        feed.pause(99)
        feed.resume(99)
        feed.rewind(99, 0)
    assert await log.committed() == {0: 1}


async def test_facts(log: Log) -> None:
    """Who holds what, and how much has not been given yet."""
    for i in range(5):
        await log.append(1, b"%d" % i)
    async with log.feed() as feed:
        await taken(feed, 2, most=2)
        facts = feed.facts()
        assert facts.held == set(range(PARTITIONS))
        assert facts.lag[1] == 3
        assert (facts.rebalances, facts.fault) == (1, None)
        await feed.ping()
