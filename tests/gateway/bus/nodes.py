"""Buses of several processes over one carrier, each kind of it, and a subscriber that remembers."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from config.bus import BusOptions
from gateway.bus import Bus, Exchange, RedisCarrier, Subscription
from persistence.redis import RedisOptions, RedisServers

PATIENCE_S = 60.0

MakeBus = Callable[..., AbstractAsyncContextManager[Bus]]
"""Opens the bus of one more process; takes `BusOptions`."""


def local() -> MakeBus:
    """Buses of one process."""
    exchange = Exchange()
    return lambda options=None: Bus(exchange.carrier(), options)


def over_redis(where: RedisOptions) -> MakeBus:
    """Buses of several processes, each with connections of its own."""

    @asynccontextmanager
    async def opened(options: BusOptions | None = None) -> AsyncIterator[Bus]:
        async with RedisServers(where) as servers, Bus(RedisCarrier(servers, where), options) as bus:
            yield bus

    return opened


def own_prefix(where: RedisOptions) -> RedisOptions:
    """The settings of an installation that shares the servers with others."""
    return replace(where, prefix=f"{uuid.uuid4().hex}:")


BUSES: dict[str, Callable[[Callable[[str], Any]], MakeBus]] = {
    "local": lambda _: local(),
    "redis": lambda fixture: over_redis(own_prefix(fixture("redis_single"))),
    "redis-cluster": lambda fixture: over_redis(own_prefix(fixture("redis_cluster"))),
}


class Ear:
    """A subscriber. `heard` has its messages in order, and RESYNC wherever it was told that some may be missing."""

    RESYNC = "(resync)"

    def __init__(self, bus: Bus, channel: str) -> None:
        self.heard: list[Any] = []
        self._more = asyncio.Event()
        self.subscription: Subscription = bus.subscribe(channel, self.hear, resync=lambda: self.hear(self.RESYNC))

    @property
    def messages(self) -> list[Any]:
        """Without what it was told."""
        return [message for message in self.heard if message != self.RESYNC]

    @property
    def resyncs(self) -> int:
        return self.heard.count(self.RESYNC)

    def hear(self, message: Any) -> None:
        self.heard.append(message)
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was heard is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def listening(self) -> "Ear":
        """Wait until it hears its channel."""
        await self.until(lambda: self.RESYNC in self.heard)
        return self
