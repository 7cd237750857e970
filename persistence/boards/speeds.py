"""How many type at which speed: percentiles for everybody, also for those whom no board has room for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgpack

from persistence.cache.port import Cache
from persistence.results.bests import Board, Period
from persistence.results.port import ResultStore


@dataclass(frozen=True, slots=True)
class Speeds:
    """How many users have their best at each whole speed."""

    counts: Mapping[int, int]
    """By speed in wpm, rounded down."""
    counted_ms: int
    """When (epoch ms)."""

    @property
    def total(self) -> int:
        """How many users there are."""
        return sum(self.counts.values())

    def slower_than(self, wpm: float) -> float | None:
        """Per cent of the users who are slower; None where there is nobody.

        Those of one whole speed count as spread evenly over it.
        """
        total = self.total
        if not total:
            return None
        whole = int(wpm)
        below = sum(count for speed, count in self.counts.items() if speed < whole)
        return 100 * (below + self.counts.get(whole, 0) * (wpm - whole)) / total


class CountedSpeeds:
    """Speeds as the store counts them, every ten minutes or when the settings say, kept in a cache meanwhile."""

    def __init__(
        self,
        cache: Cache,
        store: ResultStore,
        *,
        every_s: int,
        clock_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._cache = cache
        self._store = store
        self._every_ms = every_s * 1000
        self._clock_ms = clock_ms

    async def of(self, board: Board, period: Period) -> Speeds:
        """The speeds of a board in a period. Raises `StoreError` as the store does."""
        key = f"leaderboard:{board}:{period}:speeds"
        packed = await self._cache.fetch(key, partial(self._count, board, period), ttl_ms=self._every_ms)
        assert packed is not None, "a count is never nothing"
        counted_ms, counts = msgpack.unpackb(packed, strict_map_key=False)
        return Speeds(counts, counted_ms)

    async def _count(self, board: Board, period: Period) -> bytes:
        counted_ms = round(self._clock_ms())
        packed: bytes = msgpack.packb((counted_ms, await self._store.speeds(board, period)))
        return packed
