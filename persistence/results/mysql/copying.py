"""One user's rows from a shard to another: read and written again, compared, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from persistence.mysql.literals import blob, instant
from persistence.mysql.pool import Connection
from persistence.results.bests import BestRules, Board, PersonalBest
from persistence.results.mysql import bests, public
from persistence.results.mysql import names as called
from persistence.results.mysql.rows import SELECTED, read_copy
from persistence.results.mysql.writing import Candidate, candidate
from persistence.results.names import Called
from persistence.results.public import Visibility
from session.identity import created_at_ms
from session.result import Result

__all__ = [
    "Digest",
    "adopt",
    "bests_without_rows",
    "delete",
    "digest",
    "links",
    "pages",
    "progress_without_rows",
    "users",
    "words",
]

Digest = tuple[Any, ...]

_ROWS_AT_ONCE: Final = 200
_RESULTS: Final = ("test_results", "test_results_late")
_LINKS: Final = (("guest_links", "guest_id"), ("account_guests", "account_id"))
"""The tables of guests' links, and the column by which a row is of this shard."""
# A row as both shards have it; the number of its origin is each shard's own.
_ROW: Final = (
    "CRC32(CONCAT_WS('|', HEX(id), user_id, type, extent, language, wpm, verdict, ranked, conflicts, seen_live, "
    "HEX(core), COALESCE(detail, ''), SHA2(replay, 256)))"
)
_LOST: Final = "CRC32(CONCAT_WS('|', HEX(lost.id), place, HEX(core_hash), SHA2(packed, 256)))"
_BEST: Final = "CRC32(CONCAT_WS('|', board, period, starts, HEX(id), wpm, accuracy))"
_SUM: Final = "COUNT(*), COALESCE(BIT_XOR(of_row), 0), COALESCE(SUM(of_row), 0)"


async def users(connection: Connection, *, after: int, limit: int) -> list[int]:
    """The users that a shard has anything of, in their order: whoever has a result has progress."""
    parts = [
        f"(SELECT {key} AS user_id FROM {table} WHERE {key} > {after} GROUP BY {key} ORDER BY {key} LIMIT {limit})"
        for table, key in (("user_progress", "user_id"), (called.TABLE, "user_id"), *_LINKS)
    ]
    rows = await connection.ask(
        f"SELECT user_id FROM ({' UNION '.join(parts)}) AS known ORDER BY user_id LIMIT {limit}"
    )
    return [user for (user,) in rows]


async def pages(connection: Connection, user: int, rules: BestRules) -> AsyncIterator[list[Candidate]]:
    """All copies of a user's results, as they are to be written again: rows, then the copies that lost against them."""
    for table in _RESULTS:
        last = bytes(16)
        while True:
            rows = await connection.ask(
                f"SELECT {SELECTED}, ranked FROM {table} FORCE INDEX (of_user) JOIN result_origins ON number = origin "
                f"WHERE user_id = {user} AND created_at >= {instant(created_at_ms(last))} AND id > {blob(last)} "
                f"ORDER BY created_at, id LIMIT {_ROWS_AT_ONCE}"
            )
            if not rows:
                break
            yield [_again(row) for row in rows]
            disputed = [blob(row[0]) for row in rows if row[12]]
            if disputed:
                lost = await connection.ask(
                    f"SELECT packed FROM result_conflicts WHERE id IN ({', '.join(disputed)}) ORDER BY id, place"
                )
                yield [candidate(Result.unpack(packed), rules) for (packed,) in lost]
            last = rows[-1][0]


async def digest(connection: Connection, user: int) -> Digest:
    """Counts and checksums of all that a shard has of a user; the count of results comes first."""
    mine = f"FORCE INDEX (of_user) WHERE user_id = {user}"
    disputed = " UNION ALL ".join(f"SELECT id FROM {table} {mine} AND conflicts > 0" for table in _RESULTS)
    answers = await connection.run_all(
        f"SELECT {_SUM} FROM ("
        + " UNION ALL ".join(f"SELECT {_ROW} AS of_row FROM {table} {mine}" for table in _RESULTS)
        + ") AS mine",
        f"SELECT {_SUM} FROM (SELECT {_LOST} AS of_row FROM ({disputed}) AS disputed "
        "JOIN result_conflicts AS lost ON lost.id = disputed.id) AS mine",
        f"SELECT {_SUM} FROM (SELECT {_BEST} AS of_row FROM personal_bests WHERE user_id = {user}) AS mine",
        # days may be parted otherwise between hot rows and late ones
        "SELECT COUNT(*), BIT_XOR(CRC32(CONCAT_WS('|', day, type, tests, duration_ms))) FROM (SELECT day, type, "
        "SUM(tests) AS tests, SUM(duration_ms) AS duration_ms FROM user_progress "
        f"WHERE user_id = {user} GROUP BY day, type) AS mine",
        *(
            f"SELECT COUNT(*), BIT_XOR(CRC32(CONCAT_WS('|', guest_id, account_id))) FROM {table} WHERE {key} = {user}"
            for table, key in _LINKS
        ),
        f"SELECT COUNT(*), BIT_XOR(CRC32(CONCAT_WS('|', HEX(id), public, changes))) FROM {public.TABLE} "
        f"FORCE INDEX (of_user) WHERE user_id = {user}",
        f"SELECT COUNT(*), BIT_XOR(CRC32(CONCAT_WS('|', HEX(name), changes))) FROM {called.TABLE} "
        f"WHERE user_id = {user}",
    )
    return tuple(value for (row,) in answers for value in row)


