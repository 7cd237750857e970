"""Who is there: leases that are renewed, given up and run out, and a Redis that forgets them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from config.bus import BusOptions
from gateway.bus import Bus, LocalDirectory, Node, RedisCarrier
from gateway.bus.lease import LeasedDirectory, read_nodes
from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from tests.gateway.bus.nodes import PATIENCE_S, own_prefix

SHORT = BusOptions(lease_ms=1_000)
STEADY = BusOptions(lease_ms=10_000)
"""For tests that wait for a renewal, and in which nobody is to be missed."""
LONG = BusOptions(lease_ms=600_000)
"""No test waits for it: what is seen of others is seen because they said so."""


def node(name: str) -> Node:
    return Node(id=name, run=uuid.uuid4().hex, version="1", url=f"http://{name}/", since_ms=1)


@pytest.fixture(name="options", params=["redis_single", "redis_cluster"])
def _options(request: pytest.FixtureRequest) -> RedisOptions:
    return own_prefix(request.getfixturevalue(request.param))


class Member:
    """A process with a lease."""

    def __init__(self, servers: RedisServers, directory: LeasedDirectory) -> None:
        self.servers = servers
        self.directory = directory
        self.seen: list[tuple[str, bool]] = []
        self._more = asyncio.Event()
        directory.watch(self._watch)

    def _watch(self, node: Node, came: bool) -> None:
        self.seen.append((node.id, came))
        self._more.set()

    async def sees(self, *names: str) -> None:
        """Wait until these are there, and no others."""
        await self.until(lambda: set(self.directory.nodes) == set(names))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def is_known(self) -> None:
        await until(lambda: self.fault(""))

    async def fault(self, words: str) -> bool:
        """Whether it says that this is wrong with it; "" for nothing."""
        try:
            await self.directory.ping()
        except StoreError as fault:
            return bool(words) and words in str(fault)
        return not words


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def member(where: RedisOptions, one: Node, options: BusOptions = LONG) -> AsyncIterator[Member]:
    async with (
        RedisServers(where) as servers,
        Bus(RedisCarrier(servers, where)) as bus,
        LeasedDirectory(servers, bus, one, options) as directory,
    ):
        yield Member(servers, directory)


async def test_who_comes_and_who_leaves_is_seen_at_once(options: RedisOptions) -> None:
    """With what it says of itself, and told to whoever watches."""
    here = node("a")
    async with member(options, here) as a:
        await a.sees("a")
        there = node("b")
        async with member(options, there) as b:
            await a.sees("a", "b")
            await b.sees("a", "b")
            assert a.directory.nodes["b"] == there
            await b.is_known()
            assert await read_nodes(a.servers) == [here, there]
        await a.sees("a")
        assert a.seen == [("b", True), ("b", False)]


async def test_who_dies_is_gone_with_its_lease(options: RedisOptions) -> None:
    async with (
        member(options, node("a"), SHORT) as a,
        RedisServers(options) as servers,
        Bus(RedisCarrier(servers, options)) as bus,
    ):
        dying = LeasedDirectory(servers, bus, node("b"), SHORT)
        await dying.__aenter__()
        await a.sees("a", "b")
        for task in dying._tasks:  # it says nothing any more, and no good-bye
            task.cancel()
        await a.sees("a")


async def test_who_starts_anew_goes_and_comes(options: RedisOptions) -> None:
    """Before the lease of its former life has run out: its name is its own again at once."""
    async with member(options, node("a")) as a:
        first, second = node("b"), node("b")
        async with member(options, first):
            await a.sees("a", "b")
            async with member(options, second) as again:
                await again.is_known()
                await a.until(lambda: a.directory.nodes["b"] == second)
        assert a.seen[:3] == [("b", True), ("b", False), ("b", True)]


async def test_of_two_with_one_name_the_former_says_so(options: RedisOptions) -> None:
    async with member(options, node("a"), STEADY) as former:
        await former.is_known()
        async with member(options, node("a"), STEADY) as latter:
            await latter.is_known()
            await until(lambda: former.fault("another process calls itself a"))
            await latter.is_known()
        await former.is_known()


async def test_a_redis_that_forgot_all_is_told_again(options: RedisOptions) -> None:
    """The index alone lost, or a lease: both are there again after a renewal."""
    async with member(options, node("a"), SHORT) as a, member(options, node("b"), SHORT) as b:
        await a.sees("a", "b")
        await b.sees("a", "b")
        for key in ("nodes", "node:a", "node:b"):
            name = options.prefix + key
            await a.servers.ask(Call(name, ("DEL", name)))

        async def both() -> bool:
            return len(await read_nodes(a.servers)) == 2

        await until(both)
        await a.sees("a", "b")


@pytest.mark.parametrize(
    "found", [None, [], {}, {"id": 1}, {"id": "a", "run": "b", "version": "c", "url": "x" * 1_000}, "node"]
)
def test_a_lease_that_is_none_of_ours_is_no_node(found: Any) -> None:
    with pytest.raises(ValueError, match="no node"):
        Node.of(found)


def test_what_a_newer_version_says_of_itself_is_passed_over() -> None:
    one = node("a")
    assert Node.of(one.to_map() | {"colour": "green"}) == one


async def test_one_that_is_alone_knows_itself() -> None:
    one = node("a")
    async with LocalDirectory(one) as directory:
        seen: list[Callable[..., None]] = []
        directory.watch(lambda *_: seen.append(print))
        await directory.ping()
        assert directory.nodes == {"a": one}
