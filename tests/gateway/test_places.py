"""Limits of connections, of users and of addresses: on one server and over two."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.edge import EdgeOptions
from config.gateway import ConnectionOptions
from gateway.app import Gateway
from gateway.codec import CODECS
from gateway.connection import Connection
from gateway.places import Places
from loadtest.servers.redis import RedisServer
from persistence.redis import Call, RedisOptions, RedisServers
from tests.gateway.connecting import RawClient
from tests.gateway.running import PATIENCE_S, program, serving, settings
from tests.gateway.two_servers import two_servers, until
from tests.gateway.typing_client import JSON, Closed, TypingClient, client
from tests.servers import PATIENT_MS, skip_without

BEHIND = EdgeOptions(port=0, trusted_proxies=("127.0.0.1",))
TWO_EACH = ConnectionOptions(per_user=2)


def forwarded(address: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def lives(typist: TypingClient) -> None:
    await typist.send("hb", c=1)
    await typist.receive("hb")


async def test_a_user_s_connection_too_many_is_closed(tmp_path: Path) -> None:
    """With 4004; where another goes there is room again, and other users have their own."""
    async with serving(tmp_path / "data", connection=TWO_EACH) as (gateway, http), client(gateway.url) as first:
        token = first.ready["token"]
        async with client(gateway.url, token=token) as second:
            async with client(gateway.url, token=token) as third:
                end = await third.closed()
                assert (end.code, end.reason) == (4004, "rate limited: too many connections of your account")
            async with client(gateway.url) as other:
                await lives(other)
            await lives(second)
        await until(lambda: len(gateway.hub.connections) == 1)
        async with client(gateway.url, token=token) as again:
            await lives(again)
            await lives(first)
        metrics = (await http.get(f"{gateway.admin_url}metrics")).text
        assert 'typegate_places_refused_total{of="user"} 1.0' in metrics


async def test_an_address_s_connection_too_many_is_closed(tmp_path: Path) -> None:
    """Whoever they say they are, and before they do; an IPv6 /64 is one address, behind proxies it is the client's."""
    options = ConnectionOptions(per_address=1)
    async with (
        serving(tmp_path / "data", connection=options, server=BEHIND) as (gateway, _),
        client(gateway.url, **forwarded("2001:db8::1")) as one,
    ):
        async with client(gateway.url, auth=False, **forwarded("2001:db8::2")) as neighbour:
            end = await neighbour.closed()
            assert (end.code, end.reason) == (4004, "rate limited: too many connections of your address")
        async with client(gateway.url, **forwarded("2001:db8:0:1::1")) as other:
            await lives(other)
        await lives(one)


async def test_the_first_who_signs_in_stays(tmp_path: Path) -> None:
    """The newer one comes in when it is gone; what hands in old tests comes in at once."""
    options = ConnectionOptions(sign_ins="first")
    async with serving(tmp_path / "data", connection=options) as (gateway, _):
        async with client(gateway.url) as first:
            token = first.ready["token"]
            async with client(gateway.url, token=token) as second:
                end = await second.closed()
                assert (end.code, "close it first" in end.reason) == (4004, True)
            async with client(gateway.url, auth=False) as aside:
                await aside.send("auth", token=token, aside=True)
                await aside.receive("ready")
                await lives(aside)
                await lives(first)
        await until(lambda: not gateway.hub.connections)
        async with client(gateway.url, token=token) as second:
            await lives(second)


@asynccontextmanager
async def broken_off(url: str, token: str) -> AsyncIterator[RawClient]:
    """A connection that typed, and answers nothing any more; none but the server knows of it."""
    async with RawClient(url) as dead:
        dead.send(t="auth", token=token)
        while b'"ready"' not in dead.received:
            dead.received += await dead.reader.read(65_536)
        yield dead


async def comes_in(url: str, token: str, *, again: int = 1) -> None:
    """Try until we are in and stay, as a client does that has lost its connection."""
    async with asyncio.timeout(60):
        while True:
            async with client(url, token=token) as back:
                try:
                    for _ in range(again):
                        await asyncio.sleep(0.5)
                        await lives(back)
                except Closed as end:
                    assert end.code == 4004  # noqa: PT017  # it may be refused many times
                else:
                    break


ONE_EACH = ConnectionOptions(per_user=1, heartbeat_s=300)
"""By heartbeats alone a connection that broke off would be there for ten minutes."""


