"""The lobby: who may come in, what they may be called, who begins, who is told that it is not so."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.rooms import RoomOptions
from gateway.app import Gateway
from tests.gateway.races.racers import RULES, node, race_of, racer, racers


@pytest.fixture(name="gateway")
async def _gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with node(tmp_path) as gateway:
        yield gateway


NOWHERE = "0" * 13


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("race.create", {"mode": "zen"}, "options"),
    ("race.create", {"mode": "words"}, "options"),
    ("race.create", {"mode": "words", "count": 10**9}, "options"),
    ("race.create", {"mode": "time", "seconds": 0}, "options"),
    ("race.create", {"mode": "quote", "racers": 1}, "options"),
    ("race.create", {"mode": "quote", "racers": 101}, "options"),
    ("race.create", {"mode": "quote", "test": "9007199254740991"}, "unknown_test"),
    ("race.create", {"mode": "words", "count": 5, "language": "xx"}, "unknown_language"),
    ("race.create", {"mode": "words", "count": 5, "input": "telepathy"}, "options"),
    ("race.create", {"mode": "words", "count": 5, "name": ""}, "name"),
    ("race.create", {"mode": "words", "count": 5, "name": "x" * 21}, "name"),
    ("race.create", {"mode": "words", "count": 5, "name": "a" * 5_000}, "name"),
    ("race.create", {"mode": "words", "count": 5, "name": "a\u202eb"}, "name"),
    ("race.create", {"mode": "words", "count": 5, "name": "a\u200bb"}, "name"),
    ("race.create", {"mode": "words", "count": 5, "name": "Guest 1234"}, "name"),
    ("race.join", {"race": NOWHERE}, "no_race"),
    ("race.join", {"race": ""}, "no_race"),
    ("race.join", {"race": "../../etc/passwd"}, "no_race"),
    ("race.join", {"race": "x" * 40_000}, "no_race"),
    ("race.join", {"language": "xx"}, "unknown_test"),
    ("race.join", {"language": "no language"}, "options"),
    ("race.ready", {}, "not_racing"),
    ("race.start", {}, "not_racing"),
    ("race.leave", {}, "not_racing"),
    ("race.again", {}, "not_racing"),
    ("watch", {"race": NOWHERE}, "no_race"),
]


async def test_what_is_refused(gateway: Gateway) -> None:
    """Each has its code and a sentence, the connection goes on, and no room is left of it."""
    for t, fields, code in REFUSED:
        async with racer(gateway) as somebody:
            assert await somebody.refused(t, **fields) == code, (t, fields)
            assert somebody.typist.seen[-1]["message"]
            await somebody.say("hb")
            await somebody.hear("hb")
            await empty(gateway)


@pytest.mark.parametrize("fields", [{"race": 7}, {"name": ["x"]}, {"input": 1}])
async def test_a_wrong_type_closes(gateway: Gateway, fields: dict[str, Any]) -> None:
    """As everywhere in the protocol."""
    async with racer(gateway) as somebody:
        await somebody.say("race.join", **fields)
        assert (await somebody.typist.closed()).code == 4500


async def test_markup_is_a_name_like_any_other(gateway: Gateway) -> None:
    """It is text; and who looks like somebody else has a number."""
    async with racers(gateway, gateway, gateway) as (one, two, three):
        await one.create(name="<b>Ada</b>")
        await two.join(one.race, name="<B>ada</B>")
        await three.join(one.race)
        names = [row["name"] for row in three.state["racers"]]
        assert names[:2] == ["<b>Ada</b>", "<B>ada</B> 2"]
        assert names[2].startswith("Guest ")


async def test_a_full_race(gateway: Gateway) -> None:
    """One more than there are lanes is told so, and comes in when somebody has left."""
    async with racers(gateway, gateway, gateway) as (one, two, three):
        await one.create(racers=2)
        await two.join(one.race)
        assert await three.refused("race.join", race=one.race) == "race_full"
        await two.say("race.leave")
        await one.until(lambda state: len(state["racers"]) == 1)
        await three.join(one.race)
        assert three.lane == 1


async def test_only_the_host_begins_and_not_alone(gateway: Gateway) -> None:
    """Who is not ready is not waited for then; who comes too late may watch."""
    async with racers(gateway, gateway, gateway) as (host, guest, late):
        await host.create()
        assert await host.refused("race.start") == "options"
        await guest.join(host.race)
        assert await guest.refused("race.start") == "not_host"
        await host.say("race.start")
        await guest.started()
        assert await late.refused("race.join", race=host.race) == "race_running"
        await late.say("watch", race=host.race)
        state = await late.hear("race.state")
        assert "lane" not in state
        await host.started()
        assert state["length"] == len(host.typist.started["text"]), "so that they see how far each one is"
        await host.begin()
        await host.type(0.5)
        row = await late.hear("race.progress")
        assert row["p"][0][0] == host.lane


async def test_ready_may_be_taken_back(gateway: Gateway) -> None:
    """Then nothing begins; and again it does."""
    async with racers(gateway, gateway) as (host, guest):
        await host.create()
        await guest.join(host.race)
        await host.ready()
        await guest.until(lambda state: state["racers"][0]["ready"])
        await host.say("race.ready", ready=False)
        await guest.until(lambda state: not state["racers"][0]["ready"])
        await guest.ready()
        await guest.until(lambda state: [row["ready"] for row in state["racers"]] == [False, True])
        assert guest.state.get("until_ms") is None
        await host.ready()
        await guest.started()


async def test_the_host_leaves(gateway: Gateway) -> None:
    """The next lane is host, and may begin; the last one who leaves ends the race."""
    async with racers(gateway, gateway, gateway) as (host, second, third):
        await host.create()
        await second.join(host.race)
        await third.join(host.race)
        await host.say("race.leave")
        await third.until(lambda state: state["host"] == 1)
        await second.say("race.start")
        await third.started()
        await second.say("race.leave")
        await third.say("race.leave")
        async with racer(gateway) as stranger:
            await stranger.say("watch", race=third.race)
            state = await stranger.phase("settled")
            assert [row["state"] for row in state["racers"]] == ["dnf", "dnf"]
            assert await stranger.refused("race.join", race=third.race) == "race_over"


async def test_a_lane_in_the_lobby_is_kept_for_a_while(gateway: Gateway) -> None:
    """Who loses the connection comes back to it, with the name that it had; or by another one, that is chosen then."""
    async with racers(gateway, gateway) as (host, guest):
        await host.create()
        async with racer(gateway) as passing:
            await passing.join(host.race, name="Passing")
            token = passing.typist.ready["token"]
        await host.until(lambda state: [row["state"] for row in state["racers"]] == ["waiting", "detached"])
        await guest.join(host.race)
        assert guest.lane == 2
        async with racer(gateway, token=token) as back:
            await back.join(host.race)
            assert (back.lane, back.row()["name"], back.row()["state"]) == (1, "Passing", "waiting")
            await back.say("race.join", race=host.race, name="Other")
            await host.until(lambda state: any(row["name"] == "Other" for row in state["racers"]))
            assert host.row(1)["name"] == "Other"


async def test_a_lane_in_the_lobby_is_free_when_its_time_is_over(tmp_path: Path) -> None:
    """Any node carries that out."""
    async with node(tmp_path, race=replace(RULES, away_ms=200)) as gateway, racer(gateway) as host:
        await host.create()
        async with racer(gateway) as passing:
            await passing.join(host.race)
            await host.until(lambda state: len(state["racers"]) == 2)
        await host.until(lambda state: len(state["racers"]) == 1)


async def test_one_race_at_a_time(gateway: Gateway) -> None:
    """Who goes to another lobby leaves the first; who is racing is told to leave before."""
    async with racers(gateway, gateway) as (one, two):
        await one.create()
        first = one.race
        await two.join(first)
        await one.create()
        assert one.race != first
        await two.until(lambda state: len(state["racers"]) == 1 and state["host"] == 1)
        await one.say("race.leave")
        await race_of(one, two)
        for t, fields in (
            ("race.create", {"mode": "words", "count": 5}),
            ("race.join", {}),
            ("race.join", {"race": first}),
            ("watch", {"race": first}),
            ("start", {"mode": "words", "count": 5}),
        ):
            assert await one.refused(t, **fields) == "running", t


async def test_one_may_type_alone_in_the_lobby(gateway: Gateway) -> None:
    """The race's test takes the place of that, in the turn in which the countdown begins; its late keys do no harm."""
    async with racers(gateway, gateway) as (one, two):
        await one.create()
        await two.join(one.race)
        await one.say("start", mode="words", count=50, ref=1)
        await one.hear("started")
        await one.typist.keys("x")
        await one.ready()
        await two.ready()
        started = await one.started()
        assert started["race"] == one.race
        await one.say("keys", n=1, e=[100, "y"], ref=1)
        await one.say("finish", n=2, ref=1)
        await one.begin()
        await one.type()
        assert (await one.finish())["session"] == started["session"]


