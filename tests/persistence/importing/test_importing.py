"""Imports into real shards, of hundreds of rows; `tests/gateway/test_cli_importing.py` has the large one."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from loadtest.servers.addresses import Addresses
from persistence.catalogue import EmbeddedCatalogue
from persistence.errors import StoreError
from persistence.importing import Importing, ImportRules, Target, bad_rows
from persistence.importing import OldSite as Site
from persistence.mysql import MysqlOptions
from persistence.mysql.dsn import Dsn
from persistence.rescoring import Unreplayable, rescoring
from persistence.results import BestRules, Board, Period, Span
from persistence.results.mysql import MysqlResults
from persistence.results.mysql.moving import Mover
from session.identity import bucket_of_user
from tests.persistence.importing.oldsite import GOOD, NOW_MS, ODD_RESULTS, ODD_TESTS, TESTS, Odd, OldSite, make_shards
from tests.persistence.mysql_shards import MysqlShards, make_database
from tests.persistence.samples import texts

USER_A, USER_B = (next(user for user in range(7, 99) if bucket_of_user(user) // 2048 == half) for half in (0, 1))
BOARD = Board("time", 60, "en")


@pytest.fixture(scope="module")
def shards_of_then(mariadb_servers: Addresses) -> MysqlShards:
    return make_shards(mariadb_servers)


@pytest.fixture
def shards(shards_of_then: MysqlShards) -> MysqlShards:
    shards_of_then.clear()
    return shards_of_then


@pytest.fixture
def old(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> OldSite:
    site = OldSite(Dsn.parse(make_database(mariadb_servers["content"], fresh_name("old"))))
    site.make()
    return site


@pytest.fixture
async def catalogue(tmp_path: Any) -> AsyncIterator[EmbeddedCatalogue]:
    async with EmbeddedCatalogue(tmp_path / "catalogue.db") as catalogue:
        yield catalogue


class Imports:
    """Runs of an import, each as a process of its own would be."""

    def __init__(self, old: OldSite, options: MysqlOptions, catalogue: EmbeddedCatalogue) -> None:
        self._old = old
        self.options = options
        self._catalogue = catalogue
        self.lock_wait_s = 60
        """Whoever failed with the lock lets it go when the server sees that its connection is closed."""

    @asynccontextmanager
    async def open(self, rules: ImportRules) -> AsyncIterator[tuple[Importing, Target]]:
        async with (
            Target(self.options, BestRules(), rules.source, lock_wait_s=self.lock_wait_s) as target,
            Site(self._old.dsn, self.options, salt=str(rules)) as site,
            target.alone(),
        ):
            yield Importing(site, target, self._catalogue, rules, now_ms=NOW_MS, chunk=150), target

    async def __call__(self, *, verify: bool = True, restore: bool = False, **rules: Any) -> Importing:
        """Import; nothing may differ afterwards."""
        async with self.open(ImportRules(**rules)) as (importing, _):
            differences = await importing.run(verify=verify, restore=restore)
            assert not differences, differences
            return importing

    async def verified(self, **rules: Any) -> dict[str, list[int]]:
        """What differs."""
        async with self.open(ImportRules(**rules)) as (importing, _):
            return (await importing.verify()).kinds

    async def bad(self) -> dict[int, str]:
        """The bad results, and why they are."""
        async with self.open(ImportRules()) as (_, target):
            return {fault.id: fault.reason async for fault in bad_rows(target) if fault.table == "test_results"}


@pytest.fixture
def imports(old: OldSite, shards: MysqlShards, catalogue: EmbeddedCatalogue) -> Imports:
    return Imports(old, shards.options, catalogue)


def stored(shards: MysqlShards, columns: str = "COUNT(*)", table: str = "test_results") -> list[tuple[Any, ...]]:
    return [row for shard in shards.dsns for row in shards.ask(shard, f"SELECT {columns} FROM {table}")]


def everywhere(shards: MysqlShards) -> int:
    return sum(count for table in ("test_results", "test_results_late") for (count,) in stored(shards, table=table))


def change(old: OldSite, old_id: int, **changes: object) -> None:
    """Write a row anew, as the old site does."""
    data = json.dumps(GOOD | changes).replace("'", "''")
    old.ask(f"UPDATE test_results SET data = '{data}' WHERE id = {old_id}")


async def test_rows_go_to_their_users_shard_and_to_their_month(
    imports: Imports, old: OldSite, shards: MysqlShards, catalogue: EmbeddedCatalogue
) -> None:
    old.put("test_results", [Odd("hot", _at("2024-06-20T01:02:03.004Z", user)) for user in (USER_A, USER_B)], first=1)
    old.put("test_results", [Odd("late", _at("2019-06-20T01:02:03.004Z", user)) for user in (USER_A, USER_B)], first=3)
    importing = await imports()
    assert (importing.results.new, importing.tests.new) == (4, TESTS)
    for shard, user in (("a", USER_A), ("b", USER_B)):
        (hot,) = shards.ask(shard, "SELECT user_id, created_at, wpm FROM test_results PARTITION (p202406)")
        (late,) = shards.ask(shard, "SELECT user_id, created_at, wpm FROM test_results_late")
        assert (hot[0], str(hot[1]), float(hot[2])) == (user, "2024-06-20 01:02:03.004000", 71.5)
        assert (late[0], str(late[1])) == (user, "2019-06-20 01:02:03.004000")
    test = catalogue.shelf.test(17)
    assert test is not None
    assert (test.title, test.language, test.category) == ("Passage 17", "en", "classics")


async def test_what_was_imported_is_read_as_any_result(imports: Imports, old: OldSite) -> None:
    old.put("test_results", ODD_RESULTS, first=1)
    await imports()
    async with MysqlResults(imports.options, texts=texts()) as store:
        page = await store.by_user(7, limit=100)
        assert len(page.results) == sum(odd.reason is None for odd in ODD_RESULTS)
        one = page.results[0]
        assert await store.by_id(one.session) == one
        assert (one.node, one.scoring_version, one.verdict) == ("import:old", "imported", "review")
        with pytest.raises(Unreplayable, match="from an old installation, without its keystrokes"):
            next(rescoring(one, texts()))
        assert await store.bests(7, day=19_786) == []
        days = await store.progress(7, since_day=0, until_day=30_000)
        assert sum(day.tests for day in days) == len(page.results)


async def test_odd_rows_are_reported_and_stop_nothing(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    old.fill(300)
    odd = old.put("test_results", ODD_RESULTS, first=1001)
    odd_tests = old.put("tests", ODD_TESTS, first=501)
    importing = await imports()
    bad = {id_: one for id_, one in odd.items() if one.reason is not None}
    assert importing.results.bad == len(bad)
    assert importing.tests.bad == sum(one.reason is not None for one in odd_tests.values())
    assert everywhere(shards) == 300 + len(odd) - len(bad)
    reasons = await imports.bad()
    assert reasons.keys() == bad.keys()
    for id_, one in bad.items():
        assert one.reason is not None
        assert one.reason in reasons[id_], one.what


async def test_a_second_run_takes_up_what_has_come_and_what_has_changed(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    old.fill(400)
    bad = [Odd("mended", _at("soon", USER_A)), Odd("gone", "{"), Odd("still bad", "[]")]
    old.put("test_results", bad, first=1001)
    await imports()
    assert len(await imports.bad()) == 3

    old.fill(50, first=401)
    change(old, 3, wpm=88.25)
    change(old, 1001, user_id=USER_A)
    old.ask("DELETE FROM test_results WHERE id = 1002")
    second = await imports()
    assert (second.results.new, second.results.changed, second.results.bad) == (51, 1, 1)
    assert everywhere(shards) == 451
    assert list(await imports.bad()) == [1003]

    third = await imports()
    assert (third.results.new, third.results.changed) == (0, 0)
    assert everywhere(shards) == 451


@pytest.mark.parametrize("updated_at", [True, False])
async def test_a_row_that_changed_its_user_and_time_is_moved(
    imports: Imports, old: OldSite, shards: MysqlShards, updated_at: bool
) -> None:
    """Where the old table does not tell what has changed, the verification finds it."""
    if not updated_at:
        old.ask("ALTER TABLE test_results DROP COLUMN updated_at")
    rows = [Odd("one", _at("2024-06-20T01:02:03Z", USER_A)), Odd("two", _at("2024-06-20T02:02:03Z", USER_A))]
    old.put("test_results", rows, first=1)
    await imports(trust=True)
    change(old, 2, user_id=USER_B, created_at="2023-01-02T03:04:05Z", wpm=90, raw_wpm=95)
    again = await imports(trust=True, verify=not updated_at)
    assert again.results.changed == 1
    assert await imports.verified(trust=True) == {}
    assert [len(shards.ask(shard, "SELECT id FROM test_results")) for shard in "ab"] == [1, 0]
    assert [len(shards.ask(shard, "SELECT id FROM test_results_late")) for shard in "ab"] == [0, 1]
    async with MysqlResults(imports.options) as store:
        assert [best.place.user async for best in store.ranking(BOARD, Period(Span.ALL, 0))] == [USER_B, USER_A]
        assert [day.tests for day in await store.progress(USER_A, since_day=0, until_day=30_000)] == [1]
        assert [day.tests for day in await store.progress(USER_B, since_day=0, until_day=30_000)] == [1]


async def test_a_row_that_turns_bad_stays_as_it_was_imported(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    old.fill(10)
    await imports()
    old.ask("UPDATE test_results SET data = '[]' WHERE id = 5")
    for _ in range(3):  # and it is told of for as long as it is bad
        assert (await imports()).results.bad == 1
        assert list(await imports.bad()) == [5]
        assert everywhere(shards) == 10
    change(old, 5, wpm=99)
    await imports()
    assert (await imports.bad(), everywhere(shards)) == ({}, 10)


async def test_trusted_results_are_bests_and_what_changes_leaves_none(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    day = "2024-06-20T01:02:{:02}Z"
    rows = [Odd("", _at(day.format(i), USER_A, wpm=wpm, raw_wpm=150)) for i, wpm in enumerate((80, 120, 100))]
    old.put("test_results", rows, first=1)
    await imports(trust=True)

    async def best() -> set[tuple[float, str]]:
        async with MysqlResults(imports.options) as store:
            return {(one.wpm, one.place.period.span.value) for one in await store.bests(USER_A, day=19_894)}

    assert await best() == {(120, "day"), (120, "week"), (120, "all")}
    change(old, 2, user_id=USER_A, created_at=day.format(1), wpm=120, raw_wpm=150, flagged=True)
    await imports(trust=True)
    assert await best() == {(100, "day"), (100, "week"), (100, "all")}
    assert everywhere(shards) == 3


async def test_a_chunk_that_was_cut_off_between_two_shards_is_done_again(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    """As after a kill: one shard has its part of a chunk, the other has not, and nobody has noted the chunk."""
    old.fill(300)
    await imports()
    for table in ("test_results", "test_results_late", "imported_results", "user_progress"):
        shards.ask("b", f"DELETE FROM {table}")
    for shard in "ab":
        shards.ask(shard, "UPDATE imports SET done_to = NULL, changed_to = NULL, finished_at = NULL")
    # and as if its entries had been lost with a restored backup, though its rows are there
    shards.ask("a", "DELETE FROM imported_results WHERE old_id < 100")
    await imports()
    assert everywhere(shards) == 300
    assert sum(count for (count,) in stored(shards, "COUNT(DISTINCT old_id)", "imported_results")) == 300


async def test_a_move_to_another_shard_that_was_cut_off_is_finished(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    """Killed after the result was taken out of its old shard, or before its old entry was."""
    old.put("test_results", [Odd("", _at("2024-06-20T01:02:03Z", USER_A))], first=1)
    await imports()
    before = shards.ask("a", "SELECT * FROM imported_results")
    change(old, 1, user_id=USER_B)
    shards.ask("a", "DELETE FROM test_results")
    await imports()
    assert [len(shards.ask(shard, "SELECT id FROM test_results")) for shard in "ab"] == [0, 1]

    ((source, old_id, id_, seen, stored_sum),) = before
    shards.ask("a", f"INSERT INTO imported_results VALUES ('{source}', {old_id}, x'{id_.hex()}', {seen}, {stored_sum})")
    assert "imported twice" in await imports.verified()
    await imports()
    assert await imports.verified() == {}
    assert [len(shards.ask(shard, "SELECT id FROM imported_results")) for shard in "ab"] == [0, 1]
    assert everywhere(shards) == 1


async def test_a_verification_finds_what_is_not_as_it_was(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    old.fill(300)
    await imports()
    assert await imports.verified() == {}
    shards.ask("a", "UPDATE test_results SET wpm = wpm + 1 LIMIT 1")
    shards.ask("b", "DELETE FROM test_results LIMIT 2")
    old.ask("DELETE FROM test_results WHERE id = 17")
    old.fill(1, first=900)
    change(old, 20, wpm=1)
    old.ask("UPDATE tests SET data = JSON_REPLACE(data, '$.title', 'Another') WHERE id = 9")
    found = {kind: (count, ids) for kind, (count, *ids) in (await imports.verified()).items()}
    counts = {kind: count for kind, (count, _) in found.items()}
    assert counts == {
        "changed at the old place since they were imported": 1,
        "no longer at the old place, and still here": 1,
        "imported, and not in the store": 2,
        "in the store, but not as they were imported": 1,
        "tests that are not in the catalogue as they are at the old place": 1,
    }
    assert found["changed at the old place since they were imported"][1] == [20]
    assert found["no longer at the old place, and still here"][1] == [17]

    async with imports.open(ImportRules()) as (importing, _):
        left = await importing.run(verify=True, restore=False)
        assert left is not None
        assert left.serious, "what is gone from the store may have been taken from it: an import does not bring it back"
    async with imports.open(ImportRules()) as (importing, _):
        left = await importing.run(verify=True, restore=True)
        assert left is not None
        assert left.kinds == {"no longer at the old place, and still here": [1, 17]}
        assert not left.serious
    assert everywhere(shards) == 301


async def test_what_the_old_place_has_deleted_is_looked_at_in_parts(
    imports: Imports, old: OldSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be nearly all that was ever there: nobody has room for that."""
    old.fill(300)
    await imports()
    old.ask("DELETE FROM test_results WHERE id <= 290 AND id <> 150")
    monkeypatch.setattr("persistence.importing.importing._VERIFIED_AT_ONCE", 10)
    sizes = []
    entries = Target.entries

    async def counted(target: Target, above: int | None, to: int) -> dict[int, list[int]]:
        found = await entries(target, above, to)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Target, "entries", counted)
    assert {kind: count for kind, (count, *_) in (await imports.verified()).items()} == {
        "no longer at the old place, and still here": 289
    }
    assert max(sizes) <= 2 * 20, "two shards, twenty of each"


