"""Redis as the nodes use it: what is said on a channel reaches who listens at that moment; who holds which session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.bus import Hearer
from gateway.bus.port import Frame
from persistence.errors import StoreError
from persistence.holders import Holding, MemoryHolders
from tests.simulation.keys import Keys
from tests.simulation.process import Process
from tests.simulation.world import EPOCH_S, World

_TWICE = 0.02
"""Share of what a cluster says that comes twice."""


class Redis:
    """One for all nodes. It may be away for all of them, or for one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.chance("redis").random
        self.away = False
        self.cuts: set[str] = set()
        """Machines that cannot reach it."""
        self.offset_s = 0.0
        """How far its clock is from the right time."""
        self.holders = MemoryHolders()
        self.keys = Keys(self.now_ms)
        self.sharded = False
        """Whether it is a cluster: channels are on several servers, and what comes of two of them in no order."""
        self._carriers: list[RedisCarrier] = []

    def now_ms(self) -> float:
        """What its clock shows."""
        return (EPOCH_S + self.offset_s + self.world.now) * 1000

    def is_away(self, machine: str) -> bool:
        """Whether this machine cannot reach it."""
        return self.away or machine in self.cuts

    def carrier(self, process: Process, machine: str) -> RedisCarrier:
        """One process's connections."""
        carrier = RedisCarrier(self, process, machine)
        self._carriers = [each for each in self._carriers if each.process.alive]
        self._carriers.append(carrier)
        return carrier

    def change(self, *, away: bool | None = None, cut: str | None = None, mend: str | None = None) -> None:
        """Go away or come back, for all or for one; who is back hears again, and is told of the gap."""
        before = [self.is_away(carrier.machine) for carrier in self._carriers]
        if away is not None:
            self.away = away
        if cut is not None:
            self.cuts.add(cut)
        if mend is not None:
            self.cuts.discard(mend)
        for was_away, carrier in zip(before, self._carriers, strict=True):
            if was_away and not self.is_away(carrier.machine):
                self.world.after(0.5 * self.random(), carrier.come_back)

    def record(self, session: bytes) -> Holding | None:
        """Who is recorded to have a session."""
        return self.holders._records.get(session)

    def lose(self) -> None:
        """Lose all data."""
        self.holders = MemoryHolders()
        self.keys.lose()

    def publish(self, frames: Sequence[Frame]) -> None:
        """Bring frames to all who listen now."""
        for channel, frame in frames:
            for carrier in self._carriers:
                if channel in carrier.channels and not self.is_away(carrier.machine):
                    carrier.bring(channel, frame)


class RedisCarrier:
    """A `Carrier` through it."""

    def __init__(self, redis: Redis, process: Process, machine: str) -> None:
        self.process = process
        self.machine = machine
        self.channels: dict[str, bool] = {}
        self._redis = redis
        self._hearer: Hearer
        self._last: dict[str, float] = {}

    async def open(self, hearer: Hearer) -> None:
        self._hearer = hearer

    async def close(self) -> None:
        self.channels.clear()

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        if self._redis.is_away(self.machine):
            return [StoreError("Redis is away", retriable=True)] * len(frames)
        self._redis.publish(frames)
        return [None] * len(frames)

    def listen(self, channel: str) -> None:
        self.channels[channel] = True
        if not self._redis.is_away(self.machine):
            self._later(self._listening, channel)

    def ignore(self, channel: str) -> None:
        self.channels.pop(channel, None)

    async def ping(self) -> None:
        if self._redis.is_away(self.machine):
            raise StoreError("Redis is away", retriable=True)

    def bring(self, channel: str, frame: bytes) -> None:
        self._later(self._hear, channel, frame)
        if self._redis.sharded and self._redis.random() < _TWICE:
            self._later(self._hear, channel, frame)

    def come_back(self) -> None:
        """The connections stand again."""
        if not self._redis.is_away(self.machine):
            for channel in self.channels:
                self._later(self._listening, channel)
            self._later(self._returned)

    def _later(self, call: Any, *args: object) -> None:
        """What comes over one connection comes in order."""
        random = self._redis.random
        delay_s = 0.0005 + 0.01 * random() ** 3
        connection = str(args[0]) if self._redis.sharded and args else ""
        at = self._last[connection] = max(self._last.get(connection, 0.0) + 1e-6, self._redis.world.now + delay_s)
        self._redis.world.at(at, self.process.call_soon, call, *args)

    def _hear(self, channel: str, frame: bytes) -> None:
        if channel in self.channels and not self._redis.is_away(self.machine):
            self._hearer.heard(channel, frame)

    def _listening(self, channel: str) -> None:
        if channel in self.channels:
            self._hearer.listening(channel)

    def _returned(self) -> None:
        self._hearer.returned()


class RedisHolders:
    """`Holders` in it, as one process reaches them. What is not answered may have been done."""

    def __init__(self, redis: Redis, machine: str) -> None:
        self._redis = redis
        self._machine = machine

    async def take(self, session: bytes, node: str, *, floor: int) -> tuple[int, str]:
        await self._way()
        found = await self._redis.holders.take(session, node, floor=floor)
        await self._way()
        return found

    async def read(self, sessions: Sequence[bytes]) -> list[Holding | None]:
        await self._way()
        found = await self._redis.holders.read(sessions)
        await self._way()
        return found

    async def _way(self) -> None:
        await asyncio.sleep(0.0003 + 0.01 * self._redis.random() ** 4)
        if self._redis.is_away(self._machine):
            await asyncio.sleep(0.2 * self._redis.random())
            raise StoreError("Redis is away", retriable=True)
