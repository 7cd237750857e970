"""What is done to the shards' databases beside all traffic: migrations, partitions kept ahead, what is old deleted."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from persistence.errors import StoreError
from persistence.mysql.literals import day, text
from persistence.mysql.migrating import Applied, Migration, locked, migrate, status
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool
from persistence.mysql.shards import Phase, ShardMap
from persistence.race_records.mysql import delete_old
from persistence.results.bests import DAY_MS
from persistence.results.mysql import public
from persistence.results.mysql.partitions import Partition, ensure, first_day, partitions
from persistence.results.mysql.state import LOCKED_STATE, claim, learn, state_of

__all__ = ["Upkeep"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

_LONGEST_MS: Final = 24 * 3_600_000
"""Migrations and new partitions take as long as they take."""
_KEPT_DAYS: Final = (("day", 35), ("week", 750))
"""How long bests of a period are kept; those of all time, for good. A best of all time whose verdict falls is replaced
by the best of the weeks that are kept."""
_DELETED_AT_ONCE: Final = 1_000


class Upkeep:
    """The shards' databases, or those of them that are named. Every method goes through them one by one."""

    def __init__(self, options: MysqlOptions, *, clock_ms: Callable[[], float] = lambda: time.time() * 1000) -> None:
        self._options = options
        self._clock_ms = clock_ms
        self._pools: dict[str, Pool] = {}
        self._shard_map: ShardMap
        self._ahead: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        self._shard_map = self._options.shard_map()
        self._pools = {
            server.shard: Pool(server.dsn, self._options) for server in self._options.servers() if not server.replica
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def migrate(self) -> dict[str, list[Migration]]:
        """Bring every shard's schema up to date and make new databases shards; what was applied, by shard."""

        async def job(connection: Connection, name: str) -> list[Migration]:
            done = await migrate(connection, "results")
            since = first_day(self._clock_ms(), by=self._options.partition, hot_days=self._options.hot_days)
            await claim(connection, name, self._shard_map, hot_since=since)
            await self._ensure(connection, name)
            return done

        return await self._each(job)

    async def status(self) -> dict[str, tuple[list[Applied], list[Migration]]]:
        """The migrations that every shard has, and those that it lacks."""

        async def job(connection: Connection, name: str) -> tuple[list[Applied], list[Migration]]:
            return await status(connection, "results")

        return await self._each(job)

    async def ensure_partitions(self) -> dict[str, list[str]]:
        """Keep partitions ready ahead; the names of the new ones, by shard."""
        return await self._each(self._ensure)

    async def partitions(self) -> dict[str, list[Partition]]:
        """Every shard's partitions, the oldest first."""

        async def job(connection: Connection, name: str) -> list[Partition]:
            return await partitions(connection)

        return await self._each(job)

    @property
    def ahead(self) -> Mapping[str, int]:
        """How many partitions each shard has beyond the present one, as of when it could last be asked."""
        return self._ahead

    async def scheduled(self) -> None:
        """What is to be done from time to time, by any process and any number of them: one is at it, the others pass.

        Raises nothing: what could not be done is logged, and done the next time.
        """
        for name in self._pools:
            for work in (self._keep_up, self._count_ahead):
                try:
                    await self._on(name, work)
                except StoreError as error:
                    log.warning("a shard's upkeep is put off", shard=name, why=str(error))
                except Exception:
                    log.exception("a shard's upkeep failed", shard=name)

    async def _keep_up(self, connection: Connection, name: str) -> None:
        new = await self._ensure(connection, name)
        if new:
            log.info("made partitions of results", shard=name, partitions=new)
        await self._delete_old_bests(connection, name)
        await self._delete_old_races(connection, name)
        await self._delete_old_words(connection, name)

    async def _count_ahead(self, connection: Connection, name: str) -> None:
        today = self._clock_ms() // DAY_MS
        ends = [one.until for one in await partitions(connection) if one.until is not None and one.until > today]
        self._ahead[name] = max(0, len(ends) - 1)

    async def _ensure(self, connection: Connection, name: str) -> list[str]:
        state, _ = await learn(connection, name)
        state.check(name, self._shard_map)
        return await ensure(
            connection,
            now_ms=self._clock_ms(),
            ahead=self._options.partitions_ahead,
            by=self._options.partition,
            since=state.hot_since,
        )

    async def _delete_old_bests(self, connection: Connection, name: str) -> None:
        """Delete bests of days and weeks long past, a few at a time, so that nobody waits for it."""
        today = int(self._clock_ms() // DAY_MS)
        async with locked(connection, "bests", wait_s=0):
            for (board,) in await connection.ask("SELECT DISTINCT board FROM personal_bests"):
                for period, kept in _KEPT_DAYS:
                    old = f"board = {text(board)} AND period = '{period}' AND starts < {day(today - kept)}"
                    while await connection.run(f"DELETE FROM personal_bests WHERE {old} LIMIT {_DELETED_AT_ONCE}"):
                        pass

    async def _delete_old_races(self, connection: Connection, name: str) -> None:
        """Delete races from before the hot results, a few at a time."""
        before = int(self._clock_ms() // DAY_MS) - self._options.hot_days
        async with locked(connection, "races", wait_s=0):
            while await delete_old(connection, before=before):
                pass

    async def _delete_old_words(self, connection: Connection, name: str) -> None:
        """Delete what was said of who may see results whose partition was dropped: they would count for their user.

        Not while a bucket moves, whose results may be still to come; and none begins to meanwhile.
        """
        async with locked(connection, "words", wait_s=0):
            deleted = _DELETED_AT_ONCE
            while deleted == _DELETED_AT_ONCE:
                await connection.run("BEGIN")
                state = state_of(await connection.ask(LOCKED_STATE), name)
                moving = await connection.ask(f"SELECT 1 FROM bucket_moves WHERE phase <> '{Phase.DONE.value}' LIMIT 1")
                deleted = 0
                if not moving:
                    before_ms = state.hot_since_ms
                    deleted = await public.delete_dropped(connection, before_ms=before_ms, most=_DELETED_AT_ONCE)
                await connection.run("COMMIT")

    async def _each(self, job: Callable[[Connection, str], Awaitable[T]]) -> dict[str, T]:
        return {name: await self._on(name, job) for name in self._pools}

    async def _on(self, name: str, job: Callable[[Connection, str], Awaitable[T]]) -> T:
        try:
            async with self._pools[name].connection(_LONGEST_MS) as connection:
                return await job(connection, name)
        except StoreError as error:
            raise StoreError(f"shard {name!r}: {error}", retriable=error.retriable) from error
