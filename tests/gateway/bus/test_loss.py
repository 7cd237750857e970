"""A carrier that loses, doubles and refuses frames: what is heard is in order, once, and every hole is told of."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.bus import BusOptions
from gateway.bus import Bus, Exchange, bus
from gateway.bus.port import Carrier, Frame, Hearer
from persistence.errors import StoreError
from tests.gateway.bus.nodes import Ear

Fate = Literal["carried", "twice", "lost", "refused", "refused and carried"]
FATES: tuple[Fate, ...] = ("carried", "twice", "lost", "refused", "refused and carried")


class Unreliable:
    """A carrier in whose hands each frame meets the next of the given fates; the rest are carried."""

    def __init__(self, carrier: Carrier, fates: Sequence[Fate]) -> None:
        self._carrier = carrier
        self._fates = iter(fates)
        self._hearer: Hearer
        self.listen, self.ignore, self.ping = carrier.listen, carrier.ignore, carrier.ping
        self.close = carrier.close

    async def open(self, hearer: Hearer) -> None:
        self._hearer = hearer
        await self._carrier.open(hearer)

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        answers: list[StoreError | None] = []
        for frame in frames:
            fate = next(self._fates, "carried")
            if fate not in ("lost", "refused"):
                await self._carrier.carry([frame] * (2 if fate == "twice" else 1))
            answers.append(StoreError("refused", retriable=True) if fate.startswith("refused") else None)
        return answers

    def mended(self) -> None:
        self._fates = iter(())
        self._hearer.returned()


async def _play(after: Sequence[Fate], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "_OWED_S", 3_600.0)  # each frame has its own fate: nothing more is said meanwhile
    fates: list[Fate] = ["carried", *after]  # who was never heard of is missed by nobody
    exchange = Exchange()
    carrier = Unreliable(exchange.carrier(), fates)
    async with Bus(exchange.carrier()) as there, Bus(carrier, BusOptions(gather_ms=0)) as here:
        ear = await Ear(there, "news").listening()
        for i in range(len(fates)):
            with suppress(StoreError):
                await here.publish("news", i)
        carrier.mended()
        holes = any(fate in ("lost", "refused") for fate in fates)
        if holes and fates[-1] != "lost":
            # told without anything more being said, unless the last loss was one that nobody noticed
            await ear.until(lambda: ear.resyncs >= 2)
        await here.publish("news", len(fates))
        await ear.until(lambda: ear.messages[-1:] == [len(fates)])
    last = -1
    told = False
    for one in ear.heard[1:]:
        if one == Ear.RESYNC:
            told = True
            continue
        assert one > last, "once, and in order"
        assert told or one == last + 1, f"a hole before {one} that nobody told of"
        last, told = one, False
    if "lost" not in fates and not any(fate.startswith("refused") for fate in fates):
        assert ear.resyncs == 1, "no hole, and one was told of"


async def test_what_was_refused_is_told_though_nobody_says_more_or_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses, or has no connection free, is not away: there is no return to hear of."""
    monkeypatch.setattr(bus, "_OWED_S", 0.01)
    exchange = Exchange()
    carrier = Unreliable(exchange.carrier(), ["carried", "refused", "refused", "refused"])
    async with Bus(exchange.carrier()) as there, Bus(carrier, BusOptions(gather_ms=0)) as here:
        ear = await Ear(there, "news").listening()
        await here.publish("news", "hello")
        with pytest.raises(StoreError):
            await here.publish("news", "lost")
        await ear.until(lambda: ear.heard == [Ear.RESYNC, "hello", Ear.RESYNC])


async def test_who_waits_for_a_message_to_be_sent_is_told_when_the_bus_closes() -> None:
    stuck = Stuck(Exchange().carrier())
    async with Bus(stuck) as here:
        saying = asyncio.get_running_loop().create_task(here.publish("news", "hello"))
        await stuck.begun.wait()
    with pytest.raises(StoreError, match="closed"):
        await saying


class Stuck:
    """A carrier that never answers."""

    def __init__(self, carrier: Carrier) -> None:
        self.begun = asyncio.Event()
        self.listen, self.ignore, self.ping = carrier.listen, carrier.ignore, carrier.ping
        self.open, self.close = carrier.open, carrier.close

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        self.begun.set()
        await asyncio.Event().wait()
        return []


@settings(max_examples=60)
@given(st.lists(st.sampled_from(FATES), min_size=1, max_size=12))
def test_every_hole_is_told_of(fates: list[Fate]) -> None:
    """Before the next message; what a frame that came twice says is heard once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(_play(fates, monkeypatch))
