"""What is read of one shard: results by id and by user, from the table of hot ones and that of late ones."""

from __future__ import annotations

from typing import Final

from persistence.mysql.literals import blob, instant
from persistence.mysql.pool import Connection
from persistence.results.bests import DAY_MS
from persistence.results.mysql.rows import SELECTED, read_row
from session.identity import created_at_ms
from session.result import Result

__all__ = ["LAST_DAY", "LAST_MS", "conflicts", "page", "result", "select_page", "select_result"]

LAST_DAY: Final = 2_932_896
"""9999-12-31, in days since 1970-01-01: MySQL has no later dates, and no result is of one."""
LAST_MS: Final = (LAST_DAY + 1) * DAY_MS - 1

_SELECT: Final = f"SELECT {SELECTED} FROM"
_ORIGIN: Final = "JOIN result_origins ON number = origin"


def select_result(table: str, session: bytes) -> str:
    """Read the row of a session, from its partition alone."""
    return f"{_SELECT} {table} {_ORIGIN} WHERE id = {blob(session)} AND created_at = {instant(created_at_ms(session))}"


def select_page(table: str, user: int, *, before: bytes, since_ms: int, limit: int) -> str:
    """Read a user's results with ids below `before`, started at `since_ms` or later, newest first."""
    until = instant(min(created_at_ms(before), LAST_MS))
    return (
        # by that index and no other: it has the rows in this order
        f"{_SELECT} {table} FORCE INDEX (of_user) {_ORIGIN} "
        f"WHERE user_id = {int(user)} AND created_at >= {instant(since_ms)} AND created_at <= {until} "
        f"AND id < {blob(before)} ORDER BY created_at DESC, id DESC LIMIT {int(limit)}"
    )


async def result(connection: Connection, session: bytes) -> Result | None:
    """The bare result of a session, or None."""
    for table in ("test_results_late", "test_results"):  # of one that is in both, the late copy is the later one
        rows = await connection.ask(select_result(table, session))
        if rows:
            return read_row(rows[0])
    return None


async def page(
    connection: Connection, user: int, *, before: bytes, since_ms: int, limit: int, hot_since_ms: int | None
) -> list[Result]:
    """At most `limit` bare results. `hot_since_ms`: no late result is of that instant or later; None if unknown."""

    async def read(table: str) -> list[Result]:
        select = select_page(table, user, before=before, since_ms=since_ms, limit=limit)
        return [read_row(row) for row in await connection.ask(select)]

    found = await read("test_results")
    if len(found) == limit and hot_since_ms is not None and found[-1].created_at_ms >= hot_since_ms:
        return found
    by_id = {one.session: one for one in (*found, *await read("test_results_late"))}
    return sorted(by_id.values(), key=lambda one: one.session, reverse=True)[:limit]


async def conflicts(connection: Connection, session: bytes) -> list[Result]:
    """The bare copies of a session that lost, best first."""
    rows = await connection.ask(f"SELECT packed FROM result_conflicts WHERE id = {blob(session)} ORDER BY place")
    return [Result.unpack(packed) for (packed,) in rows]
