"""Starts of a user over all processes: credits that Redis corrects."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.gateway import ConnectionOptions
from gateway.starts import SharedCredits
from loadtest.servers.redis import RedisServer
from persistence.redis import Call, RedisOptions, RedisServers
from tests.gateway.two_servers import two_servers, until
from tests.gateway.typing_client import client
from tests.servers import skip_without


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> float:
        return self.ms


@asynccontextmanager
async def processes(
    redis: RedisOptions, count: int, clock: Callable[[], float], *, rate_per_s: float = 0.001, burst: int = 10
) -> AsyncIterator[list[SharedCredits]]:
    """As many processes with one Redis."""
    redis = replace(redis, prefix=redis.prefix if redis.prefix != "typegate:" else f"{uuid.uuid4().hex}:")
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                SharedCredits(
                    await stack.enter_async_context(RedisServers(redis)),
                    rate_per_s=rate_per_s,
                    burst=burst,
                    clock_ms=clock,
                )
            )
            for _ in range(count)
        ]


@pytest.fixture(name="redis", params=["single", "cluster"])
def _redis(request: pytest.FixtureRequest) -> RedisOptions:
    options = request.getfixturevalue(f"redis_{request.param}")
    assert isinstance(options, RedisOptions)
    return options


def takes(process: SharedCredits, user: int, most: int) -> int:
    """How many of so many tries succeed at once."""
    return sum(process.take(user, now_ms=0) == 0 for _ in range(most))


async def test_what_was_spent_at_one_process_is_spent_at_all(redis: RedisOptions) -> None:
    """A second process gives half a burst before it asks, and then what is left; another user has all."""
    async with processes(redis, 2, Clock()) as (one, other):
        assert takes(one, 7, 20) == 10
        assert takes(one, 8, 1) == 1
        await until(lambda: not one._owed)
        assert takes(other, 7, 6) == 6
        await until(lambda: other.left(7, now_ms=0) < -5)
        assert takes(other, 7, 20) == 0
        assert takes(other, 8, 20) == 10


async def test_in_the_long_run_many_processes_give_no_more_than_one(redis: RedisOptions) -> None:
    """Each is asked whenever it would give: what all gave is bursts at the beginning, and the rate."""
    clock = Clock()
    async with processes(redis, 4, clock, rate_per_s=20.0) as all_, asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        late_s = 0.0

        async def asks() -> None:
            """How much longer than usual Redis, or this process, has made everybody wait to be told."""
            nonlocal late_s
            key = f"{all_[0]._servers.prefix}nothing"
            while True:
                asked_s = loop.time()
                await all_[0]._servers.ask(Call(key, ("GET", key)))
                await asyncio.sleep(0.005)
                late_s += max(0.0, loop.time() - asked_s - 0.05)

        asking = group.create_task(asks())
        began, given = loop.time(), 0
        while (took_s := loop.time() - began) < 2.5:
            clock.ms = took_s * 1000
            given += sum(process.take(7, now_ms=clock.ms) == 0 for process in all_)
            await asyncio.sleep(0.005)
        asking.cancel()
        # four full buckets at once, before anybody could know, and what is given until all have heard of it
        assert given <= 4 * 10 + 20 * (took_s + 1) + 4 * 20 * late_s, "of 240 that they would give apart"


async def test_who_starts_now_and_then_costs_no_call(redis_single: RedisOptions) -> None:
    """Half a burst is nobody's affair."""
    async with processes(redis_single, 1, Clock()) as (one,):
        assert takes(one, 7, 5) == 5
        await asyncio.sleep(0.3)
        assert one._servers.facts().calls == 0
        assert takes(one, 7, 1) == 1
        await until(lambda: one._servers.facts().calls == 1)


async def test_a_debt_is_as_much_as_a_burst_and_ends(redis_single: RedisOptions) -> None:
    """Whoever spent far too much at once is in again after two bursts' time."""
    async with processes(redis_single, 8, Clock(), rate_per_s=20.0) as all_:
        for process in all_:
            takes(process, 7, 10)
        await until(lambda: min(process.left(7, now_ms=0) for process in all_) < -5)
        lefts = [process.left(7, now_ms=0) for process in all_]
        assert -10 <= min(lefts) < -5
        assert all_[lefts.index(min(lefts))].take(7, now_ms=0) <= 11 / 20 * 1000


