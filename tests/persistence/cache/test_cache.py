"""What every cache promises; `implementations.CACHES` names them. The clock is the test's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from persistence.cache import Cache, MemoryCacheOptions
from tests.persistence.implementations import CACHES

TTL_MS = 10_000
STEADY = MemoryCacheOptions(jitter=0, stale_ms=5_000, negative_ms=1_000, max_entries=4, max_bytes=100_000, max_loads=3)


class Truth:
    """What the cache stands in front of: counts how often it is asked, and answers when it is let."""

    def __init__(self, value: bytes | None = b"1") -> None:
        self.value = value
        self.asked = 0
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> bytes | None:
        self.asked += 1
        value = self.value
        self.begun.set()
        await self.open.wait()
        return value


class Clock:
    now_ms = 0.0

    def __call__(self) -> float:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Cache]:
    async with CACHES[request.param](STEADY, clock) as opened:
        yield opened


async def test_a_value_is_loaded_once_and_given_until_its_time(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"
    clock.now_ms = TTL_MS - 1
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"
    assert truth.asked == 1
    facts = cache.facts()
    assert (facts.hits, facts.misses, facts.entries) == (1, 1, 1)


async def test_past_its_time_the_old_value_is_given_while_one_loader_refreshes(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"2"
    clock.now_ms = TTL_MS
    assert [await cache.fetch("k", truth.load, ttl_ms=TTL_MS) for _ in range(3)] == [b"1"] * 3
    await asyncio.sleep(0)
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"2"
    assert (truth.asked, cache.facts().stale) == (2, 3)


async def test_long_past_its_time_a_value_is_gone(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"2"
    clock.now_ms = TTL_MS + STEADY.stale_ms
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"2"


async def test_a_refresh_that_fails_keeps_the_old_value_for_a_while(cache: Cache, clock: Clock) -> None:
    await cache.fetch("k", Truth().load, ttl_ms=TTL_MS)

    async def fail() -> bytes | None:
        raise OSError("away")

    clock.now_ms = TTL_MS
    assert await cache.fetch("k", fail, ttl_ms=TTL_MS) == b"1"
    await asyncio.sleep(0)
    assert await cache.fetch("k", fail, ttl_ms=TTL_MS) == b"1"
    clock.now_ms = TTL_MS + STEADY.stale_ms
    with pytest.raises(OSError, match="away"):
        await cache.fetch("k", fail, ttl_ms=TTL_MS)


async def test_that_there_is_nothing_is_remembered_for_a_short_time(cache: Cache, clock: Clock) -> None:
    truth = Truth(None)
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) is None
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) is None
    assert truth.asked == 1
    truth.value = b"1"
    clock.now_ms = STEADY.negative_ms
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"


async def test_many_who_ask_at_once_share_one_loader(cache: Cache) -> None:
    truth = Truth()
    truth.open.clear()
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS)) for _ in range(50)]
        await truth.begun.wait()
        truth.open.set()
    assert ({task.result() for task in asking}, truth.asked) == ({b"1"}, 1)


async def test_who_gives_up_takes_the_value_from_nobody(cache: Cache) -> None:
    truth = Truth()
    truth.open.clear()
    loop = asyncio.get_running_loop()
    first, second = (loop.create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS)) for _ in range(2))
    await truth.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    truth.open.set()
    assert await second == b"1"


async def test_a_loader_that_fails_is_tried_again(cache: Cache) -> None:
    async def fail() -> bytes | None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await cache.fetch("k", fail, ttl_ms=TTL_MS)
    assert await cache.fetch("k", Truth().load, ttl_ms=TTL_MS) == b"1"


async def test_a_value_can_be_changed_in_place_and_keeps_its_time(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    await cache.change("k", lambda old: old + b"+")
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1+"
    clock.now_ms = TTL_MS + STEADY.stale_ms
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"


@pytest.mark.parametrize(
    "forget",
    [lambda cache: cache.drop("k"), lambda cache: cache.change("k", lambda _: None)],
    ids=["drop", "changed to nothing"],
)
async def test_a_value_can_be_dropped(cache: Cache, forget: Callable[[Cache], Awaitable[None]]) -> None:
    truth = Truth()
    await forget(cache)
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    await forget(cache)
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    assert (truth.asked, cache.facts().entries) == (2, 1)


async def test_that_there_is_nothing_is_forgotten_when_something_changes(cache: Cache) -> None:
    truth = Truth(None)
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"1"
    await cache.change("k", lambda old: old)
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"


@pytest.mark.parametrize(
    "touch",
    [lambda cache: cache.drop("k"), lambda cache: cache.change("k", lambda old: old)],
    ids=["dropped", "changed"],
)
async def test_a_value_touched_while_it_was_loaded_is_not_kept(
    cache: Cache, touch: Callable[[Cache], Awaitable[None]]
) -> None:
    """The loader may have read before the change: keeping what it brings would hide the change for the whole time."""
    truth = Truth(b"old")
    truth.open.clear()
    loading = asyncio.get_running_loop().create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS))
    await truth.begun.wait()
    truth.value = b"new"
    await touch(cache)
    after = asyncio.get_running_loop().create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS))
    await asyncio.sleep(0)
    truth.open.set()
    assert await loading == b"old"
    assert await after == b"new"
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"new"


async def test_entries_are_bounded_and_the_least_recently_used_goes_first(cache: Cache) -> None:
    truth = Truth()
    for key in "abcd":
        await cache.fetch(key, truth.load, ttl_ms=TTL_MS)
    await cache.fetch("a", truth.load, ttl_ms=TTL_MS)
    await cache.fetch("e", truth.load, ttl_ms=TTL_MS)
    assert (cache.facts().entries, cache.facts().evicted) == (4, 1)
    asked = truth.asked
    await cache.fetch("a", truth.load, ttl_ms=TTL_MS)
    assert truth.asked == asked
    await cache.fetch("b", truth.load, ttl_ms=TTL_MS)
    assert truth.asked == asked + 1


async def test_bytes_are_bounded(cache: Cache) -> None:
    for key in "abc":
        await cache.fetch(key, Truth(b"x" * 40_000).load, ttl_ms=TTL_MS)
    facts = cache.facts()
    assert (facts.entries, facts.evicted) == (2, 1)
    assert 80_000 < facts.bytes < STEADY.max_bytes
    assert await cache.fetch("huge", Truth(b"x" * 200_000).load, ttl_ms=TTL_MS) == b"x" * 200_000
    assert cache.facts().entries == 2, "what is larger than all the room drives out nothing"
    await cache.change("c", lambda old: old * 3)
    assert cache.facts().bytes <= STEADY.max_bytes
    for key in "abc":
        await cache.drop(key)
    assert (cache.facts().entries, cache.facts().bytes) == (0, 0)


async def test_loaders_are_bounded(cache: Cache) -> None:
    """Beyond the limit a caller loads for itself: nobody fails, nothing grows."""
    truth = Truth()
    truth.open.clear()
    async with asyncio.TaskGroup() as group:
        for key in "abcdefgh":
            group.create_task(cache.fetch(key, truth.load, ttl_ms=TTL_MS))
        await truth.begun.wait()
        truth.open.set()
    assert (truth.asked, cache.facts().entries) == (8, 3)


@pytest.mark.parametrize("name", CACHES)
async def test_times_to_live_are_spread(name: str, clock: Clock) -> None:
    """Entries made together do not expire together: within ±10 %, and at many different instants."""
    options = MemoryCacheOptions(jitter=0.1, stale_ms=0)
    async with CACHES[name](options, clock) as cache:
        truth = Truth()
        for i in range(200):
            await cache.fetch(str(i), truth.load, ttl_ms=TTL_MS)
        gone: list[int] = []
        for clock.now_ms in (TTL_MS * 0.9 - 1, TTL_MS * 0.95, TTL_MS, TTL_MS * 1.05, TTL_MS * 1.1):
            asked = truth.asked
            for i in range(200):
                await cache.fetch(str(i), truth.load, ttl_ms=10 * TTL_MS)
            gone.append(truth.asked - asked)
        assert gone[0] == 0
        assert sum(gone) == 200
        assert all(20 < count < 80 for count in gone[1:])


@pytest.mark.parametrize("name", CACHES)
async def test_closing_ends_loaders(name: str, clock: Clock) -> None:
    truth = Truth()
    truth.open.clear()
    async with CACHES[name](STEADY, clock) as cache:
        asking = asyncio.get_running_loop().create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS))
        await truth.begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_ping_answers(cache: Cache) -> None:
    await cache.ping()


@pytest.mark.parametrize("wrong", [{"jitter": 1.0}, {"jitter": -0.1}, {"max_entries": 0}, {"stale_ms": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MemoryCacheOptions(**wrong)  # type: ignore[arg-type]  # the point of the test
