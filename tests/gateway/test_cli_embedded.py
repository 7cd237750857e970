"""`typegate migrate embedded`: what an embedded server had is in the databases of the distributed set-up, as it was."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from persistence.bans import Ban, SqliteBans, read_who
from persistence.bans.mysql import MysqlBans
from persistence.catalogue import EmbeddedCatalogue, NewTest, NewWordList
from persistence.catalogue.entries import ASSIGNED_IDS
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.folder import DataFolder
from persistence.results import Linked, SqliteResults
from persistence.results.mysql import MysqlResults
from persistence.stream import Spool
from session.identity import mint_race
from session.race_record import RaceRecord
from session.result import Result as Typed
from tests.persistence.mysql_shards import MysqlShards, patient
from tests.persistence.samples import T0_MS, copy_of, ranked, sample, texts
from tests.session.races import over

USERS = (*range(1, 20), *range(-20, 0))
ACCOUNT, GUESTS = 3, (-7, -9)
DAY = T0_MS // 86_400_000
FOX = NewTest("A fox", "The fox ran.", "notes", "easy", "en", 3, source="a book", origin="foxes:1")
MINE = NewTest("Mine", "Own text.", "notes", "easy", "en", 2, id=17)
ITALIAN = NewWordList("it", "Italiano", "ltr", ("di", "e", "il"))


@pytest.fixture
def shards(mysql_shards: MysqlShards) -> MysqlShards:
    mysql_shards.clear()
    return mysql_shards


RACES = [RaceRecord.of(over(ACCOUNT, 4, race=mint_race(number))) for number in range(201)]


class Site:
    """An embedded server's folder with something of everything, and the command that moves it."""

    def __init__(self, folder: Path, shards: MysqlShards, content: str) -> None:
        self.folder = DataFolder(folder)
        self.folder.open()
        self.results: list[Typed] = [sample(i, user=user) for user in USERS for i in range(7)]
        self.results += [ranked(9, wpm=80 + user, user=user) for user in USERS]
        self.loser = copy_of(self.results[0], core=9, seen_live=3)
        self.options = patient(shards=shards.options.shards, content=content)
        self.content = content
        self._environment = {
            "TYPEGATE_MYSQL_SHARDS": json.dumps(shards.options.shards),
            "TYPEGATE_MYSQL_CONTENT": content,
            **{f"TYPEGATE_MYSQL_{name}_MS": "60000" for name in ("CONNECT", "WAIT", "READ", "WRITE")},
            "TYPEGATE_NODE_DATA": str(folder.parent / "other"),
            "COLUMNS": "200",
        }

    async def fill(self) -> None:
        async with SqliteResults(self.folder.results) as store:
            await store.write([*self.results, self.loser])
            for public in self.results[:151]:
                assert await store.publish(public.session, public.user)
            await store.unpublish(self.results[150].session)
            await store.name_users({user: f"name {user}" for user in USERS if user > 0})
            await store.races.write(RACES)
            for at_ms, guest in enumerate(GUESTS, T0_MS):
                assert await store.link(guest, ACCOUNT, at_ms=at_ms) is Linked.NEW
        async with EmbeddedCatalogue(self.folder.catalogue) as catalogue:
            await catalogue.add([FOX, NewTest("Mine", "Own text.", "notes", "easy", "en", 2, id=17)], created_at_ms=5)
            await catalogue.add(
                [NewTest("Mine", "Own text!", "notes", "easy", "en", 2, id=17)], [ITALIAN], created_at_ms=6
            )

    def move(self, **variables: str) -> Result:
        words = ["migrate", "embedded", str(self.folder.path)]
        return CliRunner(env=self._environment | variables).invoke(main, words)

    async def moved(self, *words: str, **variables: str) -> Result:
        return await asyncio.to_thread(self.move, **variables)


@pytest.fixture
async def site(tmp_path: Path, shards: MysqlShards, content_database: str) -> Site:
    made = Site(tmp_path / "old", shards, content_database)
    await made.fill()
    return made


async def test_everything_is_there_as_it_was(site: Site) -> None:
    """Results in every figure, what lost against them, bests, progress, links, tests with their numbers; also twice."""
    done = await site.moved()
    assert done.exit_code == 0, done.output
    count = len(site.results)
    assert f"results: {count + 1:,} new, 0 were there" in done.output
    assert "tests and word lists: 4 new" in done.output
    assert "guests of accounts: 2" in done.output
    assert f"races: {len(RACES)}" in done.output
    assert "public results: 150" in done.output
    assert "keys.json" in done.output
    async with SqliteResults(site.folder.results) as old, MysqlResults(site.options, texts=texts()) as new:
        for result in site.results:
            assert await new.by_id(result.session) == await old.by_id(result.session)
        assert [one.core_hash for one in await new.conflicts(site.loser.session)] == [site.loser.core_hash]
        verdict = await new.by_id(site.loser.session)
        assert verdict is not None
        assert verdict.verdict == "review"
        for user in USERS:
            assert set(await new.bests(user, day=DAY)) == set(await old.bests(user, day=DAY))
            progress = await old.progress(user, since_day=DAY, until_day=DAY)
            assert await new.progress(user, since_day=DAY, until_day=DAY) == progress
        assert await new.guests_of(ACCOUNT) == GUESTS
        assert [await new.races.of(race.id) for race in RACES] == RACES
        assert len((await new.races.by_user(ACCOUNT, limit=100)).races) == 100
        assert [await new.is_public(one.session) for one in site.results[:152]] == [True] * 150 + [False] * 2
        await new.unpublish(site.results[0].session)
        assert await new.names_of([1, 2, 19, 20]) == {user: f"name {user}" for user in (1, 2, 19)}
    async with EmbeddedCatalogue(site.folder.catalogue) as there, MysqlCatalogue(site.options) as here:
        assert set(there.shelf.versions()) <= set(here.shelf.versions())
        assert set(there.shelf.list_versions()) <= set(here.shelf.list_versions())
        again = await here.add([FOX], created_at_ms=7)
        assert (again.unchanged, here.shelf.test(ASSIGNED_IDS.start)) == (1, there.shelf.test(ASSIGNED_IDS.start))
    again_done = await site.moved()
    assert again_done.exit_code == 0, again_done.output
    async with MysqlResults(site.options) as new:
        assert not await new.is_public(site.results[0].session), "what is said later holds"
    assert f"results: 0 new, {count + 1:,} were there" in again_done.output
    assert "tests and word lists: 0 new" in again_done.output


