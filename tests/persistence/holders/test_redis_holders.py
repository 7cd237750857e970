"""Records in Redis: what else may lie there, what is forgotten, and a call that is carried out twice."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from loadtest.servers.redis import RedisServer
from persistence.errors import StoreError
from persistence.holders import KEPT_S, Holding, RedisHolders
from persistence.redis import Call, RedisOptions, RedisServers
from session.identity import session_to_text
from tests.servers import PATIENT_MS, skip_without

SESSION = bytes.fromhex("0190163d8694739b8000000000000001")


@pytest.fixture(name="servers")
async def _servers(redis_single: RedisOptions) -> AsyncIterator[RedisServers]:
    async with RedisServers(replace(redis_single, prefix=f"{uuid.uuid4().hex}:")) as servers:
        yield servers


@pytest.fixture(name="holders")
async def _holders(servers: RedisServers) -> AsyncIterator[RedisHolders]:
    async with RedisHolders(servers) as holders:
        yield holders


async def ask(servers: RedisServers, verb: str, *arguments: Any) -> Any:
    key = f"{servers.prefix}session:{session_to_text(SESSION)}"
    return (await servers.ask(Call(key, (verb, key, *arguments)))).value


async def test_a_record_is_forgotten_after_a_while(servers: RedisServers, holders: RedisHolders) -> None:
    await holders.take(SESSION, "a", floor=1)
    assert 0 < await ask(servers, "PTTL") <= KEPT_S * 1000


@pytest.mark.parametrize(
    "odd",
    [b"", b"\xc1", b"text", msgpack.packb(7), msgpack.packb([1]), msgpack.packb([1, "x", "a"]),
     msgpack.packb([1, 5, 7]), msgpack.packb([1, -5, "a"]), msgpack.packb([1, 1 << 53, "a"]), msgpack.packb({"a": 1})],
)  # fmt: skip
async def test_what_is_no_record_is_overwritten(odd: bytes, servers: RedisServers, holders: RedisHolders) -> None:
    await ask(servers, "SET", odd)
    assert await holders.read([SESSION]) == [None]
    assert await holders.take(SESSION, "a", floor=9) == (9, "")
    assert await holders.read([SESSION]) == [Holding(9, "a")]


async def test_a_newer_version_may_say_more(servers: RedisServers, holders: RedisHolders) -> None:
    await ask(servers, "SET", msgpack.packb([2, 40, "z", "token", "y", "more"]))
    assert await holders.read([SESSION]) == [Holding(40, "z")]
    assert await holders.take(SESSION, "a", floor=9) == (41, "z")


async def test_a_key_of_another_kind_is_a_fault(servers: RedisServers, holders: RedisHolders) -> None:
    await ask(servers, "RPUSH", "x")
    for call in (holders.take(SESSION, "a", floor=1), holders.read([SESSION])):
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await call


async def test_a_call_that_is_carried_out_twice_says_the_same(servers: RedisServers) -> None:
    """As where a connection breaks before the answer: else a process would be told that it took it from itself."""
    async with RedisHolders(_Twice(servers)) as holders:  # type: ignore[arg-type]
        assert await holders.take(SESSION, "a", floor=3) == (3, "")
        assert await holders.take(SESSION, "b", floor=3) == (4, "a")


class _Twice:
    """Servers to which every call is brought twice; the first answer is lost."""

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers
        self.prefix = servers.prefix

    async def each(self, calls: list[Call]) -> Any:
        await self._servers.each(calls)
        return await self._servers.each(calls)


async def test_redis_that_is_away_or_refuses_is_a_fault(tmp_path: Path) -> None:
    """And not for long: away, a replica, full."""
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    options = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=10, retry_max_ms=20)
    async with RedisServers(options) as servers, RedisHolders(servers) as holders:
        with pytest.raises(StoreError):
            await holders.take(SESSION, "a", floor=1)
        server.start()
        try:
            async with asyncio.timeout(60):
                while servers.facts().away:  # noqa: ASYNC110  # it is tried again beside
                    await asyncio.sleep(0.01)
            server.ask("replicaof", "127.0.0.1", "1")
            with pytest.raises(StoreError, match="is a replica"):
                await holders.take(SESSION, "a", floor=1)
            server.ask("replicaof", "no", "one")
            server.ask("config", "set", "maxmemory", "1")
            with pytest.raises(StoreError, match="is full"):
                await holders.take(SESSION, "a", floor=1)
            server.ask("config", "set", "maxmemory", "0")
            assert await holders.take(SESSION, "a", floor=1) == (1, "")
        finally:
            server.stop()
