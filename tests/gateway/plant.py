"""A distributed set-up on real servers, of a test's own: fresh topics, databases and keys, with everything made."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import jwt
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from config.gateway import AuthOptions, NodeOptions
from config.settings import Settings
from gateway.app import Gateway
from gateway.worker import WorkerProcess
from loadtest.finished import Typists
from loadtest.servers.addresses import Addresses
from persistence.boards import BoardsOptions
from persistence.cache import CacheOptions
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.front import in_front_of
from persistence.kafka.admin import create_topics
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions
from persistence.mysql import MysqlOptions
from persistence.mysql.dsn import Dsn
from persistence.redis import RedisOptions
from persistence.rescoring import rescoring
from persistence.results import BestRules
from persistence.results.bests import DAY_MS, board_of, periods_of
from persistence.results.mysql import MysqlResults, Upkeep
from persistence.stream import StreamOptions
from persistence.stream.kafka import KafkaSink
from persistence.stream.record import decode
from persistence.stream.spool import Spooled
from persistence.workers.feed import FeedOptions
from persistence.workers.worker import WorkerOptions
from scoring.slices import at_once
from session.identity import session_from_text, session_to_text
from session.options import SessionLimits
from session.result import Result
from tests.gateway.load import Load
from tests.gateway.running import Program, program, settings
from tests.persistence.kafka.brokers import admin, leaders, read_all
from tests.persistence.mysql_shards import ask, make_database
from tests.servers import PATIENT_MS

SECRET = b"the key that the site and we share, long enough"
PARTITIONS = 6
PATIENCE_S = 180.0
SESSION_MS = 2_000
"""A worker that was killed is missed so soon."""
LONG_SESSION_MS = 12_000
"""One that nobody kills may be held up by a busy machine for as long."""


_LIMITS = ("connect_ms", "wait_ms", "read_ms", "write_ms")


@dataclass(frozen=True)
class Plant:
    """Where everything is, for settings in this process and for programs."""

    kafka: KafkaOptions
    topics: TopicOptions
    mysql: MysqlOptions
    redis: RedisOptions
    dsns: tuple[str, ...]
    """The shards' databases."""
    session_ms: int = SESSION_MS
    """Time after which a worker that says nothing is missed."""

    @property
    def group(self) -> str:
        """The workers' group."""
        return f"workers-{self.kafka.results_topic}"

    def sections(self, **changes: Any) -> dict[str, Any]:
        """The settings' sections, quick to try again."""
        return {
            "kafka": self.kafka,
            "topics": self.topics,
            "mysql": self.mysql,
            "redis": self.redis,
            "stream": StreamOptions(backoff_max_ms=200),
            "cache": CacheOptions(),
            "feed": FeedOptions(group=self.group, session_ms=self.session_ms, gather_ms=20),
            "worker": WorkerOptions(backoff_min_ms=10, backoff_max_ms=200),
            **changes,
        }

    def settings(self, folder: Path, **changes: Any) -> Settings:
        """The settings of a gateway or a worker."""
        return settings(folder, **self.sections(**changes))

    def variables(self) -> dict[str, str]:
        """The same for a program."""
        return {
            "TYPEGATE_KAFKA_SERVERS": ",".join(self.kafka.servers),
            "TYPEGATE_KAFKA_RESULTS_TOPIC": self.kafka.results_topic,
            "TYPEGATE_KAFKA_ANALYTICS_TOPIC": self.kafka.analytics_topic,
            "TYPEGATE_KAFKA_DEAD_LETTER_TOPIC": self.kafka.dead_letter_topic,
            "TYPEGATE_KAFKA_REQUEST_MS": str(self.kafka.request_ms),
            "TYPEGATE_TOPICS_REPLICATION": str(self.topics.replication),
            "TYPEGATE_TOPICS_MIN_INSYNC": str(self.topics.min_insync),
            "TYPEGATE_TOPICS_RESULTS_PARTITIONS": str(PARTITIONS),
            "TYPEGATE_TOPICS_ANALYTICS_PARTITIONS": "2",
            "TYPEGATE_TOPICS_DEAD_LETTER_PARTITIONS": "2",
            "TYPEGATE_MYSQL_SHARDS": ",".join(self.mysql.shards),
            **{f"TYPEGATE_MYSQL_{name.upper()}": str(getattr(self.mysql, name)) for name in _LIMITS},
            "TYPEGATE_REDIS_URL": self.redis.url,
            "TYPEGATE_REDIS_PREFIX": self.redis.prefix,
            "TYPEGATE_REDIS_CALL_MS": str(self.redis.call_ms),
            "TYPEGATE_STREAM_BACKOFF_MAX_MS": "200",
            "TYPEGATE_FEED_GROUP": self.group,
            "TYPEGATE_FEED_SESSION_MS": str(self.session_ms),
            "TYPEGATE_FEED_GATHER_MS": "20",
            "TYPEGATE_WORKER_BACKOFF_MIN_MS": "10",
            "TYPEGATE_WORKER_BACKOFF_MAX_MS": "200",
        }

    def rows(self, columns: str = "id", *, table: str = "test_results") -> list[tuple[Any, ...]]:
        """What stands in a table of all shards."""
        return [row for dsn in self.dsns for row in ask(Dsn.parse(dsn), f"SELECT {columns} FROM {table}")]

    async def stored(self, more: int) -> None:
        """Wait until so many more results are rows than are now."""
        wanted = len(self.rows()) + more
        async with asyncio.timeout(240):
            while len(self.rows()) < wanted:  # noqa: ASYNC110  # other processes write
                await asyncio.sleep(0.1)

    def ask(self, *statements: str) -> None:
        """Run statements in every shard."""
        for dsn in self.dsns:
            ask(Dsn.parse(dsn), *statements)


