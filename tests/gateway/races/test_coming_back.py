"""Racers who drop and come back: by their test, without it, at the same node, at another, after their node has died."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import Gateway
from persistence.races import RedisRaces
from persistence.redis import RedisOptions
from session.identity import session_from_text
from tests.gateway.races.racers import RULES, node, nodes, race_of, racer, racers, resumed
from tests.gateway.test_takeovers import PATIENT, unheard, until
from tests.gateway.typing_client import MSGPACK


@pytest.fixture(name="two", params=["one node", "redis"])
async def _two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Gateway]]:
    if request.param == "one node":
        async with node(tmp_path) as gateway:
            yield [gateway, gateway]
        return
    redis = request.getfixturevalue("redis_single")
    async with nodes(tmp_path, redis, "a", "b", bus=PATIENT) as gateways:
        yield gateways


async def test_back_by_the_test(two: list[Gateway]) -> None:
    """Who is away is shown so, and goes on at any node where the test was."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        await other.begin()
        await other.type(0.5)
        await host.until(lambda state: state["phase"] == "running")
        while other.lane not in host.progress:
            await host.hear("race.progress")
        await other.typist.socket.close()
        await host.until(lambda state: state["racers"][1]["state"] == "detached")
        async with resumed(two[1], other) as back:
            await host.until(lambda state: state["racers"][1]["state"] == "racing")
            while back.state is other.state:
                await back.hear("race.state")
            assert back.lane == 1
            await back.type()
            await back.finish()
            closing = await host.phase("closing")
            assert closing["racers"][1]["place"] == 1


