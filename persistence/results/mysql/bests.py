"""Personal bests in a shard, as SQL: the statements that take in new ones, make places anew, and read.

`VALUES(column)` in upserts is what MariaDB and MySQL 8 have in common. Assignments are carried out from left to right
and see those before them, so in `_BETTER` the speed comes last: what decides about the others must not have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from persistence.errors import StoreError
from persistence.mysql.literals import blob, day, day_number, instant, number, text
from persistence.results.bests import Board, Period, PersonalBest, Place, Span

__all__ = [
    "best_of",
    "better",
    "of_user",
    "ranking_page",
    "rebuild",
    "speeds",
    "standing",
    "standing_of",
    "users_of",
]

_COLUMNS: Final = "user_id, board, period, starts, id, wpm, accuracy"
_IS_BETTER: Final = (
    "VALUES(wpm) > personal_bests.wpm OR (VALUES(wpm) = personal_bests.wpm AND VALUES(id) < personal_bests.id)"
)
_BETTER: Final = (
    f"ON DUPLICATE KEY UPDATE accuracy = IF({_IS_BETTER}, VALUES(accuracy), personal_bests.accuracy), "
    f"id = IF({_IS_BETTER}, VALUES(id), personal_bests.id), wpm = GREATEST(VALUES(wpm), personal_bests.wpm)"
)

Users: TypeAlias = Mapping[tuple[Board, Period], Sequence[int]]
"""Places by what they have in common."""


def better(bests: Iterable[PersonalBest]) -> str | None:
    """Put each of these in its place where it is better than what stands there; None where there is nothing to do."""
    best: dict[Place, PersonalBest] = {}
    for one in bests:
        known = best.get(one.place)
        if known is None or one.order > known.order:
            best[one.place] = one
    if not best:
        return None
    # in the order of keys, so that two transactions that share some do not wait for each other crosswise
    rows = sorted(
        f"({_key(place)}, {blob(one.session)}, {number(one.wpm)}, {number(one.acc)})" for place, one in best.items()
    )
    return f"INSERT INTO personal_bests ({_COLUMNS}) VALUES {', '.join(rows)} {_BETTER}"


def users_of(places: Iterable[Place]) -> Users:
    """These places, by board and period."""
    users: dict[tuple[Board, Period], list[int]] = {}
    for user, board, period in places:
        users.setdefault((board, period), []).append(user)
    return users


def standing(users: Users) -> str | None:
    """Read the bests that stand in these places, a row for each board and period; None where there is nothing to ask.

    A row of its own for each best would take the driver ten times as long.
    """
    # many alternatives of several columns each would take the optimizer longer than the rows themselves
    parts = [
        f"SELECT {at}, COUNT(*), GROUP_CONCAT(user_id, ' ', HEX(id), ' ', wpm, ' ', accuracy) FROM personal_bests "
        f"WHERE user_id IN ({', '.join(map(str, them))}) AND {_on(board, period)}"
        for at, ((board, period), them) in enumerate(users.items())
    ]
    return " UNION ALL ".join(parts) or None


def standing_of(users: Users, rows: Iterable[Sequence[Any]]) -> list[PersonalBest]:
    """The bests that the rows of `standing` are. Raises `StoreError` where the server has cut them short."""
    found: list[PersonalBest] = []
    names = list(users)
    for at, count, told in rows:
        board, period = names[at]
        bests = [] if told is None else told.split(",")
        if len(bests) != count:
            raise StoreError(f"the database told of {len(bests)} bests of {count}", retriable=False)
        for best in bests:
            user, session, wpm, acc = best.split(" ")
            place = Place(int(user), board, period)
            found.append(PersonalBest(place, bytes.fromhex(session), float(wpm), float(acc)))
    return found


def rebuild(place: Place, session: bytes, *, late: bool) -> list[str]:
    """Make a place anew after a session's row has changed: day and week from rows, all time from weeks.

    `late`: the session's row is in `test_results_late`; one in `test_results` is an older copy.

    What stands there stays a candidate unless it is of this session: the rows that it comes from may be gone by now,
    for they are kept for a time and bests for good.
    """
    statements = [
        f"DELETE old FROM personal_bests AS old FORCE INDEX (PRIMARY) WHERE {_is(place)} AND id = {blob(session)}"
    ]
    into = f"INSERT INTO personal_bests ({_COLUMNS}) SELECT {_key(place)}, id, wpm"
    board = place.board
    if place.period.span is Span.ALL:
        statements.append(
            f"{into}, accuracy FROM personal_bests AS weeks FORCE INDEX (PRIMARY) "
            f"WHERE user_id = {place.user} AND board = {text(str(board))} AND period = 'week' "
            f"ORDER BY wpm DESC, id LIMIT 1 {_BETTER}"
        )
        return statements
    first, after = (instant(ms) for ms in place.period.bounds_ms)
    statements += [
        f"{into}, accuracy FROM {table} FORCE INDEX (of_user) WHERE user_id = {place.user}{but} "
        f"AND created_at >= {first} AND created_at < {after} AND type = {text(board.mode)} "
        f"AND extent = {board.extent} AND language = {text(board.language)} AND ranked AND verdict = 'ok' "
        f"ORDER BY wpm DESC, id LIMIT 1 LOCK IN SHARE MODE {_BETTER}"
        for table, but in (("test_results", f" AND id <> {blob(session)}" if late else ""), ("test_results_late", ""))
    ]
    return statements


def of_user(user: int, today: int) -> str:
    """Read a user's bests of the periods that a day lies in."""
    week = Period.of(Span.WEEK, today)
    return (
        f"SELECT {_COLUMNS} FROM personal_bests WHERE user_id = {int(user)} AND "
        f"((period = 'day' AND starts = {day(today)}) OR (period = 'week' AND starts = {day(week.day)}) OR "
        "period = 'all') ORDER BY board, period"
    )


def ranking_page(board: Board, period: Period, after: PersonalBest | None, limit: int) -> str:
    """Read the next bests of a board in a period, the best first."""
    beyond = ""
    if after is not None:
        wpm = number(after.wpm)
        beyond = f" AND wpm <= {wpm} AND (wpm < {wpm} OR id > {blob(after.session)})"
    return (
        f"SELECT {_COLUMNS} FROM personal_bests WHERE {_on(board, period)}{beyond} ORDER BY wpm DESC, id LIMIT {limit}"
    )


def speeds(board: Board, period: Period) -> str:
    """Count the bests at each whole speed."""
    return f"SELECT FLOOR(wpm), COUNT(*) FROM personal_bests WHERE {_on(board, period)} GROUP BY 1"


def best_of(row: Sequence[Any]) -> PersonalBest:
    """The best that a row of these reads is."""
    user, board, period, starts, session, wpm, acc = row
    place = Place(user, Board.named(board), Period(Span(period), day_number(starts)))
    return PersonalBest(place, session, wpm, acc)


def _key(place: Place) -> str:
    return f"{int(place.user)}, {_name(place.board)}, {_starts(place.period)}"


def _is(place: Place) -> str:
    return f"user_id = {int(place.user)} AND {_on(place.board, place.period)}"


def _on(board: Board, period: Period) -> str:
    return f"board = {_name(board)} AND period = '{period.span.value}' AND starts = {day(period.day)}"


@lru_cache(maxsize=1024)
def _name(board: Board) -> str:
    return text(str(board))


@lru_cache(maxsize=1024)
def _starts(period: Period) -> str:
    return f"'{period.span.value}', {day(period.day)}"
