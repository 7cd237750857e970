"""Which guests' pasts an account has, kept in a cache in front of the result store."""

from __future__ import annotations

from functools import partial
from struct import Struct

import structlog

from persistence.cache.port import Cache, Unkept
from persistence.errors import StoreError
from persistence.results.port import Linked, ResultStore

log = structlog.get_logger(__name__)

_GUEST = Struct(">q")


class AccountGuests:
    """Key `user:{id}:guests`: an account's guests, for `ttl_ms`; forgotten when it takes one more.

    Whoever reads an account's history, or opens a result for it, asks this first. What the store read of a server that
    may be behind is not kept.
    """

    def __init__(self, cache: Cache, store: ResultStore, *, ttl_ms: int) -> None:
        self._cache = cache
        self._store = store
        self._ttl_ms = ttl_ms

    async def of(self, user: int) -> tuple[int, ...]:
        """The guests whose past a user has: none for a guest. Raises `StoreError` as the store does."""
        if user <= 0:
            return ()
        packed = await self._cache.fetch(_key(user), partial(self._load, user), ttl_ms=self._ttl_ms)
        return tuple(guest for (guest,) in _GUEST.iter_unpack(packed or b""))

    async def _load(self, user: int) -> bytes:
        behind: list[bool] = []
        guests = await self._store.guests_of(user, behind=partial(behind.append, True))
        packed = b"".join(map(_GUEST.pack, guests))
        return Unkept(packed) if behind else packed

    async def link(self, guest: int, account: int) -> Linked:
        """Let a guest's past be an account's. Raises `StoreError` as the store does."""
        try:
            return await self._store.link(guest, account)
        finally:  # also of one that failed: it may have been committed, and the answer lost
            try:
                await self._cache.drop(_key(account))
            except StoreError as error:  # it is dropped when the cache answers again
                log.warning("an account's guests are read from the store until the cache is back", why=str(error))


def _key(user: int) -> str:
    return f"user:{user}:guests"
