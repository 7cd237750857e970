"""A gateway with Redis that comes, hangs, dies and comes back: who types and who reads results does not notice."""

import asyncio
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from loadtest.servers.redis import RedisServer
from persistence.redis import RedisOptions
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client
from tests.servers import skip_without


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> RedisServer:
    skip_without("redis")
    return RedisServer(tmp_path / "redis")


def bearer(typist: TypingClient) -> dict[str, str]:
    return {"authorization": f"Bearer {typist.ready['token']}"}


async def typed(typist: TypingClient) -> str:
    """A whole test; its session, once it is stored."""
    await typist.start(mode="words", count=3, language="en")
    result = await typist.type_all()
    await typist.receive("stored")
    return str(result["session"])


async def recent(http: httpx.AsyncClient, typist: TypingClient) -> list[str]:
    response = await http.get("/v1/users/me/results", headers=bearer(typist))
    assert response.status_code == 200, response.text
    return [row["session"] for row in response.json()["results"]]


async def ready(gateway: Gateway, http: httpx.AsyncClient, state: str) -> None:
    """Wait until caches are this; the server itself is ready all the time."""
    async with asyncio.timeout(120):
        while True:
            response = await http.get("/readyz")
            assert response.status_code == 200
            if response.json()["parts"]["caches"] == state:
                return
            await asyncio.sleep(0.05)


async def test_redis_comes_and_goes_and_every_answer_is_right(tmp_path: Path, server: RedisServer) -> None:
    """Away at the start, killed, back empty, hung: the list of results is complete at every moment."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=1_000, retry_min_ms=50, retry_max_ms=200)
    async with serving(tmp_path / "data", redis=redis) as (gateway, http), client(gateway.url) as typist:
        sessions = [await typed(typist)]
        assert await recent(http, typist) == sessions
        assert (await http.get("/readyz")).json()["parts"]["caches"] == "fault"
        server.start()
        try:
            await ready(gateway, http, "ok")
            for fault in (server.kill, server.pause):
                assert await recent(http, typist) == sessions[::-1]
                sessions.append(await typed(typist))
                assert await recent(http, typist) == sessions[::-1]
                fault()
                sessions.append(await typed(typist))
                assert await recent(http, typist) == sessions[::-1]
                board = await http.get("/v1/leaderboards/time-15-en")
                assert (board.status_code, board.json()["entries"]) == (200, [])
                if server.alive:
                    server.resume()
                else:
                    server.start()
                await ready(gateway, http, "ok")
                assert await recent(http, typist) == sessions[::-1]
            kept = f"typegate:user:{typist.ready['user']}:recent_results"
            async with asyncio.timeout(120):
                while int(server.ask("exists", kept)) != 1:  # on a machine that is busy Redis may be late once more
                    assert await recent(http, typist) == sessions[::-1]
        finally:
            server.stop()
