"""Results that are delivered twice, in any order, to workers that come and go in mid-batch, with real servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from loadtest.servers.addresses import Addresses
from persistence.mysql.dsn import Dsn
from persistence.workers.feed import FeedOptions
from persistence.workers.worker import WorkerOptions
from session.result import Result
from tests.gateway.plant import (
    LONG_SESSION_MS,
    Plant,
    accounts_of_a_site,
    agreement,
    build,
    committed,
    figures,
    send,
    worker_of,
)
from tests.persistence.kafka.brokers import admin
from tests.persistence.mysql_shards import ask

PATIENCE_S = 240.0


@pytest.fixture(name="plant")
async def _plant(
    fresh_name: Callable[[str], str], kafka_servers: list[str], mariadb_servers: Addresses, redis_servers: Addresses
) -> Plant:
    return await build(
        fresh_name,
        kafka=kafka_servers,
        mariadb=mariadb_servers,
        redis=redis_servers["url"],
        patient=True,
        session_ms=LONG_SESSION_MS,
    )


async def results(count: int) -> list[Result]:
    """Results of a few accounts, all of them on a board."""
    async with accounts_of_a_site() as accounts:
        return [accounts.one(100 + i % 5) for i in range(count)]


def unseen(result: Result) -> Result:
    """The copy of a node that took the test over: the same log, less of it seen live."""
    return replace(result, node="another", seen_live=max(0, result.seen_live - 40))


async def test_deliveries_that_come_twice_and_in_any_order(plant: Plant, tmp_path: Path) -> None:
    """As by two gateways, one of which found an old spool; some while workers are at it, some long after."""
    sent = await results(40)
    chance = random.Random(4)
    copies = [*sent, *sent, *map(unseen, sent)]
    chance.shuffle(copies)
    async with worker_of(plant, tmp_path / "first"), worker_of(plant, tmp_path / "second"):
        for start in range(0, len(copies), 30):
            await send(plant, *copies[start : start + 30])
        await committed(plant)
        await agreement(plant, sent)
        await send(plant, *reversed(sent), *map(unseen, sent))
        await committed(plant)
    await agreement(plant, sent)
    live = {result.session: result.seen_live for result in sent}
    assert dict(plant.rows("id, seen_live")) == live, "of two copies the one that was seen live is the row"


@contextmanager
def tables_locked(plant: Plant) -> Iterator[None]:
    """Let nobody write results until the context is left."""
    with ExitStack() as opened:
        for dsn in map(Dsn.parse, plant.dsns):
            connection = pymysql.connect(
                host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password or "", database=dsn.database
            )
            opened.callback(connection.close)
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLES test_results WRITE")
        yield


async def until_written(plant: Plant) -> None:
    """Wait until somebody wants to write, and cannot."""
    asked = "SELECT 1 FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND STATE LIKE '%metadata lock%'"
    async with asyncio.timeout(PATIENCE_S):
        while not any(ask(Dsn.parse(dsn), asked) for dsn in plant.dsns):  # noqa: ASYNC110  # servers bring it about
            await asyncio.sleep(0.02)


async def regrouping(plant: Plant) -> None:
    """Wait until Kafka has asked the group's members to join anew, and some have not yet."""
    async with admin(plant.kafka.servers) as client, asyncio.timeout(PATIENCE_S):
        while True:
            (answer,) = await client.describe_consumer_groups([plant.group])
            if answer.groups[0][2] == "PreparingRebalance":
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("patient", [True, False], ids=["finished", "given up"])
async def test_a_rebalance_in_mid_batch(patient: bool, plant: Plant, tmp_path: Path) -> None:
    """The batch is finished before its partitions go on; or, where that takes too long, done again by the next."""
    sent = await results(40)
    feed = FeedOptions(group=plant.group, session_ms=LONG_SESSION_MS, gather_ms=20, rebalance_ms=60_000)
    options = WorkerOptions(backoff_min_ms=10, backoff_max_ms=200, patience_ms=60_000 if patient else 500)
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(worker_of(plant, tmp_path / "first", feed=feed, worker=options))
        with tables_locked(plant):
            await send(plant, *sent)
            await until_written(plant)
            another = worker_of(plant, tmp_path / "second", feed=feed, worker=options)
            second = await opened.enter_async_context(another)
            await (regrouping(plant) if patient else held(second.admin_url))
        await held(second.admin_url)
        await committed(plant)
        taken = [(await figures(worker.admin_url))["typegate_worker_batch_records_sum"] for worker in (first, second)]
        assert sum(taken) == len(sent) if patient else sum(taken) > len(sent)
    await agreement(plant, sent)


async def held(admin_url: str | None) -> None:
    """Wait until a worker has partitions."""
    async with asyncio.timeout(PATIENCE_S):
        while not (await figures(admin_url)).get("typegate_worker_partitions"):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
