import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.cache import CacheOptions, RecentResults
from persistence.results import Page, SqliteResults
from session.result import Result
from tests.persistence.implementations import CACHES
from tests.persistence.samples import T0_MS, copy_of, sample


class CountingStore(SqliteResults):
    """A store that counts questions, and answers when it is let."""

    asked = 0
    behind = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def by_user(
        self,
        user: int,
        *,
        guests: Sequence[int] = (),
        limit: int = 10,
        cursor: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Page:
        self.asked += 1
        page = await super().by_user(
            user, guests=guests, limit=limit, cursor=cursor, since_ms=since_ms, until_ms=until_ms
        )
        self.read.set()
        await self.open.wait()
        return replace(page, behind=self.behind)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    async with CountingStore(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture(params=CACHES)
async def recent(request: pytest.FixtureRequest, store: CountingStore) -> AsyncIterator[RecentResults]:
    async with CACHES[request.param](CacheOptions(), lambda: T0_MS, request.getfixturevalue) as cache:
        yield RecentResults(cache, store)


async def add(store: CountingStore, recent: RecentResults, *results: Result) -> None:
    await store.write(results)
    await recent.stored(results)


async def test_the_last_ten_newest_first_and_read_once(store: CountingStore, recent: RecentResults) -> None:
    await add(store, recent, *(sample(i) for i in range(12)))
    for _ in range(2):
        assert await recent.of(7) == [sample(i) for i in range(11, 1, -1)]
    assert store.asked == 1


async def test_a_new_result_is_pushed_without_asking_the_store(store: CountingStore, recent: RecentResults) -> None:
    assert await recent.of(7) == []
    for i in (0, 2, 1, *range(3, 13)):
        await add(store, recent, sample(i))
    assert await recent.of(7) == [sample(i) for i in range(12, 2, -1)]
    assert store.asked == 1


async def test_a_late_result_that_is_older_than_the_list_is_not_in_it(
    store: CountingStore, recent: RecentResults
) -> None:
    await add(store, recent, *(sample(i) for i in range(1, 12)))
    before = await recent.of(7)
    await add(store, recent, sample(0))
    assert await recent.of(7) == before


async def test_a_session_stored_again_is_read_again(store: CountingStore, recent: RecentResults) -> None:
    """What holds after a conflict or a better attestation only the store knows."""
    await add(store, recent, sample(0))
    await recent.of(7)
    await add(store, recent, copy_of(sample(0), core=1, seen_live=1))
    (found,) = await recent.of(7)
    assert (found.core_hash, found.verdict) == (sample(0).core_hash, "review")


async def test_a_result_stored_while_the_list_is_read_is_not_missed(
    store: CountingStore, recent: RecentResults
) -> None:
    store.open.clear()
    reading = asyncio.get_running_loop().create_task(recent.of(7))
    await store.read.wait()  # it has read, and seen nothing
    await add(store, recent, sample(0))
    store.open.set()
    await reading
    assert await recent.of(7) == [sample(0)]


async def test_a_list_that_may_lack_what_was_stored_last_is_not_kept(
    store: CountingStore, recent: RecentResults
) -> None:
    """It would lack it for an hour, long after the store's primary is back."""
    await store.write([sample(0)])
    store.behind = True
    assert await recent.of(7) == [sample(0)]
    store.behind = False
    for _ in range(2):
        assert await recent.of(7) == [sample(0)]
    assert store.asked == 2


async def test_users_have_lists_of_their_own(store: CountingStore, recent: RecentResults) -> None:
    await recent.of(7)
    await add(store, recent, sample(0, user=-7))
    assert (await recent.of(7), await recent.of(-7)) == ([], [sample(0, user=-7)])


async def test_guests_lists_are_read_with_the_account_s_and_never_miss_what_was_stored(
    store: CountingStore, recent: RecentResults
) -> None:
    """Each user's list is kept and pushed to by itself: whoever stores a guest's result need not know whose it is."""
    await add(store, recent, *(sample(i, user=user) for i in range(5) for user in (7, -7, -8)))
    newest = [sample(i, user=user) for i in range(4, -1, -1) for user in (7, -7, -8)]
    newest.sort(key=lambda result: result.session, reverse=True)
    for _ in range(2):
        assert await recent.of(7, (-7, -8)) == newest[:10]
        assert store.asked == 3
    await add(store, recent, sample(9, user=-8))
    assert await recent.of(7, (-7, -8)) == [sample(9, user=-8), *newest[:9]]
    assert store.asked == 3
    assert len(await recent.of(7)) == 5