async def test_two_tabs(gateway: Gateway) -> None:
    """The same user a second time has the lane, and the first tab is told."""
    async with racers(gateway, gateway) as (host, other):
        await host.create()
        await other.join(host.race)
        async with racer(gateway, token=host.typist.ready["token"]) as tab:
            await tab.join(host.race)
            assert tab.lane == 0
            assert (await host.typist.closed()).code == 4502
            await tab.ready()
            await other.ready()
            assert (await tab.started())["lane"] == 0


async def test_rooms_are_limited(tmp_path: Path) -> None:
    """Of a node, and of a user: each is told when to try again."""
    async with (
        node(tmp_path, rooms=RoomOptions(most=1, burst=2, per_s=0.001)) as gateway,
        racers(gateway, gateway) as (one, two),
    ):
        await one.create()
        assert await two.refused("race.create", mode="words", count=5) == "races_full"
        assert two.typist.seen[-1]["retry"] > 0
        assert await two.refused("race.join") == "races_full"
        assert await two.refused("race.join") == "busy"
        assert two.typist.seen[-1]["retry"] > 0


async def empty(gateway: Gateway) -> None:
    """Wait until no room is left."""
    assert gateway.hub.racing is not None
    async with asyncio.timeout(30):
        while len(gateway.hub.racing.rooms):  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.02)


async def test_a_fault_of_ours_is_told_and_the_next_one_is_served(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is closed with 4000 and comes back; the room goes on."""
    async with racer(gateway) as host, racer(gateway) as guest:
        state = await host.create()
        with monkeypatch.context() as patched:

            async def broken(race: str, step: object) -> None:
                raise ZeroDivisionError(race)

            patched.setattr(gateway.hub.racing.rooms.races, "change", broken)  # type: ignore[union-attr]  # it has races
            await guest.say("race.join", race=state["race"])
            assert (await guest.typist.closed()).code == 4000
        async with racer(gateway) as again:
            assert (await again.join(state["race"]))["lane"] == 1
            await host.until(lambda state: len(state["racers"]) == 2)
