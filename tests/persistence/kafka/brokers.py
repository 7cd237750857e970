"""What tests do with real brokers: make a topic, read all that is in it, see who leads what."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PATIENCE_S = 60.0


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
    """Make a topic, and wait until every broker knows it; as many replicas as there are brokers, three at most."""
    replication = replication or min(3, len(servers))
    settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
    settings.setdefault("min.insync.replicas", str(min(2, replication)))
    async with asyncio.timeout(PATIENCE_S):
        async with admin(servers) as client:
            answer = await client.create_topics([NewTopic(name, partitions, replication, topic_configs=settings)])
            assert [code for _, code, _ in answer.topic_errors] == [0], answer
        for server in servers:
            async with admin([server]) as client:
                known = 0
                while known < partitions:  # one broker hears of it later than another, and nobody says when
                    await asyncio.sleep(0.02)
                    known = len((await client.describe_topics([name]))[0]["partitions"])


async def leaders(servers: Sequence[str], topic: str) -> dict[int, int]:
    """Who leads each partition, as one of the brokers knows it."""
    async with admin(servers) as client:
        partitions = (await client.describe_topics([topic]))[0]["partitions"]
        return {partition["partition"]: partition["leader"] for partition in partitions}


async def read_all(servers: Sequence[str], topic: str) -> list[Any]:
    """Every record that is in a topic now, partition by partition, each in its order."""
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
