"""A shard as a process sees it: its primary, its replicas, and what is known of its state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from persistence.mysql.errors import MysqlError
from persistence.mysql.migrating import check_schema
from persistence.mysql.options import MysqlOptions, Server
from persistence.mysql.pool import Connection, Pool
from persistence.mysql.shards import Move, ShardMap
from persistence.results.mysql.rows import Origin
from persistence.results.mysql.state import ShardState, learn
from persistence.results.mysql.writing import find_origin

__all__ = ["Shard"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

_MOST_ORIGINS = 10_000


class Shard:
    """One shard. Writes go to its primary; reads to whichever of its servers answers, in the order that is asked for.

    `state` is what was last learnt of it; None before it was reached for the first time.
    """

    def __init__(self, name: str, servers: Sequence[Server], options: MysqlOptions, shard_map: ShardMap) -> None:
        self.name = name
        self.state: ShardState | None = None
        self.moves: list[Move] = []
        self._options = options
        self._shard_map = shard_map
        (primary,) = (server for server in servers if not server.replica)
        self._writing = Pool(primary.dsn, options)
        self._primary = Pool(primary.dsn, options)
        self._replicas = [Pool(server.dsn, options) for server in servers if server.replica]
        self._origins: dict[Origin, int] = {}
        self._turn = 0

    async def close(self) -> None:
        """Close all connections."""
        for pool in (self._writing, self._primary, *self._replicas):
            await pool.close()

    async def learn(self) -> ShardState:
        """Read its state anew. Raises `MapRefused` where it is not the shard, or not of the map, of the settings."""

        async def job(connection: Connection) -> tuple[ShardState, list[Move]]:
            if self.state is None:
                await check_schema(connection, "results")
            return await learn(connection, self.name)

        state, moves = await self.read(job)
        state.check(self.name, self._shard_map)
        self.state, self.moves = state, moves
        return state

    async def write(self, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a job on a connection to the primary."""
        async with self._writing.connection(self._options.write_ms) as connection:
            return await job(connection)

    async def read(self, job: Callable[[Connection], Awaitable[T]], *, history: bool = False) -> T:
        """Run a job that reads: `history` on a replica, else on the primary; where that is away, on any other.

        A replica may lack what was stored just now.
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
        async with pools[-1].connection(self._options.read_ms) as connection:
            return await job(connection)

    async def origins(self, wanted: set[Origin]) -> dict[Origin, int]:
        """The numbers of these origins in this shard."""
        if missing := wanted - self._origins.keys():
            if len(self._origins) > _MOST_ORIGINS:
                self._origins.clear()
                missing = wanted

            async def job(connection: Connection) -> None:
                # committed one by one, before any row names them: no transaction that fails takes them back
                for origin in missing:
                    self._origins[origin] = await find_origin(connection, origin)

            await self.write(job)
        return {origin: self._origins[origin] for origin in wanted}

    async def ping(self) -> None:
        """Raise `StoreError` where its primary does not answer."""
        if self.state is None:
            await self.learn()
        await self.write(lambda connection: connection.ask("SELECT 1 FROM shard_state"))
