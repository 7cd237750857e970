"""A shard as a process sees it: its primary and its replicas, how one learns its state, and how results get into it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar

import structlog

from persistence.errors import StoreError
from persistence.mysql.errors import MysqlError
from persistence.mysql.migrating import check_schema
from persistence.mysql.options import MysqlOptions, Server
from persistence.mysql.pool import Connection, Pool
from persistence.mysql.shards import Move, ShardMap
from persistence.results.bests import BestRules
from persistence.results.mysql.rows import Origin
from persistence.results.mysql.state import LOCKED_STATE, ShardState, learn, state_of
from persistence.results.mysql.writing import Candidate, Stale, find_origin, write
from persistence.results.port import Written

__all__ = ["Shard", "origins_on"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

_MOST_ORIGINS: Final = 10_000
_TRIES: Final = 8
"""Transactions that are begun again at once because they met another one; MySQL takes more of them than MariaDB."""


class Shard:
    """One shard. Writes go to its primary; reads to whichever of its servers answers, in the order asked for."""

    def __init__(
        self,
        name: str,
        options: MysqlOptions,
        *,
        servers: Sequence[Server],
        shard_map: ShardMap,
        rules: BestRules,
        chance: random.Random,
    ) -> None:
        self.name = name
        self._options = options
        self._shard_map = shard_map
        self._rules = rules
        self._chance = chance
        mine = [server for server in servers if server.shard == name]
        (primary,) = (server for server in mine if not server.replica)
        self._writing = Pool(primary.dsn, options)
        self._primary = Pool(primary.dsn, options)
        self._replicas = [Pool(server.dsn, options) for server in mine if server.replica]
        self._schema_known = False
        self._turn = 0

    async def close(self) -> None:
        """Close all connections."""
        for pool in (self._writing, self._primary, *self._replicas):
            await pool.close()

    async def learn(self) -> tuple[ShardState, list[Move]]:
        """Its state, and the moves that it knows.

        Raises `MapRefused` where it is not the shard, or not of the map, that the settings say.
        """

        async def job(connection: Connection) -> tuple[ShardState, list[Move]]:
            if not self._schema_known:
                await check_schema(connection, "results")
                self._schema_known = True
            return await learn(connection, self.name)

        state, moves = await self.read(job)
        state.check(self.name, self._shard_map)
        return state, moves

    async def store(self, candidates: Sequence[Candidate], state: ShardState) -> list[Written]:
        """Write results in one transaction, begun again where it met another one; what became of each, in their order.

        Raises `Stale` where the shard's state is another one than this, by which it was said that they belong here.
        Raises `StoreError`.
        """

        async def job(connection: Connection) -> list[Written]:
            return await write(
                connection,
                candidates,
                state=state,
                origins=await origins_on(connection, {one.origin for one in candidates}),
                rules=self._rules,
                max_conflicts=self._options.max_conflicts,
            )

        return await self._until_alone(job)

    async def change(self, job: Callable[[Connection], Awaitable[T]], state: ShardState) -> T:
        """Run a job in one transaction, begun again where it met another one.

        Raises `Stale` as `store` does. Raises `StoreError`.
        """

        async def transaction(connection: Connection) -> T:
            await connection.run("BEGIN")
            if state_of(await connection.ask(LOCKED_STATE), state.shard) != state:
                raise Stale
            done = await job(connection)
            await connection.run("COMMIT")
            return done

        return await self._until_alone(transaction)

    async def _until_alone(self, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a job on the primary, again where it met another transaction."""
        for tries in range(_TRIES):
            try:
                return await self.write(job)
            except MysqlError as error:
                if not (error.passing or error.duplicate) or tries + 1 == _TRIES:
                    raise
            await asyncio.sleep(self._chance.random() * 0.02 * 2**tries)
        raise AssertionError("the last try returns or raises")

    async def write(self, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a job on a connection to the primary."""
        async with self._writing.connection(self._options.write_ms) as connection:
            return await job(connection)

    async def read(
        self,
        job: Callable[[Connection], Awaitable[T]],
        *,
        history: bool = False,
        behind: Callable[[], None] | None = None,
    ) -> T:
        """Run a job that reads: `history` on a replica, else on the primary; where that is away, on any other.

        A replica may lack what was stored just now: `behind` is called where one is asked, and not for `history`.
        """
        replicas = self._replicas
        if replicas:
            self._turn = (self._turn + 1) % len(replicas)
            replicas = replicas[self._turn :] + replicas[: self._turn]
        pools = [*replicas, self._primary] if history else [self._primary, *replicas]
        for pool in pools[:-1]:
            try:
                async with pool.connection(self._options.read_ms) as connection:
                    return await job(connection)
            except MysqlError as error:
                if not error.away:
                    raise
                log.warning("a database server is away; another one is asked", server=pool.name, why=str(error))
            if behind is not None and not history:
                behind()
        async with pools[-1].connection(self._options.read_ms) as connection:
            return await job(connection)

    async def check_replicas(self) -> None:
        """Raise `StoreError` where a replica does not answer, or is of another shard: reading would not tell."""
        for pool in self._replicas:
            try:
                async with pool.connection(self._options.read_ms) as connection:
                    state, _ = await learn(connection, self.name)
                state.check(self.name, self._shard_map)
            except StoreError as error:
                raise StoreError(f"the replica {pool.name} of shard {self.name!r}: {error}", retriable=True) from error

    async def ping(self) -> None:
        """Raise `StoreError` where its primary does not answer."""
        await self.learn()
        await self.write(lambda connection: connection.ask("SELECT 1 FROM shard_state"))


async def origins_on(connection: Connection, wanted: Collection[Origin]) -> dict[Origin, int]:
    """The numbers of these origins on a connection's server, for a transaction of its own that follows.

    They are remembered as long as the connection: a primary that takes another's place may lack what was committed
    last, and give a number to something else.
    """
    known: dict[Origin, int] = connection.memory
    if len(known) > _MOST_ORIGINS:
        known.clear()
    numbers = {}
    for origin in wanted:
        number = known.get(origin)
        if number is None:
            # committed one by one, before any row names them: no transaction that fails takes them back
            number = known[origin] = await find_origin(connection, origin)
        numbers[origin] = number
    return numbers
