"""Personal bests in the embedded store's file: jobs on a connection, within a transaction of the caller's.

One upsert takes in what is new; where a row that counted is replaced, its places are made anew from the rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from persistence.results.bests import Board, Period, PersonalBest, Place, Span, places_of
from persistence.sqlite import placeholders

T = TypeVar("T")

SCHEMA = (
    "ALTER TABLE results ADD COLUMN board TEXT",
    """CREATE TABLE personal_bests (
        user_id INTEGER NOT NULL,
        board TEXT NOT NULL,
        span TEXT NOT NULL,
        day INTEGER NOT NULL,
        id BLOB NOT NULL,
        wpm REAL NOT NULL,
        acc REAL NOT NULL,
        PRIMARY KEY (user_id, board, span, day)
    ) WITHOUT ROWID""",
    "CREATE INDEX ranking ON personal_bests (board, span, day, wpm DESC, id)",
)

_AT_ONCE = 500  # places of one statement: times 7 columns they stay under SQLite's 32,766 parameters
_COLUMNS = "user_id, board, span, day, id, wpm, acc"
_UPSERT = f"""
    INSERT INTO personal_bests ({_COLUMNS}) VALUES {{rows}}
    ON CONFLICT (user_id, board, span, day) DO UPDATE SET id = excluded.id, wpm = excluded.wpm, acc = excluded.acc
    WHERE excluded.wpm > wpm OR (excluded.wpm = wpm AND excluded.id < id)
"""
_STANDING = f"""
    WITH wanted (user_id, board, span, day) AS (VALUES {{rows}})
    SELECT {_COLUMNS} FROM wanted CROSS JOIN personal_bests USING (user_id, board, span, day)
"""
_FROM_ROWS = f"""
    INSERT INTO personal_bests ({_COLUMNS})
    SELECT user_id, board, ?, ?, id, wpm, acc FROM results
    WHERE user_id = ? AND created_ms >= ? AND created_ms < ? AND board = ? AND verdict = 'ok'
    ORDER BY wpm DESC, id LIMIT 1
"""
_FROM_WEEKS = f"""
    INSERT INTO personal_bests ({_COLUMNS})
    SELECT user_id, board, 'all', 0, id, wpm, acc FROM personal_bests
    WHERE user_id = ? AND board = ? AND span = 'week'
    ORDER BY wpm DESC, id LIMIT 1
"""
_OF_USER = f"""
    SELECT {_COLUMNS} FROM personal_bests
    WHERE user_id = ? AND (span, day) IN (VALUES ('day', ?), ('week', ?), ('all', 0)) ORDER BY board, span, day
"""
# The order of `PersonalBest.order`, so that a page begins where the one before ended.
_PAGE = f"""
    SELECT {_COLUMNS} FROM personal_bests
    WHERE board = ? AND span = ? AND day = ? AND wpm <= ? AND (wpm < ? OR id > ?) ORDER BY wpm DESC, id LIMIT ?
"""
_SPEEDS = """
    SELECT CAST(wpm AS INTEGER), count(*) FROM personal_bests WHERE board = ? AND span = ? AND day = ? GROUP BY 1
"""


def better(connection: sqlite3.Connection, bests: Iterable[PersonalBest]) -> None:
    """Put each of these in its place where it is better than what stands there."""
    best: dict[Place, PersonalBest] = {}
    for one in bests:
        known = best.get(one.place)
        if known is None or one.order > known.order:
            best[one.place] = one
    for part in _parts(list(best.values())):
        values = [value for one in part for value in (*_key(one.place), one.session, one.wpm, one.acc)]
        connection.execute(_UPSERT.format(rows=placeholders(len(part), 7)), values)


def standing(connection: sqlite3.Connection, places: Collection[Place]) -> dict[Place, PersonalBest]:
    """The bests that stand in these places; where there is none, the place is missing."""
    found: dict[Place, PersonalBest] = {}
    for part in _parts(list(places)):
        values = [value for place in part for value in _key(place)]
        for row in connection.execute(_STANDING.format(rows=placeholders(len(part), 4)), values):
            best = _best(*row)
            found[best.place] = best
    return found


def rebuild(connection: sqlite3.Connection, user: int, board: Board, created_at_ms: int) -> None:
    """Make the places of a test that was started at this instant anew: day and week from rows, all time from weeks."""
    for place in places_of(user, board, created_at_ms):
        connection.execute(
            "DELETE FROM personal_bests WHERE user_id = ? AND board = ? AND span = ? AND day = ?", _key(place)
        )
        if place.period.span is Span.ALL:
            connection.execute(_FROM_WEEKS, (user, str(board)))
        else:
            _, name, span, day = _key(place)
            connection.execute(_FROM_ROWS, (span, day, user, *place.period.bounds_ms, name))


def of_user(connection: sqlite3.Connection, user: int, day: int) -> list[PersonalBest]:
    """A user's bests of the periods that a day lies in."""
    week = Period.of(Span.WEEK, day).day
    return [_best(*row) for row in connection.execute(_OF_USER, (user, day, week)).fetchall()]


def page(
    connection: sqlite3.Connection, board: Board, period: Period, after: PersonalBest | None, limit: int
) -> list[PersonalBest]:
    """The next bests of a board in a period, the best first."""
    wpm, session = (float("inf"), b"") if after is None else (after.wpm, after.session)
    values = (str(board), period.span.value, period.day, wpm, wpm, session, limit)
    return [_best(*row) for row in connection.execute(_PAGE, values).fetchall()]


def speeds(connection: sqlite3.Connection, board: Board, period: Period) -> dict[int, int]:
    """How many bests there are at each whole speed."""
    return dict(connection.execute(_SPEEDS, (str(board), period.span.value, period.day)).fetchall())


def _key(place: Place) -> tuple[int, str, str, int]:
    return place.user, str(place.board), place.period.span.value, place.period.day


def _best(user: int, board: str, span: str, day: int, session: bytes, wpm: float, acc: float) -> PersonalBest:
    return PersonalBest(Place(user, Board.named(board), Period(Span(span), day)), session, wpm, acc)


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]
