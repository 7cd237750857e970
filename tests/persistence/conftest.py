"""A cluster of this module's own, for tests that kill and pause brokers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from loadtest.servers.kafka import Kafka
from tests.servers import skip_without


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Three brokers, or one where memory is short."""
    skip_without("kafka")
    with Kafka(tmp_path_factory.mktemp("kafka"), quick=True) as kafka:
        yield kafka


@pytest.fixture
async def faulty_kafka(own_kafka: Kafka) -> AsyncIterator[Kafka]:
    """The module's own cluster; whatever a test did to its brokers is undone after it."""
    yield own_kafka
    for broker in own_kafka.brokers:
        broker.resume()
    dead = [broker for broker in own_kafka.brokers if not broker.alive]
    await asyncio.gather(*(asyncio.to_thread(broker.start) for broker in dead))
