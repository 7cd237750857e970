"""The bus while Redis is killed, hung, full, another's, or a replica; and what others say on its channels."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgpack
import pytest

from config.bus import BusOptions
from gateway.bus import Bus, RedisCarrier
from gateway.bus.lease import LeasedDirectory
from loadtest.servers.redis import RedisCluster, RedisServer
from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from tests.gateway.bus.nodes import PATIENCE_S, Ear, over_redis, own_prefix
from tests.gateway.bus.test_lease import node, until
from tests.servers import skip_without


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    skip_without("redis")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def at(server: RedisServer, *, call_ms: int = 10_000) -> RedisOptions:
    return own_prefix(
        RedisOptions(url=f"redis://{server.address}/0", call_ms=call_ms, retry_min_ms=20, retry_max_ms=100)
    )


async def fault_of(ping: Callable[[], Awaitable[None]], words: str) -> None:
    """Wait until a part says what is wrong with it; "" for nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await ping()
            except StoreError as fault:
                if words and words in str(fault):
                    return
            else:
                if not words:
                    return
            await asyncio.sleep(0.02)


async def said(bus: Bus, ear: Ear, message: str) -> None:
    """Say something until it is heard, with a number each time: it may be heard late, and then more than once is."""
    async with asyncio.timeout(PATIENCE_S):
        for number in count():
            if message in words(ear):
                break
            with suppress(StoreError):
                await bus.publish("news", [message, number])
            await asyncio.sleep(0.02)


def words(ear: Ear) -> list[str]:
    """What was `said` and heard, in order, each once; fails where something was heard twice, or not in order."""
    found = list(dict.fromkeys(word for word, _ in ear.messages))
    assert ear.messages == sorted(ear.messages, key=lambda one: (found.index(one[0]), one[1]))
    assert len({tuple(one) for one in ear.messages}) == len(ear.messages)
    return found


async def test_redis_that_is_killed_and_comes_back_is_a_gap_for_all_who_listen(server: RedisServer) -> None:
    """Nothing is heard twice; who could not send is told at once, and readiness says so."""
    make = over_redis(at(server))
    async with make() as here, make() as there:
        ears = [await Ear(there, channel).listening() for channel in ("news", "other")]
        await said(here, ears[0], "before")
        server.kill()
        await fault_of(there.ping, "Redis at")
        with pytest.raises(StoreError):
            await here.publish("news", "lost")
        assert not [ear for ear in ears if ear.resyncs != 1]
        server.start()
        for ear in ears:
            await ear.until(lambda ear=ear: ear.resyncs >= 2)  # type: ignore[misc]  # bound early
        await said(here, ears[0], "after")
        assert words(ears[0]) == ["before", "after"]
        await fault_of(there.ping, "")
        await fault_of(here.ping, "")


async def test_who_said_something_in_vain_has_it_told_when_redis_is_back(server: RedisServer) -> None:
    """Without anybody saying more: a hang that the listener's connection outlives."""
    make = over_redis(at(server, call_ms=1_000))
    async with make() as here, make() as there:
        ear = await Ear(there, "news").listening()
        await said(here, ear, "before")
        server.pause()
        try:
            with pytest.raises(StoreError):
                await here.publish("news", ["in vain, or late", 0])
        finally:
            server.resume()
        await ear.until(lambda: ear.resyncs >= 2)
        assert set(words(ear)) <= {"before", "in vain, or late"}


async def test_opened_before_there_is_a_redis_it_hears_from_when_there_is(server: RedisServer) -> None:
    make = over_redis(at(server))
    server.kill()
    async with make() as here, make() as there:
        ear = Ear(there, "news")
        with pytest.raises(StoreError):
            await there.ping()
        server.start()
        await ear.listening()
        await said(here, ear, "hello")
        assert words(ear) == ["hello"]


async def test_a_connection_that_only_listens_is_mended(server: RedisServer) -> None:
    """Cut by Redis (too slow a reader, an operator): one gap, and nobody else's business."""
    make = over_redis(at(server))
    async with make() as here, make() as there:
        ear = await Ear(there, "news").listening()
        server.ask("client", "kill", "type", "pubsub")
        await ear.until(lambda: ear.resyncs >= 2)
        await here.publish("news", "hello")
        await ear.until(lambda: ear.messages == ["hello"])


