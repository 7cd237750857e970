"""Which of a user's results are public, kept in a cache in front of the result store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from persistence.cache.port import Cache, Unkept
from persistence.errors import StoreError
from persistence.results.port import ResultStore

log = structlog.get_logger(__name__)

_ID_BYTES: Final = 16


class PublicResults:
    """Key `user:{id}:public`: a user's results that are public, for `ttl_ms`; forgotten when one more is, or one less.

    It says which of a list are. What the store read of a server that may be behind is not kept. Whether a stranger may
    see a result, the store says itself (`holds`): what was taken back is shown to nobody because a cache could not be
    told.
    """

    def __init__(self, cache: Cache, store: ResultStore, *, ttl_ms: int) -> None:
        self._cache = cache
        self._store = store
        self._ttl_ms = ttl_ms

    async def of(self, users: Sequence[int]) -> frozenset[bytes]:
        """The sessions of these users' results that are public. Raises `StoreError` as the store does."""
        found = await asyncio.gather(*map(self._of, users))
        return frozenset().union(*found)

    async def _of(self, user: int) -> Sequence[bytes]:
        packed = await self._cache.fetch(_key(user), partial(self._load, user), ttl_ms=self._ttl_ms) or b""
        return [packed[at : at + _ID_BYTES] for at in range(0, len(packed), _ID_BYTES)]

    async def _load(self, user: int) -> bytes:
        behind: list[bool] = []
        sessions = await self._store.public_of(user, behind=partial(behind.append, True))
        packed = b"".join(sessions)
        return Unkept(packed) if behind else packed

    async def holds(self, session: bytes) -> bool:
        """Whether a result is public, by the store's own word. Raises `StoreError` as the store does."""
        return await self._store.is_public(session)

    async def publish(self, session: bytes, user: int) -> bool:
        """Let a result be public; False where its user has too many. Raises `StoreError` as the store does."""
        try:
            return await self._store.publish(session, user)
        finally:  # also of one that failed: it may have been committed, and the answer lost
            await self._forget(user)

    async def unpublish(self, session: bytes, user: int) -> None:
        """Let a result be its owner's alone. Raises `StoreError` as the store does."""
        try:
            await self._store.unpublish(session)
        finally:
            await self._forget(user)

    async def _forget(self, user: int) -> None:
        try:
            await self._cache.drop(_key(user))
        except StoreError as error:  # it is dropped when the cache answers again
            log.warning("which results are public is read from the store until the cache is back", why=str(error))


def _key(user: int) -> str:
    return f"user:{user}:public"
