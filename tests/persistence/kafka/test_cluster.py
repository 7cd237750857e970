"""The client that is kept through outages, as its several users see it."""

import asyncio
from collections.abc import Callable

import pytest

from loadtest.servers.process import unused_port
from persistence.errors import StoreError
from persistence.kafka.cluster import Cluster
from persistence.kafka.options import KafkaOptions
from tests.persistence.kafka.brokers import make_topic

WITHIN_S = 120.0


@pytest.fixture
async def options(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> KafkaOptions:
    name = fresh_name("cluster")
    await make_topic(kafka_servers, name, 3)
    return KafkaOptions(servers=tuple(kafka_servers), results_topic=name)


async def test_those_who_wait_for_one_connection_get_it_together(options: KafkaOptions) -> None:
    """The drain and a health check ask at the same time."""
    async with Cluster(options, [options.results_topic], client_id="test") as cluster:
        await asyncio.gather(*(cluster.connected(within_s=WITHIN_S) for _ in range(5)))
        assert cluster.connections == 1
        assert cluster.partitions(options.results_topic) == 3
        assert await cluster.refresh(within_s=WITHIN_S)


async def test_those_who_wait_in_vain_are_all_told(fresh_name: Callable[[str], str]) -> None:
    options = KafkaOptions(servers=(f"127.0.0.1:{unused_port()}",))
    async with Cluster(options, ["any"], client_id="test") as cluster:
        waiting = (cluster.connected(within_s=WITHIN_S) for _ in range(5))
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, StoreError)
            assert "Connection refused" in str(error)
        assert "Connection refused" in (cluster.fault or "")
        assert cluster.connections == 0


async def test_closed_while_it_connects_it_leaves_nothing_open(
    options: KafkaOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open connection would be a ResourceWarning, and so a failure. Busy brokers take longer than closing waits."""
    monkeypatch.setattr("persistence.kafka.cluster._CLOSE_S", WITHIN_S)
    for _ in range(5):
        async with Cluster(options, [options.results_topic], client_id="test") as cluster:
            with pytest.raises(StoreError, match=r"no answer from Kafka at .* yet"):
                await cluster.connected(within_s=0)


async def test_without_a_connection_there_is_nobody_to_ask() -> None:
    options = KafkaOptions(servers=("127.0.0.1:1",))
    async with Cluster(options, ["any"], client_id="test") as cluster:
        assert cluster.leader("any", 0) is None
        assert not await cluster.refresh(within_s=0)
        with pytest.raises(StoreError, match="says nothing of the topic any"):
            cluster.partitions("any")
        with pytest.raises(StoreError, match="no connection"):
            await cluster.ask(object())
