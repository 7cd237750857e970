"""What every cache promises; `implementations.CACHES` names them. The clock is the test's.

Times are long: Redis deletes by its own clock, which goes on while the machine is busy.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from persistence.cache import Cache, CacheOptions, Row, Unkept
from persistence.cache.rows import pack_rows, read_rows
from tests.persistence.implementations import CACHES

TTL_MS = 10_000_000
STEADY = CacheOptions(
    jitter=0, stale_ms=5_000_000, negative_ms=1_000_000, max_entries=4, max_bytes=100_000, max_loads=3
)


class Truth:
    """What the cache stands in front of: counts how often it is asked, and answers when it is let."""

    def __init__(self, value: bytes | None = b"1") -> None:
        self.value = value
        self.asked = 0
        self.begun = asyncio.Event()
        self.calls = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> bytes | None:
        self.asked += 1
        value = self.value
        self.begun.set()
        self.calls.release()
        await self.open.wait()
        return value


async def fail() -> bytes | None:
    raise OSError("away")


class Clock:
    now_ms = 0.0

    def __call__(self) -> float:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Cache]:
    async with CACHES[request.param](STEADY, clock, request.getfixturevalue) as opened:
        yield opened


async def fetched(cache: Cache, truth: Truth, expected: bytes | None) -> None:
    """Wait until the cache gives this value."""
    async with asyncio.timeout(120):
        while True:
            if await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == expected:
                return
            await asyncio.sleep(0)  # an in-process cache answers without giving way


async def test_a_value_is_loaded_once_and_given_until_its_time(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"
    clock.now_ms = TTL_MS - 1
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"
    assert truth.asked == 1
    facts = cache.facts()
    assert (facts.hits, facts.misses, facts.stale, facts.errors) == (1, 1, 0, 0)


async def test_any_bytes_are_a_value(cache: Cache) -> None:
    """An empty value is one, and not the same as none."""
    for value in (b"", bytes(range(256)), "ünï".encode()):
        truth = Truth(value)
        for _ in range(2):
            assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == value
        assert truth.asked == 1
        await cache.drop("k")


async def test_past_its_time_the_old_value_is_given_while_one_loader_refreshes(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"2"
    truth.open.clear()
    truth.begun.clear()
    clock.now_ms = TTL_MS
    assert [await cache.fetch("k", truth.load, ttl_ms=TTL_MS) for _ in range(3)] == [b"1"] * 3
    await truth.begun.wait()
    truth.open.set()
    await fetched(cache, truth, b"2")
    assert truth.asked == 2
    assert cache.facts().stale >= 3


async def test_long_past_its_time_a_value_is_gone(cache: Cache, clock: Clock) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"2"
    clock.now_ms = TTL_MS + STEADY.stale_ms
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"2"


async def test_a_refresh_that_fails_keeps_the_old_value_for_a_while(cache: Cache, clock: Clock) -> None:
    failures = asyncio.Semaphore(0)

    async def fail_and_tell() -> bytes | None:
        failures.release()
        raise OSError("away")

    await cache.fetch("k", Truth().load, ttl_ms=TTL_MS)
    clock.now_ms = TTL_MS
    assert await cache.fetch("k", fail_and_tell, ttl_ms=TTL_MS) == b"1"
    await failures.acquire()
    assert await cache.fetch("k", fail_and_tell, ttl_ms=TTL_MS) == b"1"
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


async def test_what_is_not_to_be_kept_is_asked_for_again(cache: Cache) -> None:
    truth = Truth(Unkept(b"1"))
    assert [await cache.fetch("k", truth.load, ttl_ms=TTL_MS) for _ in range(2)] == [b"1", b"1"]
    assert truth.asked == 2
    truth.value = b"2"
    assert [await cache.fetch("k", truth.load, ttl_ms=TTL_MS) for _ in range(2)] == [b"2", b"2"]
    assert truth.asked == 3


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
    assert truth.asked == 1


async def test_a_loader_that_fails_is_tried_again(cache: Cache) -> None:
    with pytest.raises(OSError, match="away"):
        await cache.fetch("k", fail, ttl_ms=TTL_MS)
    assert await cache.fetch("k", Truth().load, ttl_ms=TTL_MS) == b"1"


async def listed(cache: Cache, truth: Truth) -> list[tuple[bytes, bytes]]:
    packed = await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    assert packed is not None
    return list(read_rows(packed))


async def test_a_row_is_pushed_to_its_place_and_the_list_keeps_its_time(cache: Cache, clock: Clock) -> None:
    """In descending order of ids, byte by byte; the smallest goes when there are more than the most."""
    truth = Truth(pack_rows([(b"\xff\x01", b"four"), (b"\x80\x00", b"two")]))
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    pushed = [Row("k", b"\xc3\xa9", b"three"), Row("k", b"\xff\x02", bytes(2_000)), Row("k", b"\x00\xff", b"one")]
    await cache.push(pushed, most=5)
    assert [id_ for id_, _ in await listed(cache, truth)] == [
        b"\xff\x02",
        b"\xff\x01",
        b"\xc3\xa9",
        b"\x80\x00",
        b"\x00\xff",
    ]
    await cache.push([Row("k", b"\x90", b"new"), Row("k", b"\x00", b"too old"), Row("other", b"\x01", b"")], most=5)
    assert await listed(cache, truth) == [
        (b"\xff\x02", bytes(2_000)),
        (b"\xff\x01", b"four"),
        (b"\xc3\xa9", b"three"),
        (b"\x90", b"new"),
        (b"\x80\x00", b"two"),
    ]
    assert truth.asked == 1
    clock.now_ms = TTL_MS + STEADY.stale_ms
    assert len(await listed(cache, truth)) == 2


async def test_which_keys_have_a_value(cache: Cache) -> None:
    """An empty list is one; what nobody has loaded is none."""
    await cache.fetch("k", Truth(b"").load, ttl_ms=TTL_MS)
    await cache.fetch("other", Truth().load, ttl_ms=TTL_MS)
    await cache.drop("other")
    assert list(await cache.kept(["none", "k", "other"])) == ["k"]
    assert list(await cache.kept([])) == []
    many = [f"k{i}" for i in range(250)]
    for key in many[::120]:
        await cache.fetch(key, Truth(b"v").load, ttl_ms=TTL_MS)
    assert list(await cache.kept(many)) == many[::120]


async def push_where_kept(cache: Cache) -> None:
    """As recent lists do."""
    await cache.push([Row(key, b"1", b"one") for key in await cache.kept(["k"])], most=5)


async def test_a_row_comes_into_an_empty_list(cache: Cache) -> None:
    truth = Truth(b"")
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    await cache.push([Row("k", b"1", b"one")], most=5)
    assert await listed(cache, truth) == [(b"1", b"one")]


async def test_a_row_that_is_there_already_drops_its_list(cache: Cache) -> None:
    """Which of both holds only the truth knows."""
    truth = Truth(pack_rows([(b"2", b"old"), (b"1", b"old")]))
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b""
    await cache.push([Row("k", b"1", b"new")], most=5)
    assert await listed(cache, truth) == []


@pytest.mark.parametrize(
    "touch",
    [
        lambda cache: cache.drop("k"),
        lambda cache: cache.push([Row("k", b"1", b"one")], most=5),
        lambda cache: push_where_kept(cache),
    ],
    ids=["dropped", "pushed", "pushed where kept"],
)
class TestTouched:
    async def test_what_is_not_there_stays_away(self, cache: Cache, touch: Callable[[Cache], Awaitable[None]]) -> None:
        truth = Truth()
        await touch(cache)
        assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"
        assert truth.asked == 1

    async def test_that_there_is_nothing_is_forgotten(
        self, cache: Cache, touch: Callable[[Cache], Awaitable[None]]
    ) -> None:
        truth = Truth(None)
        await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
        truth.value = b"1"
        await touch(cache)
        assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"1"

    async def test_what_was_loading_meanwhile_is_not_kept(
        self, cache: Cache, touch: Callable[[Cache], Awaitable[None]]
    ) -> None:
        """The loader may have read before the change: keeping what it brings would hide the change for long."""
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


async def test_a_value_can_be_dropped(cache: Cache) -> None:
    truth = Truth()
    await cache.fetch("k", truth.load, ttl_ms=TTL_MS)
    truth.value = b"2"
    await cache.drop("k")
    assert await cache.fetch("k", truth.load, ttl_ms=TTL_MS) == b"2"


async def test_loaders_are_bounded(cache: Cache) -> None:
    """Beyond the limit a caller loads for itself: nobody fails, nothing grows, and nothing of it is kept."""
    truth = Truth()
    truth.open.clear()
    async with asyncio.TaskGroup() as group:
        for key in "abcdefgh":
            group.create_task(cache.fetch(key, truth.load, ttl_ms=TTL_MS))
        for _ in "abcdefgh":
            await truth.calls.acquire()
        truth.open.set()
    for key in "abcdefgh":
        await cache.fetch(key, truth.load, ttl_ms=TTL_MS)
    assert (truth.asked, cache.facts().hits) == (8 + 5, 3)


@pytest.mark.parametrize("name", CACHES)
async def test_times_to_live_are_spread(name: str, clock: Clock, request: pytest.FixtureRequest) -> None:
    """Entries made together do not expire together: within ±10 %, and at many different instants."""
    options = CacheOptions(jitter=0.1, stale_ms=0)
    async with CACHES[name](options, clock, request.getfixturevalue) as cache:
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
async def test_closing_ends_loaders(name: str, clock: Clock, request: pytest.FixtureRequest) -> None:
    truth = Truth()
    truth.open.clear()
    async with CACHES[name](STEADY, clock, request.getfixturevalue) as cache:
        asking = asyncio.get_running_loop().create_task(cache.fetch("k", truth.load, ttl_ms=TTL_MS))
        await truth.begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_ping_answers(cache: Cache) -> None:
    await cache.ping()


@pytest.mark.parametrize(
    "wrong", [{"jitter": 1.0}, {"jitter": -0.1}, {"max_entries": 0}, {"stale_ms": -1}, {"lock_ms": 10}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CacheOptions(**wrong)  # type: ignore[arg-type]  # the point of the test
