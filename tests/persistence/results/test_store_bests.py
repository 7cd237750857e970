"""What every result store promises of personal bests; `implementations.STORES` names them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.errors import StoreError
from persistence.results import Board, Outcome, Period, PersonalBest, ResultStore, Span, Written
from persistence.results.bests import DAY_MS, BestRules, Place, board_of, places_of
from session.identity import mint_session
from session.result import Result
from tests.persistence.results.conftest import OpenStore
from tests.persistence.samples import T0_MS, copy_of, ranked, sample

DAY = T0_MS // DAY_MS  # a Monday
BOARD = Board("time", 15, "en")
ALL = Period(Span.ALL, 0)


def held(written: Written) -> list[Span]:
    """Over what spans a result is its user's best."""
    return [best.place.period.span for best in written.set]


def by_span(bests: list[PersonalBest]) -> dict[Span, bytes]:
    return {best.place.period.span: best.session for best in bests}


def expected(rows: list[Result]) -> dict[Place, bytes]:
    """The bests of these rows by the rule, without a store."""
    best: dict[Place, PersonalBest] = {}
    for row in rows:
        board = board_of(row, BestRules())
        if board is not None and row.verdict == "ok":
            for place in places_of(row.user, board, row.created_at_ms):
                one = PersonalBest(place, row.session, row.summary.wpm, row.summary.acc)
                if place not in best or one.order > best[place].order:
                    best[place] = one
    return {place: one.session for place, one in best.items()}


async def test_the_first_of_a_kind_is_the_best_of_day_week_and_all_time(store: ResultStore) -> None:
    result = ranked(wpm=80)
    (written,) = await store.write([result])
    assert (written.outcome, written.verdict, written.session) == (Outcome.INSERTED, "ok", result.session)
    assert held(written) == [Span.DAY, Span.WEEK, Span.ALL]
    bests = await store.bests(7, day=DAY)
    assert {(best.session, best.wpm, best.acc) for best in bests} == {(result.session, 80, result.summary.acc)}
    assert {best.place for best in bests} == set(written.bests)


async def test_a_slower_one_sets_nothing_and_is_told_what_stands(store: ResultStore) -> None:
    fast, slow = ranked(0, wpm=80), ranked(1, wpm=79.99)
    await store.write([fast])
    (written,) = await store.write([slow])
    assert held(written) == []
    assert {best.session for best in written.bests.values() if best} == {fast.session}


async def test_many_users_at_once_are_each_told_their_own(store: ResultStore) -> None:
    """In mixed batches, too: some are told of what stands already."""
    first = [ranked(user, wpm=60 + user / 100, user=user) for user in range(1, 60, 2)]
    assert all(len(held(one)) == 3 for one in await store.write(first))
    second = [ranked(100 + user, wpm=50, user=user) for user in range(1, 60)]
    for result, written in zip(second, await store.write(second), strict=True):
        stands = await store.bests(result.user, day=DAY)
        assert {best.place: best for best in stands} == dict(written.bests)
        assert held(written) == ([] if result.user % 2 else [Span.DAY, Span.WEEK, Span.ALL])


async def test_of_equal_speeds_the_earlier_test_stays(store: ResultStore) -> None:
    early, late = ranked(0, wpm=80), ranked(1, wpm=80)
    await store.write([late])
    assert len(held((await store.write([early]))[0])) == 3
    assert held((await store.write([late]))[0]) == []


async def test_a_day_and_a_week_begin_anew(store: ResultStore) -> None:
    first = ranked(0, wpm=90)
    next_day, next_week = (ranked(i, wpm=70 - i, created_ms=(DAY + i) * DAY_MS) for i in (1, 7))
    written = await store.write([next_week, first, next_day])
    assert [held(one) for one in written] == [[Span.DAY, Span.WEEK], [Span.DAY, Span.WEEK, Span.ALL], [Span.DAY]]
    assert by_span(await store.bests(7, day=DAY + 1)) == {
        Span.DAY: next_day.session,
        Span.WEEK: first.session,
        Span.ALL: first.session,
    }
    assert by_span(await store.bests(7, day=DAY + 3)) == {Span.WEEK: first.session, Span.ALL: first.session}
    assert by_span(await store.bests(7, day=DAY + 99)) == {Span.ALL: first.session}


