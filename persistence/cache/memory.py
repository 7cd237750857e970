"""The embedded cache: a bounded dictionary of this process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from persistence.cache.port import CacheFacts, Load


def monotonic_ms() -> float:
    """The process's monotonic clock in ms."""
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class MemoryCacheOptions:
    """Limits of the in-process cache."""

    max_entries: int = 20_000
    """Entries kept, negative ones included."""
    max_bytes: int = 64 * 2**20
    """Bytes of keys and values kept."""
    jitter: float = 0.1
    """Times to live vary by this share either way, so that entries made together do not expire together."""
    negative_ms: int = 30_000
    """How long it is remembered that there is nothing."""
    stale_ms: int = 60_000
    """How long past its time a value is still given while it is being refreshed."""


class MemoryCache:
    """A `Cache` in this process's memory."""

    def __init__(
        self,
        options: MemoryCacheOptions = MemoryCacheOptions(),
        *,
        chance: random.Random | None = None,
        clock_ms: Callable[[], float] = monotonic_ms,
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def fetch(self, key: str, load: Load, *, ttl_ms: int) -> bytes | None:
        """The value under `key`, read by `load` where it is not there."""
        ...

    async def change(self, key: str, change: Callable[[bytes], bytes | None]) -> None:
        """Replace the value under `key` where there is one."""
        ...

    async def drop(self, key: str) -> None:
        """Forget a value."""
        ...

    def facts(self) -> CacheFacts:
        """Facts for metrics."""
        ...

    async def ping(self) -> None:
        """Memory answers always."""
        ...
