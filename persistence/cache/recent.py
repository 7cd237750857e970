"""The last results of a user, kept in a cache in front of the result store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgpack

from persistence.cache.port import Cache
from persistence.results.port import ResultStore
from session.result import Result

RECENT = 10
"""How many results a recent list holds."""
RECENT_TTL_MS = 3_600_000
"""How long it is kept."""


class RecentResults:
    """Key `user:{id}:recent_results`: the last ten of a user, for an hour; pushed to when a result is stored.

    The list never misses a result that was stored before the question: `stored` pushes to a list that is there, and
    spoils one that is being loaded. A session that was stored again (a better attestation, a conflict) drops its user's
    list, for the store alone knows what holds now.
    """

    def __init__(self, cache: Cache, store: ResultStore) -> None:
        self._cache = cache
        self._store = store

    async def of(self, user: int) -> list[Result]:
        """The user's last results, newest first, at most `RECENT`. Raises `StoreError` as the store does."""
        packed = await self._cache.fetch(_key(user), partial(self._load, user), ttl_ms=RECENT_TTL_MS)
        return [] if packed is None else [Result.unpack(blob) for _, blob in _read(packed)]

    async def _load(self, user: int) -> bytes:
        page = await self._store.by_user(user, limit=RECENT)
        return _pack([(result.session, result.pack()) for result in page.results])

    async def stored(self, results: Sequence[Result]) -> None:
        """Take note of results that have just been stored."""
        for result in results:
            await self._cache.change(_key(result.user), partial(_push, result))


def _push(result: Result, packed: bytes) -> bytes | None:
    """The list with a result in its place (ids are in order of time); None where it is to be read again."""
    rows = _read(packed)
    if any(session == result.session for session, _ in rows):
        return None
    rows.append((result.session, result.pack()))
    rows.sort(key=lambda row: row[0], reverse=True)
    return _pack(rows[:RECENT])


def _key(user: int) -> str:
    return f"user:{user}:recent_results"


def _pack(rows: list[tuple[bytes, bytes]]) -> bytes:
    """Pairs of session id and packed result."""
    packed: bytes = msgpack.packb(rows)
    return packed


def _read(packed: bytes) -> list[tuple[bytes, bytes]]:
    return [(session, blob) for session, blob in msgpack.unpackb(packed)]