async def test_a_thousand_channels_are_heard_on_one_connection(server: RedisServer) -> None:
    options = at(server)
    async with RedisServers(options) as servers:
        carrier = RedisCarrier(servers, options)
        async with Bus(carrier) as bus:
            ears = [Ear(bus, f"room-{i}") for i in range(1_000)]
            for ear in ears:
                await ear.listening()
            assert carrier.connections == 1
            assert server.ask("client", "list", "type", "pubsub").count("id=") == 1
            for ear in ears:
                ear.subscription.close()
            assert carrier.connections == 0


async def test_what_others_say_on_a_channel_is_passed_over(server: RedisServer) -> None:
    """Noise, a newer version, an installation in another database with the same prefix: counted, and no gap."""
    options = at(server)
    make = over_redis(options)
    neighbour = over_redis(replace(options, url=f"redis://{server.address}/1"))
    async with make() as here, make() as there, neighbour() as other:
        ear = await Ear(there, "news").listening()
        theirs = await Ear(other, "news").listening()
        name = f"{options.prefix}0:bus:news"
        for noise in ("", "nonsense", "\x95\x01"):
            assert server.ask("publish", name, noise) == "1"
        newer = msgpack.packb([2, "all is new"])
        async with RedisServers(options) as servers:
            await servers.ask(_call(name, newer))
        await other.publish("news", "not yours")
        await theirs.until(lambda: theirs.messages == ["not yours"])
        await here.publish("news", "hello")
        await ear.until(lambda: ear.messages == ["hello"])
        assert (there.facts().malformed, there.facts().newer) == (3, 1)
        assert ear.resyncs == 1


def _call(name: str, message: bytes) -> Call:
    return Call(name, ("PUBLISH", name, message))


@asynccontextmanager
async def member(options: RedisOptions, name: str, lease_ms: int = 500) -> AsyncIterator[tuple[Bus, LeasedDirectory]]:
    async with (
        RedisServers(options) as servers,
        Bus(RedisCarrier(servers, options)) as bus,
        LeasedDirectory(servers, bus, node(name), BusOptions(lease_ms=lease_ms)) as directory,
    ):
        yield bus, directory


async def test_a_full_redis_refuses_newcomers_and_carries_on(server: RedisServer) -> None:
    """Who is there stays there; messages go on; the newcomer's readiness says why it is not known."""
    options = at(server)
    async with member(options, "old", lease_ms=10_000) as (here, directory):
        ear = await Ear(here, "news").listening()
        await fault_of(directory.ping, "")
        server.ask("config", "set", "maxmemory", "1")
        try:
            async with member(options, "new") as (there, newcomer):
                await fault_of(newcomer.ping, "is full")
                await said(there, ear, "hello")

                async def aged() -> bool:
                    return int(server.ask("pttl", f"{options.prefix}node:old")) < 9_000

                async def renewed() -> bool:
                    return not await aged()

                await until(aged)
                await until(renewed)
                await directory.ping()
        finally:
            server.ask("config", "set", "maxmemory", "0")


async def test_a_replica_is_told_from_a_master(server: RedisServer) -> None:
    """It takes what is published, and tells nobody but its own: readiness says that it is one."""
    options = at(server)
    async with member(options, "here") as (bus, directory):
        await fault_of(directory.ping, "")
        server.ask("replicaof", "127.0.0.1", "1")
        try:
            await fault_of(directory.ping, "is a replica")
        finally:
            server.ask("replicaof", "no", "one")
        await fault_of(directory.ping, "")
        await fault_of(bus.ping, "")


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ("off", "invalid username-password pair or user is disabled"),
        ("on >secret +@all ~* resetchannels", "access one of the channels"),
        ("on >secret +@all ~* &* -subscribe", "no permissions to run the 'subscribe' command"),
    ],
)
async def test_what_a_user_may_not_do_is_said(server: RedisServer, tmp_path: Path, rights: str, words: str) -> None:
    """And is mended by an operator without a restart."""
    (tmp_path / "password").write_text("secret")
    options = replace(at(server), user="typegate", password_file=tmp_path / "password")
    server.ask("acl", "setuser", "typegate", "reset", *rights.split())
    try:
        async with over_redis(options)() as bus:
            ear = Ear(bus, "news")
            await fault_of(bus.ping, words)
            server.ask("acl", "setuser", "typegate", "reset", "on", ">secret", "+@all", "~*", "&*")
            await ear.listening()
            await fault_of(bus.ping, "")
    finally:
        server.ask("acl", "deluser", "typegate")


