"""Two servers with one Redis and one ring of keys: whoever resumes a test last has it, and one has it always."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from config.gateway import NodeOptions
from gateway.app import Gateway
from gateway.bus import Bus, Exchange
from gateway.takeovers import Takeovers
from persistence.redis import RedisOptions
from tests.gateway.running import PATIENCE_S, serving
from tests.gateway.typing_client import TypingClient, client


@pytest.fixture(name="two")
async def _two(tmp_path: Path, redis_single: RedisOptions) -> AsyncIterator[list[Gateway]]:
    redis = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    async with AsyncExitStack() as stack:
        gateways = []
        for name in ("a", "b"):
            node = NodeOptions(name=name, data=tmp_path / name, keys_file=tmp_path / "keys.json")
            gateway, _ = await stack.enter_async_context(serving(tmp_path / name, redis=redis, node=node))
            gateways.append(gateway)
        async with asyncio.timeout(PATIENCE_S):
            for gateway in gateways:
                while (await gateway.health.parts())["bus"] != "ok":  # noqa: ASYNC110  # facts come without an event
                    await asyncio.sleep(0.01)
        yield gateways


@asynccontextmanager
async def resuming(gateway: Gateway, before: TypingClient) -> AsyncIterator[TypingClient]:
    async with client(gateway.url, token=before.ready["token"]) as typist:
        started = before.started
        await typist.send("resume", session=started["session"], ticket=started["ticket"], n=0)
        assert (await typist.receive("resumed", "error"))["t"] == "resumed"
        yield typist


async def test_who_resumes_at_another_server_has_the_test(two: list[Gateway]) -> None:
    """The former connection is told, and a copy without a connection is forgotten."""
    here, there = two
    async with client(here.url) as first:
        await first.start(mode="words", count=3)
        async with resuming(there, first):
            assert (await first.closed()).code == 4502
            assert not here.hub.live
    async with client(here.url) as typist:
        await typist.start(mode="words", count=3)
        await typist.keys("x")
        await typist.receive("tick")
    await until(lambda: here.hub.sessions()["held"] == 1)
    async with resuming(there, typist):
        await until(lambda: here.hub.sessions()["held"] == 0)


async def test_of_two_who_resume_at_once_one_keeps_it(two: list[Gateway]) -> None:
    """However their words cross."""
    async with client(two[0].url) as first:
        await first.start(mode="words", count=3)
        for _ in range(10):
            async with AsyncExitStack() as stack:
                rivals = await asyncio.gather(*(stack.enter_async_context(resuming(gateway, first)) for gateway in two))
                await until(lambda: sum(len(gateway.hub.live) for gateway in two) == 1)
                at = [bool(gateway.hub.live) for gateway in two].index(True)
                assert (await rivals[1 - at].closed()).code == 4502
                await rivals[at].send("hb", c=1)
                await rivals[at].receive("hb")
                assert two[at].hub.live


@pytest.mark.parametrize("fast", ["a", "b"])
async def test_who_takes_it_after_another_has_it_whatever_their_clocks_say(fast: str) -> None:
    """From a to b and back, one's clock an hour ahead: each time it is the former one that gives up its copy."""
    exchange = Exchange()
    session = b"session"
    async with Bus(exchange.carrier()) as one, Bus(exchange.carrier()) as other:
        hubs = {}
        for name, bus in (("a", one), ("b", other)):
            hubs[name] = Released()
            now_ms = 1_790_000_000_000 + 3_600_000 * (name == fast)
            Takeovers(bus, hubs[name], node=name, epoch_ms=lambda now_ms=now_ms: now_ms)  # type: ignore[misc,arg-type]
        for count, (taker, former) in enumerate([("a", "b"), ("b", "a")] * 3, 1):
            hubs[taker].took(session)
            await until(lambda former=former, count=count: hubs[former].count == (count + 1) // 2)  # type: ignore[misc]
        assert {hub.count for hub in hubs.values()} == {3}
        await one.publish("takeovers", [session, 2**64 - 1, "c"])
        hubs["a"].took(session)
        await until(lambda: hubs["b"].count == 4)


class Released:
    """As much of a hub as takeovers need: how often a session was to be given up."""

    def __init__(self) -> None:
        self.count = 0
        self.took: Callable[[bytes], None]

    def release(self, _: bytes) -> None:
        self.count += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)
