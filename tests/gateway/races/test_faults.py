"""What breaks in the middle of a race: Redis, a node, the bus. Those who type do not notice."""

import asyncio
import signal
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.bus import Bus, RedisCarrier
from gateway.races.room import Room
from loadtest.servers.redis import RedisServer
from persistence.races.clock import RaceClock
from persistence.redis import Call, RedisOptions, RedisServers
from tests.gateway.races.racers import RULES, healthy, node, nodes, race_of, racer, racers, resumed
from tests.gateway.running import PATIENCE_S, program
from tests.gateway.test_takeovers import PATIENT, until
from tests.servers import PATIENT_MS, skip_without


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> RedisServer:
    skip_without("redis")
    return RedisServer(tmp_path / "redis")


async def test_redis_is_away_in_mid_race(tmp_path: Path, server: RedisServer) -> None:
    """Rooms stand still and say so, tests go on and are stored; back, though empty, it is told how the race went."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    server.start()
    try:
        async with AsyncExitStack() as stack:
            gateways = [await stack.enter_async_context(node(tmp_path, name, redis=redis)) for name in ("a", "b")]
            for gateway in gateways:
                await healthy(gateway)
            host, other = await stack.enter_async_context(racers(*gateways))
            await race_of(host, other)
            for each in (host, other):
                await each.begin()
                await each.type(0.5)
            await host.phase("running")
            await other.phase("running")
            server.kill()
            await host.type()
            await host.say("finish", n=len(host.typist.log) // 2)
            came: dict[str, dict[str, Any]] = {}
            while len(came) < 3:
                message = await host.typist.receive("result", "stored", "error")
                came[message["t"]] = message
            host.passed_over = other.passed_over = {"away"}  # it may be away more than once, on a busy machine
            assert came["result"]["session"] == came["stored"]["session"] == host.typist.started["session"]
            assert (came["error"]["code"], came["error"]["retry"] > 0) == ("away", True)
            await host.say("race.create", mode="words", count=5)
            assert (await host.typist.receive("error"))["code"] == "away"
            server.start()
            for each in (host, other):
                closing = await each.phase("closing")
                assert closing["racers"][0]["place"] == 1
            await other.type()
            await other.say("finish", n=len(other.typist.log) // 2)
            await other.typist.receive("result")
            for each in (host, other):
                settled = await each.until(lambda state: state["phase"] == "settled" and not state["provisional"])
                assert {row["state"] for row in settled["racers"]} == {"finished"}
    finally:
        server.stop()


async def test_redis_is_away_until_the_race_is_over(
    tmp_path: Path, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finished meanwhile has finished: what counts is when the result was there, not when it could be written."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    rules = replace(RULES, closing_share=0.0)
    ahead_ms, now_ms = 0, RaceClock.now_ms
    monkeypatch.setattr(RaceClock, "now_ms", lambda clock: now_ms(clock) + ahead_ms)
    server.start()
    try:
        async with AsyncExitStack() as stack:
            gateways = [
                await stack.enter_async_context(node(tmp_path, name, redis=redis, race=rules)) for name in ("a", "b")
            ]
            for gateway in gateways:
                await healthy(gateway)
            host, other = await stack.enter_async_context(racers(*gateways))
            other.passed_over = host.passed_over = {"away"}  # it may be away more than once, on a busy machine
            await race_of(host, other)
            for each in (host, other):
                await each.begin()
            await host.type()
            await host.finish()
            await other.phase("closing")
            server.kill()
            await other.type()
            await other.finish()
            ahead_ms = rules.closing_ms + 1_000  # by now it is over
            server.start()
            for each in (host, other):
                await each.phase("settled")
                settled = await each.until(lambda state: {row["state"] for row in state["racers"]} == {"finished"})
                assert all(row["place"] for row in settled["racers"])
    finally:
        server.stop()


async def test_a_node_dies(tmp_path: Path, redis_single: RedisOptions) -> None:
    """By kill -9: its racers are detached when its lease is over, and are back in their lanes at another node."""
    prefix = f"{uuid.uuid4().hex}:"
    rules = {f"TYPEGATE_RACE_{name.upper()}": str(getattr(RULES, name)) for name in ("ready_ms", "countdown_ms")}
    variables = rules | {
        "TYPEGATE_REDIS_URL": redis_single.url,
        "TYPEGATE_REDIS_PREFIX": prefix,
        "TYPEGATE_REDIS_CALL_MS": "30000",
        "TYPEGATE_BUS_LEASE_MS": "600000",
        "TYPEGATE_RACE_CLOSING_MS": "60000",
        "TYPEGATE_NODE_KEYS_FILE": str(tmp_path / "keys.json"),
    }
    async with (
        node(tmp_path, "b", redis=replace(redis_single, prefix=prefix), bus=PATIENT) as there,
        program(tmp_path / "a", "--node", "a", **variables) as doomed,
    ):
        await healthy(there)
        await until(lambda: there._is_there("a"))
        async with racer(there) as other, racer(doomed) as host:
            await race_of(host, other)
            await host.begin()
            await host.type(0.5)
            while host.lane not in other.progress:
                await other.hear("race.progress")
            await other.phase("running")
            doomed.signal(signal.SIGKILL)
            await doomed.process.wait()
            async with RedisServers(there.settings.redis) as servers:
                await servers.ask(Call(lease := f"{prefix}node:a", ("DEL", lease)))  # its time is over
            there._directory._look.set()  # type: ignore[union-attr]  # as it does now and then
            await other.until(lambda state: state["racers"][0]["state"] == "detached")
            async with resumed(there, host) as back:
                await other.until(lambda state: state["racers"][0]["state"] == "racing")
                await back.type()
                await back.finish()
                closing = await other.phase("closing")
                assert closing["racers"][0]["place"] == 1


async def there_again(gateway: Gateway, version: int) -> None:
    """Wait until a node knows that the first racer was gone, and is there again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            race = room_of(gateway).race
            assert race is not None
            racer = race.lane(0)
            if race.version >= version + 2 and racer is not None and racer.away_ms is None:
                return
            await asyncio.sleep(0.02)


