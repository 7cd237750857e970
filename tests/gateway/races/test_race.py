"""A race from its lobby to its table: on one node, and on several over Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import Gateway
from persistence.redis import RedisOptions
from session.racing import Finished
from tests.gateway.races.racers import node, nodes, race_of, racers


@pytest.fixture(name="two", params=["one node", "redis", "redis cluster"])
async def _two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Gateway]]:
    """Where two racers are: at the same node, or at two that share a Redis."""
    if request.param == "one node":
        async with node(tmp_path) as gateway:
            yield [gateway, gateway]
        return
    redis: RedisOptions = request.getfixturevalue("redis_single" if request.param == "redis" else "redis_cluster")
    async with nodes(tmp_path, redis, "a", "b") as gateways:
        yield gateways


async def test_a_race(two: list[Gateway]) -> None:
    """Two meet by a link, are ready, get one text with one start instant, see each other type, and both get places."""
    async with racers(*two) as (host, other):
        lobby = await host.create()
        assert (lobby["phase"], lobby["lane"], lobby["host"], lobby["public"]) == ("lobby", 0, 0, False)
        await other.join(host.race, name="Ada")
        assert other.lane == 1
        await host.until(lambda state: len(state["racers"]) == 2)
        assert [row["name"] for row in host.state["racers"]][1] == "Ada"
        await host.ready()
        await other.until(lambda state: state["racers"][0]["ready"])
        await other.ready()
        here, there = await host.started(), await other.started()
        assert here["text"] == there["text"]
        assert here["start_ms"] == there["start_ms"]
        assert (here["lane"], there["lane"], here["race"]) == (0, 1, host.race)
        await host.begin()
        await host.type(0.5)
        while other.progress.get(0, [0, 0])[1] < len(here["text"]) // 2:
            await other.hear("race.progress")
        await host.type()
        await host.finish()
        closing = await other.phase("closing")
        assert closing["racers"][0]["place"] == 1
        await other.type(pace=1.5)
        await other.finish()
        for each in (host, other):
            settled = await each.until(lambda state: state["phase"] == "settled" and not state["provisional"])
            assert [row["place"] for row in settled["racers"]] == [1, 2]
            assert settled["racers"][0]["ms"] < settled["racers"][1]["ms"]
            assert "stored" in {message["t"] for message in each.typist.seen}


async def test_a_slow_clock_wins_nothing(tmp_path: Path) -> None:
    """Who claims less time than passed is placed by the race's clock, whatever the result says."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (honest, slow):
        await race_of(honest, slow, count=1)
        await honest.begin()
        await honest.type(pace=2.0)
        await honest.finish()
        claimed_ms = sum(honest.typist.log[::2])
        await asyncio.sleep((claimed_ms + 1_000) / 1_000)
        await slow.type(pace=0.5)
        await slow.finish()
        settled = await honest.until(lambda state: state["phase"] == "settled")
        ms = [row["ms"] for row in settled["racers"]]
        assert sum(slow.typist.log[::2]) < claimed_ms <= ms[0] < ms[1]
        assert [row["place"] for row in settled["racers"]] == [1, 2]


async def test_a_lane_is_no_user(tmp_path: Path) -> None:
    """That somebody leaves takes no result's place, though the one's account has the number of the other's lane."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        await race_of(host, other)
        await host.begin()
        await host.phase("running")
        assert gateway.hub.racing is not None
        (room,) = gateway.hub.racing.rooms.rooms()
        room.owe(("finished", 0), Finished(0, 9_000.0, 80.0, 80.0, 99.0, "ok", gateway.hub.racing.rooms.now_ms()))
        room.places[1].connection.user = 0
        room.gave_up(room.places[1])
        await host.until(lambda state: state["racers"][0]["state"] == "finished")
