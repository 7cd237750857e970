"""One suite over all sinks: what they confirm is there, once, in order, and what they refuse holds up nobody."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.results import SqliteResults, Stored
from persistence.stream import Spooled, StoreSink
from session.race_record import RaceRecord
from session.result import Result
from tests.persistence.implementations import SINKS, FarSide
from tests.persistence.samples import T0_MS, copy_of, sample
from tests.session.races import over

RACE, OTHER_RACE = (RaceRecord.of(over(7, user, race=f"0123456789a0{user}")) for user in (8, 9))


def spooled(results: Sequence[Result | RaceRecord]) -> list[Spooled]:
    return [Spooled(seq, result, 900, T0_MS + seq) for seq, result in enumerate(results, 1)]


@pytest.fixture(params=SINKS)
async def far(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FarSide]:
    async with SINKS[request.param](tmp_path, request.getfixturevalue) as made:
        yield made


async def test_what_is_confirmed_has_arrived_in_order(far: FarSide) -> None:
    """A batch of several users is confirmed row by row; each user's results come in the order given."""
    results = [sample(i, user=i % 3 + 1) for i in range(30)]
    for start in range(0, 30, 10):
        assert await far.sink.hand_on(spooled(results[start : start + 10])) == [None] * 10
    for user in (1, 2, 3):
        assert await far.arrived(user) == [result for result in results if result.user == user]


async def test_what_is_handed_on_again_is_there_once(far: FarSide) -> None:
    """After a crash the same rows come again."""
    rows = spooled([sample(i) for i in range(5)])
    assert await far.sink.hand_on(rows[:3]) == [None] * 3
    assert await far.sink.hand_on(rows) == [None] * 5
    assert await far.arrived(7) == [row.result for row in rows]


async def test_what_can_never_be_taken_is_refused_alone(far: FarSide) -> None:
    """Its answer is that there is no use in trying again; the others of the batch are confirmed."""
    results = [sample(i) for i in range(7)]
    results[3] = copy_of(results[3], tags=(object(),))
    answers = await far.sink.hand_on(spooled(results))
    refused = answers[3]
    assert refused is not None
    assert not refused.retriable
    assert [answer for i, answer in enumerate(answers) if i != 3] == [None] * 6
    assert await far.arrived(7) == [result for i, result in enumerate(results) if i != 3]


async def test_races_are_brought_among_results(far: FarSide) -> None:
    """Each in its place of the batch's answers; handed on again they are there once."""
    rows = spooled([sample(0), RACE, sample(1), OTHER_RACE, sample(2)])
    for _ in range(2):
        assert await far.sink.hand_on(rows) == [None] * 5
    assert await far.arrived(7) == [sample(0), sample(1), sample(2)]
    assert await far.races() == {RACE.id: RACE, OTHER_RACE.id: OTHER_RACE}


async def test_a_race_that_can_never_be_taken_is_refused_alone(far: FarSide) -> None:
    bad = RaceRecord(replace(RACE.race, salt=-1, id="0123456789abd", next="no race", racers=(object(),)))  # type: ignore[arg-type]
    answers = list(await far.sink.hand_on(spooled([sample(0), RACE, bad, OTHER_RACE])))
    refused = answers.pop(2)
    assert refused is not None
    assert not refused.retriable
    assert answers == [None] * 3
    assert await far.races() == {RACE.id: RACE, OTHER_RACE.id: OTHER_RACE}


async def test_races_that_cannot_be_stored_now_hold_up_no_result(tmp_path: Path) -> None:
    """Results are stored, told of and confirmed; the races come again."""
    followed: list[bytes] = []

    async def follow(stored: Sequence[Stored]) -> None:
        followed.extend(one.written.session for one in stored)

    async with SqliteResults(tmp_path / "results.db") as store, StoreSink(store, follow=follow) as sink:
        with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as operator:
            operator.execute("ALTER TABLE races RENAME TO away")
            answers = await sink.hand_on(spooled([RACE, sample(0)]))
            assert answers[0] is not None
            assert answers[0].retriable
            assert answers[1] is None
            assert followed == [sample(0).session]
            assert sink.facts().fault is not None
            operator.execute("ALTER TABLE away RENAME TO races")
        assert await sink.hand_on(spooled([RACE])) == [None]
        assert sink.facts().fault is None
        assert await store.races.of(RACE.id) == RACE


async def test_a_sink_that_is_well_says_so(far: FarSide) -> None:
    """Its ping raises nothing, and its facts name no fault."""
    await far.sink.hand_on(spooled([sample()]))
    await far.sink.ping()
    facts = far.sink.facts()
    assert (facts.fault, facts.reopened) == (None, 0)
    assert facts.place


async def test_what_follows_and_fails_holds_up_nobody(tmp_path: Path) -> None:
    """A fault of what follows costs that, not the results."""

    async def follow(_: Sequence[Stored]) -> None:
        raise OSError("a fault of ours")

    async with SqliteResults(tmp_path / "results.db") as store, StoreSink(store, follow=follow) as sink:
        assert await sink.hand_on(spooled([sample()])) == [None]
        assert await store.by_id(sample().session) == sample()


async def test_what_cannot_follow_now_follows_later_and_in_order(tmp_path: Path) -> None:
    """Caches and boards that are away are told when they are back; results are confirmed meanwhile."""
    followed: list[bytes] = []
    tried, away = asyncio.Semaphore(0), True

    async def follow(stored: Sequence[Stored]) -> None:
        tried.release()
        if away:
            raise StoreError("away", retriable=True)
        followed.extend(one.written.session for one in stored)

    results = [sample(i) for i in range(5)]
    async with (
        SqliteResults(tmp_path / "results.db") as store,
        StoreSink(store, follow=follow, again_s=0.001) as sink,
    ):
        assert await sink.hand_on(spooled(results[:2])) == [None] * 2
        assert await sink.hand_on(spooled(results[2:4])) == [None] * 2
        for _ in range(3):
            await tried.acquire()
        assert followed == []
        away = False
        async with asyncio.timeout(120):
            while len(followed) < 4:
                await tried.acquire()
        assert followed == [result.session for result in results[:4]]
        await sink.hand_on(spooled(results[4:]))
        assert followed[4:] == [results[4].session]
