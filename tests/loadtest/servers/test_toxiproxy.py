import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from loadtest.servers.process import unused_port
from loadtest.servers.toxiproxy import Toxiproxy, Way
from tests.listening import listening

PATIENCE_S = 30.0
LEAST_S = 0.3


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    missing = Toxiproxy.missing()
    if missing is not None:
        pytest.skip(f"{missing}; loadtest/servers/install installs it")
    with Toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as started:
        yield started


class Echo:
    """A server that says everything again, and knows how often somebody came."""

    def __init__(self) -> None:
        self._came = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._came.release()
        while data := await reader.read(65_536):
            writer.write(data)

    async def came(self, times: int) -> None:
        """Wait until so many more have come."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(times):
                await self._came.acquire()


@pytest.fixture
def echo() -> Echo:
    """The server at the end of the way."""
    return Echo()


@pytest.fixture
async def way(proxy: Toxiproxy, echo: Echo, request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    """A way to it."""
    async with listening(echo.serve) as port:
        yield proxy.way(request.node.name, port)


class Peer:
    """A client of the echo."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, said: bytes) -> bytes:
        """What comes back; less than was said, or ConnectionError, where the connection ends."""
        async with asyncio.timeout(PATIENCE_S):
            self._writer.write(said)
            try:
                return await self._reader.readexactly(len(said))
            except asyncio.IncompleteReadError as fault:
                return fault.partial

    async def ended(self) -> bool:
        """Whether the connection comes to its end, without a word more."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read() == b""


@asynccontextmanager
async def peer(way: Way) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def settled_peer(way: Way) -> AsyncIterator[Peer]:
    """One whose way is there to its end: who has connected may not have been taken yet by the proxy."""
    async with peer(way) as client:
        assert await client.ask(b"hello") == b"hello"
        yield client


async def test_a_healthy_way_changes_nothing(way: Way) -> None:
    async with peer(way) as client:
        assert await client.ask(b"x" * 100_000) == b"x" * 100_000


async def test_a_slow_way_takes_its_time_each_way(way: Way) -> None:
    async with peer(way) as client:
        await asyncio.to_thread(way.slow, 150)
        began_s = time.monotonic()
        assert await client.ask(b"hello") == b"hello"
        assert time.monotonic() - began_s >= LEAST_S


async def test_a_narrow_way_takes_as_long_as_there_is_to_carry(way: Way) -> None:
    async with peer(way) as client:
        await asyncio.to_thread(way.narrow, 100)
        began_s = time.monotonic()
        assert len(await client.ask(b"x" * 50 * 1024)) == 50 * 1024
        assert time.monotonic() - began_s >= LEAST_S


async def test_a_silent_way_loses_what_is_said_and_ends_when_healed(way: Way, echo: Echo) -> None:
    async with settled_peer(way) as before:
        await asyncio.to_thread(way.silence)
        async with peer(way) as since, peer(way):
            await echo.came(3)  # the proxy takes one after the other, so it is done with the last but one
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(one.ask(b"hello")) for one in (before, since)]
                done, _ = await asyncio.wait(asked, timeout=LEAST_S)
                assert not done
                await asyncio.to_thread(way.heal)
            assert [one.result() for one in asked] == [b"", b""]
    async with peer(way) as after:
        assert await after.ask(b"hello") == b"hello"


async def test_a_reset_ends_connections_that_are_used(way: Way) -> None:
    async with settled_peer(way) as before:
        await asyncio.to_thread(way.reset)
        assert await before.ask(b"hello") == b""
        async with peer(way) as since:
            with pytest.raises(ConnectionResetError):
                await since.ask(b"hello")
    await asyncio.to_thread(way.heal)
    async with peer(way) as after:
        assert await after.ask(b"hello") == b"hello"


async def test_a_cut_way_lets_nobody_in_until_healed(way: Way) -> None:
    async with settled_peer(way) as before:
        await asyncio.to_thread(way.cut)
        assert await before.ended()
        with pytest.raises(ConnectionRefusedError):
            async with peer(way):
                pass
        await asyncio.to_thread(way.heal)
    async with peer(way) as after:
        assert await after.ask(b"hello") == b"hello"


def test_what_it_refuses_is_told(proxy: Toxiproxy) -> None:
    proxy.way("twice", unused_port())
    with pytest.raises(RuntimeError, match="already exists"):
        proxy.way("twice", unused_port())
