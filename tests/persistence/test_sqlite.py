import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.sqlite import SqliteThreads, is_damaged, migrate, open_file, placeholders, store_error, transaction

STEPS = (["CREATE TABLE a (x INTEGER)"], ["CREATE TABLE b (x INTEGER)", "INSERT INTO b VALUES (1)"])


def pragma(connection: sqlite3.Connection, name: str) -> object:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def test_a_file_is_private_and_every_commit_is_on_the_disk(tmp_path: Path) -> None:
    connection = open_file(tmp_path / "x.db")
    assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o600
    assert (pragma(connection, "journal_mode"), pragma(connection, "synchronous")) == ("wal", 2)
    connection.close()


def test_an_exclusive_file_has_one_connection(tmp_path: Path) -> None:
    first = open_file(tmp_path / "x.db", exclusive=True)
    migrate(first, tmp_path / "x.db", STEPS)
    second = sqlite3.connect(tmp_path / "x.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("SELECT * FROM a")
    second.close()
    first.close()


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = open_file(path)
    migrate(connection, path, STEPS[:1])
    connection.execute("INSERT INTO a VALUES (5)")
    migrate(connection, path, STEPS)
    migrate(connection, path, STEPS)
    assert pragma(connection, "user_version") == 2
    assert connection.execute("SELECT a.x, b.x FROM a, b").fetchall() == [(5, 1)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = open_file(path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, (*STEPS, ["nonsense"]))
    assert pragma(connection, "user_version") == 0
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = open_file(path)
    migrate(connection, path, STEPS)
    with pytest.raises(StoreError, match=r"newer Typegate \(schema 2; this one knows up to 1\)") as raised:
        migrate(connection, path, STEPS[:1])
    assert not raised.value.retriable
    assert pragma(connection, "user_version") == 2
    connection.close()


def test_another_applications_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    connection = open_file(path)
    with pytest.raises(StoreError, match="another application"):
        migrate(connection, path, STEPS)
    assert [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")] == ["theirs"]
    connection.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    connection = open_file(tmp_path / "x.db")
    migrate(connection, tmp_path / "x.db", STEPS)

    def fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO a VALUES (1)")
            connection.execute("INSERT INTO missing VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        fail()
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "parameters", "retriable"),
    [
        ("INSERT INTO strict VALUES ('x')", (), False),
        ("INSERT INTO a VALUES (?)", (object(),), False),
        ("INSERT INTO missing VALUES (1)", (), True),
    ],
    ids=["constraint", "type", "schema"],
)
def test_an_error_says_whether_the_row_is_at_fault(
    tmp_path: Path, statement: str, parameters: tuple[object, ...], retriable: bool
) -> None:
    connection = open_file(tmp_path / "x.db")
    connection.execute("CREATE TABLE a (x)")
    connection.execute("CREATE TABLE strict (x INTEGER CHECK (x > 1) ) STRICT")
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute(statement, parameters)
    error = store_error(raised.value, "what we did")
    assert str(error).startswith("what we did: ")
    assert error.retriable is retriable
    connection.close()


def test_a_locked_and_a_full_file_are_retriable_and_a_broken_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = open_file(path)
    connection.execute("CREATE TABLE a (x)")
    connection.execute("PRAGMA max_page_count = 3").fetchone()
    with pytest.raises(sqlite3.Error) as full:
        connection.execute("INSERT INTO a VALUES (zeroblob(100000))")
    assert store_error(full.value, "x").retriable
    connection.close()
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(sqlite3.Error) as broken:
        open_file(path)
    assert is_damaged(broken.value)
    assert not is_damaged(full.value)


def test_placeholders() -> None:
    assert placeholders(2, 3) == "(?,?,?),(?,?,?)"


@pytest.fixture
async def threads(tmp_path: Path) -> AsyncIterator[SqliteThreads]:
    opened = SqliteThreads("x", partial(open_file, tmp_path / "x.db"), max_waiting=2)
    await opened.open()
    yield opened
    await opened.close()


async def test_jobs_run_in_the_order_given_and_answer(threads: SqliteThreads) -> None:
    seen: list[int] = []
    threads.post(lambda _: seen.append(1))
    assert await threads.run(lambda connection: connection.execute("SELECT 7").fetchone()) == (7,)
    threads.post(lambda _: seen.append(2))
    await threads.run(lambda _: seen.append(3))
    assert seen == [1, 2, 3]


async def test_what_a_job_raises_reaches_who_asked(threads: SqliteThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda _: 1 / 0)
    with pytest.raises(StoreError, match="x: no such table"):
        await threads.run(lambda connection: connection.execute("SELECT * FROM missing"))


async def test_a_posted_job_that_fails_ends_nothing(threads: SqliteThreads) -> None:
    threads.post(lambda _: 1 / 0)
    assert await threads.run(lambda _: 5) == 5


async def test_jobs_that_wait_are_limited(threads: SqliteThreads) -> None:
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait(10)

    threads.post(block)
    await begun.wait()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(threads.run(lambda _: 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="2 requests are waiting already") as raised:
            await threads.run(lambda _: 1)
        assert raised.value.retriable
        gate.set()
    assert [task.result() for task in waiting] == [1, 1]


async def test_who_was_cancelled_is_not_answered(threads: SqliteThreads) -> None:
    gate = threading.Event()
    asking = asyncio.get_running_loop().create_task(threads.run(lambda _: gate.wait(10)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    gate.set()
    assert await threads.run(lambda _: 1) == 1


async def test_closing_runs_what_was_given_before_and_then_nothing(tmp_path: Path) -> None:
    opened = SqliteThreads("x", partial(open_file, tmp_path / "x.db"), threads=3)
    await opened.open()
    seen: list[int] = []

    def note(i: int, _: sqlite3.Connection) -> None:
        seen.append(i)

    for i in range(100):
        opened.post(partial(note, i))
    await opened.close()
    await opened.close()
    assert sorted(seen) == list(range(100))
    with pytest.raises(StoreError, match="x is closed"):
        await opened.run(lambda _: 1)


async def test_a_file_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    opened = SqliteThreads("x", partial(open_file, tmp_path / "none" / "x.db"), threads=2)
    with pytest.raises(FileNotFoundError):
        await opened.open()
    await opened.close()
