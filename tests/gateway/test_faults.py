"""Everything dies in turn while people type: nothing is lost, nothing is doubled, and all of it agrees in the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.servers.kafka import Kafka
from loadtest.servers.mariadb import MariaDbServer
from loadtest.servers.process import ServerProcess, unused_port
from loadtest.servers.redis import RedisServer
from session.identity import session_from_text
from tests.gateway.load import Load, typing
from tests.gateway.plant import (
    Accounts,
    Plant,
    accounts_of_a_site,
    build,
    committed,
    gateway_program,
    nothing_lost,
    send,
)
from tests.gateway.running import Program, command, worker_program
from tests.persistence.kafka.brokers import read_all
from tests.servers import skip_without

TYPISTS = 6
FEW = 3
"""So many tests show that something goes on."""
AWAY_S = float(os.environ.get("TYPEGATE_TEST_AWAY_S", "0"))
"""How long each server stays away at least. Without it a server is away until all that there is to see was seen, which
takes a few seconds; `TYPEGATE_TEST_AWAY_S=30 python -m pytest tests/gateway/test_faults.py` is for runs by hand."""


@dataclass
class Servers:
    """Servers of this module's own: a broker, two shards, Redis."""

    kafka: Kafka
    shards: list[MariaDbServer]
    redis: RedisServer


@pytest.fixture(name="servers", scope="module")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    for kind in ("kafka", "mariadb", "redis"):
        skip_without(kind)
    folder = tmp_path_factory.mktemp("servers")
    shards = [MariaDbServer(folder / name, name=name, number=i) for i, name in enumerate(("a", "b"), 1)]
    servers = Servers(Kafka(folder / "kafka", brokers=1, quick=True), shards, RedisServer(folder / "redis"))
    everything = [*servers.kafka.brokers, *shards, servers.redis]
    try:
        servers.kafka.start()
        for server in (*shards, servers.redis):
            server.start()
        yield servers
    finally:
        for server in everything:
            server.resume()
            server.kill()


@pytest.fixture(name="plant")
async def _plant(servers: Servers) -> Plant:
    return await build(
        lambda stem: f"{stem}_{time.time_ns()}",
        kafka=servers.kafka.addresses()["bootstrap"],
        mariadb={"shards": [shard.dsn() for shard in servers.shards]},
        redis=f"redis://{servers.redis.address}/0",
    )


@dataclass
class System:
    """What runs, and how to let something die."""

    plant: Plant
    servers: Servers
    folder: Path
    port: int
    load: Load
    accounts: Accounts
    gateway: Program
    workers: list[Program]
    opened: AsyncExitStack

    async def start_worker(self) -> None:
        """One more worker."""
        name = f"worker-{len(self.workers)}"
        flags = ("--node", name)
        program_of = worker_program(self.folder / name, *flags, **self.plant.variables())
        self.workers.append(await self.opened.enter_async_context(program_of))

    async def restart_gateway(self) -> None:
        """Kill the gateway, and start it again on its volume."""
        self.gateway.process.kill()
        await self.gateway.process.wait()
        self.gateway = await self.opened.enter_async_context(gateway_program(self.plant, self.folder, self.port))

    async def kafka_away(self) -> None:
        """Kill the broker; people type until all wait for it; start it again."""
        (broker,) = self.servers.kafka.brokers
        broker.kill()
        await asyncio.sleep(AWAY_S)
        await self.load.waits()
        await asyncio.to_thread(broker.start)
        await self.load.confirmed(TYPISTS)

    async def away(self, server: ServerProcess) -> None:
        """Kill a server; people type on and hear that their results are stored; start it again."""
        server.kill()
        await send(self.plant, *self.accounts.some())
        await asyncio.sleep(AWAY_S)
        await self.load.confirmed(2 * TYPISTS)
        await asyncio.to_thread(server.start)
        await send(self.plant, *self.accounts.some())
        await self.load.confirmed(TYPISTS)


