"""Racing against results: one's own, and those that others have made public, played again beside."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Gateway
from tests.gateway.races.racers import Racer, node, racer, racers


@pytest.fixture(name="gateway")
async def _gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with node(tmp_path) as gateway:
        yield gateway


async def typed(somebody: Racer, mode: str = "words", *, pace: float = 1.0, **fields: Any) -> tuple[str, list[Any]]:
    """A test that is stored: its session, and what was typed."""
    if mode == "words":
        fields["count"] = 6
    await somebody.typist.start(mode, language="en", **fields)
    await somebody.type(pace=pace)
    await somebody.finish()
    await somebody.hear("stored")
    return str(somebody.typist.started["session"]), somebody.typist.log


async def test_a_race_against_oneself(gateway: Gateway) -> None:
    """Alone with one's own past: the same text, its course with the countdown, and places at the end."""
    async with racer(gateway) as somebody:
        session, log = await typed(somebody, pace=3)
        text = somebody.typist.started["text"]
        state = await somebody.create(ghosts=[session], racers=1)
        ghost = next(row for row in state["racers"] if row["state"] == "ghost")
        await somebody.ready()
        course = await somebody.hear("race.ghost")
        assert (course["race"], course["lane"], course["step_ms"]) == (somebody.race, ghost["lane"], 100)
        assert (await somebody.started())["text"] == text
        assert course["at"] == sorted(course["at"])
        assert course["at"][-1] == len(text)
        assert len(course["at"]) == pytest.approx(sum(log[2::2]) / 100, abs=1)
        await somebody.begin()
        await somebody.type()
        await somebody.finish()
        settled = await somebody.phase("settled")
        assert [row.get("place") for row in settled["racers"]] == [1, 2]
        await somebody.say("race.again")
        await somebody.until(lambda state: state["race"] != settled["race"])
        assert [row["state"] for row in somebody.state["racers"]] == ["waiting", "ghost"]
        await somebody.ready()
        assert (await somebody.started())["text"] == text


async def test_several_of_one_text(gateway: Gateway) -> None:
    """In a race with somebody else: both see each ghost's course, whoever comes back later too."""
    async with racers(gateway, gateway) as (host, other):
        first, _ = await typed(host, pace=2)
        await host.create(ghosts=[first], racers=1)
        await host.ready()
        second = (await host.started())["session"]
        await host.begin()
        await host.type()
        await host.finish()
        await host.until(lambda state: state.get("provisional") is False)
        await host.create("quote", ghosts=[second, first])
        await other.join(host.race)
        for each in (host, other):
            await each.ready()
        for each in (host, other):
            lanes = [(await each.hear("race.ghost"))["lane"] for _ in range(2)]
            assert len(set(lanes)) == 2
        async with racer(gateway) as late:
            await late.say("watch", race=host.race)
            await late.hear("race.ghost")


async def test_what_is_no_ghost(gateway: Gateway) -> None:
    """Somebody else's, nothing, another text's, own practice, too many: each is told which and why."""
    async with racers(gateway, gateway) as (one, other):
        theirs, _ = await typed(other)
        mine, _ = await typed(one)
        another, _ = await typed(one)
        practice, _ = await typed(one, "text", text="a text of my own, that is long enough")
        nothing = mine[:-4] + ("0000" if mine[-4:] != "0000" else "1111")
        for ghosts in ([theirs], [nothing], [mine, another], [practice], [mine] * 5):
            assert await one.refused("race.create", mode="words", count=5, ghosts=ghosts) == "options"
            assert "ghost" in one.typist.seen[-1]["message"]
        await one.say("race.create", mode="words", count=5, ghosts=["no session"])
        assert (await one.typist.closed()).code == 4500


async def made(gateway: Gateway, session: str, by: Racer, *, public: bool) -> None:
    """Say over HTTP whether a result is public."""
    bearer = {"authorization": f"Bearer {by.typist.ready['token']}"}
    async with httpx.AsyncClient(timeout=60, base_url=gateway.url, trust_env=False, headers=bearer) as http:
        answer = await (http.put if public else http.delete)(f"/v1/results/{session}/public")
        assert answer.is_success, answer.text


async def test_a_race_against_somebody_else_s_public_result(gateway: Gateway) -> None:
    """Under its owner's name; taken back it is no ghost of any new race, of the next one either."""
    async with racers(gateway, gateway) as (one, other):
        theirs, _ = await typed(other)
        text = other.typist.started["text"]
        refused = await one.refused("race.create", mode="words", count=5, ghosts=[theirs])
        await made(gateway, theirs, other, public=True)
        state = await one.create(ghosts=[theirs], racers=1)
        (ghost,) = [row for row in state["racers"] if row["state"] == "ghost"]
        assert (refused, ghost["name"][:6]) == ("options", "Guest ")
        for again in (True, False):
            await one.ready()
            assert (await one.hear("race.ghost"))["lane"] == ghost["lane"]
            assert (await one.started())["text"] == text
            await one.begin()
            await one.type()
            await one.finish()
            before = await one.phase("settled")
            if again:
                await one.say("race.again")
                await one.until(lambda state: state["race"] != before["race"])  # noqa: B023  # awaited at once
                assert [row["name"] for row in one.state["racers"] if row["state"] == "ghost"] == [ghost["name"]]
        await made(gateway, theirs, other, public=False)
        assert await one.refused("race.again") == "options"
        assert "not public any more" in one.typist.seen[-1]["message"]
        assert await one.refused("race.create", mode="words", count=5, ghosts=[theirs]) == "options"


async def test_what_is_taken_back_before_the_start_is_not_played(gateway: Gateway) -> None:
    """The race goes on without it; nobody is told how it was typed."""
    async with racers(gateway, gateway) as (one, other):
        theirs, _ = await typed(other)
        await made(gateway, theirs, other, public=True)
        await one.create(ghosts=[theirs], racers=1)
        await made(gateway, theirs, other, public=False)
        await one.ready()
        await one.started()
        await one.begin()
        await one.type()
        await one.finish()
        await one.phase("settled")
        assert "race.ghost" not in [message["t"] for message in one.typist.seen]
