"""One suite over all stores of races that are over: by id, by user in pages, repeated, superseded, refused."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from persistence.errors import CursorError, StoreError
from persistence.race_records import RacePage, RaceRecords
from persistence.results import ResultStore, SqliteResults
from session.identity import mint_race
from session.race_record import RaceRecord
from tests.persistence.implementations import STORES
from tests.session.races import GHOST, T0_MS, over


@pytest.fixture(name="store", params=STORES)
async def _store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultStore]:
    """Every store of results, empty."""
    async with STORES[request.param](tmp_path, request.getfixturevalue) as opened:
        yield opened


@pytest.fixture(name="races")
def _races(store: ResultStore) -> RaceRecords:
    return store.races


def record(number: int = 0, *users: int, begun_ms: int | None = None) -> RaceRecord:
    """The record of a race of these users; the numbers are told apart by their start, a second each."""
    begun_ms = T0_MS + 1_000 * number if begun_ms is None else begun_ms
    race = over(*(users or (1, 2)), ghosts=(GHOST,), race=mint_race(number * 2**50 + 5), begun_ms=begun_ms)
    return RaceRecord.of(race)


def newer(old: RaceRecord) -> RaceRecord:
    """A later record of the same race."""
    return RaceRecord(replace(old.race, version=old.race.version + 1, next=old.id))


async def ids(races: RaceRecords, user: int) -> list[str]:
    return [one.id for one in (await races.by_user(user, limit=100)).races]


async def test_a_race_is_read_as_it_was_written(races: RaceRecords) -> None:
    """By its id, and by everybody who was in it; ghosts are nobody."""
    sent = [record(0, 1, 2), record(1, -3, 1), record(2, 4, 5)]
    await races.write(sent)
    for one in sent:
        assert await races.of(one.id) == one
    assert [await ids(races, user) for user in (1, 2, -3, 4, 6, 0)] == [
        [sent[1].id, sent[0].id],
        [sent[0].id],
        [sent[1].id],
        [sent[2].id],
        [],
        [],
    ]


@pytest.mark.parametrize("race", ["0123456789abd", "", "ABCDEFGHJKMNP", "0123456789ab'", "x" * 5_000, "ε" * 13])
async def test_what_is_no_race_is_not_there(races: RaceRecords, race: str) -> None:
    await races.write([record()])
    assert await races.of(race) is None


async def test_an_empty_batch_is_no_fault(races: RaceRecords) -> None:
    await races.write([])


async def test_a_race_written_again_is_one_race(races: RaceRecords) -> None:
    one, other = record(0), record(1)
    await races.write([one])
    await races.write([one, other, one])
    assert await ids(races, 1) == [other.id, one.id]
    assert await races.of(one.id) == one


async def test_of_two_records_of_a_race_the_later_one_stays(races: RaceRecords) -> None:
    """In whatever order they come, in one batch too."""
    for number, order in enumerate(("old new", "new old", "old,new", "new,old", "new old,new")):
        old = record(number)
        copies = {"old": old, "new": newer(old)}
        for batch in order.split(" "):
            await races.write([copies[name] for name in batch.split(",")])
        assert await races.of(old.id) == copies["new"]
    assert len(await ids(races, 1)) == 5


async def test_a_later_record_has_its_own_racers(races: RaceRecords) -> None:
    """Nobody is found by a race that the row does not say they were in."""
    old = record(0, 1, 2)
    other = record(0, 3, 4)
    await races.write([old])
    await races.write([RaceRecord(replace(other.race, version=old.race.version + 1))])
    assert [await ids(races, user) for user in (1, 2, 3, 4)] == [[], [], [old.id], [old.id]]


async def test_a_user_s_races_come_newest_first_in_pages(races: RaceRecords) -> None:
    """With those of the guests, each race once; races of one instant by their ids."""
    sent = [record(i, 1, 2) if i % 2 else record(i, -3, 1, begun_ms=T0_MS) for i in range(9)]
    sent.append(record(20, -3, 9))
    await races.write(sent)
    wanted = [one.id for one in sorted(sent, key=lambda one: (one.started_ms, one.id), reverse=True)]
    for limit in (1, 4, 5, 10):
        page = RacePage((), None)
        found: list[str] = []
        while not found or page.cursor is not None:
            page = await races.by_user(1, guests=(-3,), limit=limit, cursor=page.cursor)
            assert 0 < len(page.races) <= limit
            found += [one.id for one in page.races]
        assert found == wanted


async def test_new_races_do_not_move_a_page_that_was_begun(races: RaceRecords) -> None:
    await races.write([record(i) for i in range(4)])
    page = await races.by_user(1, limit=2)
    await races.write([record(9)])
    rest = await races.by_user(1, limit=2, cursor=page.cursor)
    assert [one.id for one in rest.races] == [record(1).id, record(0).id]
    assert rest.cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "A" * 28, "é" * 28, "_" * 28, "AAAAAAAA" * 3])
async def test_a_cursor_that_was_not_given_is_refused(races: RaceRecords, cursor: str) -> None:
    with pytest.raises(CursorError):
        await races.by_user(1, cursor=cursor)


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_limit_that_is_not_allowed_is_refused(races: RaceRecords, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        await races.by_user(1, limit=limit)


async def test_a_race_of_the_latest_instant_is_kept(races: RaceRecords) -> None:
    """A node's clock may be anything; what no database can hold was refused before."""
    latest = RaceRecord(replace(record().race, start_ms=253_402_300_799_999))
    await races.write([latest, record(1)])
    assert await races.of(latest.id) == latest
    page = await races.by_user(1, limit=1)
    assert page.races == (latest,)
    assert (await races.by_user(1, limit=1, cursor=page.cursor)).races == (record(1),)


