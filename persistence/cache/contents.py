"""Tests by their ids: from the shelf of this process, else from a cache that nodes share, else from the database.

The shelf has all that was added up to a few seconds ago. What came later, or what a node lacks that could not read the
database yet, is asked for one by one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import astuple, replace
from functools import partial
from typing import Final

import msgpack
import structlog

from persistence.cache.port import Cache, CacheFacts, CacheOptions
from persistence.cache.redis import RedisCache
from persistence.catalogue import Catalogue, Finds, Test
from persistence.errors import StoreError
from persistence.redis import RedisOptions, RedisServers

__all__ = ["CONTENT_TTL_MS", "Contents", "forgetting"]

log = structlog.get_logger(__name__)

CONTENT_TTL_MS: Final = 24 * 3_600_000
"""How long a test is kept."""
_FORGOTTEN_AT_ONCE: Final = 200


class Contents:
    """Key `test:{id}:content`: a test's present version; `test:{id}:{version}:content`: one version of it.

    `cache` None: the shelf is all there is, as on one machine. Whoever adds tests drops their keys (`forgetting`); so a
    version that was asked for too early is there once it was added, and the present one is never an earlier one.
    """

    def __init__(self, catalogue: Catalogue, cache: Cache | None) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._from_shelf = 0

    async def of(self, test_id: int, version: int | None = None) -> Test | None:
        """A version of a test, without a number the present one. Raises `CatalogueError` where nobody can say."""
        found = self._catalogue.shelf.test(test_id, version)
        if found is not None or self._cache is None:
            self._from_shelf += 1
            return found
        load = partial(self._load, test_id, version)
        packed = await self._cache.fetch(_key(test_id, version), load, ttl_ms=CONTENT_TTL_MS)
        return None if packed is None else Test(*msgpack.unpackb(packed))

    async def _load(self, test_id: int, version: int | None) -> bytes | None:
        assert isinstance(self._catalogue, Finds), "else there is no cache"
        found = await self._catalogue.find(test_id, version)
        if found is None:
            return None
        packed: bytes = msgpack.packb(astuple(found))
        return packed

    def facts(self) -> CacheFacts:
        """Facts for metrics; the shelf's answers are hits."""
        facts = CacheFacts(0, 0, 0, 0) if self._cache is None else self._cache.facts()
        return replace(facts, hits=facts.hits + self._from_shelf)


def forgetting(redis: RedisOptions, options: CacheOptions) -> Callable[[Collection[Test]], Awaitable[None]]:
    """What drops tests that were added from the cache in Redis. Where that is away it says so, and raises nothing."""

    async def forget(tests: Collection[Test]) -> None:
        keys = list({key for test in tests for key in (_key(test.id, None), _key(test.id, test.version))})
        try:
            async with RedisServers(redis) as servers, RedisCache(servers, options) as cache:
                for first in range(0, len(keys), _FORGOTTEN_AT_ONCE):
                    for key in await cache.kept(keys[first : first + _FORGOTTEN_AT_ONCE]):
                        await cache.drop(key)
        except StoreError as error:
            log.warning(
                "Redis was not told of new tests; who asked for one before may hear for a while that it is not there",
                why=str(error),
                seconds=options.negative_ms // 1000,
            )

    return forget


def _key(test_id: int, version: int | None) -> str:
    return f"test:{test_id}:content" if version is None else f"test:{test_id}:{version}:content"
