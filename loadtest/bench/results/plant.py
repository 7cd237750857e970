"""Servers of the run's own, and a topic full of results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from loadtest.finished import Typists
from loadtest.servers.kafka import Kafka
from loadtest.servers.mariadb import MariaDbServer
from loadtest.servers.redis import RedisServer
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.kafka.admin import create_topics
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions
from persistence.mysql import MysqlOptions
from persistence.results.mysql import Upkeep
from persistence.stream.kafka import KafkaSink
from persistence.stream.spool import Spooled, wall_clock_ms
from session.identity import MAX_USER, mint_session
from session.options import SessionLimits
from session.result import Result, core_hash_of

__all__ = ["Plant", "fill", "plant"]

DIFFERENT = 500
"""Results that are really typed; the others are these again, of other users and sessions."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Plant:
    """Where everything is."""

    kafka: KafkaOptions
    topics: TopicOptions
    mysql: MysqlOptions
    redis_url: str
    plain_dsn: str
    """An empty database, for the plainest worker."""

    def variables(self) -> dict[str, str]:
        """The settings of a gateway or a worker."""
        return {
            "TYPEGATE_KAFKA_SERVERS": ",".join(self.kafka.servers),
            "TYPEGATE_KAFKA_RESULTS_TOPIC": self.kafka.results_topic,
            "TYPEGATE_TOPICS_REPLICATION": str(self.topics.replication),
            "TYPEGATE_TOPICS_MIN_INSYNC": str(self.topics.min_insync),
            "TYPEGATE_MYSQL_SHARDS": json.dumps(self.mysql.shards),
            "TYPEGATE_REDIS_URL": self.redis_url,
            "TYPEGATE_LOG_LEVEL": "warning",
            "TYPEGATE_ADMIN_PORT": "0",
            "TYPEGATE_ADMIN_WORKER_PORT": "0",
        }

    def with_topic(self, name: str) -> Plant:
        """The same with another topic of results, which is made."""
        other = replace(self, kafka=replace(self.kafka, results_topic=name))
        asyncio.run(create_topics(other.kafka, other.topics))
        return other


@contextmanager
def plant(folder: Path) -> Iterator[Plant]:
    """One broker, two shards that sync each commit, Redis; with topics of the usual size and migrated shards."""
    with ExitStack() as opened:
        kafka = opened.enter_context(Kafka(folder, brokers=1))
        shards = [
            opened.enter_context(MariaDbServer(folder / name, name=name, number=number, durable=True))
            for number, name in enumerate(("a", "b"), 1)
        ]
        redis = opened.enter_context(RedisServer(folder / "redis"))
        for shard in shards:
            shard.ask("CREATE DATABASE typegate")
        shards[0].ask("CREATE DATABASE plain")
        made = Plant(
            kafka=KafkaOptions(servers=tuple(kafka.addresses()["bootstrap"])),
            topics=TopicOptions(replication=1, min_insync=1),
            mysql=MysqlOptions(
                shards=(f"a 0-2047 {shards[0].dsn('typegate')}", f"b 2048-4095 {shards[1].dsn('typegate')}")
            ),
            redis_url=f"redis://{redis.address}/0",
            plain_dsn=shards[0].dsn("plain"),
        )
        asyncio.run(_prepare(made))
        yield made


async def _prepare(made: Plant) -> None:
    async with Upkeep(made.mysql) as upkeep:
        await upkeep.migrate()
    await create_topics(made.kafka, made.topics)


async def typed(count: int = DIFFERENT) -> list[Result]:
    """Results of the bench mix, as faultless ones that nobody has a reason to doubt."""
    async with EmbeddedCatalogue(None) as catalogue:
        typists = Typists(Texts(catalogue, limits=SessionLimits()), epoch_ms=wall_clock_ms() - 3_600_000)
        return [replace(result, verdict="ok", reasons=()) for result in typists.results(count)]


def _again(result: Result, at: int, chance: Random, users: Sequence[int]) -> Result:
    """The same test as somebody else's."""
    user = users[chance.randrange(len(users))]
    session = mint_session(user, epoch_ms=result.created_at_ms + at, random_bits=chance.getrandbits(62))
    core = core_hash_of(
        session=session,
        user=user,
        ticket_hash=result.ticket_hash,
        log_digest=result.log_digest,
        summary=result.summary,
        gave_up=result.gave_up,
        scoring_version=result.scoring_version,
    )
    return replace(result, session=session, user=user, core_hash=core)


async def fill(made: Plant, results: Sequence[Result], count: int, *, seed: int = 1) -> None:
    """Bring so many results to the topic, of a third as many users."""
    chance = Random(seed)
    users = [chance.randrange(1, MAX_USER) for _ in range(max(1, count // 3))]
    now_ms = wall_clock_ms()
    async with KafkaSink(made.kafka, node="bench") as sink:
        for start in range(0, count, _BATCH):
            rows = [
                Spooled(at, _again(results[at % len(results)], at, chance, users), 0, now_ms)
                for at in range(start, min(count, start + _BATCH))
            ]
            while rows:
                try:
                    answers = await sink.hand_on(rows)
                except StoreError:
                    continue  # the topic was just made: not every leader is known yet
                rows = [row for row, answer in zip(rows, answers, strict=True) if answer is not None]