async def build(
    fresh_name: Callable[[str], str],
    *,
    kafka: Sequence[str],
    mariadb: Addresses,
    redis: str,
    request_ms: int = 2_000,
    patient: bool = False,
    session_ms: int = SESSION_MS,
    replication: int = 1,
) -> Plant:
    """Make topics, databases and schema; where there are several replicas, two must be in step.

    `patient`: for tests without faults, in which a busy server is waited for; `session_ms`: long where no worker dies.
    """
    name = fresh_name("plant")
    dsns = tuple([await asyncio.to_thread(make_database, address, name) for address in mariadb["shards"]])
    plant = Plant(
        kafka=KafkaOptions(
            servers=tuple(kafka),
            results_topic=f"{name}_results",
            analytics_topic=f"{name}_analytics",
            dead_letter_topic=f"{name}_dead",
            request_ms=request_ms,
        ),
        topics=TopicOptions(
            replication=replication,
            min_insync=min(2, replication),
            results_partitions=PARTITIONS,
            analytics_partitions=2,
            dead_letter_partitions=2,
        ),
        mysql=MysqlOptions(shards=(f"a 0-2047 {dsns[0]}", f"b 2048-4095 {dsns[1]}"), retry_ms=200, connect_ms=1_000),
        redis=RedisOptions(url=redis, prefix=f"{name}:"),
        dsns=dsns,
        session_ms=session_ms,
    )
    if patient:
        plant = replace(plant, mysql=waiting(plant.mysql), redis=replace(plant.redis, call_ms=PATIENT_MS))
    async with Upkeep(waiting(plant.mysql)) as upkeep:
        await upkeep.migrate()
    await create_topics(replace(plant.kafka, request_ms=60_000), plant.topics)  # by brokers that are just up, too
    for topic in (plant.kafka.results_topic, plant.kafka.analytics_topic, plant.kafka.dead_letter_topic):
        await leaders(kafka, topic)
    return plant


def waiting(options: MysqlOptions) -> MysqlOptions:
    """The same databases, and time for a server that is busy with other tests."""
    limits: dict[str, Any] = dict.fromkeys(_LIMITS, 60_000)
    return replace(options, **limits)


def accounts(folder: Path) -> AuthOptions:
    """Settings that let accounts in by tokens of ours, and guests."""
    folder.mkdir(exist_ok=True)
    key = folder / "hs256.key"
    key.write_bytes(SECRET)
    return AuthOptions(algorithm="HS256", key_file=key, issuer="https://site.example", audience="typegate")


def token_of(user: int) -> str:
    """An account's token."""
    return jwt.encode(
        {"iss": "https://site.example", "aud": "typegate", "exp": 4_000_000_000, "uid": user}, SECRET, algorithm="HS256"
    )


@asynccontextmanager
async def gateway_of(plant: Plant, folder: Path, *, name: str = "node-1", **changes: Any) -> AsyncIterator[Gateway]:
    """A gateway in this process."""
    sections = {
        "auth": await asyncio.to_thread(accounts, folder),
        "node": NodeOptions(name=name, data=folder / "data"),
        **changes,
    }
    async with Gateway(plant.settings(folder / "data", **sections)) as gateway:
        yield gateway


@asynccontextmanager
async def worker_of(plant: Plant, folder: Path, **changes: Any) -> AsyncIterator[WorkerProcess]:
    """A worker in this process."""
    async with WorkerProcess(plant.settings(folder / "worker", **changes)) as worker:
        yield worker


async def figures(admin_url: str | None) -> dict[str, float]:
    """What an admin port shows, by name and labels."""
    # it speaks no TLS, and is asked again and again: reading the certificates each time would take 35 ms of a core
    async with httpx.AsyncClient(timeout=60, base_url=admin_url or "", trust_env=False, verify=False) as admin:
        text = (await admin.get("/metrics")).text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def gateway_program(
    plant: Plant, folder: Path, port: int, *, through: Sequence[str] = (), **variables: str
) -> AbstractAsyncContextManager[Program]:
    """A gateway as a process, always at the same port; its data are in `folder`/gateway."""
    named = {**plant.variables(), "TYPEGATE_STOP_GRACE_S": "1", **variables}
    return program(folder / "gateway", "--port", str(port), through=through, **named)


