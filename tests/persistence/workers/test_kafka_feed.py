"""What only a feed from Kafka knows: brokers that are away, at boot and later, and a topic that is not there yet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from loadtest.servers.kafka import Kafka
from persistence.errors import StoreError
from persistence.workers.feed import FeedOptions
from persistence.workers.kafka import KafkaFeed
from tests.persistence.workers.test_feed import PARTITIONS, in_kafka, taken, until, values
from tests.servers import skip_without

TOPIC = "results"
OPTIONS = FeedOptions(gather_ms=5, session_ms=6_000, commit_ms=500)


@asynccontextmanager
async def producing(connection: dict[str, Any]) -> AsyncIterator[Callable[[bytes], Any]]:
    producer = AIOKafkaProducer(**connection)
    await producer.start()
    try:
        yield lambda value: producer.send_and_wait(TOPIC, value, partition=0)
    finally:
        await producer.stop()


async def done(what: Callable[[], Awaitable[None]]) -> None:
    """Do what may fail while the group's coordinator is being looked for, until it is done."""
    async with asyncio.timeout(120):
        while True:
            try:
                await what()
            except StoreError:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_feed_waits_for_kafka_and_survives_its_death(tmp_path: Path) -> None:
    """Away at boot, without the topic, killed and back: it says what is wrong, and goes on when it is over."""
    skip_without("kafka")
    kafka = Kafka(tmp_path, brokers=1, quick=True)
    (broker,) = kafka.brokers
    connection: dict[str, Any] = {"bootstrap_servers": kafka.addresses()["bootstrap"]}
    impatient = connection | {"request_timeout_ms": 2_000}
    try:
        async with KafkaFeed(TOPIC, impatient, OPTIONS, chance=Random(1)) as feed:
            with pytest.raises(StoreError) as away:
                await feed.ping()
            assert away.value.retriable
            await asyncio.to_thread(kafka.start)
            await until(lambda: "make it with: typegate topics create" in (feed.facts().fault or ""))
            admin = AIOKafkaAdminClient(**connection)
            await admin.start()
            await admin.create_topics([NewTopic(TOPIC, 1, 1)])
            await admin.close()
            async with producing(connection) as send:
                await send(b"one")
            assert values(await taken(feed, 1), 0) == [b"one"]
            await done(lambda: feed.commit({0: 1}))
            await done(feed.ping)

            broker.kill()
            with pytest.raises(StoreError) as away:
                await feed.commit({0: 1})
            assert away.value.retriable
            taking = asyncio.get_running_loop().create_task(taken(feed, 1))
            await asyncio.to_thread(broker.start)
            async with producing(connection) as send:
                await send(b"two")
            assert values(await taking, 0) == [b"two"]
            await done(lambda: feed.commit({0: 2}))
        async with KafkaFeed(TOPIC, impatient, OPTIONS, chance=Random(1)) as feed, producing(connection) as send:
            await send(b"three")
            assert values(await taken(feed, 1), 0) == [b"three"]
    finally:
        kafka.stop()


@pytest.mark.parametrize("what", ["start", "getmany"])
async def test_a_fault_that_nobody_foresaw_is_not_the_end_of_reading(
    kafka_servers: list[str], fresh_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As aiokafka has them where a connection is closed under a request: a new consumer takes its place."""
    faults = [KeyError("a bug")]
    whole = getattr(AIOKafkaConsumer, what)

    async def faulty(*args: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop()
        return await whole(*args, **named)

    monkeypatch.setattr(AIOKafkaConsumer, what, faulty)
    topic = fresh_name("unforeseen")
    connection: dict[str, Any] = {"bootstrap_servers": kafka_servers}
    options = FeedOptions(group=topic, gather_ms=5)
    async with in_kafka(kafka_servers, topic) as log, KafkaFeed(topic, connection, options, chance=Random(1)) as feed:
        await log.append(0, b"x")
        assert values(await taken(feed, 1), 0) == [b"x"]
        assert feed.facts().fault is None


async def test_what_was_gathered_is_dropped_where_its_partition_is_given_once_more(
    kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    """A take that is cut short keeps what it has gathered; what lies in front of it must not come after it."""
    topic = fresh_name("rewound")
    connection: dict[str, Any] = {"bootstrap_servers": kafka_servers}
    options = FeedOptions(group=topic, gather_ms=10_000)
    async with in_kafka(kafka_servers, topic) as log, KafkaFeed(topic, connection, options, chance=Random(1)) as feed:
        for i in range(3):
            await log.append(0, b"%d" % i)
        taking = asyncio.get_running_loop().create_task(feed.take(100))
        await until(lambda: feed.facts().lag.get(0) == 0)
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        feed.rewind(0, 1)
        assert values(await feed.take(2), 0) == [b"1", b"2"]


async def test_a_new_group_may_begin_at_an_instant(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> None:
    """Where nothing was committed: at what was sent since, or at what comes next; where something was, behind it."""
    topic = fresh_name("since")
    connection: dict[str, Any] = {"bootstrap_servers": kafka_servers}
    options = FeedOptions(group=topic, gather_ms=5)
    async with in_kafka(kafka_servers, topic):
        producer = AIOKafkaProducer(**connection)
        await producer.start()
        try:
            for partition, sent_ms in ((0, 1_000), (0, 5_000), (0, 6_000), (1, 2_000)):
                await producer.send_and_wait(topic, b"%d" % sent_ms, partition=partition, timestamp_ms=sent_ms)

            def feed() -> KafkaFeed:
                return KafkaFeed(topic, connection, options, since_ms=lambda: 5_000, chance=Random(1))

            async with feed() as first:
                assert values(await taken(first, 2), 0) == [b"5000", b"6000"]
                await until(lambda: len(first.facts().held) == PARTITIONS)
                await producer.send_and_wait(topic, b"3000", partition=1, timestamp_ms=3_000)
                assert values(await taken(first, 1), 1) == [b"3000"]
                await first.commit({0: 2, 1: 1})
            async with feed() as second:
                records = await taken(second, 2)
            assert (values(records, 0), values(records, 1)) == ([b"6000"], [b"3000"])
        finally:
            await producer.stop()


@pytest.mark.parametrize(
    ("option", "value"),
    [("group", ""), ("gather_ms", -1), ("session_ms", 10), ("commit_ms", 0), ("fetch_bytes", 1)],
)
def test_options_are_checked(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is "):
        FeedOptions(**{option: value})  # type: ignore[arg-type]  # what is tested
