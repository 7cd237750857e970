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
from tests.servers import PATIENT_MS

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
    async with in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions(), alone=True) as front:
        assert isinstance(front.boards, MemoryBoards if where is None else RedisBoards)
        assert (front.redis is None) == (where is None)
        await front.ping()
        assert await shown(front) == ([7], [8, 7], 2)
        assert set(front.caches) == {"recent", "guests", "public", "speeds"}
        assert front.caches["recent"].facts().misses == 1


async def test_without_its_redis_it_answers_all_the_same(store: ResultStore) -> None:
    await store.write([ranked(0, wpm=80, user=7), ranked(1, wpm=90, user=8)])
    redis = RedisOptions(url="redis://127.0.0.1:1", call_ms=PATIENT_MS)
    async with in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions(), alone=True) as front:
        assert await shown(front) == ([7], [8, 7], 2)
        with pytest.raises(StoreError, match="refused"):
            await front.ping()


async def test_who_is_not_told_of_results_and_has_no_redis_asks_the_store(store: ResultStore) -> None:
    """A gateway whose results others store: nothing that it keeps may hide them."""
    async with in_front_of(
        store, redis=RedisOptions(), cache=CacheOptions(), boards=BoardsOptions(), alone=False
    ) as front:
        boards = front.boards
        assert (await boards.page(BOARD, ALL, offset=0, count=9)).entries == ()
        told = await store.write([ranked(0, wpm=80, user=7), ranked(1, wpm=90, user=8)])
        assert await boards.submit(told) == [{}, {}]
        assert [entry.best.place.user for entry in (await boards.page(BOARD, ALL, offset=0, count=9)).entries] == [8, 7]
        found = await boards.rank(BOARD, ALL, 7)
        assert found is not None
        assert found.rank == 2
        assert await boards.rank(BOARD, ALL, 9) is None
        assert len((await boards.around(BOARD, ALL, 7, count=3)).entries) == 2
        with pytest.raises(StoreError, match="beyond place 1000"):
            await boards.page(BOARD, ALL, offset=1_000, count=1)
        await boards.ping()
        assert (boards.facts().reads, boards.facts().fallbacks) == (6, 6)
