"""What is the SQLite store's own: its file. What it promises as a store is in `test_store`."""

import sqlite3
from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.results import Outcome, SqliteResults, SqliteResultsOptions
from persistence.results.sqlite import bests
from persistence.results.sqlite import store as implementation
from tests.persistence.samples import T0_MS, copy_of, outcomes, ranked, sample


async def test_results_are_there_after_a_restart_with_what_is_known_of_copies(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    async with SqliteResults(path) as store:
        await store.write([sample(0), copy_of(sample(0), core=1, seen_live=1)])
    async with SqliteResults(path) as store:
        assert outcomes(await store.write([sample(0), sample(1)])) == [Outcome.REPEATED, Outcome.INSERTED]
        assert len(await store.conflicts(sample(0).session)) == 1


async def test_another_process_reads_beside_the_server(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    async with SqliteResults(path) as server, SqliteResults(path) as command:
        await server.write([sample(0)])
        assert await command.by_id(sample(0).session) == sample(0)


async def test_a_full_file_is_retriable_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    async with SqliteResults(path) as store:
        await store.write([sample(0)])
        await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
        large = [sample(i, replay_bytes=60_000) for i in range(1, 4)]
        with pytest.raises(StoreError, match="full") as raised:
            await store.write(large)
        assert raised.value.retriable
        assert (await store.by_user(7)).results == (sample(0),)
        await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        assert outcomes(await store.write(large)) == [Outcome.INSERTED] * 3


async def test_the_time_of_each_batch_is_told_of_failed_ones_too(tmp_path: Path) -> None:
    told: list[float] = []
    async with SqliteResults(tmp_path / "results.db", wrote=told.append) as store:
        await store.write([])
        assert told == [], "an empty batch writes nothing"
        await store.write([sample(0), sample(1)])
        await store._writer.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
        with pytest.raises(StoreError, match="full"):
            await store.write([sample(2, replay_bytes=60_000)])
    assert len(told) == 2
    assert all(0 < seconds < 60 for seconds in told)


async def test_a_damaged_file_is_refused_clearly_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"is damaged .*restore it from a backup"):
        await SqliteResults(path).__aenter__()
    assert path.read_bytes() == b"not a database" * 1000


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    async with SqliteResults(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer Typegate"):
        await SqliteResults(path).__aenter__()


async def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot open .*No such file"):
        await SqliteResults(tmp_path / "none" / "results.db").__aenter__()


async def test_a_row_that_this_version_cannot_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    async with SqliteResults(tmp_path / "results.db") as store:
        await store.write([sample(0), sample(1)])
        await store._writer.run(
            lambda connection: connection.execute(
                "UPDATE results SET packed = x'00' WHERE id = ?", (sample(0).session,)
            ).fetchall()
        )
        with pytest.raises(StoreError, match="cannot be read"):
            await store.by_id(sample(0).session)
        assert await store.by_id(sample(1).session) == sample(1)


async def test_a_users_page_is_read_from_the_index(tmp_path: Path) -> None:
    """No page may ever scan or sort a user's whole history."""
    async with SqliteResults(tmp_path / "results.db") as store:
        plan = await store._writer.run(
            lambda connection: connection.execute(
                "EXPLAIN QUERY PLAN SELECT packed FROM results " + implementation._PAGE,
                (1, 2, b"", 3, 4),
            ).fetchall()
        )
    assert [row[3] for row in plan] == [
        "SEARCH results USING INDEX results_of_user (user_id=? AND created_ms>? AND (created_ms,id)<(?,?))"
    ]


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteResults(tmp_path / "results.db")
    async with store:
        await store.ping()
    with pytest.raises(StoreError, match="closed"):
        await store.ping()


@pytest.mark.parametrize("wrong", [{"readers": 0}, {"max_waiting": 0}, {"max_conflicts": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SqliteResultsOptions(**wrong)


async def test_a_file_from_before_there_were_personal_bests_gets_them(tmp_path: Path) -> None:
    """An older file is led here when it is opened, its results judged by the rules of now."""
    path = tmp_path / "results.db"
    best, other = ranked(0, wpm=80), ranked(1, wpm=70)
    async with SqliteResults(path) as store:
        await store.write([best, other, sample(2), ranked(3, wpm=90, slack_ms=9_000)])
    with sqlite3.connect(path) as connection:
        for table in ("races", "race_racers", "public_results", "guest_links", "user_names"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP TABLE personal_bests")
        connection.execute("ALTER TABLE results DROP COLUMN board")
        connection.execute("UPDATE results SET packed = x'00' WHERE id = ?", (sample(2).session,))
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    async with SqliteResults(path) as store:
        assert {one.session for one in await store.bests(7, day=T0_MS // 86_400_000)} == {best.session}
        await store.write([copy_of(best, core=1, seen_live=1)])
        assert {one.session for one in await store.bests(7, day=T0_MS // 86_400_000)} == {other.session}


async def test_a_ranking_is_read_from_its_index(tmp_path: Path) -> None:
    async with SqliteResults(tmp_path / "results.db") as store:
        plan = await store._writer.run(
            lambda connection: connection.execute(
                "EXPLAIN QUERY PLAN " + bests._PAGE, ("time-15-en", "all", 0, 1.0, 1.0, b"", 4)
            ).fetchall()
        )
    assert [row[3] for row in plan] == [
        "SEARCH personal_bests USING INDEX ranking (board=? AND span=? AND day=? AND wpm<?)"
    ]
