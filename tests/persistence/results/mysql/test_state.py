import asyncio
from collections.abc import AsyncIterator

import pytest

from persistence.mysql import Pool
from persistence.mysql.dsn import Dsn
from persistence.mysql.migrating import migrate
from persistence.mysql.shards import Move, Phase, ShardMap
from persistence.results.mysql.state import claim, learn
from tests.persistence.mysql_shards import ask, patient

LONG_MS = 60_000
MOVE = Move(7, "a", "b", Phase.COPYING, 1)


@pytest.fixture
async def pool(database: Dsn) -> AsyncIterator[Pool]:
    opened = Pool(database, patient())
    async with opened.connection(LONG_MS) as connection:
        await migrate(connection, "results")
        await claim(connection, "a", ShardMap.of([("a", "0-4095"), ("b", "-")]), hot_since=20_000)
    yield opened
    await opened.close()


def waits(database: Dsn) -> bool:
    """Whether somebody waits for a table of this database."""
    return any(row[3] == database.database and "metadata" in str(row[6]) for row in ask(database, "SHOW PROCESSLIST"))


async def test_a_state_and_the_moves_are_of_one_moment(pool: Pool, database: Dsn) -> None:
    """A move that is told of while they are read is in both or in neither."""
    async with pool.connection(LONG_MS) as reader, pool.connection(LONG_MS) as holder:
        await reader.run("SET SESSION lock_wait_timeout = 600")
        await holder.run("LOCK TABLES bucket_moves WRITE")  # it is read second
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(learn(reader, "a"))
            while not waits(database):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            ask(database, "UPDATE shard_state SET moved = 1")
            await holder.run("INSERT INTO bucket_moves VALUES (7, 'a', 'b', 'copying', 1)")
            await holder.run("UNLOCK TABLES")
        state, moves = reading.result()
        assert (state.moved, moves) == (0, [])
        state, moves = await learn(reader, "a")
        assert (state.moved, moves) == (1, [MOVE])
