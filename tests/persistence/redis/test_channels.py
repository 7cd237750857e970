"""Channels: heard by all who listen, on one connection, from when `listening` says so."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from persistence.redis.channels import Channels


class Heard:
    """What was heard, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.listening: list[str] = []
        self._more = asyncio.Event()

    def hear(self, channel: str, message: bytes) -> None:
        self.messages.append((channel, message))
        self._more.set()

    def begin(self, channel: str) -> None:
        self.listening.append(channel)
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._more.clear()
                await self._more.wait()


@pytest.fixture(name="options", params=["redis_single", "redis_cluster"])
def _options(request: pytest.FixtureRequest) -> RedisOptions:
    found: RedisOptions = request.getfixturevalue(request.param)
    return replace(found, prefix=f"{uuid.uuid4().hex}:")


async def test_channels_come_and_go_on_a_connection_that_stays(options: RedisOptions) -> None:
    """Bytes as they were published; of a channel that was given up nothing more comes, though it be taken up again."""
    heard = Heard()
    publish = "SPUBLISH" if options.nodes else "PUBLISH"

    async def say(servers: RedisServers, channel: str, message: bytes) -> None:
        await servers.ask(Call(channel, (publish, channel, message)))

    async with RedisServers(options) as servers:
        channels = Channels(options, servers, heard=heard.hear, listening=heard.begin)
        await channels.open()
        try:
            one, other = (f"{options.prefix}{{same slot}}{i}" for i in range(2))
            channels.add(one)
            with pytest.raises(StoreError, match="not connected yet"):
                channels.ping()
            await heard.until(lambda: heard.listening == [one])
            channels.ping()
            channels.add(other)
            channels.add(other)
            await heard.until(lambda: heard.listening == [one, other])
            assert channels.connections == 1
            for i in range(100):
                await say(servers, one, b"%d\x00\xff" % i)
            await heard.until(lambda: len(heard.messages) == 100)
            assert heard.messages == [(one, b"%d\x00\xff" % i) for i in range(100)]
            channels.discard(one)
            channels.add(one)
            channels.discard(one)
            channels.discard("never listened to")
            await say(servers, one, b"unheard")
            await say(servers, other, b"heard")
            await heard.until(lambda: heard.messages[-1] == (other, b"heard"))
            channels.discard(other)
            assert channels.connections == 0
            channels.ping()
        finally:
            await channels.close()
