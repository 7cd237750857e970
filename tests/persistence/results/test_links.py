"""What every result store promises of guests whose past an account takes."""

import asyncio
from random import Random

import pytest

from persistence.results import MOST_GUESTS, Linked, ResultStore
from persistence.results.bests import DAY_MS
from session.result import Result
from tests.persistence.samples import T0_MS, copy_of, ranked, sample

DAY = T0_MS // DAY_MS
ACCOUNT, OTHER = 7, 8
GUESTS = (-7, -8, -1234567)


async def test_a_guest_is_one_account_s_for_good(store: ResultStore) -> None:
    assert await store.guests_of(ACCOUNT) == ()
    assert await store.link(-7, ACCOUNT) is Linked.NEW
    assert await store.link(-7, ACCOUNT) is Linked.SAME
    assert await store.link(-7, OTHER) is Linked.TAKEN
    assert await store.guests_of(ACCOUNT) == (-7,)
    assert await store.guests_of(OTHER) == ()
    assert [await store.account_of(guest) for guest in (-7, -8)] == [ACCOUNT, None]


async def test_an_account_may_have_several_guests_and_not_too_many(store: ResultStore) -> None:
    for guest in range(1, MOST_GUESTS + 1):
        assert await store.link(-guest, ACCOUNT) is Linked.NEW
    assert await store.link(-99, ACCOUNT) is Linked.FULL
    assert await store.link(-3, ACCOUNT) is Linked.SAME
    assert sorted(await store.guests_of(ACCOUNT)) == list(range(-MOST_GUESTS, 0))
    assert await store.link(-99, OTHER) is Linked.NEW, "whom the first one did not get is still to be had"


async def test_of_two_accounts_at_once_one_gets_the_guest(store: ResultStore) -> None:
    accounts = range(1, 9)
    told = await asyncio.gather(*(store.link(-7, account) for account in accounts))
    assert sorted(linked.value for linked in told) == ["new"] + ["taken"] * 7
    owners = [account for account in accounts if await store.guests_of(account)]
    assert [told[account - 1] for account in owners] == [Linked.NEW]


@pytest.mark.parametrize(("guest", "account"), [(7, 8), (-7, -8), (0, 7), (-7, 0), (-(2**53), 7), (-7, 2**53)])
async def test_only_guests_are_linked_and_only_to_accounts(store: ResultStore, guest: int, account: int) -> None:
    with pytest.raises(ValueError, match="only a guest"):
        await store.link(guest, account)


def pasts() -> list[Result]:
    """Results of an account and its guests, several of one instant; and somebody else's."""
    return [
        sample(i, user=user, created_ms=T0_MS + i // 3) for i in range(24) for user in (ACCOUNT, *GUESTS, OTHER, -5)
    ]


@pytest.mark.parametrize("limit", [1, 7, 96, 100])
async def test_pasts_are_one_list_in_pages(store: ResultStore, limit: int) -> None:
    """Every result of the account and its guests once, in order, whatever the order of writing, from all shards."""
    everything = pasts()
    Random(limit).shuffle(everything)
    await store.write(everything)
    seen: list[Result] = []
    cursor = None
    while True:
        page = await store.by_user(ACCOUNT, guests=GUESTS, limit=limit, cursor=cursor)
        seen += page.results
        if (cursor := page.cursor) is None:
            break
        assert len(page.results) == limit
    mine = [result for result in everything if result.user in (ACCOUNT, *GUESTS)]
    assert seen == sorted(mine, key=lambda result: result.session, reverse=True)


async def test_a_range_of_time_holds_for_all_of_them(store: ResultStore) -> None:
    await store.write(pasts())
    since_ms, until_ms = T0_MS + 2, T0_MS + 5
    page = await store.by_user(ACCOUNT, guests=GUESTS, limit=100, since_ms=since_ms, until_ms=until_ms)
    wanted = [
        result
        for result in pasts()
        if result.user in (ACCOUNT, *GUESTS) and since_ms <= result.created_at_ms < until_ms
    ]
    assert list(page.results) == sorted(wanted, key=lambda result: result.session, reverse=True)
    assert page.cursor is None
    assert len((await store.by_user(ACCOUNT, limit=100)).results) == 24, "without its guests it is the account's own"


async def test_progress_is_that_of_one_who_typed_it_all(store: ResultStore) -> None:
    """As if the same tests had been one user's, days and modes of guests alone included."""
    mine = [copy_of(sample(i), verdict="void" if i == 3 else "ok") for i in range(4)]
    theirs = [
        *(sample(i, user=-7) for i in range(3)),
        copy_of(sample(4, user=-8), mode="words", seconds=None, count=25),
        sample(5, user=-8, created_ms=(DAY + 1) * DAY_MS),
    ]
    await store.write([*mine, *theirs])
    rows = await store.progress(ACCOUNT, guests=(-7, -8), since_day=DAY, until_day=DAY + 1)
    assert [(row.day, row.mode, row.tests) for row in rows] == [
        (DAY, "time", 7),
        (DAY, "words", 1),
        (DAY + 1, "time", 1),
    ]
    counted = [result.summary for result in (*mine[:3], *theirs[:3])]
    first = rows[0]
    assert first.duration_ms == sum(summary.duration_ms for summary in counted)
    assert first.best_wpm == max(summary.wpm for summary in counted)
    assert first.wpm == pytest.approx(sum(summary.wpm for summary in counted) / len(counted))
    assert first.acc == pytest.approx(sum(summary.acc for summary in counted) / len(counted))
    assert [row.tests for row in await store.progress(ACCOUNT, since_day=DAY, until_day=DAY + 1)] == [4]


async def test_progress_of_void_results_alone_has_no_speed(store: ResultStore) -> None:
    await store.write([copy_of(sample(0, user=user), verdict="void") for user in (ACCOUNT, -7)])
    (row,) = await store.progress(ACCOUNT, guests=(-7,), since_day=DAY, until_day=DAY)
    assert (row.tests, row.duration_ms, row.wpm, row.best_wpm, row.acc) == (2, 0, 0, 0, 0)


async def test_a_claimed_result_is_nobody_s_best(store: ResultStore) -> None:
    """Neither one that was there before nor one that comes later, nor one that is written again after the claim."""
    before, after = ranked(0, wpm=120, user=-7), ranked(1, wpm=130, user=-7)
    mine = ranked(2, wpm=50, user=ACCOUNT)
    await store.write([before, mine])
    await store.link(-7, ACCOUNT)
    written = await store.write([after, copy_of(before, seen_live=161)])
    assert [dict(one.bests) for one in written] == [{}, {}]
    assert {best.session for best in await store.bests(ACCOUNT, day=DAY)} == {mine.session}
    assert await store.bests(-7, day=DAY) == []
