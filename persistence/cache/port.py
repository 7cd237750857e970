"""The port of the cache: expiring bytes by key, loaded by one loader at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

Load = Callable[[], Awaitable[bytes | None]]
"""Reads the truth; None says that there is nothing under this key."""


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What a cache has answered since it was opened."""

    hits: int
    misses: int
    stale: int
    """Answered with a value past its time while a loader refreshed it."""
    evicted: int
    """Dropped to stay within the limits."""
    entries: int
    bytes: int


class Cache(Protocol):
    """Expiring values.

    Guarantees: `fetch` gives what `load` gave not longer ago than the time to live and the staleness allowed; in this
    process at most one loader of a key runs at a time, the others wait for it; that there is nothing is remembered too,
    for a short time; a value that was changed or dropped while it was being loaded is not kept. Entries and bytes are
    bounded: the least recently used goes first. A failing cache costs a call of `load`, never an answer.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def fetch(self, key: str, load: Load, *, ttl_ms: int) -> bytes | None:
        """The value under `key`, read by `load` where it is not there. Raises what `load` raises."""
        ...

    async def change(self, key: str, change: Callable[[bytes], bytes | None]) -> None:
        """Replace the value under `key` where there is one (None drops it); its time to live goes on."""
        ...

    async def drop(self, key: str) -> None:
        """Forget a value."""
        ...

    def facts(self) -> CacheFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the cache does not answer."""
        ...
