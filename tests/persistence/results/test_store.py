"""What every result store promises; `implementations.STORES` names them."""

import asyncio
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.errors import CursorError, StoreError
from persistence.results import Outcome, ResultStore
from session.result import Result
from tests.persistence.results.conftest import OpenStore
from tests.persistence.samples import T0_MS, copy_of, outcomes, raced, sample

DAY_MS = 86_400_000


async def test_a_result_is_read_back_with_equal_bytes(store: ResultStore) -> None:
    result = sample()
    assert outcomes(await store.write([result])) == [Outcome.INSERTED]
    found = await store.by_id(result.session)
    assert found == result
    assert found.pack() == result.pack()


async def test_a_race_s_result_comes_back_with_its_race(store: ResultStore) -> None:
    """And with the series of a test whose time begins at the start instant."""
    result = raced()
    assert result.summary.series != sample().summary.series
    await store.write([result])
    assert await store.by_id(result.session) == result


async def test_an_unknown_session_has_no_result(store: ResultStore) -> None:
    assert await store.by_id(sample().session) is None
    assert await store.conflicts(sample().session) == []
    assert (await store.by_user(7)).results == ()


async def test_an_empty_batch_is_no_fault(store: ResultStore) -> None:
    assert outcomes(await store.write([])) == []


async def test_a_large_batch_is_stored_whole(store: ResultStore) -> None:
    batch = [sample(i, user=i % 50 + 1) for i in range(1_200)]
    assert outcomes(await store.write(batch)) == [Outcome.INSERTED] * 1_200
    assert [await store.by_id(batch[i].session) for i in (0, 499, 500, 1_199)] == [
        batch[i] for i in (0, 499, 500, 1_199)
    ]
    assert store.facts().written == 1_200


async def test_a_repeat_changes_nothing(store: ResultStore) -> None:
    first, second = sample(0), sample(1)
    await store.write([first])
    assert outcomes(await store.write([first, second, second])) == [
        Outcome.REPEATED,
        Outcome.INSERTED,
        Outcome.REPEATED,
    ]
    assert (await store.by_user(7)).results == (second, first)
    day = T0_MS // DAY_MS
    assert [row.tests for row in await store.progress(7, since_day=day, until_day=day)] == [2]


async def test_the_better_attestation_of_a_core_is_kept(store: ResultStore) -> None:
    result = sample()
    better, worse = copy_of(result, seen_live=161, node="other"), copy_of(result, seen_live=100, unseen_ms=9_000)
    await store.write([result])
    assert outcomes(await store.write([better])) == [Outcome.ATTESTED]
    assert outcomes(await store.write([worse])) == [Outcome.REPEATED]
    assert await store.by_id(result.session) == better
    assert await store.conflicts(result.session) == []


async def test_of_two_cores_the_one_seen_live_longer_is_the_row(store: ResultStore) -> None:
    result = sample()
    other = copy_of(result, core=1, seen_live=10, node="other")
    await store.write([other])
    assert outcomes(await store.write([result])) == [Outcome.CONFLICT]
    found = await store.by_id(result.session)
    assert found is not None
    assert (found.core_hash, found.node, found.verdict) == (result.core_hash, "here", "review")
    assert [reason.name for reason in found.reasons] == ["copies"]
    assert await store.conflicts(result.session) == [other]
    assert store.facts().conflicts == 1


async def test_conflicts_are_bounded(store: ResultStore) -> None:
    """A client that resumes one log in a thousand versions fills no disk: the best few copies stay."""
    result = sample()
    await store.write([copy_of(result, core=i, seen_live=i) for i in range(30)])
    assert [copy.seen_live for copy in await store.conflicts(result.session)] == list(range(28, 20, -1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_any_order_of_copies_leaves_the_same_state(open_store: OpenStore, data: st.DataObject) -> None:
    """The law of `copies`, kept by the store over batches, repeats and orders."""
    result = sample()
    copies = [
        copy_of(result, core=core, seen_live=seen, verdict=verdict)
        for core, seen, verdict in data.draw(
            st.lists(
                st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["ok", "review", "void"])),
                min_size=1,
                max_size=6,
            )
        )
    ]
    shuffled = data.draw(st.permutations(copies * 2))
    states = []
    for order in (copies, shuffled):
        async with open_store() as store:
            cut = len(order) // 2
            await store.write(order[:cut])
            await store.write(order[cut:])
            day = T0_MS // DAY_MS
            states.append(
                (
                    await store.by_id(result.session),
                    await store.conflicts(result.session),
                    await store.progress(7, since_day=day, until_day=day),
                )
            )
    assert states[0] == states[1]


