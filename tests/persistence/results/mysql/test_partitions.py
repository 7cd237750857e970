from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Literal

import pytest

from persistence.errors import StoreError
from persistence.mysql import Connection, Pool
from persistence.mysql.dsn import Dsn
from persistence.mysql.migrating import locked, migrate
from persistence.mysql.shards import ShardMap
from persistence.results.mysql.partitions import drop, ensure, first_day, partitions
from persistence.results.mysql.state import claim, learn
from tests.persistence.mysql_shards import ask, patient, plan

LONG_MS = 60_000
By = Literal["month", "day"]


def ms(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def day(text: str) -> int:
    return int(ms(text) // 86_400_000)


@pytest.fixture
async def pool(database: Dsn) -> AsyncIterator[Pool]:
    """A shard without partitions but `pmax`, hot since August."""
    opened = Pool(database, patient())
    async with opened.connection(LONG_MS) as connection:
        await migrate(connection, "results")
        await claim(connection, "a", ShardMap.of([("a", "0-4095")]), hot_since=day("2026-08-01"))
    yield opened
    await opened.close()


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.connection(LONG_MS) as opened:
        yield opened


async def make(
    connection: Connection, now: str, *, ahead: int = 2, by: By = "month", since: str = "2026-08-01"
) -> list[str]:
    return await ensure(connection, now_ms=ms(now), ahead=ahead, by=by, since=day(since))


async def names(connection: Connection) -> list[str]:
    return [one.name for one in await partitions(connection)]


@pytest.mark.parametrize(
    ("now", "by", "hot_days", "first"),
    [
        ("2026-11-26T10:00", "month", 0, "2026-11-01"),
        ("2026-11-26T10:00", "month", 90, "2026-08-01"),
        ("2026-03-01", "month", 1, "2026-02-01"),
        ("2026-11-26T10:00", "day", 90, "2026-08-28"),
    ],
)
def test_the_first_day_is_that_of_the_partition(now: str, by: By, hot_days: int, first: str) -> None:
    assert first_day(ms(now), by=by, hot_days=hot_days) == day(first)


async def test_months_are_made_from_the_first_hot_one_to_those_ahead(connection: Connection) -> None:
    made = await make(connection, "2026-11-26")
    assert made == ["p202608", "p202609", "p202610", "p202611", "p202612", "p202701"]
    assert await names(connection) == [*made, "pmax"]
    assert [one.until for one in await partitions(connection)][-3:] == [day("2027-01-01"), day("2027-02-01"), None]


async def test_what_is_there_is_left_and_what_is_missing_is_added(connection: Connection) -> None:
    await make(connection, "2026-11-26")
    assert await make(connection, "2026-11-30") == []
    assert await make(connection, "2026-12-01") == ["p202702"]
    assert await make(connection, "2026-10-01") == [], "a clock that went back takes nothing away"


async def test_days_as_a_setting_follow_months_and_months_days(connection: Connection) -> None:
    await make(connection, "2026-09-29", ahead=1)
    assert (await names(connection))[-2] == "p202610"
    assert await make(connection, "2026-10-31", ahead=2, by="day") == ["p20261101", "p20261102"]
    assert await make(connection, "2026-11-01", ahead=1, by="month") == ["p202611", "p202612"]
    assert [one.until for one in await partitions(connection)][-3:] == [day("2026-12-01"), day("2027-01-01"), None]


async def test_days_from_the_start_hold_each_its_own(connection: Connection, database: Dsn) -> None:
    """From the first hot day on; a day begins at its midnight, and a range reads its own days alone."""
    made = await make(connection, "2026-03-01T23:59", ahead=2, by="day", since="2026-02-27")
    assert made == ["p20260227", "p20260228", "p20260301", "p20260302", "p20260303"]
    assert await make(connection, "2026-03-02", ahead=2, by="day", since="2026-02-27") == ["p20260304"]
    insert(database, "2026-02-28 23:59:59.999", "2026-03-01 00:00:00.000", "2026-03-05 00:00:00.000")
    for name, rows in (("p20260227", []), ("p20260228", [1]), ("p20260301", [2]), ("p20260302", []), ("pmax", [3])):
        assert ids(database, name) == rows
    assert await make(connection, "2026-03-04", ahead=2, by="day", since="2026-02-27") == ["p20260305", "p20260306"]
    assert (ids(database, "p20260305"), ids(database, "pmax")) == ([3], [])
    (told,) = plan(
        database,
        "SELECT id FROM test_results WHERE user_id = 7 "
        "AND created_at >= '2026-02-28 12:00' AND created_at < '2026-03-02'",
    )
    assert told["partitions"] == "p20260228,p20260301"


async def test_of_days_the_oldest_is_dropped_alone(connection: Connection) -> None:
    await make(connection, "2026-08-02", ahead=1, by="day")
    await drop(connection, "p20260801")
    assert await names(connection) == ["p20260802", "p20260803", "pmax"]
    state, _ = await learn(connection, "a")
    assert state.hot_since == day("2026-08-02")


async def test_a_clock_that_jumps_over_weeks_leaves_no_day_out(connection: Connection) -> None:
    """As after workers have not run for long."""
    await make(connection, "2026-08-01", ahead=1, by="day")
    made = await make(connection, "2026-09-30", ahead=1, by="day")
    assert (len(made), made[0], made[-1]) == (60, "p20260803", "p20261001")


def insert(database: Dsn, *instants: str) -> None:
    """Rows with the ids 1, 2, ... of these instants."""
    row = "(x'{:032x}', '{}', 7, NULL, 'time', 30, 'en', 1, 1, 1, 0, 1, 'ok', 0, 0, 1, x'00', NULL, x'00', 1)"
    ask(database, "INSERT INTO test_results VALUES " + ", ".join(row.format(*one) for one in enumerate(instants, 1)))


def ids(database: Dsn, partition: str) -> list[int]:
    """What lies in a partition."""
    return sorted(
        int(value, 16) for (value,) in ask(database, f"SELECT HEX(id) FROM test_results PARTITION ({partition})")
    )


async def test_rows_that_lie_in_pmax_are_moved_to_their_partition(connection: Connection, database: Dsn) -> None:
    insert(database, "2026-08-31 23:59:59.999", "2026-09-01 00:00:00.000")
    await make(connection, "2026-09-15", ahead=1)
    for name, rows in (("p202608", [1]), ("p202609", [2]), ("pmax", [])):
        assert ids(database, name) == rows


async def test_one_process_is_at_it_at_a_time(connection: Connection, pool: Pool) -> None:
    async with pool.connection(LONG_MS) as other, locked(other, "partitions", wait_s=0):
        with pytest.raises(StoreError, match="another process has the lock 'partitions'") as raised:
            await make(connection, "2026-11-26")
    assert raised.value.retriable


async def test_the_oldest_is_dropped_with_its_rows_and_late_ones_go_elsewhere(connection: Connection) -> None:
    await make(connection, "2026-11-26")
    await drop(connection, "p202608")
    assert (await names(connection))[0] == "p202609"
    state, _ = await learn(connection, "a")
    assert state.hot_since == day("2026-09-01")


@pytest.mark.parametrize("name", ["p202609", "pmax", "p202608; DROP TABLE test_results"])
async def test_no_other_is_dropped(connection: Connection, name: str) -> None:
    await make(connection, "2026-11-26")
    with pytest.raises(StoreError, match="is not the oldest partition; that is p202608"):
        await drop(connection, name)
    assert (await names(connection))[0] == "p202608"


async def test_a_dropping_waits_for_transactions_that_know_the_old_state(connection: Connection, pool: Pool) -> None:
    """They hold the state; one that begins later sees that its result is late."""
    await make(connection, "2026-11-26")
    async with pool.transaction(LONG_MS) as writer:
        await writer.ask("SELECT * FROM shard_state LOCK IN SHARE MODE")
        await connection.run("SET innodb_lock_wait_timeout = 1")
        with pytest.raises(StoreError, match="Lock wait timeout"):
            await drop(connection, "p202608")
    assert (await names(connection))[0] == "p202608"


async def test_a_table_that_was_changed_by_hand_is_told(connection: Connection, database: Dsn) -> None:
    ask(database, "ALTER TABLE test_results REMOVE PARTITIONING")
    with pytest.raises(StoreError, match="no partition pmax"):
        await partitions(connection)
