"""Many racers, many who look on, and what each of them costs."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from config.rooms import RoomOptions
from gateway.app import Gateway
from gateway.codec import JSON, Codec
from gateway.races.place import Place
from gateway.said import Said
from persistence.redis import RedisOptions
from tests.gateway.races.racers import RULES, node, nodes, racer, racers


async def test_a_hundred_racers(tmp_path: Path, redis_single: RedisOptions) -> None:
    """On two nodes: all see all, all finish, and the table has a hundred lines."""
    async with nodes(tmp_path, redis_single, "a", "b") as gateways, AsyncExitStack() as stack:
        everybody = await stack.enter_async_context(racers(*(gateways * 50)))
        host = everybody[0]
        await host.create(racers=100)
        await asyncio.gather(*(each.join(host.race) for each in everybody[1:]))
        async with racer(gateways[1]) as late:
            assert await late.refused("race.join", race=host.race) == "race_full"
        assert len({each.lane for each in everybody}) == 100
        await asyncio.gather(*(each.ready() for each in everybody))
        texts = {started["text"] for started in await asyncio.gather(*(each.started() for each in everybody))}
        assert len(texts) == 1
        await host.begin()
        await asyncio.gather(*(each.type(pace=1 + lane / 100) for lane, each in enumerate(everybody)))
        await asyncio.gather(*(each.finish() for each in everybody))
        tables = await asyncio.gather(*(each.phase("settled") for each in everybody))
        for table in tables:
            assert len(table["racers"]) == 100
            assert {row["state"] for row in table["racers"]} == {"finished"}
        for each in everybody[:2]:
            while len(each.progress) < 100:
                await each.hear("race.progress")


async def test_equal_times_share_a_place(tmp_path: Path) -> None:
    """To the millisecond the same log, and the next has the place after both."""
    async with node(tmp_path) as gateway, racers(*[gateway] * 3) as (one, two, three):
        await one.create(racers=3)
        for each in (two, three):
            await each.join(one.race)
        for each in (one, two, three):
            await each.ready()
        for each in (one, two, three):
            await each.started()
        await one.begin()
        for each, pace in ((one, 1.0), (two, 1.0), (three, 1.5)):
            await each.type(pace=pace)
            await each.finish()
        settled = await three.phase("settled")
        assert [row["place"] for row in settled["racers"]] == [1, 1, 3]


async def test_a_frame_is_encoded_once_and_posted_once(
    tmp_path: Path, redis_single: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many look on: one encoding for each codec and frame, one message to the other node."""
    encoded: list[bytes] = []
    payload = Said.payload

    def counted(self: Said, codec: Codec) -> bytes:
        before = codec.subprotocol in self._payloads
        made = payload(self, codec)
        if not before and b"race.progress" in made:
            encoded.append(made)
        return made

    monkeypatch.setattr(Said, "payload", counted)
    async with nodes(tmp_path, redis_single, "a", "b") as (here, there), AsyncExitStack() as stack:
        host, other = await stack.enter_async_context(racers(here, there))
        await host.create()
        await other.join(host.race)
        watching = await stack.enter_async_context(racers(*[here] * 20))
        for each in watching:
            await each.say("watch", race=host.race)
            await each.hear("race.state")
        for each in (host, other):
            await each.ready()
        await host.started()
        await host.begin()
        assert here.hub.racing is not None
        facts = here.hub.racing.rooms.facts
        encoded.clear()
        posted, sent = facts.posted, facts.progress
        await host.type(0.5)
        for each in (*watching, host, other):
            while host.lane not in each.progress:
                await each.hear("race.progress")
        assert facts.posted - posted == 1
        assert facts.progress - sent == 21
        assert len(encoded) == 3  # two encodings here, one there


async def test_nothing_is_posted_where_nobody_else_is(tmp_path: Path, redis_single: RedisOptions) -> None:
    """A race on one node costs the bus no progress."""
    async with nodes(tmp_path, redis_single, "a", "b") as (here, _), racers(here, here) as (host, other):
        await host.create()
        await other.join(host.race)
        for each in (host, other):
            await each.ready()
        await host.started()
        await host.begin()
        await host.type(0.5)
        while host.lane not in other.progress:
            await other.hear("race.progress")
        assert here.hub.racing is not None
        assert here.hub.racing.rooms.facts.posted == 0


async def test_so_many_may_look_on(tmp_path: Path) -> None:
    """One more is told so; who looks away makes room."""
    async with (
        node(tmp_path, rooms=RoomOptions(watchers=1), race=replace(RULES, public_ms=60_000)) as gateway,
        racers(*[gateway] * 3) as (host, first, second),
    ):
        await host.create()
        await first.say("watch", race=host.race)
        await first.hear("race.state")
        assert await second.refused("watch", race=host.race) == "races_full"
        await first.say("unwatch")
        await first.say("hb")
        await first.hear("hb")
        await second.say("watch", race=host.race)
        await second.hear("race.state")


async def test_figures(tmp_path: Path) -> None:
    """What operators see of it."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        await host.create()
        await other.say("watch", race=host.race)
        await other.hear("race.state")
        shown = await figures(gateway)
        assert shown['typegate_rooms{phase="lobby"}'] == 1
        assert shown['typegate_room_members{kind="racers"}'] == 1
        assert shown['typegate_room_members{kind="watchers"}'] == 1
        assert shown["typegate_rooms_frozen"] == 0
        assert shown['typegate_race_phases_total{to="lobby"}'] == 1
        assert shown['typegate_race_changes_total{how="written"}'] >= 1


async def figures(gateway: Gateway) -> dict[str, float]:
    text = (await gateway.metrics.scrape()).decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


class Deaf:
    """A connection as far as a room needs one that looks on; it does not read until it may."""

    def __init__(self) -> None:
        self.reads = False
        self.place: Place | None = None
        self.states: list[dict[str, Any]] = []

    def hear(self, said: Said, more: Any = None) -> bool:
        if self.reads:
            self.states.append(JSON.decode(said.payload(JSON)))
        return self.reads


async def test_who_does_not_read_makes_nobody_hear_anything_twice(tmp_path: Path) -> None:
    """Only who has missed a state is told again, and of the newest."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        await host.create()
        await other.join(host.race)
        await host.until(lambda state: len(state["racers"]) == 2)
        assert gateway.hub.racing is not None
        rooms = gateway.hub.racing.rooms
        room = next(iter(rooms.rooms()))
        deaf = Deaf()
        place = room.watch(cast(Any, deaf))
        await host.ready()
        await other.until(lambda state: state["racers"][0]["ready"])
        told = rooms.facts.states
        now_ms = gateway.hub.clock() * 1000
        for number in range(1, 6):
            room.beat(now_ms + 100 * number)
        assert rooms.facts.states == told
        deaf.reads = True
        room.beat(now_ms + 600)
        room.beat(now_ms + 700)
        assert [state["racers"][0]["ready"] for state in deaf.states] == [True]
        assert rooms.facts.states == told + 1
        room.rise(place)
