"""Dead letters and analytics events on real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from persistence.errors import StoreError
from persistence.kafka.lot import Outgoing
from persistence.kafka.options import KafkaOptions
from persistence.stream.dead_letter import exhume
from persistence.stream.record import key_of, partition_of
from persistence.workers.batch import DeadLetter
from persistence.workers.outgoing import KafkaAnalytics, KafkaLetters, Sender
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.workers.memory import MemoryRecord


@dataclass
class Topics:
    servers: list[str]
    options: KafkaOptions


@pytest.fixture(name="topics")
async def _topics(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> Topics:
    options = KafkaOptions(
        servers=tuple(kafka_servers),
        results_topic=fresh_name("results"),
        analytics_topic=fresh_name("analytics"),
        dead_letter_topic=fresh_name("dead"),
        request_ms=30_000,
    )
    await make_topic(kafka_servers, options.analytics_topic, 5)
    await make_topic(kafka_servers, options.dead_letter_topic, 3, max_message_bytes=200_000)
    async with asyncio.timeout(60), Sender(options, client_id="test") as sender:
        while True:  # the first producer of a cluster is told to come again
            try:
                await KafkaAnalytics(sender, options).publish([])
                await sender.send(options.analytics_topic, {0: [Outgoing(b"first", b"", [], 0)]})
                break
            except StoreError:
                await asyncio.sleep(0.05)
    return Topics(kafka_servers, options)


def letter(partition: int, offset: int, value: bytes | None = b"what it was") -> DeadLetter:
    record = MemoryRecord("test-results", partition, offset, 7, b"k", value, (("trace", b"t"),))
    return DeadLetter(record, "malformed", "no msgpack")


async def test_events_of_a_user_lie_in_one_partition_in_order(topics: Topics) -> None:
    events = [(user, b'{"n": %d}' % n) for n in range(10) for user in (1, 2, 3, -4)]
    async with Sender(topics.options, client_id="test") as sender:
        analytics = KafkaAnalytics(sender, topics.options)
        await analytics.publish(events[:20])
        await analytics.publish(events[20:])
        await analytics.ping()
    found = await read_all(topics.servers, topics.options.analytics_topic)
    assert len([record for record in found if record.value]) == 40, "beside the fixture's own"
    for user in (1, 2, 3, -4):
        mine = [record for record in found if record.key == key_of(user)]
        assert {record.partition for record in mine} == {partition_of(user, 5)}
        assert [record.value for record in mine] == [event for who, event in events if who == user]
        assert mine[0].headers == (("schema", b"1"),)


async def test_dead_letters_are_kept_as_they_were(topics: Topics) -> None:
    async with Sender(topics.options, client_id="test") as sender:
        letters = KafkaLetters(sender, topics.options, worker="worker-1", clock_ms=lambda: 99)
        await letters.bury([letter(4, 10), letter(1, 7), letter(4, 11, None)])
    found = await read_all(topics.servers, topics.options.dead_letter_topic)
    assert [(record.partition, record.key, record.value) for record in found] == [
        (1, b"k", b"what it was"),
        (1, b"k", b"what it was"),
        (1, b"k", None),
    ]
    said = [exhume(record.headers) for record in found]
    assert [(s.topic, s.partition, s.offset, s.reason, s.error, s.worker, s.at_ms) for s in said if s is not None] == [
        ("test-results", 4, 10, "malformed", "no msgpack", "worker-1", 99),
        ("test-results", 1, 7, "malformed", "no msgpack", "worker-1", 99),
        ("test-results", 4, 11, "malformed", "no msgpack", "worker-1", 99),
    ]
    assert all(s is not None and s.headers == [("trace", b"t")] for s in said)


async def test_a_value_too_large_for_the_topic_is_left_where_it_lies(topics: Topics) -> None:
    """The letter says where that is; the others are kept whole."""
    async with Sender(topics.options, client_id="test") as sender:
        letters = KafkaLetters(sender, topics.options, worker="w")
        await letters.bury([letter(0, 1), letter(0, 2, bytes(300_000)), letter(0, 3)])
    found = await read_all(topics.servers, topics.options.dead_letter_topic)
    values = {said.offset: record.value for record in found if (said := exhume(record.headers)) is not None}
    assert values == {1: b"what it was", 2: None, 3: b"what it was"}


@pytest.mark.parametrize("where", ["key", "headers"])
async def test_a_letter_that_is_too_large_without_its_value_says_at_least_where_it_lies(
    topics: Topics, where: str
) -> None:
    """Whatever a record is made of, it does not hold up its partition for good."""
    much = bytes(300_000)
    key, headers = (much, ()) if where == "key" else (b"k", (("much", much), ("trace", b"t")))
    record = MemoryRecord("test-results", 0, 2, 7, key, b"v", headers)
    async with Sender(topics.options, client_id="test") as sender:
        letters = KafkaLetters(sender, topics.options, worker="w")
        await letters.bury([letter(0, 1), DeadLetter(record, "malformed", "no msgpack")])
    found = await read_all(topics.servers, topics.options.dead_letter_topic)
    assert [(record.key, record.value) for record in found] == [(b"k", b"what it was"), (None, None)]
    said = exhume(found[1].headers)
    assert said is not None
    assert (said.topic, said.partition, said.offset, said.error, said.headers) == (
        "test-results", 0, 2, "no msgpack", [],
    )  # fmt: skip


async def test_much_at_once_goes_in_parts(topics: Topics) -> None:
    """More than a batch of the brokers may hold, of one partition."""
    events = [(1, b"%06d" % i + bytes(20_000)) for i in range(100)]
    async with Sender(topics.options, client_id="test") as sender:
        await KafkaAnalytics(sender, topics.options).publish(events)
    found = await read_all(topics.servers, topics.options.analytics_topic)
    assert [record.value for record in found if record.value] == [event for _, event in events]


async def test_without_brokers_it_can_be_tried_again() -> None:
    options = KafkaOptions(servers=("127.0.0.1:9",), request_ms=500)
    async with Sender(options, client_id="test") as sender:
        for work in (
            KafkaAnalytics(sender, options).publish([(1, b"{}")]),
            KafkaLetters(sender, options, worker="w").bury([letter(0, 1)]),
            KafkaAnalytics(sender, options).ping(),
        ):
            with pytest.raises(StoreError) as away:
                await work
            assert away.value.retriable