@pytest.mark.parametrize("options", [ONE_EACH, ConnectionOptions(sign_ins="first", heartbeat_s=300)])
async def test_nobody_is_shut_out_by_a_connection_that_broke_off(tmp_path: Path, options: ConnectionOptions) -> None:
    """It is asked whether it is there, and has no place once it has not answered; one that answers stays."""
    async with serving(tmp_path / "data", connection=options) as (gateway, _):
        async with client(gateway.url) as typist:
            token = typist.ready["token"]
            for _ in range(3):
                async with client(gateway.url, token=token) as second:
                    assert (await second.closed()).code == 4004
            await lives(typist)
        await until(lambda: not gateway.hub.connections)
        async with broken_off(gateway.url, token):
            await comes_in(gateway.url, token)


async def test_nor_at_another_server(tmp_path: Path, redis_single: RedisOptions) -> None:
    """The one that has it is told to ask."""
    async with (
        two_servers(tmp_path, redis_single, connection=ONE_EACH) as two,
        RedisServers(two[0].settings.redis) as servers,
    ):
        async with client(two[0].url) as typist:
            token, user = typist.ready["token"], typist.ready["user"]
            await written(servers, user, 1)
        await written(servers, user, 0)
        async with broken_off(two[0].url, token):
            await written(servers, user, 1)
            await comes_in(two[1].url, token, again=3)


async def written(servers: RedisServers, user: str, processes: int) -> None:
    """Wait until Redis knows that so many processes have connections of a user."""
    key = f"{servers.prefix}places:u:{user}"
    async with asyncio.timeout(PATIENCE_S):
        while (await servers.ask(Call(key, ("HLEN", key)))).value != processes:  # noqa: ASYNC110  # without an event
            await asyncio.sleep(0.005)


async def test_who_comes_while_redis_is_asked_closes_nobody(tmp_path: Path) -> None:
    """Not those who were counted before: who came later is counted the next time."""
    async with serving(tmp_path / "data") as (gateway, _):
        places = Places(gateway.hub, TWO_EACH, RedisServers(RedisOptions()), this="a/1", alive=tuple)
        one, late = (Connection(gateway.hub, CODECS[JSON]) for _ in range(2))
        one.user = late.user = 7
        gateway.hub.signing_in[-1](one)
        sent = tuple(places._here["u:7"].new)
        gateway.hub.signing_in[-1](late)
        await places._heed("u:7", sent, 1)
        assert (one.counts_as, late.counts_as) == (("u:7",), ("u:7",))
        await places._heed("u:7", [late], 1)
        assert (one.counts_as, late.counts_as) == (("u:7",), ())


class Compared(Connection):
    """Counts how often such a one is compared with another."""

    compared = 0
    __hash__ = Connection.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.compared += 1
        return self is other


async def test_many_of_one_address_cost_no_more_each(tmp_path: Path) -> None:
    """They are found, not searched for; and of those who are too many a few are closed in each turn of the loop."""
    async with serving(tmp_path / "data") as (gateway, _):
        hub = gateway.hub
        options = ConnectionOptions(per_address=2_000)
        places = Places(hub, options, RedisServers(RedisOptions()), this="a/1", alive=tuple)
        many = [Compared(hub, CODECS[JSON]) for _ in range(2_000)]
        for one in many:
            hub.coming[-1](one)
        (key,) = places._here
        turns = 0
        async with asyncio.TaskGroup() as group:
            heeding = group.create_task(places._heed(key, many, 1_000))
            while not heeding.done():
                turns += 1
                await asyncio.sleep(0)
        assert sum(bool(one.counts_as) for one in many) == 1_000
        assert turns > 20
        for one in many[::-1]:
            hub.leaving[-1](one)
        assert (len(places), Compared.compared) == (0, 0)


@pytest.fixture(name="redis", params=["single", "cluster"])
def _redis(request: pytest.FixtureRequest) -> RedisOptions:
    options = request.getfixturevalue(f"redis_{request.param}")
    assert isinstance(options, RedisOptions)
    return options


@pytest.fixture(name="two")
async def _two(tmp_path: Path, redis: RedisOptions) -> AsyncIterator[list[Gateway]]:
    async with two_servers(tmp_path, redis, connection=TWO_EACH) as gateways:
        yield gateways


async def test_over_two_servers_a_user_has_as_many_as_on_one(two: list[Gateway]) -> None:
    """Those that were there stay; where one goes another may come, wherever."""
    async with RedisServers(two[0].settings.redis) as servers, client(two[0].url) as first:
        token, user = first.ready["token"], first.ready["user"]
        await written(servers, user, 1)
        async with client(two[1].url, token=token) as second:
            await written(servers, user, 2)
            for gateway in two:
                async with client(gateway.url, token=token) as third:
                    assert (await third.closed()).code == 4004
            await lives(second)
            await lives(first)
        async with asyncio.timeout(60):
            while True:  # until both know that it is gone
                async with client(two[0].url, token=token) as again:
                    try:
                        await asyncio.sleep(0.5)
                        await lives(again)
                    except Closed:
                        continue
                    break


