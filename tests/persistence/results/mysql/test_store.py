"""What is the MySQL store's own: shards, partitions, what rows leave out. What every store promises is in the suite."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from loadtest.servers.addresses import Addresses
from persistence.errors import StoreError
from persistence.mysql import Pool
from persistence.results import Board, Outcome, Period, Span
from persistence.results.bests import DAY_MS
from persistence.results.cursor import begin
from persistence.results.mysql import MysqlResults, partitions
from persistence.results.mysql.reading import select_page, select_result
from persistence.results.mysql.state import MapRefused
from session.identity import bucket_of, bucket_of_user, mint_session
from tests.persistence.mysql_shards import MysqlShards, make_database, migrated, patient, plan
from tests.persistence.samples import T0_MS, copy_of, outcomes, ranked, sample, texts

DAY = T0_MS // DAY_MS
USER_A = next(user for user in range(1, 99) if bucket_of_user(user) < 2048)
USER_B = next(user for user in range(1, 99) if bucket_of_user(user) >= 2048)


def opened(shards: MysqlShards, **options: Any) -> MysqlResults:
    return MysqlResults(replace(shards.options, **options), texts=texts(), clock_ms=lambda: T0_MS)


@pytest.fixture
async def store(mysql_shards: MysqlShards) -> AsyncIterator[MysqlResults]:
    mysql_shards.clear()
    async with opened(mysql_shards) as store:
        yield store


@pytest.fixture
def own_shards(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> MysqlShards:
    """Two shards that a test may fence and change as it likes."""
    name = fresh_name("own")
    a, b = (make_database(address, name) for address in mariadb_servers["shards"])
    return MysqlShards(migrated(patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"))))


async def fence(shards: MysqlShards, day: int) -> None:
    """Let results of days before this one be late from now on, in both shards."""
    for dsn in shards.dsns.values():
        pool = Pool(dsn, shards.options)
        async with pool.connection(60_000) as connection:
            await partitions.fence(connection, day)
        await pool.close()


async def test_a_users_rows_are_in_the_shard_of_the_users_bucket(
    store: MysqlResults, mysql_shards: MysqlShards
) -> None:
    await store.write([ranked(i, wpm=80, user=user) for i in range(2) for user in (USER_A, USER_B)])
    for shard, user in (("a", USER_A), ("b", USER_B)):
        for table in ("test_results", "personal_bests", "user_progress"):
            assert set(mysql_shards.ask(shard, f"SELECT user_id FROM {table}")) == {(user,)}


async def test_columns_say_what_the_result_says(store: MysqlResults, mysql_shards: MysqlShards) -> None:
    result = copy_of(sample(0, user=USER_A), test=17, tags=("x", "y"))
    await store.write([result])
    (row,) = mysql_shards.ask(
        "a",
        "SELECT id, user_id, test_id, type, extent, language, wpm, raw_wpm, accuracy, errors, duration_ms, verdict, "
        "CONCAT(created_at), JSON_EXTRACT(detail, '$.tags[1]') FROM test_results",
    )
    summary = result.summary
    assert row[:6] == (result.session, USER_A, 17, "time", 30, "en")
    assert [float(value) for value in row[6:9]] == [summary.wpm, summary.raw, summary.acc]
    assert row[9:12] == (summary.inserts.wrong, 30_000, "ok")
    assert row[12:] == ("2026-09-21 14:13:20.000", '"y"')


async def test_nodes_and_versions_are_kept_once(store: MysqlResults, mysql_shards: MysqlShards) -> None:
    results = [copy_of(sample(i, user=USER_A), node=f"node-{i % 2}") for i in range(6)]
    await store.write(results[:3])
    await store.write(results[3:])
    assert len(mysql_shards.ask("a", "SELECT node FROM result_origins")) == 2
    assert [result.node for result in (await store.by_user(USER_A)).results] == ["node-1", "node-0"] * 3


async def test_a_server_in_anothers_place_is_asked_again_for_the_number_of_a_node(
    store: MysqlResults, mysql_shards: MysqlShards
) -> None:
    """It may lack what was committed last, and have given the number to another node."""
    await store.write([sample(0, user=USER_A)])
    killed = f"SELECT id FROM information_schema.processlist WHERE db = '{mysql_shards.dsns['a'].database}'"
    mysql_shards.ask("a", "UPDATE result_origins SET node = 'another'")
    for (connection,) in mysql_shards.ask("a", f"{killed} AND id <> CONNECTION_ID()"):
        with suppress(pymysql.err.Error):  # one of an earlier test may just have ended by itself
            mysql_shards.ask("a", f"KILL {connection}")
    again = sample(1, user=USER_A)
    async with asyncio.timeout(60):
        while True:
            try:
                await store.write([again])
                break
            except StoreError:  # a connection is found to be gone
                await asyncio.sleep(0.01)
    assert await store.by_id(again.session) == again


async def test_a_result_that_cannot_be_played_is_given_without_its_series(store: MysqlResults) -> None:
    lost = copy_of(sample(0), replay=b"no replay")
    strange = copy_of(sample(1), seed=7, core_hash=sample(0).core_hash)
    await store.write([lost, strange])
    for result in (lost, strange):
        found = await store.by_id(result.session)
        assert found is not None
        assert found.summary.series.wpm == []
        assert replace(found.summary, series=result.summary.series) == result.summary
        assert found.text_hash == result.text_hash[:4]


async def test_only_the_partitions_of_the_range_are_read(store: MysqlResults, mysql_shards: MysqlShards) -> None:
    """A date range prunes exactly, a page is read from its index, a result from its partition."""
    await store.write([sample(i, user=USER_A) for i in range(20)])
    before = begin(None, T0_MS + 5_000)
    for select, wanted in (
        (select_page("test_results", USER_A, before=before, since_ms=T0_MS, limit=11), ("p202609", "of_user")),
        (select_result("test_results", sample(3, user=USER_A).session), ("p202609", "PRIMARY")),
    ):
        (told,) = (row for row in plan(mysql_shards.dsns["a"], select) if row["table"] == "test_results")
        assert (told["partitions"], told["key"]) == wanted
        assert "filesort" not in str(told["Extra"])


async def test_results_of_a_dropped_partition_are_late_and_read_like_all_others(own_shards: MysqlShards) -> None:
    before, after = (sample(i, user=USER_A, created_ms=(DAY + i) * DAY_MS) for i in (0, 1))
    best = ranked(5, wpm=99, user=USER_A, created_ms=DAY * DAY_MS + 5)
    async with opened(own_shards) as store:
        await store.write([after])
        await fence(own_shards, DAY + 1)
        assert outcomes(await store.write([before, best, before])) == [
            Outcome.INSERTED,
            Outcome.INSERTED,
            Outcome.REPEATED,
        ]
        assert own_shards.ask("a", "SELECT COUNT(*) FROM test_results") == [(1,)]
        assert own_shards.ask("a", "SELECT COUNT(*) FROM test_results_late") == [(2,)]
        assert await store.by_id(before.session) == before
        assert (await store.by_user(USER_A)).results == (after, best, before)
        page = await store.by_user(USER_A, limit=1)
        assert (await store.by_user(USER_A, limit=2, cursor=page.cursor)).results == (best, before)
        assert (await store.by_user(USER_A, until_ms=after.created_at_ms)).results == (best, before)
        assert [(row.day, row.tests) for row in await store.progress(USER_A, since_day=DAY, until_day=DAY + 1)] == [
            (DAY, 2),
            (DAY + 1, 1),
        ]
        assert {one.session for one in await store.bests(USER_A, day=DAY)} == {best.session}


async def test_a_late_copy_of_a_row_that_is_still_there_meets_it(own_shards: MysqlShards) -> None:
    """Between the fence and the dropping: what an archive has read of the partition must not change any more."""
    result = ranked(0, wpm=80, user=USER_A)
    other = copy_of(result, core=1, seen_live=1)
    better = copy_of(result, seen_live=161)
    async with opened(own_shards) as store:
        await store.write([result])
        before = own_shards.ask("a", "SELECT * FROM test_results")
        await fence(own_shards, DAY + 1)
        assert outcomes(await store.write([result])) == [Outcome.REPEATED]
        assert own_shards.ask("a", "SELECT COUNT(*) FROM test_results_late") == [(0,)]
        assert outcomes(await store.write([better, other])) == [Outcome.ATTESTED, Outcome.CONFLICT]
        assert own_shards.ask("a", "SELECT * FROM test_results") == before
        found = await store.by_id(result.session)
        assert found is not None
        assert (found.seen_live, found.verdict) == (161, "review")
        (listed,) = (await store.by_user(USER_A)).results
        assert listed == found
        assert await store.bests(USER_A, day=DAY) == []


async def test_a_best_outlives_the_rows_it_came_from(own_shards: MysqlShards) -> None:
    """Its partition is gone; a later best whose verdict falls gives the place back to it all the same."""
    old = ranked(0, wpm=80, user=USER_A)
    new = ranked(1, wpm=90, user=USER_A, created_ms=T0_MS + 60 * DAY_MS)
    async with opened(own_shards) as store:
        await store.write([old])
        own_shards.ask("a", "DELETE FROM test_results")
        await fence(own_shards, DAY + 30)
        await store.write([new])
        await store.write([copy_of(new, core=1, seen_live=1)])
        assert {one.session for one in await store.bests(USER_A, day=DAY + 60)} == {old.session}


async def test_progress_of_a_dropped_partition_is_kept(own_shards: MysqlShards) -> None:
    """A late result is counted beside what was computed from rows that are gone."""
    async with opened(own_shards) as store:
        await store.write([sample(i, user=USER_A) for i in range(3)])
        await fence(own_shards, DAY + 1)
        own_shards.ask("a", "DELETE FROM test_results")
        await store.write([sample(9, user=USER_A)])
        (row,) = await store.progress(USER_A, since_day=DAY, until_day=DAY)
        speeds = [sample(i, user=USER_A).summary.wpm for i in (0, 1, 2, 9)]
        assert (row.tests, row.duration_ms, row.best_wpm) == (4, 120_000, max(speeds))
        assert row.wpm == pytest.approx(sum(speeds) / 4)


async def test_another_map_of_buckets_is_refused(own_shards: MysqlShards) -> None:
    a, b = (text.split()[2] for text in own_shards.options.shards)
    async with opened(own_shards):
        pass
    for shards, why in (
        ((f"a 0-2046 {a}", f"b 2047-4095 {b}"), "shard 'a' was filled by another map"),
        ((f"a 0-2047 {b}", f"b 2048-4095 {a}"), "'a' is shard 'b'"),
    ):
        with pytest.raises(MapRefused, match=why):
            await opened(MysqlShards(patient(shards=shards))).__aenter__()


async def test_a_process_whose_map_is_another_one_by_now_writes_nothing(own_shards: MysqlShards) -> None:
    """It is never poison: the results wait until the settings are mended."""
    async with opened(own_shards) as store:
        own_shards.ask("a", "UPDATE shard_state SET fingerprint = x'00112233445566778899aabbccddeeff'")
        with pytest.raises(StoreError, match="another map of buckets") as raised:
            await store.write([sample(0, user=USER_A)])
        assert raised.value.retriable
        assert own_shards.ask("a", "SELECT COUNT(*) FROM test_results") == [(0,)]


async def test_a_database_that_was_never_migrated_is_refused(
    mariadb_servers: Addresses, fresh_name: Callable[[str], str]
) -> None:
    address = make_database(mariadb_servers["content"], fresh_name("bare"))
    with pytest.raises(StoreError, match="typegate migrate up"):
        await opened(MysqlShards(patient(shards=(f"a 0-4095 {address}",)))).__aenter__()


async def test_a_batch_is_written_shard_by_shard_and_told_in_its_order(store: MysqlResults) -> None:
    users = [USER_A, USER_B] * 20
    batch = [sample(i, user=user) for i, user in enumerate(users)]
    written = await store.write([*batch, batch[3]])
    assert [one.session for one in written] == [result.session for result in [*batch, batch[3]]]
    assert outcomes(written) == [Outcome.INSERTED] * 40 + [Outcome.REPEATED]


async def test_a_poison_result_blames_itself_and_holds_up_no_other_shard(store: MysqlResults) -> None:
    """One that no row can hold is found before anything is sent, one that the server refuses by its shard alone."""
    poison = copy_of(sample(0, user=USER_A), language="é")
    with pytest.raises(StoreError) as raised:
        await store.write([poison, sample(1, user=USER_A), sample(0, user=USER_B)])
    assert not raised.value.retriable
    assert (await store.by_user(USER_A)).results == ()
    assert (await store.by_user(USER_B)).results == (sample(0, user=USER_B),)


@pytest.mark.parametrize(
    "largest",
    [
        {"text": "é" * 24_000, "mode": "text", "replay": bytes(range(256)) * 236},
        {"features": {str(i): i / 3 for i in range(100)}, "replay": bytes(range(256)) * 200},
    ],
)
async def test_the_largest_results_fit(store: MysqlResults, largest: dict[str, Any]) -> None:
    results = [copy_of(sample(i), **largest) for i in range(40)]  # more than one statement may hold
    assert outcomes(await store.write(results)) == [Outcome.INSERTED] * 40
    found = await store.by_id(results[7].session)
    assert found is not None
    assert (found.replay, found.text, found.features) == (results[7].replay, results[7].text, results[7].features)


async def test_how_long_each_transaction_took_is_told_by_shard(mysql_shards: MysqlShards) -> None:
    mysql_shards.clear()
    told: list[tuple[str, float]] = []
    async with MysqlResults(mysql_shards.options, wrote=lambda *one: told.append(one)) as store:
        await store.write([])
        assert told == []
        await store.write([sample(0, user=USER_A), sample(0, user=USER_B), sample(1, user=USER_B)])
        assert sorted(shard for shard, _ in told) == ["a", "b"]
        with pytest.raises(StoreError):
            await store.write([copy_of(sample(2, user=USER_A), language="é")])
    assert len(told) == 3
    assert all(0 < seconds < 60 for _, seconds in told)


async def test_transactions_that_meet_are_begun_again(mysql_shards: MysqlShards) -> None:
    """Two workers with the same results at the same time, as after a rebalance: every row once, everybody is told."""
    mysql_shards.clear()
    async with opened(mysql_shards) as one, opened(mysql_shards) as other:
        for i in range(5):
            batch = [ranked(10 * i + j, wpm=60 + j, user=1 + j) for j in range(8)]
            answers = await asyncio.gather(one.write(batch), other.write(batch[::-1]), one.write(batch))
            told = sorted(outcome.value for answer in answers for outcome in outcomes(answer))
            assert told == ["inserted"] * 8 + ["repeated"] * 16
        for user in range(1, 9):
            (row,) = await one.progress(user, since_day=DAY, until_day=DAY)
            assert row.tests == 5


async def test_progress_misses_nothing_of_transactions_at_the_same_time(mysql_shards: MysqlShards) -> None:
    """Each computes the day anew from rows; one that did not wait for the other would leave the other's out."""
    mysql_shards.clear()
    async with opened(mysql_shards) as store:
        await asyncio.gather(*(store.write([sample(i)]) for i in range(30)))
        (row,) = await store.progress(7, since_day=DAY, until_day=DAY)
        assert row.tests == 30


