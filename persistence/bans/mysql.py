"""Bans in the content database, which all nodes share (`mysql.content`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

import orjson

from persistence.bans.entries import Ban, Who, who_text
from persistence.bans.port import KEPT_CHANGES, MOST_CHANGES, BanChanges, BanOptions, Mark, full
from persistence.bans.rows import Known, bans_of, changes_of
from persistence.errors import StoreError
from persistence.mysql.literals import blob, instant, text
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["MysqlBans"]

_AT_ONCE: Final = 500
"""Rows read in one statement, and taken apart in one turn of a thread: some milliseconds."""


def _epoch_ms(column: str) -> str:
    return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) DIV 1000"


class MysqlBans:
    """`BanStore` in the content database; it must have been migrated. Opening needs no database that answers."""

    def __init__(self, mysql: MysqlOptions, options: BanOptions | None = None) -> None:
        self._mysql = mysql
        self._options = options or BanOptions()
        self._known: Known = {}
        """What was read last."""
        self._pool: Pool

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where the password cannot be read."""
        self._pool = Pool(self._mysql.content_dsn(), self._mysql)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def mark(self) -> Mark:
        """What tells whether there was a change."""
        async with self._pool.connection(self._mysql.read_ms) as connection:
            rows = await connection.ask("SELECT mark FROM ban_mark WHERE one = 1")
        if not rows:
            raise StoreError("the content database lacks ban_mark's row; restore it", retriable=True)
        return bytes(rows[0][0])

    async def read(self, *, now_ms: int) -> Sequence[Ban]:
        """All that are not over."""
        found: dict[str, Ban] = {}
        after = ""
        while True:
            async with self._pool.connection(self._mysql.read_ms) as connection:  # for each: there may be many
                ((page, last, count),) = await connection.ask(
                    # one row of JSON: so they are taken apart in a thread, and not by the driver on the event loop
                    "SELECT GROUP_CONCAT(JSON_ARRAY(who, reason, made_by, since_ms, until_ms)), MAX(who), COUNT(*) "
                    f"FROM (SELECT who, reason, made_by, {_epoch_ms('since')} AS since_ms, "
                    f"{_epoch_ms('until')} AS until_ms FROM bans "
                    f"WHERE who > {text(after)} AND (until IS NULL OR until > {instant(now_ms)}) "
                    f"ORDER BY who LIMIT {_AT_ONCE}) AS page"
                )
            if count:
                found |= await asyncio.to_thread(_bans_of_page, page, self._known)
                after = last
            if count < _AT_ONCE:
                self._known = found
                return tuple(found.values())

    async def since(self, mark: Mark) -> BanChanges | None:
        """What changed since this mark, of one moment; None where that is not known any more."""
        async with self._pool.connection(self._mysql.read_ms) as connection:
            ((page, last),) = await connection.ask(
                "SELECT GROUP_CONCAT(JSON_ARRAY(HEX(mark), who, reason, made_by, since_ms, until_ms) ORDER BY number), "
                "(SELECT mark FROM ban_mark WHERE one = 1) "
                "FROM (SELECT number, mark, named.who, reason, made_by, "
                f"{_epoch_ms('since')} AS since_ms, {_epoch_ms('until')} AS until_ms "
                "FROM ban_changes AS named LEFT JOIN bans ON bans.who = named.who "
                f"WHERE number >= (SELECT MAX(number) FROM ban_changes WHERE mark = {blob(mark)}) "
                f"ORDER BY number LIMIT {MOST_CHANGES + 2}) AS page"
            )
        if page is None or last is None:
            return None
        return await asyncio.to_thread(_changes_of_page, page, bytes(last))

    async def add(self, ban: Ban) -> None:
        """Add one, in the place of an earlier one of the same."""
        async with self._pool.transaction(self._mysql.write_ms) as connection:
            await _begin(connection)
            await connection.run(f"DELETE FROM bans WHERE until <= {instant(ban.since_ms)}")
            await connection.run(
                f"INSERT INTO bans (who, reason, made_by, since, until) VALUES {_values(ban)} "
                "ON DUPLICATE KEY UPDATE reason = VALUES(reason), made_by = VALUES(made_by), since = VALUES(since), "
                "until = VALUES(until)"
            )
            await self._bounded(connection)
            await _changed(connection, [who_text(ban.who)])

    async def take(self, bans: Sequence[Ban], *, now_ms: int) -> int:
        """Add those of whom there is no ban, some hundreds in each transaction; how many. Raises as `add` does."""
        taken = 0
        for start in range(0, len(bans), _AT_ONCE):
            some = {who_text(ban.who): ban for ban in bans[start : start + _AT_ONCE]}
            async with self._pool.transaction(self._mysql.write_ms) as connection:
                await _begin(connection)
                await connection.run(f"DELETE FROM bans WHERE until <= {instant(now_ms)}")
                there = await connection.ask(f"SELECT who FROM bans WHERE who IN ({', '.join(map(text, some))})")
                for (who,) in there:
                    del some[who]
                if some:
                    await connection.run(
                        "INSERT INTO bans (who, reason, made_by, since, until) VALUES "
                        + ", ".join(map(_values, some.values()))
                    )
                    await self._bounded(connection)
                    await _changed(connection, some)
            taken += len(some)
        return taken

    async def _bounded(self, connection: Connection) -> None:
        ((count,),) = await connection.ask("SELECT COUNT(*) FROM bans")
        if count > self._options.most:
            raise StoreError(full(self._options.most), retriable=False)

    async def remove(self, who: Who) -> bool:
        """End a ban; False where there was none."""
        async with self._pool.transaction(self._mysql.write_ms) as connection:
            await _begin(connection)
            removed = await connection.run(f"DELETE FROM bans WHERE who = {text(who_text(who))}")
            if removed:
                await _changed(connection, [who_text(who)])
            return bool(removed)


def _values(ban: Ban) -> str:
    until = "NULL" if ban.until_ms is None else instant(ban.until_ms)
    return f"({text(who_text(ban.who))}, {text(ban.reason)}, {text(ban.by)}, {instant(ban.since_ms)}, {until})"


def _bans_of_page(page: str, known: Known) -> dict[str, Ban]:
    return bans_of(orjson.loads(f"[{page}]"), known)


def _changes_of_page(page: str, last: Mark) -> BanChanges | None:
    return changes_of([(bytes.fromhex(mark), *row) for mark, *row in orjson.loads(f"[{page}]")], last)


async def _begin(connection: Connection) -> None:
    """Begin a change: no other one begins before this has ended."""
    await connection.ask("SELECT one FROM ban_mark WHERE one = 1 FOR UPDATE")


async def _changed(connection: Connection, whom: Iterable[str]) -> None:
    """End a change that concerned these."""
    mark = blob(os.urandom(16))
    ((number,),) = await connection.ask("SELECT MAX(number) FROM ban_changes FOR UPDATE")
    last = number or 0
    rows = ", ".join(f"({number}, {mark}, {text(who)})" for number, who in enumerate(whom, last + 1))
    await connection.run(f"INSERT INTO ban_changes (number, mark, who) VALUES {rows}")
    await connection.run(f"DELETE FROM ban_changes WHERE number <= {max(0, last - KEPT_CHANGES)}")
    await connection.run(f"UPDATE ban_mark SET mark = {mark} WHERE one = 1")