async def test_of_many_who_come_at_once_no_more_stay_than_may(two: list[Gateway]) -> None:
    """Nor none, though some may be closed that had fitted: they come back."""
    async with client(two[0].url) as first:
        token, user = first.ready["token"], int(first.ready["user"])
    await until(lambda: not two[0].hub.connections)
    async with AsyncExitStack() as stack:
        await asyncio.gather(
            *(stack.enter_async_context(client(two[number % 2].url, token=token)) for number in range(8)),
        )
        await until(lambda: sum(len(gateway.hub.of(user)) for gateway in two) <= 2)
        await asyncio.sleep(1)
        assert 1 <= sum(len(gateway.hub.of(user)) for gateway in two) <= 2


async def test_what_a_killed_server_had_goes_with_its_lease(tmp_path: Path, redis_single: RedisOptions) -> None:
    """So its clients may come back elsewhere."""
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    environment = {
        "TYPEGATE_REDIS_URL": options.url,
        "TYPEGATE_REDIS_PREFIX": options.prefix,
        "TYPEGATE_REDIS_CALL_MS": str(options.call_ms),
        "TYPEGATE_CONNECTION_PER_USER": "1",
        "TYPEGATE_NODE_KEYS_FILE": str(tmp_path / "keys.json"),
        "TYPEGATE_BUS_LEASE_MS": "600000",
    }
    mine = ConnectionOptions(per_user=1)
    base = settings(tmp_path / "here", redis=options, connection=mine)
    node = replace(base.node, keys_file=tmp_path / "keys.json")
    async with serving(tmp_path / "here", redis=options, connection=mine, node=node) as (here, _):
        async with (
            program(tmp_path / "there", "--node", "there", **environment) as there,
            RedisServers(options) as servers,
        ):
            await until(lambda: len(here._runs() or ()) == 2)
            async with client(there.url) as typist:
                token = typist.ready["token"]
                await written(servers, typist.ready["user"], 1)
                async with client(here.url, token=token) as second:
                    assert (await second.closed()).code == 4004
                there.process.kill()
                await there.process.wait()
                await servers.ask(Call(lease := f"{options.prefix}node:there", ("DEL", lease)))  # its time is over
        await until(lambda: len(here._runs() or ()) == 1)
        async with client(here.url, token=token) as second:
            await asyncio.sleep(1)
            await lives(second)


async def test_a_count_that_redis_does_not_take_holds_up_no_other(tmp_path: Path, redis_single: RedisOptions) -> None:
    """It is written again later."""
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with serving(tmp_path / "data") as (gateway, _), RedisServers(options) as servers:
        places = Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: ("a/1", "b/1"))
        two = [Connection(gateway.hub, CODECS[JSON]) for _ in range(2)]
        for user, one in enumerate(two, 7):
            one.user = user
            gateway.hub.signing_in[-1](one)
        await servers.ask(Call(wrong := f"{options.prefix}places:u:7", ("SET", wrong, "no hash")))
        await servers.ask(Call(full := f"{options.prefix}places:u:8", ("HSET", full, "b/1", "2")))
        assert list(await places._written(["u:7", "u:8"])) == ["u:7"]
        assert [one.counts_as for one in two] == [("u:7",), ()]
        await servers.ask(Call(wrong, ("DEL", wrong)))
        assert not await places._written(["u:7"])


async def test_who_comes_before_the_others_are_known_is_counted_with_them_later(
    tmp_path: Path, redis_single: RedisOptions
) -> None:
    """A server listens before it has read who else is there."""
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with serving(tmp_path / "data") as (gateway, _), RedisServers(options) as servers:
        alive: tuple[str, ...] | None = None
        places = Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: alive)
        one = Connection(gateway.hub, CODECS[JSON])
        one.user = 8
        gateway.hub.signing_in[-1](one)
        await servers.ask(Call(full := f"{options.prefix}places:u:8", ("HSET", full, "b/1", "2")))
        assert list(await places._written(["u:8"])) == ["u:8"], "to be tried again"
        assert one.counts_as == ("u:8",)
        alive = ("a/1", "b/1")
        assert not await places._written(["u:8"])
        assert not one.counts_as


async def test_what_cannot_be_understood_ends_no_counting(tmp_path: Path, redis_single: RedisOptions) -> None:
    """It is logged, and the next ones are counted."""
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with serving(tmp_path / "data") as (gateway, _), RedisServers(options) as servers:
        one, other = (Connection(gateway.hub, CODECS[JSON]) for _ in range(2))
        one.user, other.user = 7, 8
        await servers.ask(Call(key := f"{options.prefix}places:u:7", ("HSET", key, "b/1", "many")))
        async with Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: ("a/1", "b/1")) as places:
            with capture_logs() as logs:
                gateway.hub.signing_in[-1](one)
                await until(lambda: any(line["log_level"] == "error" for line in logs))
            gateway.hub.signing_in[-1](other)
            await until(lambda: not places._here["u:8"].new)


