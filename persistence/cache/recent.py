"""The last results of a user, kept in a cache in front of the result store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from persistence.cache.port import Cache, Unkept
from persistence.cache.rows import Row, pack_rows, read_rows
from persistence.results.cursor import merged
from persistence.results.port import ResultStore
from session.result import Result

RECENT = 10
"""How many results a recent list holds."""
RECENT_TTL_MS = 3_600_000
"""How long it is kept."""


class RecentResults:
    """Key `user:{id}:recent_results`: the last ten of a user, for `ttl_ms`; pushed to when a result is stored.

    The list never misses a result that was stored before the question: `stored` pushes to a list that is there, and
    spoils one that is being loaded. A session that was stored again (a better attestation, a conflict) drops its user's
    list, for the store alone knows what holds now. What the store read of a server that may be behind is not kept.
    """

    def __init__(self, cache: Cache, store: ResultStore, *, ttl_ms: int = RECENT_TTL_MS) -> None:
        self._cache = cache
        self._store = store
        self._ttl_ms = ttl_ms

    async def of(self, user: int, guests: Sequence[int] = ()) -> list[Result]:
        """The user's last results, newest first, at most `RECENT`. Raises `StoreError` as the store does.

        With those of `guests`, whose past the user has: each has a list of its own, which is pushed to as ever.
        """
        if not guests:
            return await self._of(user)
        return merged(await asyncio.gather(*map(self._of, (user, *guests))), RECENT)

    async def _of(self, user: int) -> list[Result]:
        packed = await self._cache.fetch(_key(user), partial(self._load, user), ttl_ms=self._ttl_ms)
        return [] if packed is None else [Result.unpack(blob) for _, blob in read_rows(packed)]

    async def _load(self, user: int) -> bytes:
        page = await self._store.by_user(user, limit=RECENT)
        packed = pack_rows((result.session, result.pack()) for result in page.results)
        return Unkept(packed) if page.behind else packed

    async def stored(self, results: Sequence[Result]) -> None:
        """Take note of results that have just been stored. Raises a retriable `StoreError` as `Cache.push` does."""
        keyed = [(_key(result.user), result) for result in results]
        kept = frozenset(await self._cache.kept({key for key, _ in keyed}))  # few users look at their list
        if kept:
            rows = [Row(key, result.session, result.pack()) for key, result in keyed if key in kept]
            await self._cache.push(rows, most=RECENT)


def _key(user: int) -> str:
    return f"user:{user}:recent_results"
