"""A race from its lobby to its table: on one node, and on several over Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import Gateway
from persistence.redis import RedisOptions
from tests.gateway.races.racers import node, nodes, racers


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
