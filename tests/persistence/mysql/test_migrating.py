import asyncio
from collections.abc import AsyncIterator

import pytest

from persistence.errors import StoreError
from persistence.mysql import Connection, Pool
from persistence.mysql.dsn import Dsn
from persistence.mysql.migrating import Schema, applied, check_schema, locked, migrate, migrations
from tests.persistence.mysql_shards import ask, patient

LONG_MS = 60_000
SCHEMAS: tuple[Schema, ...] = ("results", "content")


@pytest.fixture
async def pool(database: Dsn) -> AsyncIterator[Pool]:
    opened = Pool(database, patient())
    yield opened
    await opened.close()


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    async with pool.connection(LONG_MS) as opened:
        yield opened


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_an_empty_database_gets_every_migration_once(connection: Connection, schema: Schema) -> None:
    assert await applied(connection) == []
    done = await migrate(connection, schema)
    assert done == migrations(schema)
    assert await migrate(connection, schema) == []
    assert [one.version for one in await applied(connection)] == [one.version for one in done]
    await check_schema(connection, schema)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_migration_that_was_cut_off_is_begun_again(
    connection: Connection, database: Dsn, schema: Schema
) -> None:
    await migrate(connection, schema)
    ask(database, "DELETE FROM schema_migrations")
    assert await migrate(connection, schema) == migrations(schema)


async def test_two_runs_at_once_do_each_migration_once(pool: Pool) -> None:
    async def run() -> int:
        async with pool.connection(LONG_MS) as connection:
            return len(await migrate(connection, "results"))

    assert sorted(await asyncio.gather(run(), run(), run())) == [0, 0, len(migrations("results"))]


async def test_a_database_that_was_never_migrated_is_refused_with_what_to_do(connection: Connection) -> None:
    with pytest.raises(StoreError, match=r"lacks 0001_results, .*; run `typegate migrate up`"):
        await check_schema(connection, "results")


async def test_a_newer_database_is_refused(connection: Connection, database: Dsn) -> None:
    await migrate(connection, "results")
    ask(database, "INSERT INTO schema_migrations VALUES (9999, 'later', x'00', NOW(3))")
    for attempt in (check_schema, migrate):
        with pytest.raises(StoreError, match=r"9999 \(later\) by a newer Typegate"):
            await attempt(connection, "results")


async def test_a_migration_that_was_changed_after_it_was_applied_is_told(connection: Connection, database: Dsn) -> None:
    await migrate(connection, "results")
    ask(database, "UPDATE schema_migrations SET digest = x'00112233445566778899aabbccddeeff'")
    with pytest.raises(StoreError, match="0001_results was changed"):
        await migrate(connection, "results")


async def test_a_lock_is_one_process_and_ends_with_its_connection(pool: Pool) -> None:
    async def cut_off(other: Connection) -> None:
        async with pool.connection(LONG_MS) as connection, locked(connection, "x", wait_s=0):
            with pytest.raises(StoreError, match="another process has the lock 'x'"):
                await locked(other, "x", wait_s=0).__aenter__()
            async with locked(other, "y", wait_s=0):
                pass
            raise RuntimeError("cut off")

    async with pool.connection(LONG_MS) as other:
        with pytest.raises(RuntimeError, match="cut off"):
            await cut_off(other)
        async with locked(other, "x", wait_s=60):
            pass


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    for schema in SCHEMAS:
        known = migrations(schema)
        assert [one.version for one in known] == list(range(1, len(known) + 1))
        assert all(one.statements for one in known)
