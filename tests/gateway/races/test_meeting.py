"""Strangers who meet by their speed, and racers who want another race."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from session.state import Phase
from tests.gateway.races.racers import RULES, Racer, node, nodes, race_of, racer, racers
from tests.gateway.running import PATIENCE_S


@pytest.fixture(name="two", params=["one node", "redis"])
async def _two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Gateway]]:
    rules = replace(RULES, public_ms=60_000)
    if request.param == "one node":
        async with node(tmp_path, race=rules) as gateway:
            yield [gateway, gateway]
        return
    async with nodes(tmp_path, request.getfixturevalue("redis_single"), "a", "b", race=rules) as gateways:
        yield gateways


async def test_strangers_meet(two: list[Gateway]) -> None:
    """The second is led to the first one's race; a private one is found by nobody."""
    async with racers(*two) as (first, second), racer(two[0]) as private:
        await private.create("quote")
        await first.join(language="en")
        assert (first.state["public"], first.state["mode"], first.lane) == (True, "quote", 0)
        await second.join(language="en")
        assert (second.race, second.lane) == (first.race, 1)
        async with racer(two[0]) as another:
            await another.join(language="de")
            assert another.race != first.race


async def test_two_who_look_at_once(two: list[Gateway]) -> None:
    """Each may have opened a race; in a moment they are in the same one."""
    async with racers(*two) as both:
        await asyncio.gather(*(each.join(language="en") for each in both))
        async with asyncio.TaskGroup() as group:
            for each in both:
                group.create_task(each.until(lambda state: len(state["racers"]) == 2))
        assert both[0].race == both[1].race


async def test_a_public_race_begins_by_itself(tmp_path: Path) -> None:
    """A while after the second racer has come, ready or not."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (one, two):
        await one.join()
        await two.join()
        assert (await two.started())["race"] == one.race


async def test_the_speed_decides(tmp_path: Path) -> None:
    """Whoever has typed slowly is led to the slow ones first, though others have waited longer."""
    async with (
        node(tmp_path, race=replace(RULES, public_ms=60_000)) as gateway,
        racers(*[gateway] * 3) as (
            unknown,
            slow,
            slower,
        ),
    ):
        for each in (slow, slower):
            await each.typist.start(mode="words", count=10, language="en")
            await each.type(pace=3)
            await each.finish()
            assert (await each.hear("stored"))["verdict"] != "void"
        await unknown.create("quote", public=True, language="en")
        await slow.create("quote", public=True, language="en")
        await slower.join(language="en")
        assert slower.race == slow.race


async def test_the_list_of_open_races(two: list[Gateway]) -> None:
    """Over HTTP: who has room for strangers, and any race by its id; nobody's user id."""
    async with (
        racers(*two) as (host, private),
        httpx.AsyncClient(timeout=60, base_url=two[1].url, trust_env=False) as http,
    ):
        await host.create("quote", public=True, language="en", name="Ada")
        await private.create()
        (listed,) = (await http.get("/v1/races", params={"language": "en"})).json()["races"]
        assert (listed["race"], listed["phase"], listed["racers"][0]["name"]) == (host.race, "lobby", "Ada")
        assert (await http.get("/v1/races", params={"language": "de"})).json() == {"races": []}
        one = await http.get(f"/v1/races/{private.race}")
        assert (one.status_code, one.json()["public"]) == (200, False)
        assert host.typist.ready["user"].lstrip("-") not in (await http.get(f"/v1/races/{host.race}")).text
        for nothing in ("0" * 13, "nothing", "%2e%2e"):
            assert (await http.get(f"/v1/races/{nothing}")).status_code == 404


async def settled(*racing: Racer) -> None:
    """Let them race to the end."""
    await race_of(*racing)
    for each in racing:
        await each.begin()
        await each.type()
        await each.finish()
    for each in racing:
        await each.phase("settled")


async def test_another_race(two: list[Gateway]) -> None:
    """All who ask for it meet in a new one with the same settings; the others are told which."""
    async with racers(*two, two[0]) as (one, other, third):
        await settled(one, other, third)
        first = one.race
        assert one.state["mode"] == "words"
        for each in (other, one):
            await each.say("race.again")
        for each in (other, one):
            await each.until(lambda state: state["race"] != first and len(state["racers"]) == 2)
        assert other.race == one.race
        assert (one.state["count"], one.state["phase"]) == (5, "lobby")
        await third.until(lambda state: "next" in state)
        assert third.state["next"] == one.race
        await third.join(one.race)
        assert len(third.state["racers"]) == 3


async def again(racing: Racer, *others: str) -> str:
    """Ask for another race, and be in one that is none of these."""
    await racing.say("race.again")
    await racing.until(lambda state: state["race"] not in others)
    return racing.race


async def test_another_race_that_is_over_is_followed_by_yet_another(two: list[Gateway]) -> None:
    """And so is one that has begun, or is full: those who ask from then on meet."""
    async with racers(*two, *two) as (one, other, third, fourth):
        await settled(one, other, third, fourth)
        first = one.race
        dead = await again(one, first)
        await one.say("race.leave")
        await over(two[0], dead)
        begun = await again(other, first)
        assert begun != dead
        assert await again(third, first) == begun
        for each in (other, third):
            await each.ready()
        await other.started()
        assert await again(fourth, first) not in (dead, begun)
        assert fourth.state["phase"] == "lobby"


async def over(gateway: Gateway, race: str) -> None:
    """Wait until it is written that a race is over."""
    assert gateway.hub.racing is not None
    async with asyncio.timeout(PATIENCE_S):
        while True:
            known = await gateway.hub.racing.rooms.races.read(race)
            if known is not None and known.phase is Phase.SETTLED:
                return
            await asyncio.sleep(0.01)


async def test_no_other_race_before_the_end(two: list[Gateway]) -> None:
    """It would be a race against who has left."""
    async with racers(*two) as (one, other):
        await race_of(one, other)
        assert await one.refused("race.again") == "not_racing"
