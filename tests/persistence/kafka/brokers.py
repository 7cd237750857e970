"""What tests do with real brokers: make a topic, read all that is in it, see who leads what."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

PATIENCE_S = 120.0
_TOPIC_EXISTS = 36
_NOT_NOW = (7, 38, 41)
"""No answer in time, too few brokers (one that was away is taken in a moment later), no controller."""


@asynccontextmanager
async def admin(servers: Sequence[str], **arguments: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for questions about the cluster."""
    client = AIOKafkaAdminClient(**{"bootstrap_servers": list(servers)} | arguments)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make_topic(
    servers: Sequence[str], name: str, partitions: int = 1, replication: int | None = None, **configs: object
) -> None:
    """Make a topic, and wait until every broker knows it; as many replicas as there are brokers, three at most.

    Records are kept for ever: many of the tests' are of long ago, and brokers look every few minutes what is too old.
    """
    replication = replication or min(3, len(servers))
    settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
    settings.setdefault("min.insync.replicas", str(min(2, replication)))
    settings.setdefault("retention.ms", "-1")
    done: tuple[int, ...] = (0,)
    topic = NewTopic(name, partitions, replication, topic_configs=settings)
    async with asyncio.timeout(PATIENCE_S):
        while (code := await _make(servers, topic)) not in done:
            assert code in _NOT_NOW, f"error {code}"
            done = (0, _TOPIC_EXISTS)  # a try without an answer may have been a success
            await asyncio.sleep(0.05)
    assert len(await leaders(servers, name)) == partitions


async def _make(servers: Sequence[str], topic: NewTopic) -> int:
    """Try to make a topic; the broker's error code."""
    try:
        async with admin(servers) as client:
            ((_, code, _),) = (await client.create_topics([topic])).topic_errors
    except KafkaError:
        return _NOT_NOW[0]
    return int(code)


async def leaders(servers: Sequence[str], topic: str) -> dict[int, int]:
    """Who leads each partition, once all brokers agree: one hears of it later than another, and nobody says when."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            client = AIOKafkaClient(bootstrap_servers=list(servers))
            views: list[dict[int, int]] = []
            with suppress(KafkaError):  # none of them is there yet
                try:
                    await client.bootstrap()
                    views = [await _leaders(client, broker.nodeId, topic) for broker in client.cluster.brokers()]
                finally:
                    await client.close()
            if views and views[0] and all(view == views[0] for view in views) and -1 not in views[0].values():
                return views[0]
            await asyncio.sleep(0.05)


async def _leaders(client: AIOKafkaClient, node: int, topic: str) -> dict[int, int]:
    """Who leads each partition as one broker knows it; nobody, where it does not know the topic or is away."""
    try:
        answer = await client.send(node, MetadataRequest([topic], allow_auto_topic_creation=False))
    except KafkaError:
        return {}
    ((_, _, _, partitions),) = answer.topics
    return {partition: leader for _, partition, leader, *_ in partitions}


async def read_all(servers: Sequence[str], topic: str) -> list[Any]:
    """Every record that is in a topic now, partition by partition, each in its order.

    Waits until all brokers agree who leads what: one that was away takes itself for the leader that it was for a
    moment, and tells of no record that came since.
    """
    await leaders(servers, topic)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=list(servers), auto_offset_reset="earliest")
    async with asyncio.timeout(PATIENCE_S):
        await consumer.start()
        try:
            places = sorted(consumer.assignment())
            ends = await consumer.end_offsets(places)
            found: list[Any] = []
            for place in places:
                while await consumer.position(place) < ends[place]:
                    for records in (await consumer.getmany(place, timeout_ms=200)).values():
                        found += records
            return found
        finally:
            await consumer.stop()
