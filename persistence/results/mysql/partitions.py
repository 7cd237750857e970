"""The partitions of `test_results` by time: kept ready ahead, listed, dropped when their time is over.

A partition `p202611` or `p20261126` holds a month or a day (UTC) of results, by their `created_at`. The last, `pmax`,
takes what is beyond them all and stays empty: new partitions are cut from it, which costs nothing while it has no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog

from persistence.errors import StoreError
from persistence.mysql.literals import day, day_number
from persistence.mysql.migrating import locked
from persistence.mysql.pool import Connection

__all__ = ["Partition", "drop", "ensure", "first_day", "partitions"]

log = structlog.get_logger(__name__)

_BEYOND: Final = "pmax"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition."""

    name: str
    until: int | None
    """The first day (since 1970-01-01) that is no longer in it; None for `pmax`."""
    rows: int
    """About."""
    bytes: int
    """Of rows and indexes, about."""


def first_day(now_ms: float, *, by: Literal["month", "day"], hot_days: int = 0) -> int:
    """The first day of the partition that holds the day `hot_days` before now."""
    at = int(now_ms // _DAY_MS) - hot_days
    return at if by == "day" else _month(at)


async def partitions(connection: Connection) -> list[Partition]:
    """All partitions, the oldest first."""
    rows = await connection.ask(
        "SELECT PARTITION_NAME, PARTITION_DESCRIPTION, TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH "
        "FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'test_results' "
        "ORDER BY PARTITION_ORDINAL_POSITION"
    )
    if not rows:
        raise StoreError("there is no table test_results yet; run `typegate migrate up`", retriable=True)
    found = [
        Partition(name, None if bound == "MAXVALUE" else day_number(bound.strip("'")[:10]), int(count), int(size))
        for name, bound, count, size in rows
        if name is not None  # it is where a table has no partitions
    ]
    if not found or found[-1].until is not None:
        raise StoreError("test_results has no partition pmax: somebody has changed the table", retriable=True)
    return found


async def ensure(
    connection: Connection, *, now_ms: float, ahead: int, by: Literal["month", "day"], since: int
) -> list[str]:
    """Make partitions from `since` (a day) on, until `ahead` are ready beyond the present one; the new ones' names.

    Raises `StoreError`, retriable, where another process is at it, or the table is in use for too long.
    """
    async with locked(connection, "partitions", wait_s=0):
        there = await partitions(connection)
        begins = since
        bounds = [one.until for one in there if one.until is not None]
        if bounds:
            begins = bounds[-1]
        wanted = _days_ahead(first_day(now_ms, by=by), ahead, by)
        new: list[tuple[str, int]] = []
        while begins < wanted:
            # daily ones may follow monthly ones, and the other way round: then the first is the rest of a month
            until = _next(begins, by)
            new.append((_name(begins, by), until))
            begins = until
        if not new:
            return []
        if await connection.ask(f"SELECT 1 FROM test_results PARTITION ({_BEYOND}) LIMIT 1"):
            log.warning("partition pmax has results: they are moved to new partitions, which may take long")
        parts = ", ".join(f"PARTITION {name} VALUES LESS THAN ({day(until)})" for name, until in new)
        await connection.run(
            f"ALTER TABLE test_results REORGANIZE PARTITION {_BEYOND} INTO "
            f"({parts}, PARTITION {_BEYOND} VALUES LESS THAN (MAXVALUE))"
        )
    return [name for name, _ in new]


async def fence(connection: Connection, until: int) -> None:
    """Send results of days before `until` to `test_results_late` from now on.

    When it returns, every transaction that would have written elsewhere has ended.
    """
    await connection.run(f"UPDATE shard_state SET hot_since = {day(until)} WHERE hot_since < {day(until)}")


async def drop(connection: Connection, name: str) -> None:
    """Drop the oldest partition with its rows, whose results must be elsewhere by now; later ones of it go to
    `test_results_late`. Raises `StoreError` for any other partition."""
    async with locked(connection, "partitions", wait_s=0):
        oldest = (await partitions(connection))[0]
        if oldest.name != name or oldest.until is None:
            raise StoreError(f"{name!r} is not the oldest partition; that is {oldest.name}", retriable=False)
        await fence(connection, oldest.until)
        await connection.run(f"ALTER TABLE test_results DROP PARTITION {oldest.name}")


def _month(at: int) -> int:
    then = _EPOCH + timedelta(days=at)
    return (then.replace(day=1) - _EPOCH).days


def _next(at: int, by: Literal["month", "day"]) -> int:
    return at + 1 if by == "day" else _month(_month(at) + 31)


def _days_ahead(at: int, ahead: int, by: Literal["month", "day"]) -> int:
    """The first day after the partition of day `at` and the `ahead` following ones."""
    for _ in range(ahead + 1):
        at = _next(at, by)
    return at


def _name(at: int, by: Literal["month", "day"]) -> str:
    return (_EPOCH + timedelta(days=at)).strftime("p%Y%m" if by == "month" else "p%Y%m%d")
