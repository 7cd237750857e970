"""Databases of two shards, migrated once a session and emptied for each test; and content databases, one a test."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pytest
from pymysql.cursors import Cursor, DictCursor

from loadtest.servers.addresses import Addresses
from persistence.catalogue.upkeep import migrate_content
from persistence.mysql import MysqlOptions
from persistence.mysql.dsn import Dsn
from persistence.results.mysql import Upkeep
from tests.persistence.samples import T0_MS

_DATA = (
    "test_results",
    "test_results_late",
    "result_conflicts",
    "result_origins",
    "personal_bests",
    "user_progress",
    "bucket_moves",
    "guest_links",
    "account_guests",
    "public_results",
    "races",
    "race_racers",
    "user_names",
    "imports",
    "imported_results",
    "import_faults",
)


def patient(**options: Any) -> MysqlOptions:
    """Settings for tests that are not about time: the machine may be busy with other tests."""
    return MysqlOptions(wait_ms=60_000, connect_ms=60_000, write_ms=60_000, read_ms=60_000, **options)


class MysqlShards:
    """Two shards, `a` and `b`, with half of the buckets each."""

    def __init__(self, options: MysqlOptions) -> None:
        self.options = options
        self.dsns = {server.shard: server.dsn for server in options.servers() if not server.replica}

    def ask(self, shard: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in a shard's database; the rows of the last one."""
        return ask(self.dsns[shard], *statements)

    def clear(self) -> None:
        """Make both as if they had just been migrated."""
        for shard in self.dsns:
            self.ask(shard, *(f"DELETE FROM {table}" for table in _DATA), "UPDATE shard_state SET moved = 0")


def ask(dsn: Dsn, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements in a database; the rows of the last one."""
    with _connected(dsn) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def _connected(dsn: Dsn) -> "pymysql.Connection[Cursor]":
    return pymysql.connect(
        host=dsn.host,
        port=dsn.port,
        user=dsn.user,
        password=dsn.password or "",
        database=dsn.database,
        autocommit=True,
    )


def plan(dsn: Dsn, select: str) -> list[dict[str, Any]]:
    """How a database would carry out a SELECT: of each table `partitions`, `key`, `Extra` and what else it tells."""
    ((version,),) = ask(dsn, "SELECT VERSION()")
    explain = "EXPLAIN PARTITIONS" if "MariaDB" in version else "EXPLAIN FORMAT = TRADITIONAL"
    with _connected(dsn) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute(f"{explain} {select}")
        return list(cursor.fetchall())


def make_database(address: str, name: str) -> str:
    """Make a database on a server; its address."""
    ask(Dsn.parse(address + "information_schema"), f"CREATE DATABASE {name}")
    return address + name


def migrated(options: MysqlOptions) -> MysqlOptions:
    """Migrate the shards of these settings, as of when samples were typed."""

    async def migrating() -> None:
        async with Upkeep(options, clock_ms=lambda: T0_MS) as upkeep:
            await upkeep.migrate()

    _run(migrating())
    return options


def _run(work: Coroutine[Any, Any, Any]) -> None:
    """Do it in a thread: whoever asks for a fixture may have a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def mysql_shards(mariadb_servers: Addresses) -> MysqlShards:
    """Two shards on the session's servers."""
    name = f"shards_{uuid.uuid4().hex[:12]}"
    a, b = (make_database(address, name) for address in mariadb_servers["shards"])
    return MysqlShards(migrated(patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"))))


@pytest.fixture
def content_database(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> str:
    """The address of a migrated content database of the test's own."""
    address = make_database(mariadb_servers["content"], fresh_name("content"))
    _run(migrate_content(patient(content=address)))
    return address
