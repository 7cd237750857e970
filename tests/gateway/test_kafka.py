"""A gateway with Kafka: `stored` comes on Kafka's word, and it boots, serves and spools without it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from gateway.app import CannotStart, Gateway
from gateway.topics import look_until_seen
from loadtest.servers.kafka import Kafka
from persistence.kafka.admin import create_topics
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions
from persistence.stream import StreamOptions
from persistence.stream.record import decode
from session.identity import session_from_text
from tests.gateway.running import serving, settings
from tests.gateway.typing_client import client
from tests.persistence.kafka.brokers import read_all
from tests.servers import skip_without

SMALL = TopicOptions(
    replication=1, min_insync=1, results_partitions=3, analytics_partitions=1, dead_letter_partitions=1
)
PACE = StreamOptions(backoff_max_ms=200)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker of this module's own, with the topics of a small installation."""
    skip_without("kafka")
    with Kafka(tmp_path_factory.mktemp("kafka"), brokers=1, quick=True) as kafka:
        asyncio.run(create_topics(options(kafka), SMALL))
        yield kafka


def options(kafka: Kafka, *, request_ms: int = 60_000) -> KafkaOptions:
    return KafkaOptions(servers=tuple(kafka.addresses()["bootstrap"]), request_ms=request_ms)


async def figure(gateway: Gateway, name: str) -> float:
    async with httpx.AsyncClient(timeout=60, base_url=gateway.admin_url or "", trust_env=False) as admin:
        text = (await admin.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def test_stored_is_said_when_kafka_has_the_result(broker: Kafka, tmp_path: Path) -> None:
    kafka = options(broker)
    async with serving(tmp_path / "data", kafka=kafka, topics=SMALL) as (gateway, _):
        async with client(gateway.url) as typist:
            await typist.start(mode="words", count=3)
            accepted = await typist.type_all()
            stored = await typist.receive("stored")
            # read at once: it is there by now
            records = await read_all(kafka.servers, kafka.results_topic)
        results = [decode(record.key, record.value, record.headers) for record in records]
        (result,) = [one for one in results if one.session == session_from_text(stored["session"])]
        assert result.summary.wpm == accepted["wpm"]
        assert str(result.user) == typist.ready["user"]
        assert await figure(gateway, "typegate_stream_up") == 1
        assert await figure(gateway, "typegate_stored_seconds_count") == 1
        assert await figure(gateway, "typegate_processing_seconds_count") == 0, "a worker's to count"


async def test_it_boots_and_takes_results_without_kafka_and_stores_them_when_it_is_there(
    broker: Kafka, tmp_path: Path
) -> None:
    broker.brokers[0].kill()
    try:
        kafka = options(broker, request_ms=2_000)
        async with serving(tmp_path / "data", kafka=kafka, topics=SMALL, stream=PACE) as (gateway, http):
            async with client(gateway.url) as typist:
                await typist.start(mode="words", count=3)
                accepted = await typist.type_all()
                assert accepted["state"] == "accepted"
                ready = await http.get("/readyz")
                assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
                assert await figure(gateway, "typegate_queue_depth") == 1
                assert "stored" not in [message["t"] for message in typist.seen]
                await asyncio.to_thread(broker.brokers[0].start)
                assert (await typist.receive("stored"))["session"] == accepted["session"]
            async with asyncio.timeout(60):
                while await figure(gateway, "typegate_queue_depth"):  # what was told is dropped a moment later
                    pass
    finally:
        if not broker.brokers[0].alive:
            await asyncio.to_thread(broker.brokers[0].start)


WEAK = replace(SMALL, results_partitions=4, replication=2, min_insync=2)


async def test_topics_that_are_weaker_than_asked_for_are_told_loudly(broker: Kafka, tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with serving(tmp_path / "data", kafka=options(broker), topics=WEAK):
            pass
    said = [line["why"] for line in logs if line["log_level"] == "error"]
    assert any("test-results has 3 partitions, 4 are wanted" in line for line in said)
    assert any("test-results has 1 replicas of a partition, 2 are wanted" in line for line in said)
    assert any("test-results has min.insync.replicas=1, 2 is wanted" in line for line in said)


async def test_in_production_it_refuses_to_start_where_topics_are_weaker(broker: Kafka, tmp_path: Path) -> None:
    strict = replace(options(broker), production=True)
    with pytest.raises(CannotStart, match=r"kafka\.production is set.*test-results has 3 partitions, 4 are wanted"):
        async with Gateway(settings(tmp_path / "data", kafka=strict, topics=WEAK)):
            pass
    async with Gateway(settings(tmp_path / "data", kafka=strict, topics=SMALL)):
        pass  # these are as asked for


async def test_topics_are_looked_at_until_kafka_has_answered(broker: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been away at the start; in production too a server that runs by then does not stop for it."""
    monkeypatch.setattr("gateway.topics.AGAIN_S", 0.05)
    broker.brokers[0].kill()
    with capture_logs() as logs:
        looking = look_until_seen(replace(options(broker), production=True), WEAK)
        async with asyncio.timeout(180), asyncio.TaskGroup() as group:
            group.create_task(looking)
            group.create_task(asyncio.to_thread(broker.brokers[0].start))
    assert logs[-1]["event"] == "this server would not have started, had Kafka answered then"
    assert "test-results has 3 partitions, 4 are wanted" in logs[-1]["why"]