async def test_rows_that_were_passed_by_are_found(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    """A transaction of the old site may commit lower ids after higher ones were read."""
    old.fill(100, first=201)
    await imports()
    old.fill(100)
    assert await imports.verified() == {"not imported": [100, *range(1, 11)]}
    await imports()
    assert everywhere(shards) == 200


async def test_buckets_may_move_meanwhile(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    rows = [Odd("", _at(f"2024-06-{day:02}T01:02:03Z", USER_A)) for day in range(1, 9)]
    old.put("test_results", rows, first=1)
    await imports()
    async with Mover(imports.options, BestRules()) as mover:
        await mover.move(bucket_of_user(USER_A), "b")
    assert await imports.verified() == {}
    change(old, 3, user_id=USER_A, created_at="2019-03-04", wpm=55)
    old.put("test_results", [Odd("", _at("2024-06-20T01:02:03Z", USER_A))], first=9)
    again = await imports()
    assert (again.results.new, again.results.changed) == (1, 1)
    assert [len(shards.ask(shard, "SELECT id FROM test_results")) for shard in "ab"] == [0, 8]
    assert [len(shards.ask(shard, "SELECT id FROM test_results_late")) for shard in "ab"] == [0, 1]


async def test_two_old_sites_have_the_same_ids_and_do_not_meet(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    old.fill(20)
    await imports()
    await imports(source="other")
    assert everywhere(shards) == 40
    assert (await imports.verified(), await imports.verified(source="other")) == ({}, {})


async def test_other_rules_read_everything_again(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    old.put("test_results", [Odd("", _at("2024-06-20 01:02:03", user)) for user in (USER_A, USER_B)], first=1)
    await imports()
    again = await imports(zone="Europe/Berlin")
    assert again.results.changed == 2
    assert {str(at) for (at,) in stored(shards, "created_at")} == {"2024-06-19 23:02:03"}


async def test_columns_of_their_own_and_several_documents(imports: Imports, old: OldSite, shards: MysqlShards) -> None:
    old.ask(
        "DROP TABLE test_results",
        "CREATE TABLE test_results (id INT UNSIGNED PRIMARY KEY, user_id BIGINT, created_at DATETIME, wpm FLOAT, "
        "`type` ENUM('timed', 'quote'), stats JSON, config TEXT, noise BIT(3)) DEFAULT CHARACTER SET latin1",
        f"INSERT INTO test_results VALUES (4294967295, {USER_A}, '2024-06-20 01:02:03', 71.5, 'timed', "
        """'{"accuracy": 96.4, "time": 60}', '{"time_limit": 60, "nick": "fran\xe7oise", "lang": "french"}', b'101')""",
    )
    await imports()
    ((wpm, acc, extent, language),) = stored(shards, "wpm, accuracy, extent, language")
    assert (float(wpm), float(acc), extent, language) == (71.5, 96.4, 60, "fr")


async def test_a_row_that_is_too_long_for_the_server_itself_is_a_bad_one(
    imports: Imports, old: OldSite, shards: MysqlShards
) -> None:
    """A server makes no text of more than max_allowed_packet, so that such a row as a whole is NULL to it."""
    old.fill(3)
    ((most,),) = old.ask("SELECT @@global.max_allowed_packet")
    assert isinstance(most, int)
    old.ask(
        "ALTER TABLE test_results ADD logs LONGTEXT, ADD traces LONGTEXT",
        f"UPDATE test_results SET logs = REPEAT('x', {most * 2 // 3}), traces = logs WHERE id = 2",
    )
    for _ in range(2):
        assert (await imports()).results.bad == 1
    assert f"the row has {most * 2 // 3:,} bytes in one column" in (await imports.bad())[2]
    assert everywhere(shards) == 2
    old.ask("UPDATE test_results SET logs = NULL, traces = NULL")
    await imports()
    assert (await imports.bad(), everywhere(shards)) == ({}, 3)


async def test_one_import_at_a_time(imports: Imports) -> None:
    imports.lock_wait_s = 0
    async with imports.open(ImportRules()):
        with pytest.raises(StoreError, match="another process has the lock 'import old'"):
            await imports()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TABLE tests", r"the old database .* has no table tests"),
        ("ALTER TABLE tests MODIFY id BIGINT, DROP PRIMARY KEY", "the primary key of the old tests is none; expected"),
        ("ALTER TABLE test_results MODIFY id VARCHAR(36)", "the primary key of the old test_results is id; expected"),
        ("ALTER TABLE test_results CHANGE id result_id BIGINT", "the old test_results is result_id; expected is a"),
    ],
)
async def test_a_database_of_another_kind_is_refused(imports: Imports, old: OldSite, statement: str, why: str) -> None:
    old.ask(statement)
    with pytest.raises(StoreError, match=why):
        await imports()


async def test_an_old_database_that_is_away_says_so(imports: Imports, old: OldSite) -> None:
    old.dsn = replace(old.dsn, port=1, password="hunter2")
    with pytest.raises(StoreError, match=r"the old database: cannot connect to 127\.0\.0\.1:1") as why:
        await imports()
    assert "hunter2" not in str(why.value)


async def test_an_empty_old_site_is_soon_done(imports: Imports, old: OldSite) -> None:
    old.ask("DELETE FROM tests")
    importing = await imports()
    assert (importing.tests.new, importing.results.new) == (0, 0)


def _at(created: str, user: int, **changes: object) -> str:
    return json.dumps(GOOD | {"created_at": created, "user_id": user} | changes)
