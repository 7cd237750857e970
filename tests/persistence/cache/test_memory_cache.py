"""What only the in-process cache promises: its own bounds."""

from persistence.cache import CacheOptions, MemoryCache, Row
from tests.persistence.cache.test_cache import TTL_MS, Truth

OPTIONS = CacheOptions(max_entries=4, max_bytes=100_000)


async def test_entries_are_bounded_and_the_least_recently_used_goes_first() -> None:
    truth = Truth()
    async with MemoryCache(OPTIONS) as cache:
        for key in "abcd":
            await cache.fetch(key, truth.load, ttl_ms=TTL_MS)
        await cache.fetch("a", truth.load, ttl_ms=TTL_MS)
        await cache.fetch("e", truth.load, ttl_ms=TTL_MS)
        assert (cache.room().entries, cache.room().evicted) == (4, 1)
        asked = truth.asked
        await cache.fetch("a", truth.load, ttl_ms=TTL_MS)
        assert truth.asked == asked
        await cache.fetch("b", truth.load, ttl_ms=TTL_MS)
        assert truth.asked == asked + 1


async def test_bytes_are_bounded() -> None:
    async with MemoryCache(OPTIONS) as cache:
        for key in "abc":
            await cache.fetch(key, Truth(b"").load, ttl_ms=TTL_MS)
            await cache.push([Row(key, b"1", bytes(40_000))], most=9)
        room = cache.room()
        assert (room.entries, room.evicted) == (2, 1)
        assert 80_000 < room.bytes < OPTIONS.max_bytes
        assert await cache.fetch("huge", Truth(b"x" * 200_000).load, ttl_ms=TTL_MS) == b"x" * 200_000
        assert cache.room().entries == 2, "what is larger than all the room drives out nothing"
        await cache.push([Row("c", b"2", bytes(70_000))], most=9)
        assert cache.room().bytes <= OPTIONS.max_bytes
        for key in "abc":
            await cache.drop(key)
        assert (cache.room().entries, cache.room().bytes) == (0, 0)
