"""Those who look on, and servers that they come to: several in this process, over each kind of bus."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from config.bus import BusOptions
from config.gateway import NodeOptions
from config.watch import WatchOptions
from gateway.app import Gateway
from persistence.redis import RedisOptions
from tests.gateway.running import PATIENCE_S, serving
from tests.gateway.typing_client import TypingClient

BUSES = ("embedded", "redis", "redis-cluster")
"""One server alone; two with one Redis; two with a Redis Cluster."""


PATIENT = WatchOptions(answer_ms=60_000, silent_ms=60_000)
"""Who is there is seen, however long the machine lets one wait."""
ANSWERED = BusOptions(answer_ms=10_000, lease_ms=15_000)
"""So is what a server saw of a test that goes on at another one: else that may come back as it was before."""


@dataclass(frozen=True)
class Places:
    """Where one types, and where one looks on; the same server where there is one alone."""

    here: Gateway
    there: Gateway


@asynccontextmanager
async def places(kind: str, folder: Path, fixture: Callable[[str], Any], **sections: Any) -> AsyncIterator[Places]:
    """Servers of one cluster."""
    sections = {"watch": PATIENT, **sections}
    if kind == "embedded":
        async with serving(folder, **sections) as (gateway, _):
            yield Places(gateway, gateway)
        return
    where = {"redis": "redis_single", "redis-cluster": "redis_cluster"}[kind]
    async with together(folder, fixture(where), **sections) as two:
        yield Places(*two)


@asynccontextmanager
async def together(folder: Path, redis: RedisOptions, *names: str, **sections: Any) -> AsyncIterator[list[Gateway]]:
    """Servers with one Redis and one ring of keys, two if nothing else is said, that hear each other."""
    redis = replace(redis, prefix=f"{uuid.uuid4().hex}:")
    sections = {"watch": PATIENT, "bus": ANSWERED, **sections}
    async with AsyncExitStack() as stack:
        gateways = []
        for name in names or ("a", "b"):
            node = NodeOptions(name=name, data=folder / name, keys_file=folder / "keys.json")
            gateway, _ = await stack.enter_async_context(serving(folder / name, redis=redis, node=node, **sections))
            gateways.append(gateway)
        for gateway in gateways:
            await hears(gateway)
        yield gateways


async def hears(gateway: Gateway) -> None:
    """Wait until a server hears what the others say."""
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.health.parts())["bus"] != "ok":  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)


@pytest.fixture(name="places", params=BUSES)
async def _places(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Places]:
    async with places(request.param, tmp_path, request.getfixturevalue) as found:
        yield found


class Onlooker:
    """What a page would show of who is watched, by what it is told."""

    def __init__(self, typist: TypingClient) -> None:
        self.client = typist
        self.watched: dict[str, Any] = {}
        self.keys: list[str] = []
        self.figures: dict[str, Any] = {}
        self.state = ""
        self.end: dict[str, Any] = {}
        self.frames = 0
        """Messages that it was told."""

    async def watch(self, session: str) -> dict[str, Any]:
        """Ask, and take what is answered."""
        await self.client.send("watch", session=session)
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """Take one more message."""
        message = await self.client.receive("watched", "watch.keys", "watch.state", "watch.end", "error")
        self.frames += 1
        match message["t"]:
            case "watched":
                self.watched, self.keys, self.state, self.end = message, [], "typing", {}
            case "watch.keys":
                new = len(self.keys) - message["n"]
                assert new >= 0, "keys are missing"
                self.keys += message["k"][new:]
                self.figures = message
            case "watch.state":
                self.state = message["state"]
            case "watch.end":
                self.end = message
        return message

    async def until(self, condition: Callable[[Onlooker], bool]) -> None:
        """Hear what there is until it is so."""
        while not condition(self):
            message = await self.hear()
            assert message["t"] != "error", message

    async def sees(self, keys: str | list[str]) -> None:
        """Wait until exactly these keys are there."""
        await self.until(lambda one: len(one.keys) >= len(keys))
        assert self.keys == list(keys)
