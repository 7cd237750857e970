"""The sink to Kafka: what lies in the topic, and whose results wait for whom."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import NewPartitions

from loadtest.servers.process import unused_port
from persistence.errors import StoreError
from persistence.kafka.cluster import Cluster
from persistence.kafka.options import KafkaOptions
from persistence.stream import Spooled
from persistence.stream.kafka import KafkaSink
from persistence.stream.record import decode, key_of, partition_of
from session.result import Result
from tests.persistence.kafka.brokers import PATIENCE_S, admin, make_topic, read_all
from tests.persistence.samples import T0_MS, sample

NOW_MS = 1_795_000_000_000


def spooled(results: Sequence[Result], first: int = 1) -> list[Spooled]:
    return [Spooled(seq, result, 900, T0_MS) for seq, result in enumerate(results, first)]


@pytest.fixture
async def options(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> KafkaOptions:
    """Brokers with a topic of seven partitions."""
    name = fresh_name("results")
    await make_topic(kafka_servers, name, partitions=7)
    return KafkaOptions(servers=tuple(kafka_servers), results_topic=name, answer_ms=30_000)


async def test_a_record_says_who_sent_it_and_what_it_is(options: KafkaOptions) -> None:
    result = sample(1, user=-17)
    async with KafkaSink(options, node="node-7", clock_ms=lambda: NOW_MS) as sink:
        assert await sink.hand_on(spooled([result])) == [None]
    (record,) = await read_all(options.servers, options.results_topic)
    assert record.key == b"-17"
    assert record.partition == partition_of(-17, 7)
    assert record.timestamp == NOW_MS
    assert dict(record.headers)["node"] == b"node-7"
    assert decode(record.key, record.value, record.headers) == result


async def test_a_user_s_results_lie_in_one_partition_in_order(options: KafkaOptions) -> None:
    results = [sample(i, user=i % 11 + 1) for i in range(110)]
    async with KafkaSink(options, node="here") as sink:
        for start in range(0, 110, 22):
            assert await sink.hand_on(spooled(results[start : start + 22], start)) == [None] * 22
    records = await read_all(options.servers, options.results_topic)
    for user in range(1, 12):
        its = [record for record in records if record.key == b"%d" % user]
        assert len({record.partition for record in its}) == 1
        assert [decode(r.key, r.value, r.headers) for r in its] == [result for result in results if result.user == user]


async def test_large_results_of_a_partition_go_in_several_lots(options: KafkaOptions) -> None:
    """A broker takes no batch above a mebibyte; a user's results stay in order over the cut."""
    results = [sample(i, replay_bytes=60_000) for i in range(40)]
    async with KafkaSink(options, node="here") as sink:
        assert await sink.hand_on(spooled(results)) == [None] * 40
    records = await read_all(options.servers, options.results_topic)
    assert [decode(r.key, r.value, r.headers).session for r in records] == [result.session for result in results]


async def test_what_brokers_refuse_is_found_within_its_lot(
    kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    """A topic that takes small batches: what fits goes, one by one, and what never will is refused for good."""
    name = fresh_name("small")
    await make_topic(kafka_servers, name, max_message_bytes=5_000)
    options = KafkaOptions(servers=tuple(kafka_servers), results_topic=name, answer_ms=30_000)
    results = [sample(i, replay_bytes=6_000 if i == 2 else 1_000) for i in range(8)]
    async with KafkaSink(options, node="here") as sink:
        answers = await sink.hand_on(spooled(results))
        assert sink.producer_facts().renewals == 0
    (refused,) = [answer for answer in answers if answer is not None]
    assert answers[2] is refused
    assert not refused.retriable
    records = await read_all(kafka_servers, name)
    assert [decode(r.key, r.value, r.headers).session for r in records] == [
        r.session for r in results if r is not results[2]
    ]


async def test_a_sink_opens_without_a_broker_and_says_why_it_brings_nothing(tmp_path: Path) -> None:
    options = KafkaOptions(servers=(f"127.0.0.1:{unused_port()}",), answer_ms=30_000)
    async with KafkaSink(options, node="here") as sink:
        with pytest.raises(StoreError, match="no broker of Kafka can be reached") as caught:
            await sink.hand_on(spooled([sample()]))
        assert caught.value.retriable
        with pytest.raises(StoreError, match=r"no broker of Kafka can be reached|no answer from Kafka") as caught:
            await sink.ping()  # which has a second for it
        assert caught.value.retriable
        assert "no broker of Kafka can be reached" in (sink.facts().fault or "")


class SlowCluster(Cluster):
    """One whose brokers take so long to be connected, and then do not answer."""

    connects_s = 0.2
    left_s: float | None = None
    """How long an answer was waited for."""

    async def connected(self, *, within_s: float) -> None:
        await asyncio.sleep(self.connects_s)

    async def refresh(self, *, within_s: float) -> bool:
        self.left_s = within_s
        return False


async def test_a_ping_waits_no_longer_since_it_has_to_connect_first(tmp_path: Path) -> None:
    options = KafkaOptions(servers=(f"127.0.0.1:{unused_port()}",))
    async with KafkaSink(options, node="here") as sink:
        slow = SlowCluster(options, [options.results_topic], client_id="slow")
        connecting, sink._cluster = sink._cluster, slow
        with pytest.raises(StoreError, match="Kafka does not answer within 1 s"):
            await sink.ping()
        sink._cluster = connecting
    assert slow.left_s is not None
    assert 0 <= slow.left_s <= 1.0 - slow.connects_s + 0.01


async def test_a_file_of_the_options_that_is_missing_is_told_when_it_opens(tmp_path: Path) -> None:
    options = KafkaOptions(servers=("127.0.0.1:1",), security="SSL", ca_file=tmp_path / "none")
    with pytest.raises(StoreError, match="none cannot be used"):
        async with KafkaSink(options, node="here"):
            pass


async def test_a_topic_that_is_widened_takes_users_to_other_partitions(options: KafkaOptions) -> None:
    users = range(1, 30)
    async with KafkaSink(options, node="here") as sink:
        assert set(await sink.hand_on(spooled([sample(user, user=user) for user in users]))) == {None}
        async with admin(options.servers) as client:
            await client.create_partitions({options.results_topic: NewPartitions(13)})
        async with asyncio.timeout(PATIENCE_S):
            while sink._cluster.partitions(options.results_topic) < 13:
                await sink._cluster.refresh(within_s=1.0)
        async with asyncio.timeout(PATIENCE_S):  # the new ones take a moment to have leaders
            while True:
                if set(await sink.hand_on(spooled([sample(user, user=user) for user in users]))) == {None}:
                    break
                await asyncio.sleep(0.05)
    places = {(record.key, record.partition) for record in await read_all(options.servers, options.results_topic)}
    assert places == {(key_of(user), partition_of(user, count)) for count in (7, 13) for user in users}
