"""Pools on real servers; those that are killed or paused are the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from loadtest.servers.certificate import write_certificate
from loadtest.servers.mariadb import MariaDbServer
from persistence.mysql import MysqlError, MysqlOptions, Pool
from persistence.mysql.dsn import Dsn
from tests.persistence.mysql_shards import ask, make_database
from tests.servers import skip_without

LONG_MS = 60_000


@asynccontextmanager
async def pool_of(dsn: Dsn, **options: Any) -> AsyncIterator[Pool]:
    pool = Pool(dsn, MysqlOptions(**{"connect_ms": LONG_MS} | options))
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def pool(database: Dsn) -> AsyncIterator[Pool]:
    async with pool_of(database, connections=2, wait_ms=LONG_MS) as opened:
        yield opened


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MariaDbServer]:
    skip_without("mariadb")
    with MariaDbServer(tmp_path) as server:
        make_database(server.dsn(), "d")
        yield server


async def test_what_is_asked_is_answered_in_plain_values(pool: Pool) -> None:
    async with pool.connection(LONG_MS) as connection:
        (row,) = await connection.ask(
            "SELECT 7, CAST(1.25 AS DECIMAL(7, 2)), 1e0 / 3, x'00ff', 'é', NULL, DATE '2026-09-21'"
        )
    assert row == (7, 1.25, 1 / 3, b"\x00\xff", "é", None, "2026-09-21")
    assert [type(value) for value in row[:2]] == [int, float]


async def test_statements_sent_at_once_are_answered_in_order(pool: Pool) -> None:
    async with pool.connection(LONG_MS) as connection:
        await connection.run("CREATE TABLE t (n INT PRIMARY KEY)")
        answers = await connection.run_all("INSERT INTO t VALUES (1), (2)", "SELECT n FROM t ORDER BY n", "SELECT 3")
    assert [list(rows) for rows in answers] == [[], [(1,), (2,)], [(3,)]]


async def test_the_first_statement_that_fails_is_the_last_that_is_run(pool: Pool) -> None:
    async with pool.connection(LONG_MS) as connection:
        await connection.run("CREATE TABLE t (n INT PRIMARY KEY)")
        with pytest.raises(MysqlError) as raised:
            await connection.run_all("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
        assert raised.value.duplicate
        assert await connection.ask("SELECT n FROM t") == ((1,),)


async def test_a_transaction_is_committed_at_its_end_and_rolled_back_by_an_error(pool: Pool, database: Dsn) -> None:
    ask(database, "CREATE TABLE t (n INT)")
    async with pool.transaction(LONG_MS) as connection:
        await connection.run("INSERT INTO t VALUES (1)")

    async def fail() -> None:
        async with pool.transaction(LONG_MS) as connection:
            await connection.run("INSERT INTO t VALUES (2)")
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await fail()
    assert ask(database, "SELECT n FROM t") == [(1,)]


async def test_what_blames_the_row_is_not_retriable_and_all_else_is(pool: Pool) -> None:
    async with pool.connection(LONG_MS) as connection:
        await connection.run("CREATE TABLE t (n TINYINT NOT NULL, name VARCHAR(3) CHARACTER SET ascii)")
    for statement, retriable in (
        ("INSERT INTO t VALUES (1000, 'a')", False),
        ("INSERT INTO t VALUES (1, 'long')", False),
        ("INSERT INTO t VALUES (1, 'é')", False),
        ("INSERT INTO t VALUES (NULL, 'a')", False),
        ("INSERT INTO missing VALUES (1)", True),
    ):
        with pytest.raises(MysqlError) as raised:
            async with pool.connection(LONG_MS) as connection:
                await connection.run(statement)
        assert raised.value.retriable is retriable, statement
        assert not raised.value.away


async def test_more_callers_than_connections_wait_for_each_other(pool: Pool) -> None:
    seen: set[int] = set()

    async def one() -> None:
        async with pool.connection(LONG_MS) as connection:
            ((number,),) = await connection.ask("SELECT CONNECTION_ID()")
            seen.add(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(one())
    assert 1 <= len(seen) <= 2


async def test_who_waits_too_long_for_a_connection_is_told(database: Dsn) -> None:
    async with pool_of(database, connections=1, wait_ms=10) as pool, pool.connection(LONG_MS):
        with pytest.raises(MysqlError, match="all 1 connections are in use") as raised:
            async with pool.connection(LONG_MS):
                pass
    assert raised.value.retriable


async def test_who_would_wait_behind_too_many_fails_at_once(database: Dsn) -> None:
    async with pool_of(database, connections=1, max_waiting=1, wait_ms=LONG_MS) as pool, AsyncExitStack() as held:
        await held.enter_async_context(pool.connection(LONG_MS))

        async def wait() -> None:
            async with pool.connection(LONG_MS):
                pass

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await asyncio.sleep(0)  # it waits from here on
            with pytest.raises(MysqlError, match="1 requests wait for a connection already"):
                await wait()
            await held.aclose()


async def test_a_transaction_that_takes_too_long_is_given_up_and_rolled_back(pool: Pool, database: Dsn) -> None:
    """A lock that somebody holds: the transaction ends after its time, and leaves nothing behind."""
    ask(database, "CREATE TABLE t (n INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")

    async def change() -> None:
        async with pool.transaction(300) as connection:
            await connection.run("INSERT INTO t VALUES (2)")
            await connection.run("UPDATE t SET n = 3 WHERE n = 1")

    async with pool.transaction(LONG_MS) as holder:
        await holder.ask("SELECT n FROM t FOR UPDATE")
        with pytest.raises(MysqlError, match="no answer in time") as raised:
            await change()
        assert raised.value.retriable
    async with pool.transaction(LONG_MS) as connection:
        assert await connection.ask("SELECT n FROM t FOR UPDATE") == ((1,),)


async def test_who_gives_up_leaves_no_answer_for_another(database: Dsn) -> None:
    async with pool_of(database, connections=1, wait_ms=LONG_MS) as pool:

        async def slow() -> None:
            async with pool.connection(LONG_MS) as connection:
                begun.set()
                await connection.ask("SELECT SLEEP(60)")

        begun = asyncio.Event()
        task = asyncio.get_running_loop().create_task(slow())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        async with pool.connection(LONG_MS) as connection:
            assert await connection.ask("SELECT 1") == ((1,),)


async def test_a_killed_server_is_left_alone_for_a_moment_and_found_again(own_server: MariaDbServer) -> None:
    async with pool_of(Dsn.parse(own_server.dsn("d")), retry_ms=60_000) as pool:

        async def one() -> None:
            async with pool.connection(LONG_MS) as connection:
                assert await connection.ask("SELECT 1") == ((1,),)

        await one()
        own_server.kill()
        with pytest.raises(MysqlError) as raised:
            await one()  # on the connection that it had, unless that is known to be closed by now
        assert raised.value.away
        with pytest.raises(MysqlError, match="cannot connect"):
            await one()
        own_server.start()
        with pytest.raises(MysqlError, match="cannot connect"):
            await one()  # without a try: it is not time yet
        pool._away_until_s = 0.0
        await one()


async def test_a_server_that_hangs_costs_a_time_limit(own_server: MariaDbServer) -> None:
    async with pool_of(Dsn.parse(own_server.dsn("d")), connect_ms=200) as pool:
        own_server.pause()
        try:
            with pytest.raises(MysqlError, match="no answer in time") as raised:
                async with pool.connection(LONG_MS):
                    pass
        finally:
            own_server.resume()
    assert raised.value.away


async def test_an_idle_connection_that_the_server_closed_is_not_used(pool: Pool, database: Dsn) -> None:
    async with pool.connection(LONG_MS) as connection:
        ((number,),) = await connection.ask("SELECT CONNECTION_ID()")
        reader = connection.raw._reader
    ask(database, f"KILL {number}")
    await reader.read()  # to the end of what the server had to say
    async with pool.connection(LONG_MS) as connection:
        ((other,),) = await connection.ask("SELECT CONNECTION_ID()")
    assert other != number


async def test_a_wrong_password_and_a_missing_database_are_told(database: Dsn) -> None:
    for dsn, why in (
        (replace(database, password="wrong"), "Access denied"),
        (replace(database, database="missing_database"), "Unknown database"),
    ):
        async with pool_of(dsn) as pool:
            with pytest.raises(MysqlError, match=why) as raised:
                async with pool.connection(LONG_MS):
                    pass
            assert raised.value.retriable
            assert "wrong" not in str(raised.value)


async def test_a_server_without_tls_is_refused_where_tls_was_asked_for(database: Dsn, tmp_path: Path) -> None:
    authority, _ = write_certificate(tmp_path)
    async with pool_of(replace(database, ca=authority)) as pool:
        with pytest.raises(MysqlError, match="offers no TLS"):
            async with pool.connection(LONG_MS):
                pass


async def test_a_closed_pool_says_so(database: Dsn) -> None:
    async with pool_of(database) as pool, pool.connection(LONG_MS):
        pass
    with pytest.raises(MysqlError, match="is closed") as raised:
        async with pool.connection(LONG_MS):
            pass
    assert not raised.value.retriable


async def test_a_warning_is_logged_and_no_error(pool: Pool) -> None:
    """The driver would tell it as a Python warning, and nobody knows of what statement."""
    async with pool.connection(LONG_MS) as connection:
        with capture_logs() as logs:
            assert await connection.ask("SELECT CAST('7 apples' AS SIGNED)") == ((7,),)
    (told,) = logs
    assert "7 apples" in told["warning"]


async def test_a_warning_amid_statements_sent_at_once_costs_no_answer(pool: Pool) -> None:
    async with pool.connection(LONG_MS) as connection:
        answers = await connection.run_all("SELECT 1", "SELECT CAST('7 apples' AS SIGNED)", "SELECT 3")
    assert answers == [((1,),), ((7,),), ((3,),)]


async def test_a_connection_asked_for_with_tls_is_encrypted(tmp_path: Path) -> None:
    skip_without("mariadb")
    certificate, key = write_certificate(tmp_path)
    with MariaDbServer(tmp_path / "server", f"--ssl-cert={certificate}", f"--ssl-key={key}") as server:
        make_database(server.dsn(), "d")
        dsn = replace(Dsn.parse(server.dsn("d")), ca=certificate)
        async with pool_of(dsn) as pool, pool.connection(LONG_MS) as connection:
            ((_, cipher),) = await connection.ask("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cipher