async def test_boards_and_users_are_apart(store: ResultStore) -> None:
    mine = [ranked(0, wpm=80), ranked(1, wpm=60, language="de"), ranked(2, wpm=70, seconds=60)]
    assert all(len(held(one)) == 3 for one in await store.write([*mine, ranked(3, wpm=50, user=8)]))
    bests = await store.bests(7, day=DAY)
    assert {(str(best.place.board), best.session) for best in bests} == {
        ("time-15-en", mine[0].session),
        ("time-15-de", mine[1].session),
        ("time-60-en", mine[2].session),
    }


async def test_what_counts_for_no_board_sets_nothing(store: ResultStore) -> None:
    others = [sample(0), ranked(1, wpm=80, user=-7), ranked(2, wpm=80, slack_ms=9_000)]
    assert [one.bests for one in await store.write(others)] == [{}, {}, {}]
    assert await store.bests(7, day=DAY) == []


async def test_a_result_that_is_not_ok_is_no_best_but_told_what_stands(store: ResultStore) -> None:
    (written,) = await store.write([ranked(0, wpm=80, verdict="review")])
    assert set(written.bests.values()) == {None}
    assert len(written.bests) == 3


async def test_a_redelivery_is_told_the_same(store: ResultStore) -> None:
    """A worker that died after the write makes boards follow what it is told the second time."""
    batch = [ranked(0, wpm=80), ranked(1, wpm=90), ranked(2, wpm=85, verdict="void")]
    first = await store.write(batch)
    again = await store.write(batch)
    assert [one.outcome for one in again] == [Outcome.REPEATED] * 3
    assert [(one.session, one.verdict, one.bests) for one in again] == [
        (one.session, one.verdict, one.bests) for one in first
    ]


async def test_a_conflict_gives_the_place_back_to_the_next_best(store: ResultStore) -> None:
    """A verdict that falls lowers the user's best again, and whoever delivers the copy twice hears so twice."""
    first, best = ranked(0, wpm=80), ranked(1, wpm=90)
    await store.write([first, best])
    other = copy_of(best, core=1, seen_live=1)
    for outcome in (Outcome.CONFLICT, Outcome.REPEATED):
        (written,) = await store.write([other])
        assert (written.outcome, written.verdict, held(written)) == (outcome, "review", [])
        assert {standing.session for standing in written.bests.values() if standing} == {first.session}
    assert set(by_span(await store.bests(7, day=DAY)).values()) == {first.session}


async def test_the_only_best_that_falls_leaves_none(store: ResultStore) -> None:
    best = ranked(0, wpm=90)
    await store.write([best])
    (written,) = await store.write([copy_of(best, core=1, seen_live=1)])
    assert len(written.bests) == 3
    assert set(written.bests.values()) == {None}
    assert await store.bests(7, day=DAY) == []