async def test_a_user_waits_for_no_other_user(store: MysqlResults, mysql_shards: MysqlShards) -> None:
    """Rows that somebody holds are nobody else's affair, however few there are and however a server would read them."""
    # not the next one: a scan of a range looks at the row behind it, too
    _, between, other, *_ = (user for user in range(USER_A, 99) if bucket_of_user(user) < 2048)
    await store.write([ranked(i, wpm=80 + i, user=user) for i in range(3) for user in (USER_A, between, other)])
    pool = Pool(mysql_shards.dsns["a"], mysql_shards.options)
    async with pool.transaction(60_000) as connection:
        for table in ("test_results", "personal_bests", "user_progress"):
            # of this user's alone, by whichever key begins with the user
            key = "of_user" if table == "test_results" else "PRIMARY"
            await connection.ask(f"SELECT * FROM {table} FORCE INDEX ({key}) WHERE user_id = {other} FOR UPDATE")
        mine = [ranked(5, wpm=99, user=USER_A), copy_of(ranked(2, wpm=82, user=USER_A), core=1)]
        assert outcomes(await store.write(mine)) == [Outcome.INSERTED, Outcome.CONFLICT]
    await pool.close()


async def test_an_instant_that_mysql_has_no_date_for_is_refused(store: MysqlResults) -> None:
    far = mint_session(7, epoch_ms=2**48 - 1, random_bits=1)
    assert await store.by_id(far) is None
    with pytest.raises(StoreError, match="beyond the year 9999") as raised:
        await store.write([copy_of(sample(0), session=far)])
    assert not raised.value.retriable
    assert await store.progress(7, since_day=-5, until_day=10**9) == []


async def test_rankings_of_all_shards_are_merged(store: MysqlResults) -> None:
    users = list(range(1, 60))
    await store.write([ranked(0, wpm=40 + user % 17, user=user) for user in users])
    ranking = [best async for best in store.ranking(Board("time", 15, "en"), Period(Span.ALL, 0))]
    assert {bucket_of(best.session) < 2048 for best in ranking} == {True, False}
    assert [best.order for best in ranking] == sorted((best.order for best in ranking), reverse=True)
    assert len(ranking) == 59
