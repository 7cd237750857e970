"""The producer on healthy brokers, and answers that only brokers can give."""

from collections.abc import Callable

import pytest

from persistence.kafka.lot import Lot
from tests.persistence.kafka.brokers import admin, make_topic, read_all
from tests.persistence.kafka.producing import WITHIN_S, brought, numbers, once_and_in_order, producing, record


@pytest.fixture
async def topic(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> str:
    """A topic of four partitions."""
    name = fresh_name("produced")
    await make_topic(kafka_servers, name, partitions=4)
    return name


async def test_what_is_kept_is_there_as_it_was_given(kafka_servers: list[str], topic: str) -> None:
    lots = [Lot(topic, p, [record(10 * p + i) for i in range(5)]) for p in (0, 1, 3)]
    async with producing(kafka_servers, topic) as producer:
        await brought(producer, *lots)
        facts = producer.facts()
    assert (facts.records, facts.renewals) == (15, 0)
    found = await read_all(kafka_servers, topic)
    assert [(r.partition, r.key, r.value, r.headers, r.timestamp) for r in found] == [
        (lot.partition, r.key, r.value, tuple(r.headers), r.timestamp_ms) for lot in lots for r in lot.records
    ]


async def test_lots_of_several_topics_go_in_one_request(
    kafka_servers: list[str], topic: str, fresh_name: Callable[[str], str]
) -> None:
    other = fresh_name("other")
    await make_topic(kafka_servers, other)
    async with producing(kafka_servers, topic, other) as producer:
        await brought(producer, Lot(topic, 0, [record(0)]), Lot(other, 0, [record(1)]))
    assert numbers(await read_all(kafka_servers, topic)) == [0]
    assert numbers(await read_all(kafka_servers, other)) == [1]


async def test_lots_of_a_partition_come_in_the_order_of_their_sending(kafka_servers: list[str], topic: str) -> None:
    async with producing(kafka_servers, topic) as producer:
        for i in range(60):
            await brought(producer, Lot(topic, i % 3, [record(i)]))
    once_and_in_order(await read_all(kafka_servers, topic), 60)


async def test_a_lot_that_is_kept_is_not_sent_again(kafka_servers: list[str], topic: str) -> None:
    lot = Lot(topic, 0, [record(1)])
    async with producing(kafka_servers, topic) as producer:
        await brought(producer, lot)
        requests = producer.facts().requests
        await producer.send([lot], within_s=WITHIN_S)
        assert producer.facts().requests == requests


async def test_a_lot_that_is_too_large_is_refused_for_good_and_its_partition_goes_on(
    kafka_servers: list[str], topic: str, fresh_name: Callable[[str], str]
) -> None:
    small = fresh_name("small")
    await make_topic(kafka_servers, small, max_message_bytes=2_000)
    large = Lot(small, 0, [record(1, size=4_000)])
    async with producing(kafka_servers, small) as producer:
        await brought(producer, Lot(small, 0, [record(0)]))
        await producer.send([large], within_s=WITHIN_S)
        assert large.answer is not None
        assert not large.answer.retriable
        assert "MessageSizeTooLarge" in str(large.answer)
        await brought(producer, Lot(small, 0, [record(2)]))
        assert producer.facts().renewals == 0, "the number of the refused lot was used up"
    assert numbers(await read_all(kafka_servers, small)) == [0, 2]


async def test_numbers_out_of_step_make_it_begin_anew(kafka_servers: list[str], topic: str) -> None:
    """Brokers refuse such a producer for ever (OUT_OF_ORDER_SEQUENCE_NUMBER): waiting does not mend it."""
    async with producing(kafka_servers, topic) as producer:
        await brought(producer, Lot(topic, 0, [record(0)]), Lot(topic, 1, [record(1)]))
        producer._sequences[topic, 0] += 5  # a gap, as a lot leaves that was given up on its way
        await brought(producer, Lot(topic, 0, [record(2)]), Lot(topic, 1, [record(3)]))
        await brought(producer, Lot(topic, 0, [record(4)]), Lot(topic, 1, [record(5)]))
        assert producer.facts().renewals == 1
    found = await read_all(kafka_servers, topic)
    assert numbers(r for r in found if r.partition == 0) == [0, 2, 4]
    assert numbers(r for r in found if r.partition == 1)[-1] == 5


async def test_a_topic_that_is_missing_is_named_and_not_made_by_asking(
    kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    """Made by the way it would have one partition and one replica."""
    missing = fresh_name("missing")
    lot = Lot(missing, 0, [record(0)])
    async with producing(kafka_servers, missing) as producer:
        await producer.send([lot], within_s=WITHIN_S)
        assert lot.answer is not None
        assert lot.answer.retriable
        assert str(lot.answer) == f"Kafka has no topic {missing}; make it with: typegate topics create"
        async with admin(kafka_servers) as client:
            assert missing not in await client.list_topics()
        await make_topic(kafka_servers, missing)
        await brought(producer, lot)
    assert numbers(await read_all(kafka_servers, missing)) == [0]


async def test_a_topic_that_was_deleted_and_made_again_is_found_again(kafka_servers: list[str], topic: str) -> None:
    async with producing(kafka_servers, topic) as producer:
        await brought(producer, Lot(topic, 0, [record(0)]))
        async with admin(kafka_servers) as client:
            await client.delete_topics([topic])
            while topic in await client.list_topics():
                pass
        await make_topic(kafka_servers, topic)
        await brought(producer, Lot(topic, 0, [record(1)]), turn_s=1.0)
    assert numbers(await read_all(kafka_servers, topic)) == [1]
