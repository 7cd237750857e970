"""Channels: heard by all who listen, on one connection, from when `listening` says so."""

import asyncio
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.redis import RedisServer
from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from persistence.redis.channels import Channels
from tests.servers import skip_without


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


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    with RedisServer(tmp_path) as server:
        yield server


async def test_who_always_has_something_to_say_makes_the_server_say_something_too(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where channels come and go without a pause, the connection is not taken for a dead one."""
    monkeypatch.setattr("persistence.redis.channels._PING_S", 0.05)
    monkeypatch.setattr("persistence.redis.channels._PINGS", 1_000_000)
    heard = Heard()
    options = RedisOptions(url=f"redis://{server.address}/0", call_ms=60_000)
    async with RedisServers(options) as servers, asyncio.timeout(120):
        channels = Channels(options, servers, heard=heard.hear, listening=heard.begin)
        await channels.open()
        try:
            channels.add("stays")
            await heard.until(lambda: heard.listening == ["stays"])
            before, number = pings(server), 0
            while pings(server) < before + 3:
                for _ in range(20):
                    channels.add(name := f"room {(number := number + 1)}")
                    await heard.until(lambda: heard.listening[-1] == name)  # awaited at once
                    channels.discard(name)
            assert heard.listening.count("stays") == 1
        finally:
            await channels.close()


def pings(server: RedisServer) -> int:
    """How often it was asked whether it is there."""
    found = re.search(r"cmdstat_ping:calls=(\d+)", server.ask("info", "commandstats"))
    return int(found[1]) if found else 0


async def test_a_server_that_hangs_is_given_up_and_heard_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It vanished without a word; what it says when it is back is heard from a gap on."""
    monkeypatch.setattr("persistence.redis.channels._PING_S", 0.2)
    heard = Heard()
    options = RedisOptions(url=f"redis://{server.address}/0", call_ms=2_000, retry_min_ms=20, retry_max_ms=100)
    async with RedisServers(options) as servers:
        channels = Channels(options, servers, heard=heard.hear, listening=heard.begin)
        await channels.open()
        try:
            channels.add("news")
            await heard.until(lambda: heard.listening != [])
            server.pause()
            async with asyncio.timeout(60):
                while not channels._deaf:  # noqa: ASYNC110  # facts come without an event
                    await asyncio.sleep(0.01)
            with pytest.raises(StoreError, match="it says nothing any more"):
                channels.ping()
            told = len(heard.listening)
            server.resume()
            await heard.until(lambda: len(heard.listening) > told)
        finally:
            await channels.close()