async def test_a_user_whom_redis_does_not_take_holds_up_no_other(redis_single: RedisOptions) -> None:
    """It is told of that user later, with what was started since."""
    async with processes(redis_single, 1, Clock()) as (one,):
        servers = one._servers
        wrong = f"{servers.prefix}starts:7"
        await servers.ask(Call(wrong, ("SET", wrong, "no hash")))
        assert (takes(one, 7, 6), takes(one, 8, 6)) == (6, 6)
        await until(lambda: 8 in one._told and one._owed == {7: 6})
        assert takes(one, 7, 1) == 1
        await servers.ask(Call(wrong, ("DEL", wrong)))
        await until(lambda: 7 in one._told)
        held = await servers.ask(Call(wrong, ("HGET", wrong, "left")))
        assert float(held.value) == 3


async def test_what_cannot_be_understood_ends_no_telling(redis_single: RedisOptions) -> None:
    """It is logged, and the next ones are told of."""
    clock = Clock()
    async with processes(redis_single, 1, clock) as (one,):
        one._clock_ms = lambda: 1 // 0  # stands for any fault of ours
        with capture_logs() as logs:
            assert takes(one, 7, 6) == 6
            await until(lambda: any(line["log_level"] == "error" for line in logs))
        one._clock_ms = clock
        assert takes(one, 8, 6) == 6
        await until(lambda: 8 in one._told)


async def test_two_servers_say_busy_as_one(tmp_path: Path, redis_single: RedisOptions) -> None:
    """To a user who starts at both."""
    options = ConnectionOptions(starts_per_s=0.01, starts_burst=6)
    async with (
        two_servers(tmp_path, redis_single, connection=options) as two,
        client(two[0].url) as first,
        client(two[1].url, token=first.ready["token"]) as second,
    ):
        user = int(first.ready["user"])
        here, there = (gateway.hub.starts for gateway in two)
        assert isinstance(here, SharedCredits)
        assert isinstance(there, SharedCredits)
        for _ in range(6):
            await first.start()
        await until(lambda: user in here._told and here.left(user, now_ms=two[0].hub.clock() * 1000) < 1)
        await until(lambda: not here._owed)
        for _ in range(4):  # half a burst, and the one that is told of
            await second.start()
        await until(lambda: there.left(user, now_ms=two[1].hub.clock() * 1000) < 0)
        await second.send("start", mode="words", count=3)
        answer = await second.receive("started", "error")
        assert (answer.get("code"), answer.get("retry", 0) > 100_000) == ("busy", True)


async def test_two_servers_say_busy_as_one_to_an_address(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Whoever comes as a guest anew has credits of his own, and the address has not; its own is not read in Redis."""
    options = ConnectionOptions(address_starts_per_s=0.01, address_starts_burst=6)
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(two_servers(tmp_path, redis_single, connection=options))
        here, there = (gateway.hub.address_starts for gateway in two)
        assert isinstance(here, SharedCredits)
        assert isinstance(there, SharedCredits)
        address = "127.0.0.1"
        for _ in range(6):
            await (await stack.enter_async_context(client(two[0].url))).start()
        await until(lambda: address in here._told and here.left(address, now_ms=two[0].hub.clock() * 1000) < 1)
        await until(lambda: not here._owed)
        for _ in range(4):  # half a burst, and the one that is told of
            await (await stack.enter_async_context(client(two[1].url))).start()
        await until(lambda: there.left(address, now_ms=two[1].hub.clock() * 1000) < 0)
        refused = await stack.enter_async_context(client(two[1].url))
        await refused.send("start", mode="words", count=3)
        answer = await refused.receive("started", "error")
        assert (answer.get("code"), answer.get("retry", 0) > 100_000) == ("busy", True)
        assert "your address" in answer["message"]
        assert address not in there._key(address)


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


async def test_while_redis_is_away_each_process_has_its_own(server: RedisServer) -> None:
    """Nobody waits for it, and it is heard again when it is back."""
    redis = RedisOptions(url=f"redis://{server.address}/0", retry_min_ms=50, retry_max_ms=200, prefix="x:")
    async with processes(redis, 2, Clock()) as (one, other):
        server.kill()
        assert takes(one, 7, 20) == 10
        await until(lambda: one._away)
        assert takes(other, 7, 20) == 10
        await until(lambda: other._away)
        server.start()
        await until(lambda: not one._servers.facts().away)
        assert takes(one, 8, 10) == 10
        await until(lambda: not one._owed and not one._away)
        assert takes(other, 8, 6) == 6
        await until(lambda: other.left(8, now_ms=0) < -5)