async def test_many_races_at_once(races: RaceRecords) -> None:
    """Of up to a hundred racers each, more than a page of them."""
    crowd = record(900, *range(1, 100))
    sent = [record(i, 7, 8) for i in range(250)]
    await races.write([crowd, *sent])
    assert await races.of(crowd.id) == crowd
    assert await ids(races, 99) == [crowd.id]
    page = await races.by_user(8, limit=100)
    assert [one.id for one in page.races] == [crowd.id, *(one.id for one in sent[:150:-1])]


async def test_a_row_that_cannot_be_read_is_told(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged, or of a newer build; nothing is made up."""
    monkeypatch.setattr(RaceRecord, "pack", lambda self: b"\x93\xa4race\x02\xc4\x00")
    await store.races.write([record()])
    with pytest.raises(StoreError, match="cannot be read") as raised:
        await store.races.of(record().id)
    assert not raised.value.retriable


async def test_a_list_leaves_out_what_cannot_be_read_and_goes_on_after_it(
    races: RaceRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it the last of a page, or all of one; the log says which."""
    sent = [record(i) for i in range(6)]
    await races.write([sent[0], sent[3]])
    with monkeypatch.context() as patch:
        patch.setattr(RaceRecord, "pack", lambda self: b"\x93\xa4race\x02\xc4\x00")
        await races.write([one for one in sent if one not in (sent[0], sent[3])])
    found: list[RaceRecord] = []
    pages, cursor = 0, None
    with capture_logs() as logs:
        while not pages or cursor is not None:
            page = await races.by_user(1, limit=2, cursor=cursor)
            found += page.races
            pages, cursor = pages + 1, page.cursor
    assert (found, pages) == ([sent[3], sent[0]], 3)
    assert {line["race"] for line in logs} == {one.id for one in sent} - {sent[0].id, sent[3].id}


async def test_all_races_of_a_file_are_given_those_that_cannot_be_read_by_name(tmp_path: Path) -> None:
    """For who takes them elsewhere."""
    sent = [record(i) for i in range(230)]
    async with SqliteResults(tmp_path / "results.db") as store:
        await store.races.write(sent)
        with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as operator:
            operator.execute("UPDATE races SET packed = x'00' WHERE id = ?", (sent[7].id,))
        pages = [page async for page in store.races.all()]
    assert sorted(one.id for page, _ in pages for one in page) == sorted(one.id for one in sent if one is not sent[7])
    assert [race for _, damaged in pages for race in damaged] == [sent[7].id]
