"""What every implementation of the leaderboards promises; `implementations.BOARDS` names them, SQLite is the store."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.boards import Boards, BoardsOptions
from persistence.errors import StoreError
from persistence.results import Board, Period, PersonalBest, ResultStore, Span, SqliteResults, Written
from persistence.results.bests import DAY_MS
from session.result import Result
from tests.persistence.implementations import BOARDS
from tests.persistence.samples import copy_of, ranked

TODAY = (time.time_ns() // 1_000_000 + DAY_MS // 2) // DAY_MS  # the nearest midnight begins it, so the next is far
NOON_MS = TODAY * DAY_MS + DAY_MS // 2
BOARD = Board("time", 15, "en")
ALL = Period(Span.ALL, 0)
DAY = Period(Span.DAY, TODAY)
WEEK = Period.of(Span.WEEK, TODAY)
PERIODS = (DAY, WEEK, ALL)
OPTIONS = BoardsOptions(top=5, floor_ms=0)

Open = Callable[[ResultStore], AbstractAsyncContextManager[Boards]]


def typed_by(user: int, wpm: float, i: int = 0, **changes: object) -> Result:
    """A test of a user on the board, `i` seconds after noon."""
    return ranked(i, wpm=wpm, user=user, created_ms=NOON_MS + 1000 * i, **changes)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ResultStore]:
    async with SqliteResults(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture(params=BOARDS)
def open_boards(request: pytest.FixtureRequest) -> Open:
    return lambda store: BOARDS[request.param](store, OPTIONS, request.getfixturevalue)


@pytest.fixture
async def boards(open_boards: Open, store: ResultStore) -> AsyncIterator[Boards]:
    async with open_boards(store) as opened:
        for period in PERIODS:
            await opened.rebuild(BOARD, period)
        yield opened


async def typed(store: ResultStore, boards: Boards, *results: Result) -> list[dict[Span, int]]:
    """Write results and submit what the store told."""
    return [dict(ranks) for ranks in await boards.submit(await store.write(results))]


async def users(boards: Boards, period: Period = ALL, *, offset: int = 0, count: int = 100) -> list[int]:
    page = await boards.page(BOARD, period, offset=offset, count=count)
    assert [entry.rank for entry in page.entries] == list(range(offset + 1, offset + 1 + len(page.entries)))
    return [entry.best.place.user for entry in page.entries]


async def ranking(store: ResultStore, period: Period = ALL) -> list[PersonalBest]:
    return [best async for best in store.ranking(BOARD, period)]


async def agree(store: ResultStore, boards: Boards) -> None:
    """Wait until the boards say what the store says; those that fill themselves do it soon."""
    async with asyncio.timeout(120):
        for period in PERIODS:
            expected = (await ranking(store, period))[: OPTIONS.top]
            while True:
                page = await boards.page(BOARD, period, offset=0, count=100)
                if page.size is not None and [entry.best for entry in page.entries] == expected:
                    break
                await asyncio.sleep(0.01)


async def test_the_fastest_come_first_and_of_equals_the_earlier(store: ResultStore, boards: Boards) -> None:
    """To the hundredth and the millisecond; a session's smaller id decides what is left."""
    tests = [typed_by(1, 80.01), typed_by(2, 80.02), typed_by(3, 80.02, 2), typed_by(4, 80.02, 1), typed_by(5, 119.99)]
    ranks = await typed(store, boards, *tests)
    assert await users(boards) == [5, 2, 4, 3, 1]
    assert ranks == [dict.fromkeys(Span, rank) for rank in (5, 2, 4, 3, 1)]
    page = await boards.page(BOARD, DAY, offset=1, count=1)
    assert page.size == 5
    assert page.entries[0].best == next(best for best in await ranking(store, DAY) if best.place.user == 2)