# -- Cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="cluster")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    skip_without("redis")
    with RedisCluster(tmp_path_factory.mktemp("cluster") / "nodes") as cluster:
        yield cluster


def over(cluster: RedisCluster) -> RedisOptions:
    return own_prefix(
        RedisOptions(nodes=tuple(cluster.addresses[:2]), call_ms=10_000, retry_min_ms=20, retry_max_ms=200)
    )


async def test_a_dead_master_s_channels_are_heard_at_its_replica(cluster: RedisCluster) -> None:
    """After a gap of theirs; channels of other masters have none."""
    options = over(cluster)
    make = over_redis(options)

    def owner(channel: str) -> RedisServer:
        return cluster.owner(f"{options.prefix}0:bus:{channel}")

    dead = await asyncio.to_thread(owner, "news")
    async with make() as here, make() as there:
        ear = await Ear(there, "news").listening()
        await said(here, ear, "before")
        dead.kill()
        try:
            await asyncio.to_thread(cluster.wait_other_owner, f"{options.prefix}0:bus:news", dead)
            await ear.until(lambda: ear.resyncs >= 2)
            await said(here, ear, "after")
            assert words(ear) == ["before", "after"]
        finally:
            await asyncio.to_thread(dead.start)
            await asyncio.to_thread(cluster.wait_whole)


async def test_a_slot_that_moves_is_followed(cluster: RedisCluster) -> None:
    """Redis ends the subscription; it is made again where the slot is, with a gap."""
    options = over(cluster)
    make = over_redis(options)
    name = f"{options.prefix}0:bus:news"
    source = cluster.owner(name)
    target = next(one for one in (cluster.owner(str(i)) for i in range(1_000)) if one is not source)
    slot = source.ask("cluster", "keyslot", name)
    async with make() as here, make() as there:
        ear = await Ear(there, "news").listening()
        other = await Ear(there, "other").listening()
        await said(here, ear, "before")
        for one in (target, source):
            one.ask("cluster", "setslot", slot, "node", target.ask("cluster", "myid"))
        await ear.until(lambda: ear.resyncs >= 2)
        await said(here, ear, "after")
        assert words(ear) == ["before", "after"]
        await here.publish("other", "hello")
        await other.until(lambda: other.messages == ["hello"])
    await asyncio.to_thread(cluster.wait_whole)


async def test_a_cluster_is_heard_on_a_connection_to_each_master_at_most(cluster: RedisCluster) -> None:
    options = over(cluster)
    async with RedisServers(options) as servers:
        carrier = RedisCarrier(servers, options)
        async with Bus(carrier) as bus:
            ears = [Ear(bus, f"room-{i}") for i in range(200)]
            for ear in ears:
                await ear.listening()
            assert carrier.connections == 3


async def test_one_kind_of_redis_is_not_taken_for_the_other(server: RedisServer, cluster: RedisCluster) -> None:
    """`url` of a Cluster's node, `nodes` of a standalone server: readiness says which setting is wrong."""
    as_single = own_prefix(RedisOptions(url=f"redis://{cluster.addresses[0]}/0"))
    async with over_redis(as_single)() as bus:
        await fault_of(bus.ping, "is a node of a Cluster; name it by `nodes`")
    as_cluster = own_prefix(RedisOptions(nodes=(server.address,)))
    async with over_redis(as_cluster)() as bus:
        ear = Ear(bus, "news")
        await fault_of(bus.ping, "is no node of a Redis Cluster")
        assert ear.heard == []
