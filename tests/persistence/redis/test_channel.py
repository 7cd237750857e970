"""What is published on a channel is heard by all who listen, also after a server that died."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.redis import RedisServer
from persistence.errors import StoreError
from persistence.redis import RedisOptions, RedisServers
from persistence.redis.channel import Listener, publish
from tests.servers import skip_without


class Heard:
    """What was heard, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.gaps = 0
        self._more = asyncio.Event()

    def __call__(self, message: bytes) -> None:
        self.messages.append(message)
        self._more.set()

    def gap(self) -> None:
        self.gaps += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._more.clear()
                await self._more.wait()


@pytest.fixture(name="options", params=["redis_single", "redis_cluster"])
def _options(request: pytest.FixtureRequest) -> RedisOptions:
    found: RedisOptions = request.getfixturevalue(request.param)
    return replace(found, prefix=f"{uuid.uuid4().hex}:")


async def test_all_who_listen_hear_it(options: RedisOptions) -> None:
    """Bytes as they were given, in order, and nothing of other channels; on a Cluster whichever node each is at."""
    first, second = Heard(), Heard()
    async with (
        RedisServers(options) as servers,
        Listener(options, "news", first) as one,
        Listener(options, "news", second) as two,
    ):
        async with asyncio.timeout(30):
            await one.subscribed.wait()
            await two.subscribed.wait()
        await one.ping()
        await publish(servers, "other", b"not this")
        sent = [b"\x00\xff", b"", *(b"%d" % i for i in range(100))]
        for message in sent:
            await publish(servers, "news", message)
        for heard in (first, second):
            await heard.until(lambda heard=heard: len(heard.messages) == len(sent))  # type: ignore[misc]  # bound early
            assert heard.messages == sent


async def test_what_a_listener_raises_costs_the_others_nothing(options: RedisOptions) -> None:
    heard = Heard()

    def picky(message: bytes) -> None:
        if message == b"bad":
            raise ValueError(message)
        heard(message)

    async with RedisServers(options) as servers, Listener(options, "news", picky) as listener:
        async with asyncio.timeout(30):
            await listener.subscribed.wait()
        for message in (b"bad", b"good"):
            await publish(servers, "news", message)
        await heard.until(lambda: heard.messages == [b"good"])


async def test_a_server_that_dies_is_listened_to_again(tmp_path: Path) -> None:
    """Opened before there is one; killed, it is a gap, and messages after it are heard."""
    skip_without("redis")
    server = RedisServer(tmp_path)
    options = RedisOptions(url=f"redis://{server.address}/0", retry_min_ms=10, retry_max_ms=50)
    heard = Heard()
    async with RedisServers(options) as servers, Listener(options, "news", heard, on_gap=heard.gap) as listener:
        with pytest.raises(StoreError, match="channel typegate:news: "):
            await listener.ping()
        for life in range(2):
            await asyncio.to_thread(server.start)
            try:
                async with asyncio.timeout(30):
                    while heard.messages[-1:] != [b"life %d" % life]:
                        with suppress(StoreError):  # found to be away a moment ago
                            await publish(servers, "news", b"life %d" % life)
                        await asyncio.sleep(0.01)
            finally:
                server.kill()
    assert heard.gaps == 2