async def test_a_users_results_come_newest_first_in_pages(store: ResultStore) -> None:
    """Every result once, in the order of created_at and then id, whatever the order of writing."""
    mine = [sample(i // 2, user=7 if i % 2 else -7, created_ms=T0_MS + i // 6) for i in range(100)]
    Random(1).shuffle(mine)
    await store.write(mine)
    seen: list[Result] = []
    cursor = None
    while True:
        page = await store.by_user(-7, limit=7, cursor=cursor)
        seen += page.results
        if (cursor := page.cursor) is None:
            break
        assert len(page.results) == 7
    assert seen == sorted((r for r in mine if r.user == -7), key=lambda r: r.session, reverse=True)


async def test_a_page_that_ends_exactly_is_the_last(store: ResultStore) -> None:
    await store.write([sample(i) for i in range(4)])
    page = await store.by_user(7, limit=2)
    last = await store.by_user(7, limit=2, cursor=page.cursor)
    assert (len(last.results), last.cursor) == (2, None)


async def test_new_results_do_not_move_a_page_that_was_begun(store: ResultStore) -> None:
    await store.write([sample(i) for i in range(4)])
    page = await store.by_user(7, limit=2)
    await store.write([sample(9)])
    assert (await store.by_user(7, limit=2, cursor=page.cursor)).results == (sample(1), sample(0))


async def test_a_foreign_cursor_reaches_nothing_of_another_user(store: ResultStore) -> None:
    await store.write([sample(i, user=user) for i in range(4) for user in (7, 8)])
    page = await store.by_user(8, limit=2)
    assert {r.user for r in (await store.by_user(7, cursor=page.cursor)).results} <= {7}


async def test_a_bad_cursor_and_a_bad_limit_are_the_callers_fault(store: ResultStore) -> None:
    with pytest.raises(CursorError):
        await store.by_user(7, cursor="nonsense")
    with pytest.raises(ValueError, match="limit"):
        await store.by_user(7, limit=101)


async def test_progress_is_by_day_and_mode(store: ResultStore) -> None:
    day = T0_MS // DAY_MS
    today = [copy_of(sample(i), verdict=verdict) for i, verdict in enumerate(["ok", "review", "void"])]
    words = copy_of(sample(4), mode="words", seconds=None, count=25)
    tomorrow = sample(5, created_ms=(day + 1) * DAY_MS)
    await store.write([*today, words, tomorrow, sample(6, user=8)])
    rows = await store.progress(7, since_day=day, until_day=day + 1)
    assert [(row.day, row.mode, row.tests) for row in rows] == [
        (day, "time", 3),
        (day, "words", 1),
        (day + 1, "time", 1),
    ]
    counted = [result.summary for result in today[:2]]
    first = rows[0]
    assert (first.duration_ms, first.best_wpm) == (60_000, max(summary.wpm for summary in counted))
    assert first.wpm == pytest.approx(sum(summary.wpm for summary in counted) / 2)
    assert first.acc == pytest.approx(sum(summary.acc for summary in counted) / 2)
    assert [row.day for row in await store.progress(7, since_day=day + 1, until_day=day + 9)] == [day + 1]


async def test_a_day_of_void_results_alone_has_no_speed(store: ResultStore) -> None:
    await store.write([copy_of(sample(), verdict="void")])
    day = T0_MS // DAY_MS
    (row,) = await store.progress(7, since_day=day, until_day=day)
    assert (row.tests, row.duration_ms, row.wpm, row.best_wpm, row.acc) == (1, 0, 0, 0, 0)


async def test_progress_follows_a_row_that_is_replaced(store: ResultStore) -> None:
    """A copy with another core in another mode takes its session's whole progress with it."""
    result = sample()
    await store.write([copy_of(result, core=1, seen_live=1, mode="zen", seconds=None)])
    await store.write([result])
    day = T0_MS // DAY_MS
    assert [(row.mode, row.tests) for row in await store.progress(7, since_day=day, until_day=day)] == [("time", 1)]


async def test_a_batch_with_one_impossible_result_changes_nothing(store: ResultStore) -> None:
    """All or nothing, and the fault is the request's: trying again cannot help."""
    impossible = copy_of(sample(1), user=2**70)
    with pytest.raises(StoreError) as raised:
        await store.write([sample(0), impossible])
    assert not raised.value.retriable
    assert await store.by_id(sample(0).session) is None
    assert outcomes(await store.write([sample(0)])) == [Outcome.INSERTED]


async def test_writers_and_readers_at_once(store: ResultStore) -> None:
    """Reads that begin after a write see it, while other batches are written."""

    async def one(user: int) -> None:
        for i in range(20):
            await store.write([sample(i, user=user)])
            assert (await store.by_user(user, limit=1)).results == (sample(i, user=user),)

    async with asyncio.TaskGroup() as group:
        for user in range(1, 6):
            group.create_task(one(user))


async def test_ping_answers(store: ResultStore) -> None:
    await store.ping()


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(None, None, [3, 2, 1, 0]), (1, None, [3, 2, 1]), (None, 2, [1, 0]), (1, 3, [2, 1]), (2, 2, []), (3, 1, [])],
)
async def test_a_users_results_of_a_range_of_time(
    store: ResultStore, since: int | None, until: int | None, found: list[int]
) -> None:
    """From `since` on and before `until`, in pages as without a range."""
    await store.write([sample(i) for i in range(4)])
    since_ms = None if since is None else sample(since).created_at_ms
    until_ms = None if until is None else sample(until).created_at_ms
    assert (await store.by_user(7, since_ms=since_ms, until_ms=until_ms)).results == tuple(sample(i) for i in found)
    seen: list[Result] = []
    cursor = None
    while True:
        page = await store.by_user(7, limit=1, cursor=cursor, since_ms=since_ms, until_ms=until_ms)
        seen += page.results
        if (cursor := page.cursor) is None:
            break
    assert seen == [sample(i) for i in found]


@pytest.mark.parametrize("ms", [-(2**70), -1, 0, 2**48, 2**70])
async def test_instants_that_no_id_has_are_bounds_all_the_same(store: ResultStore, ms: int) -> None:
    await store.write([sample(0)])
    assert len((await store.by_user(7, since_ms=ms)).results) == (ms < 2**48)
    assert len((await store.by_user(7, until_ms=ms)).results) == (ms >= 2**48)