async def test_boards_periods_and_languages_are_apart(store: ResultStore, boards: Boards) -> None:
    yesterday = ranked(0, wpm=90, user=1, created_ms=NOON_MS - DAY_MS)
    await typed(store, boards, yesterday, typed_by(2, 80), typed_by(3, 99, language="de"), typed_by(4, 99, seconds=60))
    assert await users(boards, DAY) == [2]
    assert await users(boards, ALL) == [1, 2]
    assert await users(boards, Period(Span.DAY, TODAY - 1)) == [1]
    german = await boards.page(Board("time", 15, "de"), ALL, offset=0, count=9)
    assert [entry.best.place.user for entry in german.entries] == [3]


async def test_only_a_better_result_takes_a_place(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, typed_by(1, 80), typed_by(2, 90))
    assert await typed(store, boards, typed_by(1, 79, 1)) == [{}]
    assert await users(boards) == [2, 1]
    assert await typed(store, boards, typed_by(1, 95, 2)) == [dict.fromkeys(Span, 1)]
    assert await users(boards) == [1, 2]
    assert (await boards.page(BOARD, ALL, offset=0, count=9)).size == 2


async def test_what_is_told_again_or_late_changes_nothing(store: ResultStore, boards: Boards) -> None:
    """A worker that died tells a batch again, when others have told more."""
    old = await store.write([typed_by(1, 80), typed_by(2, 70)])
    new = await store.write([typed_by(1, 90, 1)])
    await boards.submit(new)
    await boards.submit(old)
    await boards.submit(old)
    assert [entry.best.wpm for entry in (await boards.page(BOARD, ALL, offset=0, count=9)).entries] == [90, 70]


async def test_a_result_that_turns_out_not_to_count_gives_its_place_to_the_user_s_next(
    store: ResultStore, boards: Boards
) -> None:
    first, second = typed_by(1, 80), typed_by(1, 95, 1)
    await typed(store, boards, first, second, typed_by(2, 90))
    assert await users(boards) == [1, 2]
    await typed(store, boards, copy_of(second, verdict="void", seen_live=1_000))
    assert await users(boards) == [2, 1]
    assert [entry.best.wpm for entry in (await boards.page(BOARD, ALL, offset=0, count=9)).entries] == [90, 80]
    await typed(store, boards, copy_of(first, verdict="review", seen_live=1_000))
    assert await users(boards) == [2]


async def test_a_board_holds_the_top_and_no_more(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, *(typed_by(user, 50 + user) for user in range(1, 9)))
    assert await users(boards) == [8, 7, 6, 5, 4]
    assert await typed(store, boards, typed_by(9, 40)) == [{}]
    assert await typed(store, boards, typed_by(3, 54.5, 1)) == [dict.fromkeys(Span, 5)]
    assert await users(boards) == [8, 7, 6, 5, 3]


async def test_who_is_below_the_top_comes_up_when_a_place_is_free(store: ResultStore, boards: Boards) -> None:
    """The board knows nothing of whoever is below its last place; the store does."""
    fastest = typed_by(8, 58)
    await typed(store, boards, *(typed_by(user, 50 + user) for user in range(1, 8)), fastest)
    await typed(store, boards, copy_of(fastest, verdict="void", seen_live=1_000))
    await agree(store, boards)
    assert await users(boards) == [7, 6, 5, 4, 3]
    await typed(store, boards, typed_by(9, 53.5, 9))
    assert await users(boards) == [7, 6, 5, 4, 9]


async def test_pages(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, *(typed_by(user, 50 + user) for user in range(1, 6)))
    assert await users(boards, offset=0, count=2) == [5, 4]
    assert await users(boards, offset=2, count=2) == [3, 2]
    assert await users(boards, offset=4, count=2) == [1]
    assert await users(boards, offset=5, count=2) == []


async def test_around_a_user(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, *(typed_by(user, 50 + user) for user in range(1, 6)))

    async def around(user: int, count: int) -> list[tuple[int, int]]:
        page = await boards.around(BOARD, ALL, user, count=count)
        return [(entry.rank, entry.best.place.user) for entry in page.entries]

    assert await around(3, 3) == [(2, 4), (3, 3), (4, 2)]
    assert await around(5, 3) == [(1, 5), (2, 4), (3, 3)]
    assert await around(1, 3) == [(4, 2), (5, 1)]
    assert await around(3, 1) == [(3, 3)]
    assert await around(77, 3) == []


