"""What stands in front of the store is the same with and without Redis, but for where it lies."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.boards import BoardsOptions, MemoryBoards, RedisBoards
from persistence.cache import CacheOptions
from persistence.errors import StoreError
from persistence.front import Front, in_front_of
from persistence.redis import RedisOptions
from persistence.results import Board, Period, ResultStore, Span, SqliteResults
from tests.persistence.samples import ranked

BOARD, ALL = Board("time", 15, "en"), Period(Span.ALL, 0)


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[ResultStore]:
    async with SqliteResults(tmp_path / "results.db") as opened:
        yield opened


async def shown(front: Front) -> tuple[list[int], list[int], int]:
    recent = [result.user for result in await front.recent.of(7)]
    page = await front.boards.page(BOARD, ALL, offset=0, count=9)
    speeds = await front.speeds.of(BOARD, ALL)
    return recent, [entry.best.place.user for entry in page.entries], speeds.total


@pytest.mark.parametrize("where", [None, "redis_single", "redis_cluster"])
async def test_all_of_it_answers(store: ResultStore, where: str | None, request: pytest.FixtureRequest) -> None:
    await store.write([ranked(0, wpm=80, user=7), ranked(1, wpm=90, user=8)])
    redis = RedisOptions()
    if where is not None:
        redis = replace(request.getfixturevalue(where), prefix=f"{uuid.uuid4().hex}:")
    async with in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions()) as front:
        assert isinstance(front.boards, MemoryBoards if where is None else RedisBoards)
        assert (front.redis is None) == (where is None)
        await front.ping()
        assert await shown(front) == ([7], [8, 7], 2)
        assert set(front.caches) == {"recent", "speeds"}
        assert front.caches["recent"].facts().misses == 1


async def test_without_its_redis_it_answers_all_the_same(store: ResultStore) -> None:
    await store.write([ranked(0, wpm=80, user=7), ranked(1, wpm=90, user=8)])
    redis = RedisOptions(url="redis://127.0.0.1:1")
    async with in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions()) as front:
        assert await shown(front) == ([7], [8, 7], 2)
        with pytest.raises(StoreError, match="refused"):
            await front.ping()