async def progress_without_rows(connection: Connection, user: int) -> list[str]:
    """What a shard knows of a user's days whose rows are gone, as values of `user_progress`."""
    rows = await connection.ask(
        "SELECT CONCAT_WS(', ', user_id, QUOTE(day), QUOTE(type), late, tests, duration_ms, wpm, best_wpm, accuracy) "
        f"FROM user_progress AS kept WHERE user_id = {user} AND NOT late AND NOT EXISTS (SELECT 1 FROM test_results "
        f"FORCE INDEX (of_user) WHERE user_id = {user} AND created_at >= kept.day "
        "AND created_at < kept.day + INTERVAL 1 DAY AND type = kept.type)"
    )
    return [values for (values,) in rows]


async def bests_without_rows(connection: Connection, user: int) -> list[PersonalBest]:
    """A user's bests whose rows are gone."""
    rows = await connection.ask(
        "SELECT user_id, board, period, starts, id, wpm, accuracy FROM personal_bests AS best "
        f"WHERE user_id = {user}"
        + "".join(
            f" AND NOT EXISTS (SELECT 1 FROM {table} FORCE INDEX (of_user) WHERE user_id = {user} AND id = best.id)"
            for table in _RESULTS
        )
    )
    return [bests.best_of(row) for row in rows]


async def links(connection: Connection, user: int) -> list[str]:
    """A user's links, as statements that write them elsewhere."""
    statements = []
    for table, key in _LINKS:
        rows = await connection.ask(
            f"SELECT CONCAT_WS(', ', guest_id, account_id, QUOTE(claimed_at)) FROM {table} WHERE {key} = {user}"
        )
        if rows:
            statements.append(
                f"INSERT INTO {table} (guest_id, account_id, claimed_at) VALUES "
                f"{', '.join(f'({values})' for (values,) in rows)} "
                "ON DUPLICATE KEY UPDATE account_id = VALUES(account_id)"
            )
    return statements


async def words(connection: Connection, user: int) -> list[Visibility]:
    """What was said of who may see a user's results."""
    return [public.word(row) for row in await connection.ask(public.select_of_user(user))]


async def adopt(
    connection: Connection,
    progress: Sequence[str],
    best: Sequence[PersonalBest],
    linked: Sequence[str],
    said: Sequence[Visibility],
    names: Sequence[Called],
) -> None:
    """Take over what no results bring: what was computed from rows that are gone, links, what is public, and names."""
    await called.put(connection, names)
    await public.put(connection, said)
    for statement in linked:
        await connection.run(statement)
    if progress:
        await connection.run(
            "INSERT INTO user_progress (user_id, day, type, late, tests, duration_ms, wpm, best_wpm, accuracy) VALUES "
            f"{', '.join(f'({values})' for values in progress)} ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)"
        )
    better = bests.better(best)
    if better is not None:
        await connection.run(better)


def delete(user: int) -> Iterable[str]:
    """Delete all that a shard has of a user."""
    for table in _RESULTS:
        yield (
            f"DELETE lost FROM result_conflicts AS lost JOIN {table} AS its FORCE INDEX (of_user) ON its.id = lost.id "
            f"WHERE its.user_id = {user}"
        )
    for table, key in (*((table, "of_user") for table in (*_RESULTS, public.TABLE)), ("personal_bests", "PRIMARY")):
        yield f"DELETE old FROM {table} AS old FORCE INDEX ({key}) WHERE user_id = {user}"
    # last: by them one knows of the user
    for table, key in (("user_progress", "user_id"), (called.TABLE, "user_id"), *_LINKS):
        yield f"DELETE old FROM {table} AS old FORCE INDEX (PRIMARY) WHERE {key} = {user}"


def _again(row: Sequence[Any]) -> Candidate:
    """A row as it stands, to be written elsewhere: counted for its board as it was when it was stored."""
    *selected, ranked = row
    result = read_copy(selected)
    extent = result.seconds if result.count is None else result.count
    board = Board(result.mode, extent, result.language) if ranked and extent is not None else None
    return Candidate.of(result, board)