async def test_bans_go_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those that are over, and those of whom there is one already; also twice. Without a place they stay."""
    monkeypatch.setattr("persistence.bans.mysql._AT_ONCE", 2)
    there = Ban(17, "the later word", "ops", T0_MS + 1)
    lasting = [Ban(number, "a bot", "ops", T0_MS) for number in range(1, 6)]
    over = Ban(read_who("192.0.2.0/24"), "a flood", "ops", T0_MS, T0_MS + 1)
    async with SqliteBans(site.folder.bans) as old, MysqlBans(site.options) as new:
        for ban in (replace(there, reason="the earlier word"), *lasting, over):
            await old.add(ban)
        await new.add(there)
        nowhere = await site.moved(TYPEGATE_MYSQL_CONTENT="")
        assert (nowhere.exit_code, "bans: left where they are" in nowhere.output) == (0, True), nowhere.output
        done = await site.moved()
        assert (done.exit_code, "bans: 5 new, 1 were there" in done.output) == (0, True), done.output
        assert set(await new.read(now_ms=T0_MS)) == {there, *lasting}
        again = await site.moved()
        assert (again.exit_code, "bans: 0 new, 6 were there" in again.output) == (0, True), again.output
        assert over in await old.read(now_ms=T0_MS)


async def test_a_move_that_is_broken_off_goes_on(site: Site, shards: MysqlShards) -> None:
    """A shard goes away in the middle: what was written is met by itself the next time."""
    half = site.results[: len(site.results) // 2]
    async with MysqlResults(site.options) as store:
        await store.write(half)
    done = await site.moved()
    assert done.exit_code == 0, done.output
    assert f"results: {len(site.results) + 1 - len(half):,} new, {len(half):,} were there" in done.output


async def test_a_server_that_runs_is_left_alone(site: Site) -> None:
    async with site.folder:
        done = await site.moved()
    assert (done.exit_code, "is in use by" in done.output) == (1, True), done.output
    async with MysqlResults(site.options) as store:
        assert await store.by_id(site.results[0].session) is None


async def test_what_waits_in_the_spool_is_asked_for_first(site: Site) -> None:
    """Else it would be left behind, or come to the old store when nobody looks any more."""
    async with Spool(site.folder.spool) as spool:
        await spool.put(site.results[0])
    done = await site.moved()
    assert (done.exit_code, "typegate spool drain --data" in done.output) == (1, True), done.output


async def test_a_test_that_is_another_one_here_stops_the_move_before_it_begins(site: Site) -> None:
    """Results name tests by their numbers."""
    async with MysqlCatalogue(site.options) as catalogue:
        await catalogue.add([replace(MINE, text="Another text.")], created_at_ms=5)
    done = await site.moved()
    assert (done.exit_code, "test 17 version 1" in done.output) == (1, True), done.output
    async with MysqlResults(site.options) as store:
        assert await store.by_id(site.results[0].session) is None
    async with MysqlCatalogue(site.options) as catalogue:
        assert catalogue.shelf.word_list("it") is None


async def test_a_damaged_row_is_named_and_holds_up_nothing(site: Site) -> None:
    damaged = site.results[5].session
    with closing(sqlite3.connect(site.folder.results)) as file:
        file.execute("UPDATE results SET packed = x'00' WHERE id = ?", (damaged,))
        file.commit()
    done = await site.moved()
    assert (done.exit_code, damaged.hex() in done.output) == (1, True), done.output
    async with MysqlResults(site.options) as store:
        for result in site.results:
            assert (await store.by_id(result.session) is None) is (result.session == damaged)


async def test_without_a_content_database_tests_stay_in_the_folder(site: Site) -> None:
    done = await site.moved(TYPEGATE_MYSQL_CONTENT="")
    assert done.exit_code == 0, done.output
    assert "left where they are" in done.output


def test_a_folder_that_is_none_is_refused(tmp_path: Path, shards: MysqlShards, content_database: str) -> None:
    site = Site(tmp_path / "old", shards, content_database)
    done = site.move()
    assert (done.exit_code, "no data folder of an embedded server" in done.output) == (1, True), done.output
