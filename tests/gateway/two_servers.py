"""Two servers with one Redis and one ring of keys, for tests of what they are as one."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.bus import BusOptions
from config.gateway import NodeOptions
from gateway.app import Gateway
from persistence.redis import RedisOptions
from tests.gateway.running import PATIENCE_S, serving

PATIENT = BusOptions(lease_ms=15_000)
"""Who is there is not given up, however long the machine lets it wait."""


@asynccontextmanager
async def two_servers(folder: Path, redis: RedisOptions, **sections: Any) -> AsyncIterator[list[Gateway]]:
    """They run, hear each other, and know each other."""
    redis = replace(redis, prefix=f"{uuid.uuid4().hex}:")
    sections = {"bus": PATIENT, **sections}
    async with AsyncExitStack() as stack:
        gateways = []
        for name in ("a", "b"):
            node = NodeOptions(name=name, data=folder / name, keys_file=folder / "keys.json")
            gateway, _ = await stack.enter_async_context(serving(folder / name, redis=redis, node=node, **sections))
            gateways.append(gateway)
        for gateway in gateways:
            await until(lambda gateway=gateway: len(gateway._runs() or ()) == 2)  # type: ignore[misc]  # mypy sees no default
            async with asyncio.timeout(PATIENCE_S):
                while (await gateway.health.parts())["bus"] != "ok":  # noqa: ASYNC110  # facts come without an event
                    await asyncio.sleep(0.01)
        yield gateways


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a fact that comes without an event."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.005)