async def test_the_rank_of_a_user(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, *(typed_by(user, 50 + user) for user in range(1, 4)))
    found = await boards.rank(BOARD, ALL, 2)
    assert found is not None
    assert (found.rank, found.best.wpm) == (2, 52)
    assert await boards.rank(BOARD, ALL, 4) is None


async def test_a_user_can_be_removed_from_all_boards(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, typed_by(1, 80), typed_by(2, 90))
    await boards.remove(2)
    for period in PERIODS:
        assert await users(boards, period) == [1]
    await boards.remove(77)


async def test_guests_and_what_does_not_count_are_on_no_board(store: ResultStore, boards: Boards) -> None:
    await typed(store, boards, typed_by(-1, 99), typed_by(1, 99, unseen_ms=60_000), typed_by(2, 99, verdict="review"))
    assert await users(boards) == []


async def test_a_board_is_filled_from_the_store_when_it_is_first_asked_for(
    store: ResultStore, open_boards: Open
) -> None:
    await store.write([typed_by(user, 50 + user) for user in range(1, 8)])
    async with open_boards(store) as boards:
        assert await users(boards) == [7, 6, 5, 4, 3]
        await agree(store, boards)
        await typed(store, boards, typed_by(2, 53.5, 9))
        assert await users(boards) == [7, 6, 5, 4, 2]
        assert boards.facts().fillings >= 1


async def test_what_is_submitted_while_a_board_is_filled_beats_what_the_filling_reads(
    store: ResultStore, open_boards: Open
) -> None:
    """A better best, a best that was voided and left nothing, a new user, one that was removed."""
    await store.write([typed_by(user, 50 + user) for user in range(1, 6)])
    paused = Paused(store)
    async with open_boards(paused) as boards:
        filling = asyncio.get_running_loop().create_task(boards.rebuild(BOARD, ALL))
        await paused.reading.wait()
        await typed(store, boards, typed_by(1, 70, 1), copy_of(typed_by(4, 54), verdict="void", seen_live=1_000))
        await typed(store, boards, typed_by(6, 60, 1))
        paused.forgotten.add(2)  # what is submitted begins another filling, which may come after this one
        await boards.remove(2)
        paused.go_on.set()
        await filling
        assert await users(boards) == [1, 6, 5, 3]


async def test_a_place_that_becomes_free_while_a_board_is_filled_is_the_next_one_s(
    store: ResultStore, open_boards: Open
) -> None:
    """Whom the filling has not read, for there was no room."""
    await store.write([typed_by(user, 50 + user) for user in range(1, 8)])
    paused = Paused(store)
    async with open_boards(paused) as boards:
        filling = asyncio.get_running_loop().create_task(boards.rebuild(BOARD, ALL))
        await paused.reading.wait()
        await typed(store, boards, copy_of(typed_by(6, 56), verdict="void", seen_live=1_000))
        paused.go_on.set()
        await filling
        await agree(store, boards)
        assert await users(boards) == [7, 5, 4, 3, 2]


async def test_two_who_rebuild_at_once_come_to_the_same(store: ResultStore, open_boards: Open) -> None:
    await store.write([typed_by(user, 50 + user) for user in range(1, 8)])
    async with open_boards(store) as boards:
        assert await asyncio.gather(*(boards.rebuild(BOARD, ALL) for _ in range(2))) == [5, 5]
        assert await users(boards) == [7, 6, 5, 4, 3]


async def test_a_rebuild_mends_what_went_wrong_and_tells_how_far_it_is(store: ResultStore, boards: Boards) -> None:
    """Results that were written and never submitted, and one that was submitted and is no longer there."""
    await typed(store, boards, typed_by(1, 99))
    await store.write([typed_by(user, 50 + user) for user in range(2, 9)])
    await store.write([copy_of(typed_by(1, 99), verdict="void", seen_live=1_000)])
    told: list[int] = []
    assert await boards.rebuild(BOARD, ALL, progressed=told.append) == 5
    assert await users(boards) == [8, 7, 6, 5, 4]
    assert told == [5]


