"""Races that are over in the shards of results.

A race, its racers with it, lies in the shard of its own id's bucket, whoever was in it: one transaction has it whole,
and its id alone says where it is. What is asked by user (a list of one's races, an erasure) is asked of every shard,
each by an index. Buckets move with their races (`results.mysql.moving`).

The tables have no partitions, for a race's id says no time and a look by it would ask each of them; races as old as the
oldest hot results are deleted a few at a time (`delete_old`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from persistence.mysql.literals import blob, day, instant, text
from persistence.mysql.pool import Connection
from persistence.race_records.port import Place, RacePage, begin, listed, packed, page_of, unpacked
from session.identity import bucket_of_race, is_race
from session.race_record import RaceRecord

__all__ = ["MysqlRaceRecords", "Shards", "delete", "delete_old", "digest", "records", "write"]

T = TypeVar("T")

_AT_ONCE: Final = 200
_UNPACKED_AT_ONCE: Final = 8
"""Up to two milliseconds before others on the loop have their turn: each may have a hundred racers."""
_LAST_MS: Final = 253_402_300_799_999
"""The last instant of the year 9999."""


class Shards(Protocol):
    """The shards, as far as races need them."""

    async def write_rows(
        self, rows: Sequence[tuple[int, T]], write: Callable[[Connection, Sequence[T]], Awaitable[None]]
    ) -> None:
        """Write rows, each with its bucket: one transaction a shard, the shards at once."""
        ...

    async def read_bucket(self, bucket: int, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Read in the shard of a bucket."""
        ...

    async def read_all(self, job: Callable[[Connection], Awaitable[T]]) -> list[T]:
        """Read in every shard; it may lack what was written just now."""
        ...


class MysqlRaceRecords:
    """`RaceRecords` in MySQL."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def write(self, records: Sequence[RaceRecord]) -> None:
        """Store records, one transaction a shard."""
        if records:
            await self._shards.write_rows([(bucket_of_race(one.id), one) for one in records], write)

    async def of(self, race: str) -> RaceRecord | None:
        """The record of a race."""
        if not is_race(race):
            return None

        async def job(connection: Connection) -> Sequence[tuple[bytes]]:
            return await connection.ask(f"SELECT packed FROM races WHERE id = {text(race)}")

        found = await self._shards.read_bucket(bucket_of_race(race), job)
        return unpacked(found[0][0]) if found else None

    async def by_user(
        self, user: int, *, guests: Sequence[int] = (), limit: int = 10, cursor: str | None = None
    ) -> RacePage:
        """A user's races, newest first."""
        job = partial(_page, users=(user, *guests), before=begin(cursor, limit), limit=limit + 1)
        return page_of(await self._shards.read_all(job), limit)


async def write(connection: Connection, records: Sequence[RaceRecord]) -> None:
    """Write records, within a transaction of their shard."""
    newest = {one.id: one for one in sorted(records, key=lambda one: one.race.version)}
    ids = ", ".join(text(race) for race in sorted(newest))
    there: dict[str, int] = dict(await connection.ask(f"SELECT id, version FROM races WHERE id IN ({ids}) FOR UPDATE"))
    # in the order of keys, so that two transactions that share some do not wait for each other crosswise
    new = [newest[race] for race in sorted(newest) if newest[race].race.version > there.get(race, -1)]
    if not new:
        return
    changed = ", ".join(text(one.id) for one in new)
    if there:
        await connection.run(f"DELETE FROM race_racers WHERE race_id IN ({changed})")
        await connection.run(f"DELETE FROM races WHERE id IN ({changed})")
    # where another process has written one of these meanwhile it is a duplicate, and the transaction begins again
    await connection.run(
        "INSERT INTO races (id, bucket, started_at, version, packed) VALUES "
        + ", ".join(
            f"({text(one.id)}, {bucket_of_race(one.id)}, {instant(one.started_ms)}, {int(one.race.version)}, "
            f"{blob(packed(one))})"
            for one in new
        )
    )
    await connection.run(
        "INSERT INTO race_racers (race_id, lane, user_id, started_at) VALUES "
        + ", ".join(
            f"({text(one.id)}, {int(racer.lane)}, {int(racer.user)}, {instant(one.started_ms)})"
            for one in new
            for racer in one.race.people
        )
    )


async def _page(
    connection: Connection, *, users: Sequence[int], before: Place, limit: int
) -> list[tuple[Place, RaceRecord | None]]:
    started_ms, race = before
    at = instant(min(started_ms, _LAST_MS))
    earlier = f"(racer.started_at < {at} OR (racer.started_at = {at} AND racer.race_id < {text(race)}))"
    if started_ms > _LAST_MS:
        earlier = f"racer.started_at <= {at}"
    answers = await connection.run_all(
        *(
            "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', racer.started_at) DIV 1000, racer.race_id, packed "
            "FROM race_racers AS racer FORCE INDEX (of_user) JOIN races ON races.id = racer.race_id "
            f"WHERE racer.user_id = {int(user)} AND racer.started_at <= {at} AND {earlier} "
            f"ORDER BY racer.started_at DESC, racer.race_id DESC LIMIT {int(limit)}"
            for user in users
        )
    )
    found: list[tuple[Place, RaceRecord | None]] = []
    for row in chain.from_iterable(answers):
        found.append(listed(*row))
        if len(found) % _UNPACKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


# --- upkeep and moves ---


async def delete_old(connection: Connection, *, before: int) -> int:
    """Delete some of the races that began before a day (since 1970-01-01); how many. 0: there are no more."""
    old = await connection.ask(f"SELECT id FROM races WHERE started_at < {day(before)} LIMIT {_AT_ONCE}")
    await _delete(connection, [race for (race,) in old])
    return len(old)


async def delete(connection: Connection, bucket: int) -> None:
    """Delete all races of a bucket, some at a time."""
    while old := await connection.ask(f"SELECT id FROM races WHERE bucket = {int(bucket)} LIMIT {_AT_ONCE}"):
        await _delete(connection, [race for (race,) in old])


async def _delete(connection: Connection, races: Sequence[str]) -> None:
    if races:
        ids = ", ".join(map(text, races))
        await connection.run("BEGIN")
        await connection.run(f"DELETE FROM race_racers WHERE race_id IN ({ids})")
        await connection.run(f"DELETE FROM races WHERE id IN ({ids})")
        await connection.run("COMMIT")


async def records(connection: Connection, bucket: int) -> AsyncIterator[list[RaceRecord]]:
    """All races of a bucket, in pages."""
    last = ""
    while True:
        rows = await connection.ask(
            f"SELECT id, packed FROM races WHERE bucket = {int(bucket)} AND id > {text(last)} "
            f"ORDER BY id LIMIT {_AT_ONCE}"
        )
        if not rows:
            return
        yield [unpacked(row) for _, row in rows]
        last = rows[-1][0]


async def digest(connection: Connection, bucket: int) -> tuple[Any, ...]:
    """Count and checksums of a bucket's races and their racers."""
    races, racers = await connection.run_all(
        "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT_WS('|', HEX(id), version, SHA2(packed, 256)))), 0) "
        f"FROM races WHERE bucket = {int(bucket)}",
        "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT_WS('|', HEX(race_id), lane, user_id, racer.started_at))), 0) "
        f"FROM race_racers AS racer JOIN races ON races.id = racer.race_id WHERE bucket = {int(bucket)}",
    )
    return (*races[0], *racers[0])