async def test_a_better_attestation_may_bring_a_result_on_its_board(store: ResultStore) -> None:
    unseen = ranked(0, wpm=90, seen_live=0, unseen_ms=15_000)
    assert (await store.write([unseen]))[0].bests == {}
    (written,) = await store.write([copy_of(unseen, seen_live=160, unseen_ms=0)])
    assert (written.outcome, len(held(written))) == (Outcome.ATTESTED, 3)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_bests_agree_with_the_rows_whatever_came(open_store: OpenStore, data: st.DataObject) -> None:
    """Any results and copies of them, in any batches: the bests are those of the rows that stand."""
    originals = [
        ranked(i, wpm=wpm, user=user, created_ms=T0_MS + day * DAY_MS + i, verdict=verdict)
        for i, (wpm, user, day, verdict) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.integers(60, 63),
                        st.sampled_from([7, 8]),
                        st.sampled_from([-1, 0, 1, 7]),
                        st.sampled_from(["ok", "ok", "void"]),
                    ),
                    min_size=1,
                    max_size=8,
                )
            )
        )
    ]
    copies = [
        copy_of(original, core=core, seen_live=seen, slack_ms=slack)
        for original, core, seen, slack in data.draw(
            st.lists(
                st.tuples(
                    st.sampled_from(originals),
                    st.sampled_from([None, 1]),
                    st.sampled_from([0, 160, 161]),
                    st.sampled_from([0, 9_000]),
                ),
                max_size=5,
            )
        )
    ]
    stream = data.draw(st.permutations(originals + copies))
    cut = data.draw(st.integers(0, len(stream)))
    async with open_store() as store:
        await store.write(stream[:cut])
        written = await store.write(stream[cut:])
        rows = [row for original in originals if (row := await store.by_id(original.session))]
        wanted = expected(rows)
        for user in (7, 8):
            for day in (DAY - 1, DAY, DAY + 1, DAY + 7):
                bests = await store.bests(user, day=day)
                assert {best.place: best.session for best in bests} == {
                    place: session
                    for place, session in wanted.items()
                    if place.user == user and place.period == Period.of(place.period.span, day)
                }
        for one in written:
            assert {place: best and best.session for place, best in one.bests.items()} == {
                place: wanted.get(place) for place in one.bests
            }


async def test_a_ranking_has_each_users_best_the_best_first(store: ResultStore) -> None:
    batch = [ranked(i, wpm=50 + i * 7 % 40, user=i % 30 + 1) for i in range(120)]
    await store.write([*batch, ranked(200, wpm=99, language="de"), ranked(201, wpm=99, verdict="review")])
    for period in (ALL, Period(Span.DAY, DAY), Period(Span.WEEK, DAY)):
        ranking = [best async for best in store.ranking(BOARD, period)]
        assert [best.order for best in ranking] == sorted((best.order for best in ranking), reverse=True)
        assert {(best.place.user, best.session) for best in ranking} == {
            (place.user, session) for place, session in expected(batch).items() if place.period == period
        }
    assert [best async for best in store.ranking(BOARD, Period(Span.DAY, DAY + 1))] == []


async def test_a_long_ranking_is_read_whole_across_its_pages(store: ResultStore) -> None:
    """Equal speeds straddle every page's end, and one may stop anywhere."""
    users = range(1, 2_501)
    await store.write([ranked(user % 50, wpm=60 + user % 3, user=user) for user in users])
    ranking = [best.place.user async for best in store.ranking(BOARD, ALL)]
    assert (len(ranking), set(ranking)) == (2_500, set(users))
    async for best in store.ranking(BOARD, ALL):
        assert best.wpm == 62
        break


async def test_speeds_are_counted_by_user(store: ResultStore) -> None:
    speeds = [(1, 60.0), (2, 60.99), (3, 61.0), (3, 20.0), (4, 120.5)]
    await store.write([ranked(i, wpm=wpm, user=user) for i, (user, wpm) in enumerate(speeds)])
    assert await store.speeds(BOARD, ALL) == {60: 2, 61: 1, 120: 1}
    assert await store.speeds(BOARD, Period(Span.DAY, DAY - 1)) == {}


@pytest.mark.parametrize("user", [0, 2**53, -(2**53), 2**63])
async def test_a_result_of_no_possible_user_is_refused(store: ResultStore, user: int) -> None:
    with pytest.raises(StoreError, match="allowed are 1 to") as raised:
        await store.write([sample(0), copy_of(sample(1), user=user)])
    assert not raised.value.retriable
    assert await store.by_id(sample(0).session) is None


async def test_an_id_of_another_users_bucket_is_refused(store: ResultStore) -> None:
    """Id and user each name a shard: a result of which they name two would be found by one of them alone."""
    with pytest.raises(StoreError, match="was not made for user 7") as raised:
        await store.write([copy_of(sample(0), session=mint_session(8, epoch_ms=T0_MS, random_bits=1))])
    assert not raised.value.retriable