async def test_everything_dies_under_load(plant: Plant, servers: Servers, tmp_path: Path) -> None:
    """Workers, the gateway, the broker, a shard and Redis, each killed with -9 and back, one after the other."""
    port = unused_port()
    async with AsyncExitStack() as opened:
        accounts = await opened.enter_async_context(accounts_of_a_site())
        gateway = await opened.enter_async_context(gateway_program(plant, tmp_path, port))
        with typing(("127.0.0.1", port), TYPISTS) as load:
            system = System(plant, servers, tmp_path, port, load, accounts, gateway, [], opened)
            for _ in range(2):
                await system.start_worker()
            await load.confirmed(TYPISTS)
            for worker in system.workers[:]:
                await send(plant, *accounts.some())
                worker.process.kill()
                await system.start_worker()
                await load.confirmed(TYPISTS)
            await system.restart_gateway()
            await load.confirmed(TYPISTS)
            await system.kafka_away()
            await system.away(servers.shards[0])
            await system.away(servers.redis)
        await nothing_lost(plant, load, accounts.sent)


async def test_brokers_die_in_turn_under_load(
    servers: Servers, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Of three brokers any may be away: results are saved and become rows all the while."""
    with Kafka(tmp_path / "kafka", brokers=3) as kafka:
        plant = await build(
            fresh_name,
            kafka=kafka.addresses()["bootstrap"],
            mariadb={"shards": [shard.dsn() for shard in servers.shards]},
            redis=f"redis://{servers.redis.address}/0",
            replication=3,
        )
        port = unused_port()
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(gateway_program(plant, tmp_path, port))
            await opened.enter_async_context(worker_program(tmp_path / "worker", **plant.variables()))
            with typing(("127.0.0.1", port), 2 * TYPISTS) as load:
                await load.confirmed(FEW)
                for broker in kafka.brokers:
                    broker.kill()
                    await asyncio.sleep(AWAY_S)
                    await load.confirmed(FEW)
                    await plant.stored(FEW)
                    await asyncio.to_thread(broker.start)
                await load.confirmed(FEW)
            await nothing_lost(plant, load)


async def test_kafka_is_away_when_everything_starts(plant: Plant, servers: Servers, tmp_path: Path) -> None:
    """The gateway takes tests and the worker waits; when it is there, all that was typed is stored."""
    (broker,) = servers.kafka.brokers
    port = unused_port()
    broker.kill()
    try:
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(gateway_program(plant, tmp_path, port))
            await opened.enter_async_context(worker_program(tmp_path / "worker", **plant.variables()))
            with typing(("127.0.0.1", port), TYPISTS) as load:
                await asyncio.sleep(AWAY_S)
                await load.waits()
                assert load.meters.stored == 0
                await asyncio.to_thread(broker.start)
                await load.confirmed(TYPISTS)
            assert load.done
            await committed(plant)
    finally:
        if not broker.alive:
            await asyncio.to_thread(broker.start)
    assert {row[0] for row in plant.rows()} == {session_from_text(session) for session in load.stored}


async def test_the_spool_s_volume_is_gone_before_stored(plant: Plant, servers: Servers, tmp_path: Path) -> None:
    """Results that were accepted and not stored are lost with their node; their clients bring them to the next one.

    When the volume turns up after all and is drained, everything that was on it is there a second time, and is one row.
    """
    (broker,) = servers.kafka.brokers
    port = unused_port()
    async with AsyncExitStack() as opened:
        gateway = await opened.enter_async_context(gateway_program(plant, tmp_path, port))
        await opened.enter_async_context(worker_program(tmp_path / "worker", **plant.variables()))
        try:
            with typing(("127.0.0.1", port), TYPISTS) as load:
                await load.confirmed(TYPISTS)
                broker.kill()
                await load.waits()
                resumed = load.meters.resumed
                gateway.process.kill()
                await gateway.process.wait()
                await asyncio.to_thread(lose_volume, tmp_path / "gateway", tmp_path / "found")
                await opened.enter_async_context(gateway_program(plant, tmp_path, port))
                await load.resumed(resumed + TYPISTS)
                await asyncio.to_thread(broker.start)
                await load.confirmed(2 * TYPISTS)
        finally:
            if not broker.alive:
                await asyncio.to_thread(broker.start)
        await nothing_lost(plant, load)
        before = await read_all(plant.kafka.servers, plant.kafka.results_topic)
        code, said, _ = await command("spool", "drain", "--data", "found", folder=tmp_path, **plant.variables())
        assert code == 0, said
        after = await read_all(plant.kafka.servers, plant.kafka.results_topic)
        assert len(after) >= len(before) + TYPISTS
        await nothing_lost(plant, load)


def lose_volume(folder: Path, found: Path) -> None:
    """A node is replaced by a new one, which has the cluster's keys and nothing else."""
    folder.rename(found)
    folder.mkdir(mode=0o700)
    shutil.copy(found / "keys.json", folder)
