"""What stands in front of the result store: recent lists, leaderboards, percentiles; in Redis where there is one.

Gateways, workers and commands open it alike, so that they meet in the same Redis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from persistence.boards import Boards, BoardsOptions, CountedSpeeds, MemoryBoards, RedisBoards
from persistence.cache import Cache, CacheOptions, MemoryCache, RecentResults, RedisCache
from persistence.redis import RedisOptions, RedisServers
from persistence.results.port import ResultStore

__all__ = ["Front", "in_front_of"]


@dataclass(frozen=True, slots=True)
class Front:
    """The parts, open."""

    recent: RecentResults
    boards: Boards
    speeds: CountedSpeeds
    caches: Mapping[str, Cache]
    """By what they keep."""
    redis: RedisServers | None
    """None: all of it is in this process's memory."""

    async def ping(self) -> None:
        """Raise `StoreError` where Redis does not answer; all but speed, and the depth of leaderboards, goes on."""
        if self.redis is not None:
            await self.redis.ping()


@asynccontextmanager
async def in_front_of(
    store: ResultStore, *, redis: RedisOptions, cache: CacheOptions, boards: BoardsOptions
) -> AsyncIterator[Front]:
    """Open the parts for a store. Raises `StoreError` where a file that the options name cannot be read."""
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        recent: Cache
        speeds: Cache
        ranked: Boards
        if redis.enabled:
            servers = await enter(RedisServers(redis))
            recent = await enter(RedisCache(servers, cache))
            speeds = await enter(RedisCache(servers, cache))
            ranked = await enter(RedisBoards(servers, store, boards))
        else:
            servers = None
            recent = await enter(MemoryCache(cache))
            speeds = await enter(MemoryCache(cache))
            ranked = await enter(MemoryBoards(store, boards))
        yield Front(
            recent=RecentResults(recent, store),
            boards=ranked,
            speeds=CountedSpeeds(speeds, store, every_s=boards.speeds_s),
            caches={"recent": recent, "speeds": speeds},
            redis=servers,
        )
