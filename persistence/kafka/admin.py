"""Topics as the brokers have them: looked at, and made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from persistence.errors import StoreError
from persistence.kafka.options import KafkaOptions
from persistence.kafka.reach import why_unreachable
from persistence.kafka.topics import Found, Report, TopicOptions, Wanted, wanted, weaknesses

__all__ = ["check_topics", "create_topics"]

_LOOK_AGAIN_S = 0.05
_TOPIC_EXISTS = 36
_UNKNOWN_TOPIC = 3


async def check_topics(kafka: KafkaOptions, options: TopicOptions) -> list[Report]:
    """Look at each topic. Raises StoreError, retriable where no broker answers."""
    return await _visit(kafka, options, create_missing=False)


async def create_topics(kafka: KafkaOptions, options: TopicOptions) -> list[Report]:
    """Make each topic that is missing, and look at all. Raises StoreError as `check_topics`, or where none is made."""
    return await _visit(kafka, options, create_missing=True)


async def _visit(kafka: KafkaOptions, options: TopicOptions, *, create_missing: bool) -> list[Report]:
    arguments = kafka.client("typegate-topics")
    admin = AIOKafkaAdminClient(**arguments)
    try:
        try:
            await admin.start()
        except KafkaError as error:
            why = await why_unreachable(arguments)
            raise StoreError(f"no broker of Kafka can be reached ({why})", retriable=True) from error
        topics = wanted(kafka, options)
        existing = set(await admin.list_topics())
        created: set[str] = set()
        if create_missing:
            missing = [topic for topic in topics if topic.name not in existing]
            created = await _create(admin, missing, kafka.request_ms)
            existing.update(topic.name for topic in missing)
        there = [topic.name for topic in topics if topic.name in existing]
        async with asyncio.timeout(kafka.request_ms / 1000):
            found = await _found(admin, there)
            while len(found) < len(there):  # some brokers learn of a new topic later than others
                await asyncio.sleep(_LOOK_AGAIN_S)
                found = await _found(admin, there)
    except (KafkaError, OSError, TimeoutError) as error:
        servers = ", ".join(kafka.servers)
        raise StoreError(f"Kafka at {servers} cannot be asked about its topics: {error}", retriable=True) from error
    finally:
        await admin.close()
    return [
        Report(topic.name, topic.name in created, tuple(weaknesses(topic, found.get(topic.name)))) for topic in topics
    ]


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Wanted], timeout_ms: int) -> set[str]:
    """Make topics, none of them known to exist; the names of those that did not."""
    if not topics:
        return set()
    new = [NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=topic.configs) for topic in topics]
    answer = await admin.create_topics(new, timeout_ms=timeout_ms)
    created = set()
    for name, code, message in answer.topic_errors:
        if code == 0:
            created.add(name)
        elif code != _TOPIC_EXISTS:  # somebody else was faster, or the broker that was asked had not heard of it
            reason = message or for_code(code).__name__
            raise StoreError(f"Kafka does not make the topic {name}: {reason}", retriable=False)
    return created


async def _found(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Found]:
    """Topics as one of the brokers knows them, or another; without those that one of them has not heard of."""
    known = set(await admin.list_topics())  # asked about by name, one that is not might be created
    names = [name for name in names if name in known]
    if not names:
        return {}
    configs: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, message, _, name, entries in answer.resources:
            if code == _UNKNOWN_TOPIC:
                continue
            if code:
                reason = message or for_code(code).__name__
                raise StoreError(f"Kafka does not tell the settings of the topic {name}: {reason}", retriable=False)
            configs[name] = {entry[0]: entry[1] for entry in entries}
    found = {}
    for topic in await admin.describe_topics(names):
        name, partitions = topic["topic"], topic["partitions"]
        if partitions and name in configs:
            fewest = min(len(partition["replicas"]) for partition in partitions)
            found[name] = Found(len(partitions), fewest, configs[name])
    return found
