"""Redis that is dead, hung, full, started anew, failed over: what calls cost meanwhile, and that they work again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.redis import PATIENT_MS, RedisCluster, RedisServer
from persistence.errors import StoreError
from persistence.redis import Answer, Call, RedisOptions, RedisServers, Script
from tests.servers import skip_without

SHORT_MS = 2_000
"""Time for a call where one is to be too long."""


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    skip_without("redis")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module", name="cluster")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    skip_without("redis")
    with RedisCluster(tmp_path_factory.mktemp("cluster") / "nodes", node_timeout_ms=PATIENT_MS) as cluster:
        yield cluster


class Returns:
    """Waits for the return of a server that was away."""

    def __init__(self, servers: RedisServers) -> None:
        self.servers = servers
        self._returned = asyncio.Event()
        servers.on_return(self._returned.set)

    async def wait(self) -> None:
        async with asyncio.timeout(120):
            while self.servers.facts().away:
                await self._returned.wait()
                self._returned.clear()


@asynccontextmanager
async def opened(options: RedisOptions) -> AsyncIterator[tuple[RedisServers, Returns]]:
    async with RedisServers(options) as servers:
        yield servers, Returns(servers)


def at(server: RedisServer, *, call_ms: int = 10_000) -> RedisOptions:
    return RedisOptions(url=f"redis://{server.address}", call_ms=call_ms, retry_min_ms=50, retry_max_ms=200)


def over(cluster: RedisCluster, *, call_ms: int = 10_000) -> RedisOptions:
    return RedisOptions(nodes=tuple(cluster.addresses[:2]), call_ms=call_ms, retry_min_ms=50, retry_max_ms=200)


GET = Call("k", ("GET", "k"))
SET = Call("k", ("SET", "k", "v"))


async def answered(servers: RedisServers, returns: Returns, call: Call) -> Answer:
    """What a call is answered where it has little time: a busy machine may need several."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await servers.ask(call)
            except StoreError:
                await returns.wait()


async def failing(servers: RedisServers, call: Call, why: str) -> None:
    with pytest.raises(StoreError, match=why) as raised:
        await servers.ask(call)
    assert raised.value.retriable


async def test_a_server_that_is_killed_costs_one_failure_and_is_found_again(server: RedisServer) -> None:
    async with opened(at(server)) as (servers, returns):
        await servers.ask(SET)
        server.kill()
        await failing(servers, GET, "refused")
        assert servers.facts().away == (server.address,)
        with pytest.raises(StoreError):
            await servers.ping()
        server.start()
        await returns.wait()
        assert (await servers.ask(GET)).value is None
        await servers.ping()


@pytest.mark.parametrize("fault", ["killed", "hung"])
async def test_while_a_server_is_away_no_call_tries_it(server: RedisServer, fault: str) -> None:
    """Calls are answered by what is known, until the one task that tries it has found it: not within this test."""
    never = replace(at(server, call_ms=SHORT_MS), retry_min_ms=60_000, retry_max_ms=60_000)
    async with opened(never) as (servers, _):
        server.kill() if fault == "killed" else server.pause()
        with pytest.raises(StoreError):
            await servers.ask(GET)
        server.start() if fault == "killed" else server.resume()
        for _ in range(50):
            await failing(servers, GET, "refused" if fault == "killed" else "did not answer within")


async def test_a_server_that_was_started_anew_between_two_calls_was_not_away(server: RedisServer) -> None:
    """The connections are dead, the server is not. It says that it is another run of it."""
    async with opened(at(server)) as (servers, _):
        before = await servers.ask(SET)
        await asyncio.gather(*(servers.ask(SET) for _ in range(8)))
        server.kill()
        server.start()
        after = await servers.ask(GET)
        assert after.value is None
        assert after.run != before.run
        assert servers.facts().failures == 0


async def test_a_server_that_is_away_at_the_start_is_found_later(server: RedisServer) -> None:
    server.kill()
    async with opened(at(server)) as (servers, returns):
        await failing(servers, SET, "refused")
        server.start()
        await returns.wait()
        assert (await servers.ask(SET)).value == b"OK"


async def test_a_server_that_hangs_costs_one_time_limit(server: RedisServer) -> None:
    """All who are on their way wait for it together."""
    async with opened(at(server, call_ms=SHORT_MS)) as (servers, returns):
        await answered(servers, returns, SET)
        server.pause()
        try:
            on_their_way = await asyncio.gather(*(servers.ask(GET) for _ in range(30)), return_exceptions=True)
            assert all(isinstance(answer, StoreError) for answer in on_their_way)
            assert servers.facts().away
        finally:
            server.resume()
        assert (await answered(servers, returns, GET)).value == b"v"


async def test_a_full_server_refuses_to_write_and_is_not_away(server: RedisServer) -> None:
    async with opened(at(server)) as (servers, _):
        await servers.ask(SET)
        server.ask("config", "set", "maxmemory", "1")
        try:
            await failing(servers, SET, "is full")
            await failing(servers, Script("return redis.call('SET', KEYS[1], 'w')").call(("k",)), "is full")
            assert (await servers.ask(GET)).value == b"v"
            assert servers.facts().away == ()
        finally:
            server.ask("config", "set", "maxmemory", "0")
        assert (await servers.ask(SET)).value == b"OK"


