"""What only a shared cache can do: one loader among several processes, and faults of the server it is in.

Two caches with connections of their own stand for two processes.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.redis import RedisCluster, RedisServer
from persistence.cache import CacheOptions, RedisCache, Row
from persistence.cache.rows import pack_rows
from persistence.errors import StoreError
from persistence.redis import RedisOptions, RedisServers
from tests.persistence.cache.test_cache import TTL_MS, Truth
from tests.servers import skip_without

Another = Callable[[], AbstractAsyncContextManager[RedisCache]]
"""Opens the cache of one more process."""

PATIENT = CacheOptions(lock_ms=30_000)


@asynccontextmanager
async def cache_in(options: RedisOptions, limits: CacheOptions = PATIENT) -> AsyncIterator[RedisCache]:
    async with RedisServers(options) as servers, RedisCache(servers, limits) as cache:
        yield cache


@pytest.fixture(params=["redis_single", "redis_cluster"], name="another")
def _another(request: pytest.FixtureRequest) -> Another:
    options = replace(request.getfixturevalue(request.param), prefix=f"{uuid.uuid4().hex}:")
    return lambda: cache_in(options)


async def get(cache: RedisCache, truth: Truth) -> bytes | None:
    return await cache.fetch("k", truth.load, ttl_ms=TTL_MS)


async def until(cache: RedisCache, truth: Truth, expected: bytes | None) -> None:
    """Wait until the cache gives this."""
    async with asyncio.timeout(120):
        while True:
            if await get(cache, truth) == expected:
                return


async def test_a_value_is_there_for_all(another: Another) -> None:
    truth = Truth()
    async with another() as first, another() as second:
        assert [await get(cache, truth) for cache in (first, second, first)] == [b"1"] * 3
        assert truth.asked == 1
        await second.drop("k")
        truth.value = b"2"
        assert [await get(cache, truth) for cache in (first, second)] == [b"2"] * 2


async def test_one_process_loads_and_the_others_wait_for_it(another: Another) -> None:
    truth, never = Truth(), Truth()
    truth.open.clear()
    async with another() as first, another() as second, asyncio.TaskGroup() as group:
        loading = group.create_task(get(first, truth))
        await truth.begun.wait()
        waiting = [group.create_task(get(second, never)) for _ in range(5)]
        await asyncio.sleep(0)
        truth.open.set()
        assert await loading == b"1"
        assert [await task for task in waiting] == [b"1"] * 5
        assert never.asked == 0


async def test_the_next_one_loads_at_once_where_a_loader_fails_or_goes(another: Another) -> None:
    async with another() as first:

        async def fail() -> bytes | None:
            raise OSError("away")

        async with another() as second:
            with pytest.raises(OSError, match="away"):
                await first.fetch("k", fail, ttl_ms=TTL_MS)
            truth = Truth()
            truth.open.clear()
            loading = asyncio.get_running_loop().create_task(get(second, truth))
            await truth.begun.wait()
        await asyncio.wait([loading])
        assert await get(first, Truth(b"2")) == b"2"


async def test_a_loader_slower_than_others_wait_is_overtaken_and_its_value_kept(redis_single: RedisOptions) -> None:
    """The others load for themselves; the lock stays with the slow one as long as it lives."""
    options = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    slow, quick, never = Truth(b"slow"), Truth(b"quick"), Truth()
    slow.open.clear()
    # a process waits for as long as its own lock lasts: the slow one's lock must outlast a busy machine
    async with cache_in(options) as first, cache_in(options, CacheOptions(lock_ms=300)) as second:
        loading = asyncio.get_running_loop().create_task(get(first, slow))
        await slow.begun.wait()
        for _ in range(3):
            assert await get(second, quick) == b"quick"
        assert quick.asked == 3
        slow.open.set()
        assert await loading == b"slow"
        assert await get(second, never) == b"slow"
        assert never.asked == 0


async def test_a_change_by_one_process_spoils_what_another_loads(another: Another) -> None:
    """The loader may have read before the change; only who asks later gets what holds."""
    for touch in ("push", "drop", "kept"):
        async with another() as first, another() as second:
            truth = Truth(b"old")
            truth.open.clear()
            loading = asyncio.get_running_loop().create_task(get(first, truth))
            await truth.begun.wait()
            match touch:
                case "push":
                    await second.push([Row("k", b"1", b"")], most=9)
                case "drop":
                    await second.drop("k")
                case _:
                    assert list(await second.kept(["k"])) == []
            truth.open.set()
            assert await loading == b"old"
            truth.value = b"new"
            assert await get(first, truth) == b"new"
            await first.drop("k")


async def test_a_value_that_is_too_large_is_not_kept(redis_single: RedisOptions) -> None:
    options = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    async with cache_in(options, CacheOptions(max_value_bytes=1_000)) as cache:
        large, list_ = Truth(bytes(1_001)), Truth(pack_rows([(b"1", bytes(900))]))
        for _ in range(2):
            assert await get(cache, large) == bytes(1_001)
        assert large.asked == 2
        await get(cache, list_)
        await cache.push([Row("k", b"2", bytes(100))], most=9)
        await get(cache, list_)
        assert list_.asked == 2


# -- faults ------------------------------------------------------------------------------------------------------


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> RedisServer:
    skip_without("redis")
    return RedisServer(tmp_path / "redis")


def at(server: RedisServer, *, call_ms: int = 10_000) -> RedisOptions:
    return RedisOptions(url=f"redis://{server.address}", call_ms=call_ms, retry_min_ms=50, retry_max_ms=200)


async def test_without_redis_the_truth_answers_and_one_loader_asks_it(server: RedisServer) -> None:
    truth = Truth()
    async with cache_in(at(server)) as cache:
        truth.open.clear()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(get(cache, truth)) for _ in range(20)]
            await truth.begun.wait()
            truth.open.set()
        assert [task.result() for task in asking] == [b"1"] * 20
        assert cache.facts().errors == 20
        with server:
            async with asyncio.timeout(120):
                while not cache.facts().hits:
                    assert await get(cache, truth) == b"1"
            asked = truth.asked
            await get(cache, truth)
            assert truth.asked == asked


async def test_what_a_server_brings_back_from_before_a_change_is_not_given(server: RedisServer) -> None:
    """It saved the value, the value was dropped, the server died and has the value again."""
    truth = Truth(b"old")
    with server:
        async with cache_in(at(server)) as first, cache_in(at(server)) as second:
            await get(first, truth)
            server.ask("save")
            truth.value = b"new"
            await second.drop("k")
            server.kill()
            server.start()
            assert server.ask("exists", "typegate:k") == "1"
            assert [await get(cache, truth) for cache in (first, second)] == [b"new"] * 2


@pytest.mark.parametrize("change", ["push", "drop"])
async def test_a_change_while_redis_hangs_is_made_up_for(server: RedisServer, change: str) -> None:
    """The old value is never given by who knows of the change, and by nobody once Redis answers again."""
    truth = Truth(pack_rows([(b"1", b"old")]))
    async with cache_in(at(server)) as first, cache_in(at(server, call_ms=1_000)) as second:
        with server:
            assert await get(first, truth) == await get(second, truth) == truth.value
            server.pause()
            truth.value = pack_rows([(b"2", b"new")])
            with pytest.raises(StoreError) as raised:
                await (second.drop("k") if change == "drop" else second.push([Row("k", b"2", b"new")], most=9))
            assert raised.value.retriable
            assert await get(second, truth) == truth.value
            server.resume()
            assert await get(second, truth) == truth.value
            await until(first, truth, truth.value)
            async with asyncio.timeout(120):
                while not (await get(second, truth) == truth.value and second.facts().hits):
                    pass


async def test_a_full_server_costs_loads_and_keeps_nothing_old(server: RedisServer) -> None:
    truth = Truth(pack_rows([(b"1", b"old")]))
    with server:
        async with cache_in(at(server)) as cache:
            await get(cache, truth)
            server.ask("config", "set", "maxmemory", "1")
            assert await get(cache, truth) == truth.value
            truth.value = pack_rows([(b"2", b"new")])
            await cache.push([Row("k", b"2", b"new"), Row("other", b"2", b"new")], most=1)
            assert await get(cache, truth) == truth.value
            await cache.drop("k")
            for _ in range(2):
                assert await get(cache, truth) == truth.value
            assert cache.facts().errors == 0
            server.ask("config", "set", "maxmemory", "0")
            await get(cache, truth)
            asked = truth.asked
            assert await get(cache, truth) == truth.value
            assert truth.asked == asked


async def test_a_wrong_password_costs_the_cache_and_no_answer(server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    with server:
        server.ask("config", "set", "requirepass", "right")
        async with cache_in(replace(at(server), password_file=tmp_path / "password")) as cache:
            assert await get(cache, Truth()) == b"1"
            assert cache.facts().errors == 1


async def test_after_a_failover_values_are_read_again(tmp_path: Path) -> None:
    """A replica may lag behind what its master acknowledged."""
    skip_without("redis")
    with RedisCluster(tmp_path / "cluster") as cluster:
        options = RedisOptions(nodes=tuple(cluster.addresses), call_ms=10_000, retry_min_ms=50, retry_max_ms=200)
        async with cache_in(options) as cache:
            truth = Truth()
            for _ in range(2):
                await get(cache, truth)
            assert truth.asked == 1
            dead = cluster.owner("typegate:k")
            dead.kill()
            truth.value = b"2"
            assert await get(cache, truth) == b"2"
            await asyncio.to_thread(cluster.wait_other_owner, "typegate:k", dead)
            hits = cache.facts().hits
            async with asyncio.timeout(120):
                while cache.facts().hits == hits:
                    assert await get(cache, truth) == b"2"
