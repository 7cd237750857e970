"""From spool to Kafka through every fault of its brokers: what was accepted is there, in order, and `stored` is true.

Results are put into a real spool all the while, in bursts, for a few users; brokers are killed, paused and started
again under them. Then the topic is read. A result may be there twice only where a fault allows it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadtest.servers.kafka import Kafka
from persistence.kafka.options import KafkaOptions
from persistence.stream import Drain, Spool, SpoolOptions, StreamOptions
from persistence.stream.kafka import KafkaSink
from persistence.stream.record import decode
from session.result import Result
from tests.persistence.kafka.brokers import leaders, make_topic, read_all
from tests.persistence.samples import sample

PATIENCE_S = 180.0
USERS = 5
BURST = 40


@dataclass
class Node:
    """Spool, drain and sink, and results that are put while it runs."""

    spool: Spool
    drain: Drain
    sink: KafkaSink
    put: int = 0
    stored: list[bytes] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def on_stored(self, result: Result) -> None:
        self.stored.append(result.session)
        self.heard.set()

    async def burst(self) -> None:
        """Put some more results; they are durable when it returns."""
        results = [numbered(self.put + i) for i in range(BURST)]
        self.put += BURST
        await asyncio.gather(*(self.spool.put(result) for result in results))

    async def until_stored(self, count: int) -> None:
        """Wait until so many have been said to be stored, and put more and more meanwhile."""
        async with asyncio.timeout(PATIENCE_S):
            while len(set(self.stored)) < count:
                self.heard.clear()
                if self.put - len(set(self.stored)) < 20 * BURST:
                    await self.burst()
                await self.heard.wait()

    async def goes_on(self) -> None:
        """Wait until what has been put by now is stored, and what is put now too."""
        await self.burst()
        await self.until_stored(self.put)

    async def all_stored(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self.drain.flush(timeout_ms=5_000):
                pass


def numbered(i: int) -> Result:
    return sample(i, user=i % USERS + 1, replay_bytes=60)


@asynccontextmanager
async def node(folder: Path, options: KafkaOptions) -> AsyncIterator[Node]:
    pace = StreamOptions(backoff_min_ms=10, backoff_max_ms=200, close_ms=1_000)
    async with (
        Spool(folder / "spool", SpoolOptions(max_rows=10**6)) as spool,
        KafkaSink(options, node="here") as sink,
    ):
        told: list[Node] = []
        async with Drain(spool, sink, lambda result: told[0].on_stored(result), pace) as drain:
            told.append(Node(spool, drain, sink))
            yield told[0]


def servers(kafka: Kafka) -> list[str]:
    found: list[str] = kafka.addresses()["bootstrap"]
    return found


@pytest.fixture
async def options(faulty_kafka: Kafka, fresh_name: Callable[[str], str]) -> KafkaOptions:
    """The module's own cluster with a topic of six partitions."""
    name = fresh_name("results")
    await make_topic(servers(faulty_kafka), name, 6)
    return KafkaOptions(servers=tuple(servers(faulty_kafka)), results_topic=name, answer_ms=300, request_ms=2_000)


async def check(options: KafkaOptions, running: Node, *, doubles: bool = False) -> None:
    """Hold the topic to what was promised."""
    records = await read_all(options.servers, options.results_topic)
    results = [decode(record.key, record.value, record.headers) for record in records]
    times = Counter(result.session for result in results)
    expected = [numbered(i) for i in range(running.put)]
    lost = [i for i, result in enumerate(expected) if result.session not in times]
    assert not lost, f"{len(lost)} lost, the first: {lost[:10]}"
    assert set(running.stored) == set(times), "somebody was told of what is not there, or not told of what is"
    assert max(Counter(running.stored).values()) == 1, "somebody was told twice"
    if not doubles:
        assert max(times.values()) == 1, "some are there twice"
    for user in range(1, USERS + 1):
        first_seen = list(dict.fromkeys(result.session for result in results if result.user == user))
        assert first_seen == [result.session for result in expected if result.user == user], "order was lost"
    await running.spool.sync()  # what was dropped is deleted by then
    assert running.spool.facts().rows == 0


async def test_away_at_boot(faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path) -> None:
    """It boots, takes results, says that it cannot hand them on, and does so when there is somebody to hand them to."""
    for broker in faulty_kafka.brokers:
        broker.kill()
    async with node(tmp_path, options) as running:
        async with asyncio.timeout(PATIENCE_S):
            while "no broker of Kafka can be reached" not in (running.drain.facts().fault or ""):
                await running.burst()
        assert running.stored == []
        await asyncio.to_thread(faulty_kafka.start)
        await running.all_stored()
        assert running.drain.facts().fault is None
        await check(options, running)


async def test_a_leader_killed_and_back_under_load(faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path) -> None:
    """Nothing is lost, doubled or out of order; numbers make the producer's second tries harmless."""
    async with node(tmp_path, options) as running:
        await running.goes_on()
        leader = faulty_kafka.brokers[(await leaders(options.servers, options.results_topic))[0] - 1]
        leader.kill()
        if len(faulty_kafka.brokers) >= 3:
            await running.goes_on()
        await asyncio.to_thread(leader.start)
        await running.goes_on()
        await running.all_stored()
        await check(options, running)


async def test_a_paused_broker_and_back_under_load(faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path) -> None:
    async with node(tmp_path, options) as running:
        await running.goes_on()
        paused = faulty_kafka.brokers[(await leaders(options.servers, options.results_topic))[0] - 1]
        paused.pause()
        if len(faulty_kafka.brokers) >= 3:
            await running.goes_on()
        else:
            await running.burst()
        paused.resume()
        await running.goes_on()
        await running.all_stored()
        await check(options, running)


async def test_all_brokers_killed_and_back_under_load(
    faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path
) -> None:
    async with node(tmp_path, options) as running:
        await running.goes_on()
        for broker in faulty_kafka.brokers:
            broker.kill()
        for _ in range(10):
            await running.burst()
        await asyncio.to_thread(faulty_kafka.start)
        await running.goes_on()
        await running.all_stored()
        await check(options, running)


async def test_brokers_restarted_one_after_the_other_under_load(
    faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path
) -> None:
    """A rolling upgrade: leaders are handed over, in order."""
    async with node(tmp_path, options) as running:
        for broker in faulty_kafka.brokers:
            await running.goes_on()
            await asyncio.to_thread(broker.stop)
            await asyncio.to_thread(broker.start)
        await running.goes_on()
        await running.all_stored()
        await check(options, running)


async def test_a_process_that_ends_while_kafka_is_away_leaves_all_to_the_next(
    faulty_kafka: Kafka, options: KafkaOptions, tmp_path: Path
) -> None:
    """Closing is bounded; what was on its way comes again by another producer, and so may be there twice."""
    async with node(tmp_path, options) as first:
        await first.goes_on()
        for broker in faulty_kafka.brokers:
            broker.pause()
        for _ in range(5):
            await first.burst()
    for broker in faulty_kafka.brokers:
        broker.resume()
    async with node(tmp_path, options) as second:
        second.put = first.put
        await second.goes_on()
        await second.all_stored()
        told = [*first.stored, *second.stored]
        second.stored = list(dict.fromkeys(told))
        await check(options, second, doubles=True)