async def test_a_server_with_too_many_clients_is_away_until_there_is_room(tmp_path: Path) -> None:
    skip_without("redis")
    with RedisServer(tmp_path, "--maxclients", "1") as server:
        async with opened(at(server)) as (second, returns):
            async with opened(at(server)) as (first, room):
                with suppress(StoreError):  # whoever looked whether it is up may have its place still
                    await first.ask(SET)
                await room.wait()
                await first.ask(SET)
                await failing(second, GET, "max number of clients")
            await returns.wait()
            assert (await second.ask(GET)).value == b"v"


async def test_a_server_that_became_a_replica_is_told_and_found_again(server: RedisServer) -> None:
    """What a managed service does at a failover, until its name leads to another server."""
    async with opened(at(server)) as (servers, _):
        await servers.ask(SET)
        server.ask("replicaof", "127.0.0.1", "1")
        try:
            await failing(servers, SET, "is a replica")
        finally:
            server.ask("replicaof", "no", "one")
        assert (await servers.ask(SET)).value == b"OK"


async def test_a_server_that_is_away_again_as_its_return_is_told_is_tried_again(server: RedisServer) -> None:
    """Before anything else has its turn: nobody else would try it any more."""
    server.kill()
    async with opened(at(server)) as (servers, returns):
        await failing(servers, SET, "refused")
        (node,) = servers._nodes.values()
        told = 0

        def away_again() -> None:
            nonlocal told
            told += 1
            if told == 1:
                node.fault = "away again"
                servers._tend(node)

        servers.on_return(away_again)
        server.start()
        await returns.wait()
        assert told == 2
        assert (await servers.ask(SET)).value == b"OK"


# -- Cluster -----------------------------------------------------------------------------------------------------


def key_of(cluster: RedisCluster, node: RedisServer) -> str:
    return next(key for key in map(str, range(1_000)) if cluster.owner(key) is node)


def setting(key: str) -> Call:
    return Call(key, ("SET", key, "v"))


async def test_a_dead_master_concerns_its_own_keys_until_its_replica_has_its_place(cluster: RedisCluster) -> None:
    async with opened(over(cluster)) as (servers, returns):
        dead = cluster.owner("k")
        other = next(key for key in map(str, range(1_000)) if cluster.owner(key) is not dead)
        before = await servers.ask(SET)
        dead.kill()
        try:
            await failing(servers, SET, "refused")
            assert servers.facts().away == (dead.address,)
            # the whole Cluster stops for a moment once it has noticed; until then others are not concerned
            await servers.ask(setting(other))
            with cluster.quick():
                cluster.wait_other_owner("k", dead)
            await returns.wait()
            after = await servers.ask(SET)
            assert after.run != before.run
        finally:
            dead.start()
            cluster.wait_whole()
        await servers.ping()


async def test_a_hung_master_is_left_for_its_replica(cluster: RedisCluster) -> None:
    async with opened(over(cluster, call_ms=SHORT_MS)) as (servers, returns):
        hung = cluster.owner("k")
        await answered(servers, returns, SET)
        hung.pause()
        try:
            await failing(servers, SET, f"within {SHORT_MS} ms")
            with cluster.quick():
                cluster.wait_other_owner("k", hung)
            assert (await answered(servers, returns, SET)).value == b"OK"
        finally:
            hung.resume()
            cluster.wait_whole()
        # it was master when it fell asleep; it must not be taken for one now
        assert (await answered(servers, returns, SET)).value == b"OK"


async def test_a_slot_that_wanders_is_followed(cluster: RedisCluster) -> None:
    """While keys of a slot are on their way, calls find them on either side; then the slot has another owner."""
    source = cluster.owner("{wander}1")
    target = next(node for node in cluster.nodes if node is cluster.owner(key_of_other(cluster, source)))
    slot = source.ask("cluster", "keyslot", "{wander}1")
    ids = {node: node.ask("cluster", "myid") for node in (source, target)}
    async with opened(over(cluster)) as (servers, _):
        for key in ("{wander}1", "{wander}2"):
            await servers.ask(setting(key))
        target.ask("cluster", "setslot", slot, "importing", ids[source])
        source.ask("cluster", "setslot", slot, "migrating", ids[target])
        source.ask("migrate", "127.0.0.1", str(target.port), "{wander}1", "0", "5000")
        reads = [Call(key, ("GET", key)) for key in ("{wander}1", "{wander}2")]
        assert [getattr(answer, "value", answer) for answer in await servers.each(reads)] == [b"v", b"v"]
        script = Script("return redis.call('GET', KEYS[1])")
        assert (await servers.ask(script.call(("{wander}1",)))).value == b"v"
        both = Script("return redis.call('MGET', KEYS[1], KEYS[2])").call(("{wander}1", "{wander}2"))
        with pytest.raises(StoreError) as raised:
            await servers.ask(both)
        assert raised.value.retriable
        source.ask("migrate", "127.0.0.1", str(target.port), "{wander}2", "0", "5000")
        for node in (target, source):
            node.ask("cluster", "setslot", slot, "node", ids[target])
        assert (await servers.ask(both)).value == [b"v", b"v"]
        cluster.wait_whole()


def key_of_other(cluster: RedisCluster, node: RedisServer) -> str:
    return next(key for key in map(str, range(1_000)) if cluster.owner(key) is not node)