def name_of(gateway: Gateway) -> str:
    """As races know a node, and its run."""
    assert gateway.hub.racing is not None
    return gateway.hub.racing.rooms.node


def room_of(gateway: Gateway) -> Room:
    """A node's only room."""
    assert gateway.hub.racing is not None
    (room,) = gateway.hub.racing.rooms.rooms()
    return room


async def test_a_node_that_hung_comes_back(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Another took it for gone; its racers, who never lost their connections, are there again, in lobby and race."""
    async with nodes(tmp_path, redis_single, "a", "b") as (here, there), racers(here, there) as (host, other):
        await host.create()
        await other.join(host.race)
        for begun in (False, True):
            if begun:
                await host.say("race.start")
                await host.started()
                await host.begin()
                await other.phase("running")
            room = room_of(there)
            assert room.race is not None
            version = room.race.version
            room.gone(name_of(here))
            await there_again(there, version)
        await host.type()
        await host.finish()
        closing = await other.phase("closing")
        assert closing["racers"][0]["place"] == 1


async def test_who_was_given_up_meanwhile_is_told(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Its node hung for so long that the lane is another's by now, or free: one may join again."""
    rules = replace(RULES, away_ms=0)
    async with (
        nodes(tmp_path, redis_single, "a", "b", race=rules) as (here, there),
        racers(here, there) as (host, other),
    ):
        await host.create()
        await other.join(host.race)
        room_of(there).gone(name_of(here))
        assert (await host.hear("error"))["code"] == "not_racing"
        await host.join(host.race)
        await other.until(lambda state: len(state["racers"]) == 2)


async def test_the_last_node_of_a_race_dies(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Nobody was there to see it; whoever comes back finds it, and who does not did not finish."""
    async with nodes(tmp_path, redis_single, "a", race=replace(RULES, closing_ms=500, closing_share=0)) as (gateway,):
        redis = gateway.settings.redis
        async with node(tmp_path, "b", redis=redis) as going, racers(going, going) as (host, other):
            await race_of(host, other)
            await host.begin()
            await host.type(0.5)
            assert going.hub.racing is not None
            for room in going.hub.racing.rooms.rooms():
                room.close()  # as if the process had died: nothing more is said of it
        async with resumed(gateway, host) as back:
            await back.type()
            await back.finish()
            settled = await back.phase("settled")
            assert [row["state"] for row in settled["racers"]] == ["finished", "dnf"]


NONSENSE: list[object] = [
    None,
    "x",
    [],
    ["state"],
    ["state", 1_000, b"no race"],
    ["state", b"no race"],
    ["state", 1, "x"],
    ["p", "c", [[1, 2]]],
    ["p", "c", [[200, 1, 1.0, 0]]],
    ["p", "c", [[0, "1", 1.0, 0]]],
    ["p", 7, []],
    ["here", "c"],
    ["something newer", 1, 2],
    {"t": "state"},
]


async def test_others_say_what_makes_no_sense(tmp_path: Path, redis_single: RedisOptions) -> None:
    """It is counted and passed over; the race goes on."""
    async with nodes(tmp_path, redis_single, "a") as (gateway,), racers(gateway, gateway) as (host, other):
        await host.create()
        redis = gateway.settings.redis
        assert gateway.hub.racing is not None
        facts = gateway.hub.racing.rooms.facts
        async with RedisServers(redis) as servers, Bus(RedisCarrier(servers, redis)) as bus:
            for number, said in enumerate(NONSENSE, 1):
                await bus.publish(f"race:{host.race}", said)
                await until(lambda: facts.misheard >= number)  # noqa: B023  # awaited at once
                assert facts.misheard == number, said
        await other.join(host.race)
        await host.until(lambda state: len(state["racers"]) == 2)
