from collections.abc import Callable

import pytest

from loadtest.servers.addresses import Addresses
from persistence.errors import StoreError
from persistence.mysql import MysqlOptions, Pool
from persistence.mysql.migrating import locked, migrations
from persistence.results.bests import DAY_MS
from persistence.results.mysql import MysqlResults, Upkeep
from persistence.results.mysql.partitions import drop
from persistence.results.mysql.state import learn
from session.identity import mint_race
from session.race_record import RaceRecord
from tests.persistence.mysql_shards import ask, make_database, patient
from tests.persistence.samples import T0_MS, sample
from tests.session.races import over


@pytest.fixture
def options(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> MysqlOptions:
    """Two shards whose databases are empty."""
    name = fresh_name("upkeep")
    a, b = (make_database(address, name) for address in mariadb_servers["shards"])
    return patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"))


def at(ms: float) -> Callable[[], float]:
    return lambda: ms


async def test_a_migration_makes_every_database_a_shard_with_partitions(options: MysqlOptions) -> None:
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        before = await upkeep.status()
        assert {name: (there, len(missing)) for name, (there, missing) in before.items()} == {
            name: ([], len(migrations("results"))) for name in ("a", "b")
        }
        assert await upkeep.migrate() == {"a": migrations("results"), "b": migrations("results")}
        assert await upkeep.migrate() == {"a": [], "b": []}
        for there, missing in (await upkeep.status()).values():
            assert (len(there), missing) == (len(migrations("results")), [])
        for found in (await upkeep.partitions()).values():
            assert [one.name for one in found] == [
                *("p202606", "p202607", "p202608", "p202609", "p202610", "p202611", "p202612"),
                "pmax",
            ]
    for server in options.servers():
        pool = Pool(server.dsn, options)
        async with pool.connection(60_000) as connection:
            state, moves = await learn(connection, server.shard)
        await pool.close()
        state.check(server.shard, options.shard_map())
        assert moves == []


async def test_a_database_is_one_shard_for_ever(options: MysqlOptions) -> None:
    async with Upkeep(options) as upkeep:
        await upkeep.migrate()
    a, b = (text.split()[2] for text in options.shards)
    async with Upkeep(patient(shards=(f"a 0-2047 {b}", f"b 2048-4095 {a}"))) as upkeep:
        with pytest.raises(StoreError, match="'a' is shard 'b'"):
            await upkeep.migrate()


async def test_partitions_are_kept_ahead_by_whoever_comes_first(options: MysqlOptions) -> None:
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.migrate()
    async with Upkeep(options, clock_ms=at(T0_MS + 31 * DAY_MS)) as upkeep:
        assert await upkeep.ensure_partitions() == {"a": ["p202701"], "b": ["p202701"]}
        assert await upkeep.ensure_partitions() == {"a": [], "b": []}


async def test_how_many_partitions_are_ahead_is_known_where_they_cannot_be_made_too(options: MysqlOptions) -> None:
    """Months later somebody has the lock: it is told what is left. Of a shard that was never reached nothing is."""
    (a, _) = options.servers()
    pool = Pool(a.dsn, options)
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        assert upkeep.ahead == {}
        await upkeep.migrate()
        await upkeep.scheduled()
        assert upkeep.ahead == dict.fromkeys(("a", "b"), options.partitions_ahead)
    async with pool.connection(60_000) as connection, locked(connection, "partitions", wait_s=0):
        for months, left in ((2, 1), (3, 0), (9, 0)):
            async with Upkeep(options, clock_ms=at(T0_MS + months * 31 * DAY_MS)) as upkeep:
                await upkeep.scheduled()
                assert upkeep.ahead == {"a": left, "b": options.partitions_ahead}
    await pool.close()
    away = patient(shards=("a 0-2047 mysql://u@127.0.0.1:1/d", options.shards[1]))
    async with Upkeep(away, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.scheduled()
        assert upkeep.ahead.keys() == {"b"}


async def test_the_scheduled_run_deletes_bests_of_long_ago_alone(options: MysqlOptions) -> None:
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.migrate()
    server = options.servers()[0]
    bests = [
        ("day", "2026-08-16"),
        ("day", "2026-08-17"),
        ("week", "2024-08-31"),
        ("week", "2024-09-01"),
        ("all", "1970-01-01"),
    ]
    for user in range(1, 4):
        for period, starts in bests:
            ask(
                server.dsn,
                f"INSERT INTO personal_bests VALUES ({user}, 'time-15-en', '{period}', '{starts}', x'00', 1, 1)",
            )
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.scheduled()
    kept = ask(
        server.dsn,
        "SELECT CONCAT(period), CONCAT(starts) FROM personal_bests GROUP BY period, starts ORDER BY period, starts",
    )
    assert kept == [bests[1], bests[3], bests[4]]


async def test_the_scheduled_run_passes_where_another_is_at_it_or_a_shard_is_away(options: MysqlOptions) -> None:
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.migrate()
    (a, _) = options.servers()
    away = patient(shards=("a 0-2047 mysql://u@127.0.0.1:1/d", options.shards[1]))
    async with Upkeep(away, clock_ms=at(T0_MS + 31 * DAY_MS)) as upkeep:
        await upkeep.scheduled()
    async with Upkeep(options) as upkeep:
        assert {name: found[-2].name for name, found in (await upkeep.partitions()).items()} == {
            "a": "p202612",
            "b": "p202701",
        }
    pool = Pool(a.dsn, options)
    async with (
        pool.connection(60_000) as connection,
        locked(connection, "partitions", wait_s=0),
        Upkeep(options, clock_ms=at(T0_MS + 31 * DAY_MS)) as upkeep,
    ):
        await upkeep.scheduled()
        assert [one.name for one in (await upkeep.partitions())["a"]][-2] == "p202612"
    await pool.close()


async def test_the_scheduled_run_deletes_races_older_than_hot_results(options: MysqlOptions) -> None:
    """With their racers; they have no partitions to be dropped."""
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.migrate()
    day_ms = T0_MS - T0_MS % DAY_MS
    races = [mint_race(number * 2**50) for number in range(450)]
    begun_ms = [day_ms - options.hot_days * DAY_MS + (1 if number % 2 else -10_000) for number in range(len(races))]
    records = [RaceRecord.of(over(1, 2, race=race, begun_ms=ms)) for race, ms in zip(races, begun_ms, strict=True)]
    async with MysqlResults(options, clock_ms=at(T0_MS)) as store:
        await store.races.write(records)
        async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
            await upkeep.scheduled()
        kept = [await store.races.of(race) is not None for race in races[:20]]
        assert kept == [number % 2 == 1 for number in range(20)]
        page = await store.races.by_user(1, limit=100)
        assert len(page.races) == 100
        for server in options.servers():
            (rows,), (racers,) = (
                ask(server.dsn, f"SELECT COUNT(*) FROM {table}") for table in ("races", "race_racers")
            )
            assert 2 * rows[0] == racers[0] > 0


async def test_the_scheduled_run_deletes_what_was_said_of_results_that_are_dropped(options: MysqlOptions) -> None:
    """They count no more for their user. Those that came late are there; while a bucket moves nothing is deleted."""
    june_ms = T0_MS - 85 * DAY_MS
    users = (7, 8, -9)
    dropped, late, hot = (
        [sample(number, user=user, created_ms=ms) for user in users for number in (n, n + 1)]
        for n, ms in ((0, june_ms), (2, june_ms), (4, T0_MS))
    )
    async with Upkeep(options, clock_ms=at(T0_MS)) as upkeep:
        await upkeep.migrate()
        async with MysqlResults(options, clock_ms=at(T0_MS)) as store:
            await store.write([*dropped, *hot])
            for server in options.servers():
                pool = Pool(server.dsn, options)
                async with pool.connection(60_000) as connection:
                    await drop(connection, "p202606")
                await pool.close()
            await store.write(late)
            for result in (*dropped, *late, *hot):
                assert await store.publish(result.session, result.user)
            await store.unpublish(dropped[0].session)
            moving = "INSERT INTO bucket_moves (bucket, source, target, phase, number) VALUES (1, 'a', 'b', '{}', 1)"
            for server in options.servers():
                ask(server.dsn, moving.format("copying"))
            await upkeep.scheduled()
            words = said(options)
            assert words == {result.session for result in (*dropped, *late, *hot)}
            for server in options.servers():
                ask(server.dsn, "UPDATE bucket_moves SET phase = 'done'")
            await upkeep.scheduled()
            assert said(options) == {result.session for result in (*late, *hot)}
            for user in users:
                there = {result.session for result in (*late, *hot) if result.user == user}
                assert set(await store.public_of(user)) == there


def said(options: MysqlOptions) -> set[bytes]:
    """The results of which it was ever said who may see them."""
    rows = [row for server in options.servers() for row in ask(server.dsn, "SELECT id FROM public_results")]
    return {session for (session,) in rows}
