"""Reading again what Kafka has since an instant: all of it, once, and no more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from persistence.errors import StoreError
from persistence.workers.feed import Record
from persistence.workers.kafka_range import KafkaRange
from tests.persistence.kafka.brokers import make_topic

T_MS = 1_790_000_000_000


@dataclass
class Topic:
    name: str
    connection: dict[str, Any]
    producer: AIOKafkaProducer

    async def send(self, partition: int, value: bytes, at_ms: int) -> None:
        await self.producer.send_and_wait(self.name, value, partition=partition, timestamp_ms=at_ms)

    def since(self, since_ms: int) -> KafkaRange:
        return KafkaRange(self.name, self.connection, since_ms=since_ms)


@pytest.fixture(name="topic")
async def _topic(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> AsyncIterator[Topic]:
    connection: dict[str, Any] = {"bootstrap_servers": kafka_servers}
    name = fresh_name("range")
    await make_topic(kafka_servers, name, 3, replication=1)  # what is sent is there at once
    producer = AIOKafkaProducer(**connection)
    await producer.start()
    try:
        yield Topic(name, connection, producer)
    finally:
        await producer.stop()


async def all_of(feed: KafkaRange) -> list[Record]:
    """Take until everything is committed."""
    records: list[Record] = []
    async with asyncio.timeout(60):
        while feed.done < feed.total:
            some = await feed.take(10)
            records += some
            await feed.commit({record.partition: record.offset + 1 for record in some})
        await feed.finished()
    return records


async def test_from_an_instant_to_the_end_that_there_was(topic: Topic) -> None:
    for i in range(20):
        await topic.send(i % 2, b"%d" % i, T_MS + i)
    async with topic.since(T_MS + 7) as feed:
        await topic.send(0, b"late", T_MS + 100)
        assert (feed.total, feed.done) == (13, 0)
        assert feed.facts().held == {0, 1}
        records = await all_of(feed)
        assert (feed.total, feed.done) == (13, 13)
        await feed.ping()
    assert sorted(int(record.value or b"") for record in records) == list(range(7, 20))


async def test_where_there_is_nothing_it_is_finished_at_once(topic: Topic) -> None:
    await topic.send(0, b"old", T_MS)
    async with topic.since(T_MS + 1) as feed:
        await feed.finished()
        assert feed.total == 0


async def test_what_was_not_done_is_given_once_more(topic: Topic) -> None:
    """Also of a partition that had been read to its end."""
    for i in range(3):
        await topic.send(1, b"%d" % i, T_MS + i)
    async with asyncio.timeout(60), topic.since(T_MS) as feed:
        taken: list[Record] = []
        while len(taken) < 3:
            taken += await feed.take(10)
        feed.rewind(1, 1)
        assert [record.value for record in await all_of(feed)] == [b"1", b"2"]


async def test_what_retention_takes_meanwhile_is_no_reason_to_wait(topic: Topic) -> None:
    """Of one partition a part of the range, of another all of it, of a third it and what came after it."""
    for i in range(4):
        for partition in range(3):
            await topic.send(partition, b"%d" % i, T_MS + i)
    async with asyncio.timeout(120), topic.since(T_MS) as feed:
        await topic.send(1, b"later", T_MS + 9)
        gone = {TopicPartition(topic.name, partition): RecordsToDelete(end) for partition, end in enumerate((2, 4, 4))}
        admin = AIOKafkaAdminClient(**topic.connection)
        await admin.start()
        try:
            await admin.delete_records(gone)
        finally:
            await admin.close()
        records = await all_of(feed)
        assert feed.done == feed.total == 12
    # some may have been fetched before
    assert [record.value for record in records if record.partition == 0][-2:] == [b"2", b"3"]
    assert b"later" not in {record.value for record in records}


async def test_an_instant_before_all_clocks_is_the_beginning(topic: Topic) -> None:
    await topic.send(0, b"first", T_MS)
    async with topic.since(-1) as feed:
        assert [record.value for record in await all_of(feed)] == [b"first"]


async def test_without_kafka_or_the_topic_it_says_so(topic: Topic) -> None:
    with pytest.raises(StoreError, match="Kafka has no topic none_such"):
        async with KafkaRange("none_such", topic.connection, since_ms=0):
            pass
    with pytest.raises(StoreError, match="Kafka cannot be read"):
        async with KafkaRange(topic.name, {"bootstrap_servers": ["127.0.0.1:9"]}, since_ms=0):
            pass
