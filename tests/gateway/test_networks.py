"""Networks between the parts that are slow, narrow, silent, reset or cut while people type: nothing is lost or doubled.

Every part has a way of its own, through Toxiproxy, to every server that it needs. What each part does while a way is
broken is what OPERATIONS.md says: tests and results are always accepted, they are saved unless it is the gateway's way
to Kafka, and what lies behind waits for the way that it needs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.servers.kafka import Kafka
from loadtest.servers.mariadb import MariaDbServer
from loadtest.servers.process import unused_port
from loadtest.servers.redis import RedisServer
from loadtest.servers.toxiproxy import Toxiproxy, Way
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
from tests.gateway.running import worker_program
from tests.servers import skip_without

TYPISTS = 16
FEW = 6
"""So many tests show that something goes on."""
PARTS = ("gateway", "worker")


@dataclass
class Network:
    """Servers of this module's own, and the parts' ways to them."""

    kafka: Kafka
    shards: list[MariaDbServer]
    redis: RedisServer
    ways: dict[tuple[str, str], Way]
    """By part and server: `kafka`, `a`, `b` and `redis`."""

    def to(self, server: str) -> list[Way]:
        """Both parts' ways to a server."""
        return [self.ways[part, server] for part in PARTS]

    def variables(self, part: str, plant: Plant) -> dict[str, str]:
        """The settings by which a part takes its ways."""
        mysql = list(plant.mysql.shards)
        for i, server in enumerate(self.shards):
            mysql[i] = mysql[i].replace(server.address, self.ways[part, "ab"[i]].address)
        return {
            "TYPEGATE_KAFKA_SERVERS": self.ways[part, "kafka"].address,
            "TYPEGATE_MYSQL_SHARDS": json.dumps(mysql),
            "TYPEGATE_MYSQL_WRITE_MS": "2000",
            "TYPEGATE_MYSQL_RETRY_MS": "200",
            "TYPEGATE_REDIS_URL": f"redis://{self.ways[part, 'redis'].address}/0",
        }


@pytest.fixture(name="network", scope="module")
def _network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    for kind in ("kafka", "mariadb", "redis"):
        skip_without(kind)
    if (missing := Toxiproxy.missing()) is not None:
        pytest.skip(f"{missing}; loadtest/servers/install installs it")
    folder = tmp_path_factory.mktemp("servers")
    ports = {part.upper(): unused_port() for part in PARTS}
    kafka = Kafka(folder / "kafka", brokers=1, ways={name: [port] for name, port in ports.items()}, quick=True)
    shards = [MariaDbServer(folder / name, name=name, number=i) for i, name in enumerate(("a", "b"), 1)]
    redis = RedisServer(folder / "redis")
    proxy = Toxiproxy(folder / "toxiproxy")
    try:
        kafka.start()
        for server in (*shards, redis, proxy):
            server.start()
        ways = {}
        for part in PARTS:
            name = part.upper()
            ways[part, "kafka"] = proxy.way(f"{part}-kafka", kafka.behind[name][0], port=ports[name])
            for server in (*shards, redis):
                ways[part, server.name] = proxy.way(f"{part}-{server.name}", server.port)
        yield Network(kafka, shards, redis, ways)
    finally:
        for server in (proxy, *kafka.brokers, *shards, redis):
            server.kill()


@pytest.fixture(name="plant")
async def _plant(network: Network, fresh_name: Callable[[str], str]) -> Plant:
    return await build(
        fresh_name,
        kafka=network.kafka.addresses()["bootstrap"],
        mariadb={"shards": [shard.dsn() for shard in network.shards]},
        redis=f"redis://{network.redis.address}/0",
    )


@dataclass
class Running:
    """A gateway and a worker on their ways, and people who type."""

    network: Network
    plant: Plant
    load: Load
    accounts: Accounts

    @asynccontextmanager
    async def broken(self, fault: str, ways: list[Way]) -> AsyncIterator[None]:
        """Break ways until the context is left; accounts' results come meanwhile, and after."""
        for way in ways:
            await asyncio.to_thread(getattr(way, fault))
        await send(self.plant, *self.accounts.some())
        try:
            yield
        finally:
            for way in ways:
                await asyncio.to_thread(way.heal)
        await send(self.plant, *self.accounts.some())


@asynccontextmanager
async def running(network: Network, plant: Plant, folder: Path) -> AsyncIterator[Running]:
    """Run it, and look at the end whether anything was lost."""
    port = unused_port()
    async with AsyncExitStack() as opened:
        accounts = await opened.enter_async_context(accounts_of_a_site())
        gateway = gateway_program(plant, folder, port, **network.variables("gateway", plant))
        await opened.enter_async_context(gateway)
        variables = plant.variables() | network.variables("worker", plant)
        await opened.enter_async_context(worker_program(folder / "worker", **variables))
        with typing(("127.0.0.1", port), TYPISTS) as load:
            await load.confirmed(FEW)
            yield Running(network, plant, load, accounts)
        await nothing_lost(plant, load, accounts.sent)


async def test_slow_and_narrow_networks(network: Network, plant: Plant, tmp_path: Path) -> None:
    """All goes on, everywhere: with 40 ± 30 ms each way, and with 32 KiB/s a connection."""
    async with running(network, plant, tmp_path) as system:
        for way in network.ways.values():
            await asyncio.to_thread(way.slow, 40, jitter_ms=30)
        await send(plant, *system.accounts.some())
        await system.load.confirmed(2 * FEW)
        await plant.stored(FEW)
        for way in network.ways.values():
            await asyncio.to_thread(way.heal)
            await asyncio.to_thread(way.narrow, 32)
        await send(plant, *system.accounts.some())
        await system.load.confirmed(2 * FEW)
        await plant.stored(FEW)
        for way in network.ways.values():
            await asyncio.to_thread(way.heal)


async def test_broken_networks(network: Network, plant: Plant, tmp_path: Path) -> None:
    """One way after the other: half-open, reset as soon as it is used, refused."""
    ways = network.ways
    async with running(network, plant, tmp_path) as system:
        load = system.load
        for fault in ("silence", "reset", "cut"):
            async with system.broken(fault, [ways["gateway", "kafka"]]):
                await load.waits()
            await load.confirmed(FEW)
            async with system.broken(fault, [ways["worker", "kafka"]]):
                await load.confirmed(FEW)
            await committed(plant)
            for away in ([ways["worker", "a"]], network.to("redis")):
                async with system.broken(fault, away):
                    await load.confirmed(FEW)
                    await plant.stored(FEW // 2)
                await committed(plant)
