"""What stands in front of the stores: recent lists, guests, leaderboards, percentiles, tests; in Redis if there is one.

Gateways, workers and commands open it alike, so that they meet in the same Redis.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from persistence.boards import Boards, BoardsOptions, CountedSpeeds, MemoryBoards, RedisBoards, StoreBoards
from persistence.cache import AccountGuests, Cache, CacheOptions, MemoryCache, PublicResults, RecentResults, RedisCache
from persistence.cache.contents import Contents
from persistence.cache.recent import RECENT_TTL_MS
from persistence.catalogue import Catalogue, Finds
from persistence.redis import RedisOptions, RedisServers
from persistence.results.port import ResultStore

__all__ = ["Front", "in_front_of"]

UNTOLD_TTL_MS = 1_000
"""How old a list may be of which nobody is told what is stored."""


@dataclass(frozen=True, slots=True)
class Front:
    """The parts, open."""

    recent: RecentResults
    guests: AccountGuests
    public: PublicResults
    boards: Boards
    speeds: CountedSpeeds
    contents: Contents | None
    """None where there is no catalogue."""
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
    store: ResultStore,
    *,
    redis: RedisOptions,
    cache: CacheOptions,
    boards: BoardsOptions,
    alone: bool,
    catalogue: Catalogue | None = None,
) -> AsyncIterator[Front]:
    """Open the parts for a store, and for a catalogue where they serve tests.

    Raises `StoreError` where a file that the options name cannot be read.

    `alone`: whether all that comes into the store is told to these parts by this process. Where it is not, and there is
    no Redis in which others tell it, next to nothing is kept: the store is asked.
    """
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        servers = await enter(RedisServers(redis)) if redis.enabled else None
        caches: dict[str, Cache] = {}
        for name in ("recent", "guests", "public", "speeds"):
            caches[name] = await enter(_cache(servers, cache, alone=alone))
        contents = None
        if catalogue is not None:
            # of a catalogue that nobody else adds to, the shelf is all there is
            shared = isinstance(catalogue, Finds)
            contents = Contents(catalogue, await enter(_cache(servers, cache, alone=False)) if shared else None)
        told = alone or servers is not None
        ttl_ms = RECENT_TTL_MS if told else UNTOLD_TTL_MS
        yield Front(
            recent=RecentResults(caches["recent"], store, ttl_ms=ttl_ms),
            guests=AccountGuests(caches["guests"], store, ttl_ms=ttl_ms),
            public=PublicResults(caches["public"], store, ttl_ms=ttl_ms),
            boards=await enter(_boards(servers, store, boards, alone=alone)),
            speeds=CountedSpeeds(caches["speeds"], store, every_s=boards.speeds_s),
            contents=contents,
            caches=caches,
            redis=servers,
        )


def _cache(servers: RedisServers | None, options: CacheOptions, *, alone: bool) -> Cache:
    if servers is not None:
        return RedisCache(servers, options)
    return MemoryCache(options if alone else replace(options, stale_ms=0))


def _boards(servers: RedisServers | None, store: ResultStore, options: BoardsOptions, *, alone: bool) -> Boards:
    if servers is not None:
        return RedisBoards(servers, store, options)
    return MemoryBoards(store, options) if alone else StoreBoards(store, options)
