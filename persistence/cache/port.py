"""The port of the cache: expiring bytes by key, loaded by one loader at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol, Self

from persistence.cache.rows import Row

Load = Callable[[], Awaitable[bytes | None]]
"""Reads the truth; None says that there is nothing under this key, `Unkept` that the next one is to read it again."""


class Unkept(bytes):
    """A value for those who wait for it now, and for nobody later: it may not be the last word."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Limits of caches, and times in which they are fresh."""

    max_entries: int = 20_000
    """Entries that a cache keeps in this process, negative ones included."""
    max_bytes: int = 64 * 2**20
    """Bytes of keys and values that it keeps there, about 300 more an entry counted in."""
    max_value_bytes: int = 2**20
    """Largest value kept in Redis."""
    max_loads: int = 1_000
    """Loaders that may run at once; beyond them a caller loads for itself and nothing is kept."""
    jitter: float = 0.1
    """Times to live vary by this share either way, so that entries made together do not expire together."""
    negative_ms: int = 30_000
    """How long it is remembered that there is nothing."""
    stale_ms: int = 60_000
    """How long past its time a value is still given while it is being refreshed."""
    lock_ms: int = 3_000
    """How long other processes wait for the one that loads a value into Redis; then each loads for itself."""

    def __post_init__(self) -> None:
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is {self.jitter}; 0 to below 1 is allowed")
        for field in fields(self):
            least = {"stale_ms": 0, "jitter": 0, "lock_ms": 100}.get(field.name, 1)
            if getattr(self, field.name) < least:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; {least} or more is allowed")


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What a cache has answered since it was opened."""

    hits: int
    misses: int
    stale: int
    """Answered with a value past its time while a loader refreshed it."""
    errors: int
    """Answered by a loader because the cache did not answer."""


class Cache(Protocol):
    """Expiring values.

    Guarantees:

    - **Not older than promised.** `fetch` gives what `load` gave not longer ago than the time to live and the staleness
      allowed. A value that was pushed to or dropped while it was being loaded is not kept: the loader may have read
      before. That there is nothing is remembered too, for a short time.
    - **One loader.** At most one loader of a key runs at a time in this process, and, where the cache is shared, in all
      of them, as long as it is not slower than they wait; the others get its value.
    - **Bounded.** Loaders, entries and bytes are; what was used least lately goes first.
    - **Never in the way.** A failing cache costs a call of `load`, never an answer. What could not be pushed or dropped
      there is dropped as soon as it answers again, as long as this process lives; it does not give it out meanwhile.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def fetch(self, key: str, load: Load, *, ttl_ms: int) -> bytes | None:
        """The value under `key`, read by `load` where it is not there; kept unless that is `Unkept`. Raises what `load`
        raises."""
        ...

    async def kept(self, keys: Collection[str]) -> Collection[str]:
        """Those of these keys under which something is kept; what is being loaded there is spoilt, as by a push.

        So whoever changed the truth may ask this first, and need push, and make rows, for those keys alone. Raises as
        `push` does.
        """
        ...

    async def push(self, rows: Sequence[Row], *, most: int) -> None:
        """Put each row into the list (`rows`) under its key, where there is one; its time to live goes on.

        A list keeps `most` rows, those of the greatest ids. One that has a row of this id already is dropped instead:
        which of both holds only the truth knows. Raises a retriable `StoreError` where the cache did not answer; doing
        it again is harmless.
        """
        ...

    async def drop(self, key: str) -> None:
        """Forget a value. Raises as `push` does."""
        ...

    def facts(self) -> CacheFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the cache does not answer."""
        ...
