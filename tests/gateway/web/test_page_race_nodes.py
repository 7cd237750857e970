"""A race over two nodes, of which one dies: both pages get the same table."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from persistence.keys import load_keys
from persistence.redis import RedisOptions
from tests.gateway.web.conftest import QUICK_RACES, Server, Visit
from tests.gateway.web.racing import choosing, ready, run, table, to_the_end
from tests.listening import listening


@pytest.fixture(name="nodes")
def _nodes(tmp_path: Path, redis_single: RedisOptions) -> Iterator[tuple[Server, Server]]:
    """Two servers with one Redis and the same keys."""
    keys = tmp_path / "keys.json"
    load_keys(keys, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom)
    common = {
        **QUICK_RACES,
        "TYPEGATE_NODE_KEYS_FILE": str(keys),
        "TYPEGATE_REDIS_URL": str(redis_single.url),
        "TYPEGATE_REDIS_PREFIX": f"{uuid.uuid4().hex}:",
    }
    first, second = (
        Server(tmp_path / name, variables={**common, "TYPEGATE_NODE_NAME": name}) for name in ("node-1", "node-2")
    )
    first.start()
    second.start()
    yield first, second
    first.stop()
    second.stop()


@asynccontextmanager
async def before(*servers: Server) -> AsyncIterator[int]:
    """A balancer in small: each connection goes to the first of these that takes it; gives its port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in servers:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                continue
            await asyncio.gather(relay(reader, back), relay(there, writer), return_exceptions=True)
            break

    async with listening(connected) as port:
        yield port


async def test_two_pages_race_on_two_nodes_and_one_dies(nodes: tuple[Server, Server], visit: Visit) -> None:
    """Killed in mid-race: its racer types on, comes back over the other node, no key is lost; one table for both."""
    first, second = nodes
    async with before(first, second) as port:
        balanced = Server(first.data)
        balanced.url = f"http://127.0.0.1:{port}/"
        ada = await visit(server=balanced, path="race", ready=False, may_lose_server=True, script=choosing(name="Ada"))
        await ada.page.click("#make button[type=submit]")
        await ada.page.wait_for_selector("#lobby:not([hidden])")
        path = ada.page.url.removeprefix(balanced.url)
        zoe = await visit(server=second, path=path, ready=False, script=choosing(name="Zoë"))
        await ada.page.wait_for_selector(".seat:has-text('Zoë')")
        assert {ada.got("hello")[0]["node"], zoe.got("hello")[0]["node"]} == {"node-1", "node-2"}
        await ready(ada, zoe)
        await asyncio.gather(run(ada, part=0.4), run(zoe, part=0.3))
        await ada.until(lambda: bool(ada.got("tick")))
        first.kill()
        await asyncio.gather(run(ada, part=0.7, done=0.4), run(zoe, part=0.6, done=0.3))
        await ada.until(lambda: bool(ada.got("resumed")))
        await asyncio.gather(run(ada, done=0.7), run(zoe, done=0.6))
        await to_the_end(ada, zoe)
        rows = await table(ada)
        assert rows == await table(zoe)
        assert [row[0] for row in rows] == ["1st", "2nd"]
        assert {row[1] for row in rows} == {"Ada", "Zoë"}
        for visitor in (ada, zoe):
            await visitor.page.wait_for_selector("#outcome .state[data-state=stored]")
            text = visitor.got("started")[0]["text"]
            assert visitor.got("result")[-1]["chars"] == [len(text), 0, 0, 0]