class Accounts:
    """Results of accounts, which may be on boards; they are brought beside what is typed."""

    def __init__(self, typists: Typists) -> None:
        self._typists = typists
        self.sent: list[Result] = []

    def some(self) -> list[Result]:
        """A few more, of five users."""
        return [self.one(100 + i % 5) for i in range(10)]

    def one(self, user: int) -> Result:
        """One of this user's."""
        made = self._typists.finish(user=user, mode="time", seconds=15)
        self.sent.append(replace(made, verdict="ok", reasons=()))
        return self.sent[-1]


@asynccontextmanager
async def accounts_of_a_site() -> AsyncIterator[Accounts]:
    """Some, whose results were typed a minute ago."""
    async with EmbeddedCatalogue(None) as catalogue:
        texts = Texts(catalogue, limits=SessionLimits())
        yield Accounts(Typists(texts, epoch_ms=int(time.time() * 1000) - 60_000))


async def send(plant: Plant, *results: Result) -> None:
    """Bring results to Kafka as a gateway does."""
    rows = [Spooled(seq, result, 0, 0) for seq, result in enumerate(results, 1)]
    async with asyncio.timeout(PATIENCE_S), KafkaSink(plant.kafka, node="elsewhere") as sink:
        while rows:
            try:
                answers = await sink.hand_on(rows)
            except StoreError:
                continue
            rows = [row for row, answer in zip(rows, answers, strict=True) if answer is not None]


async def committed(plant: Plant) -> None:
    """Wait until the workers have committed all that the topic of results has."""
    await leaders(plant.kafka.servers, plant.kafka.results_topic)
    consumer = AIOKafkaConsumer(plant.kafka.results_topic, bootstrap_servers=list(plant.kafka.servers))
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
    finally:
        await consumer.stop()
    async with admin(plant.kafka.servers) as client, asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(KafkaError):  # the group's coordinator may be moving in
                found = await client.list_consumer_group_offsets(plant.group)
                done = {place: offset.offset for place, offset in found.items()}
                if all(done.get(place, 0) >= end for place, end in ends.items()):
                    return
            await asyncio.sleep(0.05)


async def agreement(plant: Plant, sent: Collection[Result], *, letters: Collection[bytes] = ()) -> None:
    """Fail unless all that was sent is stored once with its figures, and lists, boards and events agree with it."""
    wanted = {result.session: result for result in sent}
    assert sorted(row[0] for row in plant.rows()) == sorted(wanted), "each result is one row, and there are no others"
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        catalogue = await enter(EmbeddedCatalogue(None))
        texts = Texts(catalogue, limits=SessionLimits())
        store = await enter(MysqlResults(waiting(plant.mysql), texts=texts))
        redis = replace(plant.redis, call_ms=PATIENT_MS)
        front = await enter(in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions(), alone=False))
        for session, result in wanted.items():
            found = await store.by_id(session)
            assert found is not None
            assert (found.core_hash, found.summary, found.replay) == (result.core_hash, result.summary, result.replay)
        for user in {result.user for result in sent}:
            newest = [result.session for result in (await store.by_user(user, limit=10)).results]
            assert [result.session for result in await front.recent.of(user)] == newest
            assert newest == sorted((s for s, one in wanted.items() if one.user == user), reverse=True)[:10]
        day = max(result.created_at_ms for result in sent) // DAY_MS
        for board in {board for result in sent if (board := board_of(result, BestRules())) is not None}:
            for period in periods_of(day):
                ranked = [best async for best in store.ranking(board, period)]
                async with asyncio.timeout(PATIENCE_S):  # a filling outlives a worker that died in it by 30 s
                    page = await front.boards.page(board, period, offset=0, count=100)
                    while page.size is None:  # it is being filled, and the store answers
                        await asyncio.sleep(0.02)
                        page = await front.boards.page(board, period, offset=0, count=100)
                assert [one.best for one in page.entries] == ranked
                assert page.size == len(ranked)
    events = await read_all(plant.kafka.servers, plant.kafka.analytics_topic)
    assert {json.loads(event.value)["id"] for event in events} == {session_to_text(session) for session in wanted}
    dead = await read_all(plant.kafka.servers, plant.kafka.dead_letter_topic)
    assert {letter.value for letter in dead} == set(letters)


async def nothing_lost(plant: Plant, load: Load, sent: Collection[Result] = ()) -> None:
    """Fail unless all that people typed, and what was sent beside it, is in Kafka, is stored once, and agrees.

    They have stopped typing, and workers run.
    """
    assert load.done, "somebody still waits for `stored`"
    assert (load.meters.mismatched, load.meters.doubled) == (0, 0), load.meters
    await committed(plant)
    records = await read_all(plant.kafka.servers, plant.kafka.results_topic)
    kept = {result.session: result for result in (decode(one.key, one.value, one.headers) for one in records)}
    said = {session_from_text(session) for session in load.stored}
    assert len(said) == len(load.stored), "nobody is told twice of one test"
    assert said <= kept.keys(), "a result that was said to be stored is not in Kafka"
    assert {result.session for result in sent} <= kept.keys()
    await agreement(plant, kept.values())
    async with EmbeddedCatalogue(None) as catalogue:
        texts = Texts(catalogue, limits=SessionLimits())
        for session in said:
            assert at_once(rescoring(kept[session], texts)).agrees
