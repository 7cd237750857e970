import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtest.servers.process import unused_port
from persistence.errors import StoreError
from persistence.kafka.admin import check_topics, create_topics
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import Found, TopicOptions, wanted, weaknesses
from tests.persistence.kafka.brokers import leaders, make_topic

DAY_MS = 86_400_000


def test_the_topics_are_the_design_s() -> None:
    results, analytics, dead = wanted(KafkaOptions(), TopicOptions())
    assert (results.name, results.partitions, results.replication) == ("test-results", 100, 3)
    assert (analytics.name, analytics.partitions, analytics.replication) == ("test-analytics", 50, 3)
    assert (dead.name, dead.replication) == ("test-results-dlq", 3)
    for topic, days in ((results, 7), (analytics, 7), (dead, 30)):
        assert topic.configs["min.insync.replicas"] == "2"
        assert topic.configs["unclean.leader.election.enable"] == "false"
        assert topic.configs["cleanup.policy"] == "delete"
        assert topic.configs["retention.ms"] == str(days * DAY_MS)


WANT = wanted(KafkaOptions(), TopicOptions())[0]
AS_WANTED = Found(100, 3, WANT.configs)


@pytest.mark.parametrize(
    "found",
    [
        AS_WANTED,
        Found(200, 5, WANT.configs),
        Found(100, 3, {**WANT.configs, "min.insync.replicas": "3", "retention.ms": "-1", "segment.bytes": "1"}),
        Found(100, 3, {**WANT.configs, "retention.ms": str(8 * DAY_MS)}),
    ],
)
def test_as_strong_or_stronger_is_no_fault(found: Found) -> None:
    assert weaknesses(WANT, found) == []


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (None, "topic test-results is missing; make it with: typegate topics create"),
        (AS_WANTED._replace(partitions=99), "99 partitions, 100 are wanted; add them with: kafka-topics.sh --alter"),
        (AS_WANTED._replace(replication=2), "2 replicas of a partition, 3 are wanted"),
        ({"min.insync.replicas": "1"}, "min.insync.replicas=1, 2 is wanted; set it with: kafka-configs.sh --alter"),
        ({"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable=true, false is wanted"),
        ({"cleanup.policy": "compact"}, "cleanup.policy=compact, delete is wanted"),
        ({"retention.ms": "1000"}, "retention.ms=1000, 604800000 is wanted"),
        ({"message.timestamp.type": "CreateTime"}, "message.timestamp.type=CreateTime, LogAppendTime is wanted"),
        ({"min.insync.replicas": None}, "min.insync.replicas=nothing, 2 is wanted"),
    ],
)
def test_what_is_weaker_is_told_with_what_to_do(found: Any, fault: str) -> None:
    if isinstance(found, dict):
        changed: dict[str, str | None] = {**WANT.configs, **found}
        found = Found(100, 3, {name: value for name, value in changed.items() if value is not None})
    (told,) = weaknesses(WANT, found)
    assert fault in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replication": 0}, "replication is 0; allowed is 1 to 32767"),
        ({"retention_days": 5_000}, "retention_days is 5000; allowed is 1 to 3650"),
        ({"replication": 1}, "min_insync is 2 and replication 1; no more brokers can have a record than hold it"),
    ],
)
def test_what_topics_cannot_be(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TopicOptions(**changes)


@pytest.fixture
def kafka(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> KafkaOptions:
    """Brokers, and topics that nobody has made."""
    return KafkaOptions(
        servers=tuple(kafka_servers),
        results_topic=fresh_name("results"),
        analytics_topic=fresh_name("analytics"),
        dead_letter_topic=fresh_name("dead"),
    )


def fitting(servers: int) -> TopicOptions:
    """As many replicas as there are brokers."""
    return TopicOptions(replication=min(3, servers), min_insync=min(2, servers), results_partitions=12)


async def test_missing_topics_are_made_as_they_should_be(kafka: KafkaOptions) -> None:
    options = fitting(len(kafka.servers))
    for report in await check_topics(kafka, options):
        assert report.faults == (f"topic {report.topic} is missing; make it with: typegate topics create",)
    made = await create_topics(kafka, options)
    assert [(report.topic, report.created, report.faults) for report in made] == [
        (name, True, ()) for name in (kafka.results_topic, kafka.analytics_topic, kafka.dead_letter_topic)
    ]
    assert len(await leaders(kafka.servers, kafka.results_topic)) == 12
    assert all(not report.faults and not report.created for report in await create_topics(kafka, options))


async def test_what_exists_is_left_as_it_is_and_told_where_it_is_weaker(kafka: KafkaOptions) -> None:
    await make_topic(kafka.servers, kafka.results_topic, 3, replication=1, unclean_leader_election_enable="true")
    options = fitting(len(kafka.servers))
    results, analytics, dead = await create_topics(kafka, options)
    assert (results.created, analytics.created, dead.created) == (False, True, True)
    assert "has 3 partitions, 12 are wanted" in results.faults[0]
    assert any("unclean.leader.election.enable=true" in fault for fault in results.faults)
    assert len(await leaders(kafka.servers, kafka.results_topic)) == 3


async def test_more_replicas_than_brokers_cannot_be_made(kafka: KafkaOptions) -> None:
    with pytest.raises(StoreError, match=r"does not make the topic results_\w+: .*[Rr]eplication factor"):
        await create_topics(kafka, TopicOptions(replication=9))


async def test_without_a_broker_it_says_so(kafka: KafkaOptions) -> None:
    away = replace(kafka, servers=(f"127.0.0.1:{unused_port()}",))
    for visit in (check_topics, create_topics):
        with pytest.raises(
            StoreError, match=r"no broker of Kafka can be reached \(127\.0\.0\.1:\d+: Connection refused\)"
        ) as caught:
            await visit(away, TopicOptions())
        assert caught.value.retriable
