from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persistence.boards import CountedSpeeds, Speeds
from persistence.cache import CacheOptions, MemoryCache
from persistence.results import Board, Period, ResultStore, Span, SqliteResults
from tests.persistence.samples import ranked

BOARD, ALL = Board("time", 15, "en"), Period(Span.ALL, 0)


@pytest.mark.parametrize(
    ("wpm", "percent"), [(0, 0), (49.99, 0), (50, 0), (50.5, 25), (51, 50), (75, 50), (80.2, 60), (81, 100), (300, 100)]
)
def test_who_is_slower(wpm: float, percent: float) -> None:
    """Half of all type 50 to 51 wpm, the other half 80 to 81."""
    speeds = Speeds({50: 10, 80: 10}, 0)
    assert speeds.total == 20
    assert speeds.slower_than(wpm) == pytest.approx(percent)


def test_where_nobody_is_nobody_is_slower() -> None:
    assert Speeds({}, 0).slower_than(80) is None


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ResultStore]:
    async with SqliteResults(tmp_path / "results.db") as opened:
        yield opened


async def test_speeds_are_counted_now_and_then(store: ResultStore) -> None:
    now_ms = 1_000.0
    async with MemoryCache(CacheOptions(jitter=0, stale_ms=0), clock_ms=lambda: now_ms) as cache:
        counted = CountedSpeeds(cache, store, every_s=600, clock_ms=lambda: now_ms)
        assert await counted.of(BOARD, ALL) == Speeds({}, 1_000)
        await store.write([ranked(user, wpm=80.5 + user, user=user) for user in (1, 2, 3)])
        now_ms = 600_000.0
        assert await counted.of(BOARD, ALL) == Speeds({}, 1_000)
        now_ms = 601_000.0
        assert await counted.of(BOARD, ALL) == Speeds({81: 1, 82: 1, 83: 1}, 601_000)
        assert await counted.of(BOARD, Period(Span.DAY, 1)) == Speeds({}, 601_000)