async def test_a_test_is_not_timed_by_a_clock_that_nobody_shares(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Who comes back to a node that could not ask for the races' time yet waits until it could."""
    async with (
        nodes(tmp_path, redis_single, "a", "b", bus=PATIENT) as (here, there),
        racers(here, here) as (host, other),
    ):
        await race_of(host, other)
        await other.begin()
        await host.until(lambda state: state["phase"] == "running")
        await other.type(0.5)
        assert there.hub.racing is not None
        races = there.hub.racing.rooms.races
        assert isinstance(races, RedisRaces)
        await until(lambda: races.timed)
        assert races._clock._task is not None
        races._clock._task.cancel()
        races._clock.known = False
        async with racer(there, MSGPACK, token=other.typist.ready["token"]) as back:
            started, log = other.typist.started, other.typist.log
            taken = {"session": started["session"], "ticket": started["ticket"], "n": len(log) // 2, "ref": 3}
            await back.say("resume", **taken)
            error = await back.hear("error")
            assert (error["code"], error["retry"], error["ref"]) == ("away", 1000, 3)
            races._clock.known = True
            await back.say("resume", **taken)
            assert (await back.hear("resumed"))["n"] <= len(log) // 2


async def test_back_without_the_test(two: list[Gateway]) -> None:
    """A page that has typed nothing yet joins again, and begins the text anew, under the same start instant."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        await other.begin()
        await host.until(lambda state: state["phase"] == "running")
        first = other.typist.started
        async with racer(two[1], token=other.typist.ready["token"]) as back:
            await back.join(host.race)
            again = await back.started()
            assert (again["session"], again["text"], again["start_ms"]) == (
                first["session"],
                first["text"],
                first["start_ms"],
            )
            assert (await other.typist.closed()).code == 4502
            holding = [gateway.hub.copy_of(session_from_text(first["session"])) for gateway in dict.fromkeys(two)]
            (copy,) = filter(None, holding)
            assert (copy.epoch > 0) is (two[0] is not two[1]), "it is known who has it"
            await back.type()
            await back.finish()
            closing = await host.phase("closing")
            assert closing["racers"][1]["place"] == 1


async def test_of_two_tabs_that_come_back_at_once_one_has_the_lane(two: list[Gateway]) -> None:
    """Both ask for the test where it is, and one answer is for both: the later begins it, and is not sent away too."""
    async with racers(two[0], two[0]) as (host, other), AsyncExitStack() as stack:
        await race_of(host, other)
        await other.begin()
        await host.until(lambda state: state["phase"] == "running")
        token = other.typist.ready["token"]
        tabs = [await stack.enter_async_context(racer(two[1], token=token)) for _ in range(2)]
        for tab in tabs:
            await tab.say("race.join", race=host.race)
        loop = asyncio.get_running_loop()
        ends = [loop.create_task(tab.typist.closed()) for tab in tabs]
        (done,), (survivor,) = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert done.result().code == 4502
        survivor.cancel()
        await asyncio.wait([survivor])
        tab = tabs[ends.index(survivor)]
        begun = [message for message in tab.typist.seen if message["t"] == "started"]
        tab.typist.started = begun[-1] if begun else await tab.hear("started")
        assert tab.typist.started["session"] == other.typist.started["session"]
        await tab.type()
        await tab.finish()
        closing = await host.phase("closing")
        assert closing["racers"][1]["place"] == 1


async def test_what_is_typed_is_not_begun_anew_by_another_tab(two: list[Gateway]) -> None:
    """Neither while it is typed nor while it is held, at any node; who joins twice over one connection is answered."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        await other.begin()
        await other.type(0.5)
        while other.lane not in host.progress:
            await host.hear("race.progress")
        async with racer(two[1], token=other.typist.ready["token"]) as tab:
            assert await tab.refused("race.join", race=host.race) == "running"
            await other.join(host.race)
            await other.typist.socket.close()
            await host.until(lambda state: state["racers"][1]["state"] == "detached")
            assert await tab.refused("race.join", race=host.race) == "running"
            assert host.row(1)["state"] == "detached"
        async with resumed(two[1], other) as back:
            await back.type()
            await back.finish()
        closing = await host.phase("closing")
        assert closing["racers"][1]["place"] == 1


async def test_what_a_node_has_that_does_not_answer_is_given_up(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Who joins again elsewhere begins anew; what goes on meanwhile where it was ends when that node hears again."""
    async with (
        nodes(tmp_path, redis_single, "a", "b") as (here, there),
        racers(there, here) as (host, other),
        AsyncExitStack() as stack,
    ):
        await race_of(host, other)
        await other.begin()
        await other.type(0.5)
        while other.lane not in host.progress:
            await host.hear("race.progress")
        with unheard(here):
            async with racer(there, token=other.typist.ready["token"]) as back:
                await back.join(host.race)
                again = await back.started()
                assert again["session"] == other.typist.started["session"]
                assert (await other.typist.closed()).code == 4502
                tab = await stack.enter_async_context(resumed(here, other))
                assert here.hub.live
        assert (await tab.typist.closed()).code == 4502
        await until(lambda: not here.hub.copies())
        async with resumed(there, back) as last:
            await last.type()
            await last.finish()
        closing = await host.phase("closing")
        assert closing["racers"][1]["place"] == 1


async def test_back_in_the_countdown(two: list[Gateway]) -> None:
    """Before anything was typed: the ticket is enough, and the start instant the same."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        await other.typist.socket.close()
        async with resumed(two[1], other) as back:
            await back.begin()
            await back.type()
            await back.finish()
            closing = await host.phase("closing")
            assert closing["racers"][1]["place"] == 1


async def test_back_at_a_node_whose_wall_clock_is_wrong(two: list[Gateway]) -> None:
    """The start instant is the race's: by that node's own clock it were a minute away, and all keys early."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        await other.begin()
        await other.type(0.5)
        await host.until(lambda state: state["phase"] == "running")
        while other.lane not in host.progress:
            await host.hear("race.progress")
        await other.typist.socket.close()
        await host.until(lambda state: state["racers"][1]["state"] == "detached")
        two[1].hub.epoch_ms = lambda: round(time.time() * 1000) - 60_000
        async with resumed(two[1], other) as back:
            await back.type()
            await back.finish()
            closing = await host.phase("closing")
            assert closing["racers"][1]["place"] == 1


async def test_who_is_back_after_the_end(two: list[Gateway]) -> None:
    """Joins again to see the table; there is nothing to be typed any more."""
    async with racers(two[0], two[0]) as (host, other):
        await race_of(host, other)
        for each in (host, other):
            await each.begin()
            await each.type()
            await each.finish()
        await host.phase("settled")
        await other.typist.socket.close()
        async with racer(two[1], token=other.typist.ready["token"]) as back:
            state = await back.join(host.race)
            assert (state["phase"], back.lane) == ("settled", 1)
            assert {message["t"] for message in back.typist.seen} == {"hello", "ready", "race.state"}


@pytest.mark.parametrize("by_the_test", [True, False])
async def test_what_is_stored_is_finished_though_the_race_has_not_heard_of_it(
    tmp_path: Path, by_the_test: bool
) -> None:
    """Whoever had it spooled died before saying so: who comes back has finished, and begins nothing anew."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        await race_of(host, other)
        await other.begin()
        await host.phase("running")
        assert gateway.hub.racing is not None
        (room,) = gateway.hub.racing.rooms.rooms()
        say, room._finishes._owe = room._finishes._owe, lambda key, what: None
        await other.type()  # its last key may end it
        await other.say("finish", n=len(other.typist.log) // 2)
        while (await other.typist.receive("result", "stored"))["t"] != "stored":
            pass
        room._finishes._owe = say
        await other.typist.socket.close()
        await host.until(lambda state: state["racers"][1]["state"] == "detached")
        async with racer(gateway, MSGPACK, token=other.typist.ready["token"]) as back:
            started = other.typist.started
            if by_the_test:
                await back.say("resume", session=started["session"], ticket=started["ticket"], n=0)
                await back.hear("stored")
            else:
                await back.join(host.race)
            closing = await host.phase("closing")
            assert (closing["racers"][1]["state"], closing["racers"][1]["place"]) == ("finished", 1)
            await back.say("hb")
            await back.hear("hb")
            assert not back.typist.started, "nothing is begun anew"


async def test_keys_before_the_start(two: list[Gateway]) -> None:
    """Are dropped and told so; sent again when it has begun they count from the start instant."""
    async with racers(*two) as (host, other):
        await race_of(host, other)
        clock, late_s = two[0].hub.clock, 60
        two[0].hub.clock = lambda: clock() - late_s  # however long the machine makes us wait, it has not begun
        await host.type_now()
        await host.say("hb")
        error = await host.typist.receive("error", "hb")
        two[0].hub.clock = clock
        assert (error["code"], error["expected"]) == ("early", 0)
        assert 0 < error["retry"] <= RULES.countdown_ms + late_s * 1000
        host.typist.log = []
        await host.hear("hb")
        await host.begin()
        await host.type()
        result = await host.finish()
        assert result["duration_ms"] == pytest.approx(sum(host.typist.log[::2]), abs=10)
        await other.until(lambda state: state["racers"][0]["state"] == "finished")
        assert other.row(0)["ms"] == result["duration_ms"]


async def test_who_stays_away_did_not_finish(tmp_path: Path) -> None:
    """When the others' time is over the race is settled without them."""
    rules = replace(RULES, closing_ms=300, closing_share=0.0)
    async with node(tmp_path, race=rules) as gateway, racers(gateway, gateway) as (host, other):
        await race_of(host, other)
        await other.typist.socket.close()
        await host.begin()
        await host.type()
        await host.finish()
        settled = await host.phase("settled")
        assert [row["state"] for row in settled["racers"]] == ["finished", "dnf"]
        assert "place" not in settled["racers"][1]


async def test_who_was_lost_while_nobody_looked_is_missed_by_the_next_who_comes(tmp_path: Path) -> None:
    """The race's room was closed before that was written; whoever joins opens it again."""
    async with node(tmp_path, race=replace(RULES, away_ms=300)) as gateway, racers(gateway, gateway) as (host, other):
        await host.create()
        await other.join(host.race)
        assert gateway.hub.racing is not None
        for room in gateway.hub.racing.rooms.rooms():
            room.close()
        await other.typist.socket.close()
        await host.join(host.race)
        await host.until(lambda state: [row["lane"] for row in state["racers"]] == [0])


async def test_a_node_goes_in_good_order(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Its racers are sent away, those who type when the grace is over, and are back in their lanes at another."""
    async with (
        nodes(tmp_path, redis_single, "a", "b") as (here, there),
        racers(here, there, here) as (
            host,
            other,
            idle,
        ),
    ):
        await idle.create()
        await race_of(host, other)
        await host.begin()
        await host.type(0.5)
        hurry = asyncio.Event()
        hurry.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(here.drain(hurry))
            await idle.hear("reconnect")
            await host.hear("reconnect")
        async with resumed(there, host) as back, racer(there, token=idle.typist.ready["token"]) as waiting:
            await back.type()
            await back.finish()
            closing = await other.phase("closing")
            assert closing["racers"][0]["place"] == 1
            await waiting.join(idle.race)
            assert waiting.lane == 0


async def test_who_comes_to_a_node_that_goes(tmp_path: Path) -> None:
    """Is told to go elsewhere."""
    async with node(tmp_path) as gateway, racer(gateway) as somebody:
        gateway.hub.draining = True
        assert await somebody.refused("race.create", mode="words", count=5) == "draining"
        assert await somebody.refused("race.join") == "draining"


async def test_a_restart_of_all_that_there_is(tmp_path: Path) -> None:
    """Where races are in the process they end with it; the test goes on, is stored, and another may be started then."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        await race_of(host, other)
        await host.begin()
        await host.type(0.5)
        await host.say("hb")
        await host.hear("hb")
    async with node(tmp_path) as gateway, resumed(gateway, host, told="no_race") as back:
        await back.type()
        result = await back.finish()
        assert result["session"] == host.typist.started["session"]
        await back.hear("stored")
        assert await back.refused("race.join", race=host.race) == "no_race"
        await back.create()