async def fields(servers: RedisServers, key: str) -> set[bytes]:
    """The processes that have counts there."""
    return set((await servers.ask(Call(key, ("HKEYS", key)))).value)


async def test_what_the_dead_have_left_goes_from_an_address_that_is_always_busy(
    tmp_path: Path, redis_single: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those who have been gone for a while; nobody else's goes, nor of who was away for a moment."""
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with serving(tmp_path / "data") as (gateway, _), RedisServers(options) as servers:
        alive = ["a/1", "b/1"]
        places = Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: alive)
        one = Connection(gateway.hub, CODECS[JSON])
        one.user = 7
        gateway.hub.signing_in[-1](one)
        key = f"{options.prefix}places:u:7"
        await servers.ask(Call(key, ("HSET", key, "b/1", "1", "c/1", "2", "d/1", "many")))
        for _ in range(2):
            assert not await places._written(["u:7"])
        assert await fields(servers, key) == {b"a/1", b"b/1", b"c/1", b"d/1"}
        alive.append("c/1")
        assert not await places._written(["u:7"])
        monkeypatch.setattr("gateway.places._DEAD_S", 0.0)
        assert not await places._written(["u:7"])
        assert await fields(servers, key) == {b"a/1", b"b/1", b"c/1"}
        assert not places._gone_s.keys() & set(alive)


async def test_who_was_away_twice_for_a_moment_was_not_gone_meanwhile(
    tmp_path: Path, redis_single: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where nobody came or went in between, and so no count was looked at."""
    monkeypatch.setattr("gateway.places._HUNG_S", 0.05)
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    alive = ["a/1"]
    async with (
        serving(tmp_path / "data") as (gateway, _),
        RedisServers(options) as servers,
        Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: alive) as places,
    ):
        key = f"{options.prefix}places:u:7"
        await servers.ask(Call(key, ("HSET", key, "b/1", "1")))
        assert not await places._written(["u:7"])
        assert "b/1" in places._gone_s
        alive.append("b/1")
        await until(lambda: not places._gone_s)


async def test_who_hung_writes_its_counts_anew(
    tmp_path: Path, redis_single: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may have taken it for dead, and deleted them."""
    monkeypatch.setattr("gateway.places._HUNG_S", 0.3)
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with (
        serving(tmp_path / "data") as (gateway, _),
        RedisServers(options) as servers,
        Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: ("a/1",)),
    ):
        one = Connection(gateway.hub, CODECS[JSON])
        one.user = 7
        gateway.hub.signing_in[-1](one)
        await written(servers, "7", 1)
        key = f"{options.prefix}places:u:7"
        await servers.ask(Call(key, ("DEL", key)))
        time.sleep(1.2)  # noqa: ASYNC251  # it hangs
        await written(servers, "7", 1)


async def test_who_goes_in_good_order_leaves_no_counts(
    tmp_path: Path, redis_single: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even those of its last connections, which it has just closed."""
    monkeypatch.setattr("gateway.places._LAST_S", PATIENCE_S)
    options = replace(redis_single, prefix=f"{tmp_path.name}:")
    async with serving(tmp_path / "data") as (gateway, _), RedisServers(options) as servers:
        async with Places(gateway.hub, TWO_EACH, servers, this="a/1", alive=lambda: ("a/1",)):
            one = Connection(gateway.hub, CODECS[JSON])
            one.user = 7
            gateway.hub.signing_in[-1](one)
            await written(servers, "7", 1)
            gateway.hub.leaving[-1](one)
        assert await fields(servers, f"{options.prefix}places:u:7") == set()


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


async def test_while_redis_is_away_each_server_holds_to_its_own(tmp_path: Path, server: RedisServer) -> None:
    """And when it is back, empty, to all again."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    async with two_servers(tmp_path, redis, connection=TWO_EACH) as two, AsyncExitStack() as stack:
        first = await stack.enter_async_context(client(two[0].url))
        token = first.ready["token"]
        server.kill()
        others = [await stack.enter_async_context(client(gateway.url, token=token)) for gateway in two]
        async with client(two[0].url, token=token) as third:
            assert (await third.closed()).code == 4004
        for one in (first, *others):
            await lives(one)
        server.start()
        await until(lambda: int(server.ask("dbsize")) > 0)
        async with asyncio.timeout(60):
            while True:
                async with client(two[1].url, token=token) as late:
                    await asyncio.sleep(0.5)
                    try:
                        await lives(late)
                    except Closed:
                        break