async def test_a_store_that_fails_leaves_the_old_board(store: ResultStore, open_boards: Open) -> None:
    paused = Paused(store)
    async with open_boards(paused) as boards:
        paused.go_on.set()
        await store.write([typed_by(1, 80)])
        await boards.rebuild(BOARD, ALL)
        paused.fault = StoreError("away", retriable=True)
        with pytest.raises(StoreError, match="away"):
            await boards.rebuild(BOARD, ALL)
        paused.fault = None
        assert await users(boards) == [1]
        await boards.rebuild(BOARD, ALL)
        assert boards.facts().failures == 1


async def test_ping_answers(boards: Boards) -> None:
    await boards.ping()


class Paused(SqliteResults):
    """The store's ranking, read to its end and then held until it may go on, or failing, or of a server that may be
    `behind`; without who is forgotten."""

    def __init__(self, store: ResultStore) -> None:
        self._inner = store
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fault: StoreError | None = None
        self.forgotten: set[int] = set()
        self.behind = False

    async def ranking(
        self, board: Board, period: Period, *, behind: Callable[[], None] | None = None
    ) -> AsyncIterator[PersonalBest]:
        if self.fault is not None:
            raise self.fault
        if self.behind and behind is not None:
            behind()
        found = [best async for best in self._inner.ranking(board, period) if best.place.user not in self.forgotten]
        self.reading.set()
        await self.go_on.wait()
        for best in found:
            yield best


# -- any order ---------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.integers(1, 8),
        st.sampled_from([50.0, 50.01, 60.0, 70.0, 80.0]),
        st.integers(0, 3),
        st.sampled_from(["ok", "ok", "ok", "void"]),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", BOARDS)
async def test_any_history_comes_to_what_the_store_says(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, data: st.DataObject
) -> None:
    """Results and their voids in batches, told late, twice, and in an order of their own per user."""
    options = replace(OPTIONS, top=data.draw(st.sampled_from([3, 5, 100]), "top"))
    steps = data.draw(STEPS, "results")
    async with (
        SqliteResults(Path(mkdtemp(dir=tmp_path)) / "results.db") as store,
        BOARDS[name](store, options, request.getfixturevalue) as boards,
    ):
        await boards.rebuild(BOARD, ALL)
        told: list[Written] = []
        at = 0
        while at < len(steps):
            size = steps[at][4]
            batch = [result_of(i, step) for i, step in enumerate(steps[at : at + size], at)]
            at += size
            told += await store.write(batch)
            if data.draw(st.booleans(), "tell now"):
                await boards.submit(told)
                again = data.draw(st.integers(0, len(told)), "tell again from")
                told = told[again:]
        await boards.submit(told)
        expected = (await ranking(store))[: options.top]
        async with asyncio.timeout(120):
            while True:
                page = await boards.page(BOARD, ALL, offset=0, count=100)
                if page.size is not None and [entry.best for entry in page.entries] == expected:
                    break
                await asyncio.sleep(0.01)


def result_of(i: int, step: tuple[int, float, int, str, int]) -> Result:
    """A result of a user; void ones are copies of the one before them in the same second, seen live for longer."""
    user, wpm, second, verdict, _ = step
    result = typed_by(user, wpm, second)
    return result if verdict == "ok" else copy_of(result, verdict="void", seen_live=1_000 + i)


async def test_a_claimed_guest_s_results_join_no_board(store: ResultStore, boards: Boards) -> None:
    """Neither when they are stored, before the claim or after it, nor when the board is made anew from the store."""
    assert await typed(store, boards, typed_by(-1, 150), typed_by(1, 60)) == [{}, dict.fromkeys(Span, 1)]
    await store.link(-1, 1)
    assert await typed(store, boards, typed_by(-1, 160, 1), copy_of(typed_by(-1, 150), seen_live=161)) == [{}, {}]
    for period in PERIODS:
        assert await boards.rebuild(BOARD, period) == 1
        assert [entry.best.wpm for entry in (await boards.page(BOARD, period, offset=0, count=9)).entries] == [60]
