"""The embedded cache: a bounded dictionary of this process.

Only the event loop touches it, so no step needs a lock. An entry is fresh until its time, then stale for a while (given
out while one loader refreshes it), then gone. Order of use is the dictionary's own order: a used entry is moved to the
end, the first one is evicted.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from persistence.cache.loading import Loaders, Loading
from persistence.cache.port import CacheFacts, CacheOptions, Load, Unkept
from persistence.cache.rows import Row, push_row

_ENTRY_BYTES = 300  # what an entry costs beside key and value: dictionary slot, object, strings' heads


def monotonic_ms() -> float:
    """The process's monotonic clock in ms."""
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class MemoryCacheRoom:
    """What an in-process cache keeps."""

    entries: int
    bytes: int
    evicted: int
    """Dropped since it was opened, to stay within the limits."""


class _Entry:
    __slots__ = ("fresh_until_ms", "given_until_ms", "size", "value")

    def __init__(self, value: bytes | None, fresh_until_ms: float, given_until_ms: float, size: int) -> None:
        self.value = value
        self.fresh_until_ms = fresh_until_ms
        self.given_until_ms = given_until_ms
        self.size = size


class MemoryCache:
    """A `Cache` in this process's memory; `chance` draws the jitter."""

    def __init__(
        self,
        options: CacheOptions | None = None,
        *,
        chance: random.Random | None = None,
        clock_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self._options = options or CacheOptions()
        self._chance = chance or random.Random()
        self._clock_ms = clock_ms
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._loaders = Loaders(self._options.max_loads)
        self._bytes = 0
        self._hits = self._misses = self._stale = self._evicted = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._loaders.close()
        self._entries.clear()
        self._bytes = 0

    async def fetch(self, key: str, load: Load, *, ttl_ms: int) -> bytes | None:
        """The value under `key`, read by `load` where it is not there."""
        entry = self._entries.get(key)
        if entry is not None:
            now_ms = self._clock_ms()
            if now_ms < entry.given_until_ms:
                self._entries.move_to_end(key)
                if now_ms < entry.fresh_until_ms:
                    self._hits += 1
                else:
                    self._stale += 1
                    self._loaders.refresh(key, partial(self._load, key, load, ttl_ms))
                return entry.value
            self._remove(key)
        self._misses += 1
        return await self._loaders.value(key, load, partial(self._load, key, load, ttl_ms))

    async def _load(self, key: str, load: Load, ttl_ms: int, loading: Loading) -> bytes | None:
        value = await load()
        if not (loading.spoiled or isinstance(value, Unkept)):
            self._keep(key, value, ttl_ms)
        return value

    def _keep(self, key: str, value: bytes | None, ttl_ms: int) -> None:
        options = self._options
        self._remove(key)
        size = _size(key, value)
        if size > options.max_bytes:
            return
        if value is None:
            ttl_ms = min(ttl_ms, options.negative_ms)
        fresh_ms = ttl_ms * (1 + options.jitter * (2 * self._chance.random() - 1))
        fresh_until_ms = self._clock_ms() + fresh_ms
        # That there is nothing is never given past its time: something may just have been made.
        given_until_ms = fresh_until_ms + (0 if value is None else options.stale_ms)
        self._entries[key] = _Entry(value, fresh_until_ms, given_until_ms, size)
        self._bytes += size
        self._evict()

    def _evict(self) -> None:
        options = self._options
        while self._bytes > options.max_bytes or len(self._entries) > options.max_entries:
            self._remove(next(iter(self._entries)))
            self._evicted += 1

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size

    async def kept(self, keys: Collection[str]) -> Collection[str]:
        """Those of these keys under which something is kept; what is being loaded there is spoilt."""
        for key in keys:
            self._loaders.spoil(key)
        return [key for key in keys if key in self._entries]

    async def push(self, rows: Sequence[Row], *, most: int) -> None:
        """Put each row into the list under its key, where there is one."""
        for row in rows:
            self._push(row, most)

    def _push(self, row: Row, most: int) -> None:
        self._loaders.spoil(row.key)
        entry = self._entries.get(row.key)
        if entry is None:
            return
        value = None if entry.value is None else push_row(row, entry.value, most=most)
        size = _size(row.key, value)
        if value is None or size > self._options.max_bytes:
            self._remove(row.key)
            return
        self._bytes += size - entry.size
        entry.value, entry.size = value, size
        self._entries.move_to_end(row.key)
        self._evict()

    async def drop(self, key: str) -> None:
        """Forget a value."""
        self._loaders.spoil(key)
        self._remove(key)

    def facts(self) -> CacheFacts:
        """Facts for metrics."""
        return CacheFacts(self._hits, self._misses, self._stale, errors=0)

    def room(self) -> MemoryCacheRoom:
        """What is kept now; cheap."""
        return MemoryCacheRoom(len(self._entries), self._bytes, self._evicted)

    async def ping(self) -> None:
        """Memory answers always."""


def _size(key: str, value: bytes | None) -> int:
    return _ENTRY_BYTES + len(key) + (0 if value is None else len(value))
