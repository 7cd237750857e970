"""Racers for the tests: what a page would say, and gateways whose races are over in a moment."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from config.gateway import ConnectionOptions, NodeOptions
from config.rooms import RoomOptions
from gateway.app import Gateway
from persistence.redis import RedisOptions
from session.race_options import RaceRules
from tests.gateway.running import PATIENCE_S, Program, serving
from tests.gateway.typing_client import JSON, MSGPACK, TypingClient, client

RULES = RaceRules(
    ready_ms=50,
    public_ms=400,
    joined_ms=100,
    countdown_ms=400,
    closing_ms=60_000,
    away_ms=60_000,
    verdicts_ms=60_000,
)
"""Quick to begin; nothing ends by time alone."""

State = dict[str, Any]


class Racer:
    """A typist in a race."""

    def __init__(self, typist: TypingClient) -> None:
        self.typist = typist
        self.chance = Random(1)
        self.passed_over: set[str] = set()
        """Codes of errors that do not fail the test."""
        self.early: list[dict[str, Any]] = []
        """Errors that said that keys came before the start."""
        self._taken: str | None = None
        """The session of which it is known that its keys do not come too early."""
        self.state: State = {}
        """The last `race.state`."""
        self.progress: dict[int, list[Any]] = {}
        """The last row of each lane."""

    @property
    def race(self) -> str:
        """The race's id."""
        return str(self.state["race"])

    @property
    def lane(self) -> int:
        """One's own."""
        return int(self.state["lane"])

    def row(self, lane: int | None = None) -> dict[str, Any]:
        """A lane of the last state."""
        wanted = self.lane if lane is None else lane
        return next(row for row in self.state["racers"] if row["lane"] == wanted)

    async def say(self, t: str, **fields: Any) -> None:
        """Send a message."""
        await self.typist.send(t, **fields)

    async def hear(self, *wanted: str) -> dict[str, Any]:
        """The next of these messages; states and progress on the way are taken note of."""
        while True:
            message = await self.typist.receive()
            match message["t"]:
                case "race.state":
                    self.state = message
                case "race.progress":
                    self.progress |= {row[0]: row for row in message["p"]}
                case "started":
                    self.typist.started, self.typist.log = message, []
            if message["t"] in wanted:
                return message
            if message.get("code") == "early":
                self.early.append(message)
                continue
            assert message["t"] != "error" or message["code"] in self.passed_over, message

    async def until(self, condition: Callable[[State], bool]) -> State:
        """The first state that is so, the last one heard included."""
        while not self.state or not condition(self.state):
            await self.hear("race.state")
        return self.state

    async def phase(self, phase: str) -> State:
        """The state once the race is in this phase."""
        return await self.until(lambda state: state["phase"] == phase)

    async def create(self, mode: str = "words", **fields: Any) -> State:
        """Open a race."""
        if mode == "words":
            fields.setdefault("count", 5)
        former = self.state.get("race")
        await self.say("race.create", mode=mode, **fields)
        while (state := await self.hear("race.state"))["race"] == former:
            pass  # the last that is heard of it
        return state

    async def join(self, race: str | None = None, **fields: Any) -> State:
        """Join one."""
        await self.say("race.join", **({} if race is None else {"race": race}), **fields)
        while (state := await self.hear("race.state"))["race"] != (race or state["race"]) or "lane" not in state:
            pass  # the last that is heard of another one
        return state

    async def refused(self, t: str, **fields: Any) -> str:
        """What a message is refused with."""
        await self.say(t, **fields)
        return str((await self.hear("error"))["code"])

    async def ready(self) -> None:
        """Say that we are ready."""
        await self.say("race.ready")

    async def started(self) -> dict[str, Any]:
        """The `started` that comes with the countdown, unless it was heard already."""
        while self.typist.started.get("race") != self.race:
            await self.hear("started")
        return self.typist.started

    async def begin(self) -> None:
        """Wait for the start instant by the race's clock."""
        await self.say("hb")
        ahead_ms = (await self.hear("hb"))["s"] - time.time() * 1000
        wait_ms = self.typist.started["start_ms"] - ahead_ms - time.time() * 1000
        await asyncio.sleep(max(0, wait_ms + 5) / 1000)

    async def type(self, share: float = 1.0, *, pace: float = 1.0) -> None:
        """Type so much of the text, from where we are, at once; higher paces claim more time for it.

        In a race the first keys are sent again, as a page does, if they came too early by the clock of their node.
        """
        await self.type_now(share, pace=pace)
        started, log = self.typist.started, self.typist.log
        while "start_ms" in started and self._taken != started["session"]:
            before = len(self.early)
            await self.say("hb")
            await self.hear("hb")
            if len(self.early) == before:
                self._taken = started["session"]
            else:
                await asyncio.sleep(self.early[-1]["retry"] / 1000)
                n = self.early[-1]["expected"]
                await self.say("keys", n=n, e=log[2 * n :])

    async def type_now(self, share: float = 1.0, *, pace: float = 1.0) -> None:
        """The same, whatever becomes of it."""
        text = self.typist.started["text"]
        n = len(self.typist.log) // 2
        events: list[Any] = []
        for key in text[n : round(len(text) * share)]:
            events += [round(pace * min(max(self.chance.lognormvariate(4.8, 0.4), 40), 400)), key]
        self.typist.log += events
        await self.say("keys", n=n, e=events)

    async def finish(self) -> dict[str, Any]:
        """Say that the test is over; the result."""
        await self.say("finish", n=len(self.typist.log) // 2)
        return await self.hear("result")


@asynccontextmanager
async def racer(gateway: Gateway | Program, subprotocol: str = JSON, **options: Any) -> AsyncIterator[Racer]:
    """A guest's connection."""
    async with client(gateway.url, subprotocol, **options) as typist:
        yield Racer(typist)


@asynccontextmanager
async def resumed(gateway: Gateway, before: Racer, *, told: str | None = None) -> AsyncIterator[Racer]:
    """The same racer over another connection, the log sent again; `told`: what of the race is an error by now."""
    protocol = MSGPACK if before.typist.binary else JSON
    async with racer(gateway, protocol, token=before.typist.ready["token"]) as after:
        after.typist.started, after.typist.log = before.typist.started, before.typist.log
        after.state = before.state
        started = before.typist.started
        await after.say("resume", session=started["session"], ticket=started["ticket"], n=len(before.typist.log) // 2)
        n = (await after.hear("resumed"))["n"]
        if told is not None:
            assert (await after.hear("error"))["code"] == told
        if missing := before.typist.log[2 * n :]:
            await after.say("keys", n=n, e=missing)
        yield after


@asynccontextmanager
async def racers(*gateways: Gateway) -> AsyncIterator[list[Racer]]:
    """A guest on each of these, one after the other with both encodings."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(racer(gateway, MSGPACK if number % 2 else JSON))
            for number, gateway in enumerate(gateways)
        ]


@asynccontextmanager
async def node(folder: Path, name: str = "a", **sections: Any) -> AsyncIterator[Gateway]:
    """A gateway with quick races; those of one folder have the same keys."""
    options = {
        "race": RULES,
        "rooms": RoomOptions(retry_ms=100, burst=1_000),
        "connection": ConnectionOptions(starts_burst=1_000),
        "node": NodeOptions(name=name, data=folder / name, keys_file=folder / "keys.json"),
        **sections,
    }
    async with serving(folder / name, **options) as (gateway, _):
        yield gateway


@asynccontextmanager
async def nodes(folder: Path, redis: RedisOptions, *names: str, **sections: Any) -> AsyncIterator[list[Gateway]]:
    """Gateways that share a Redis and have heard of each other."""
    where = replace(redis, prefix=f"{uuid.uuid4().hex}:")
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(node(folder, name, redis=where, **sections)) for name in names]
        for gateway in gateways:
            await healthy(gateway)
        yield gateways


async def healthy(gateway: Gateway) -> None:
    """Wait until a gateway hears and knows the others."""
    async with asyncio.timeout(PATIENCE_S):
        while set((await gateway.health.parts()).values()) != {"ok"}:  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.02)


async def race_of(*racing: Racer, **fields: Any) -> None:
    """The first opens a race, all join it and make ready, and have `started`."""
    host, *others = racing
    await host.create(racers=max(2, len(racing)), **fields)
    for other in others:
        await other.join(host.race)
    for each in racing:
        await each.ready()
    for each in racing:
        await each.started()
