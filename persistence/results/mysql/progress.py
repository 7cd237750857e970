"""A user's progress in a shard, as SQL: computed anew from the rows of a day, never added up.

A day's rows may lie in both tables of results: in `test_results`, which loses its old partitions, and in
`test_results_late`. Each has a row of progress of its own, so that neither is lost when the other is computed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from persistence.mysql.literals import day, day_number, instant
from persistence.results.bests import DAY_MS
from persistence.results.port import Progress

__all__ = ["forget", "of_user", "progress_of", "recompute"]

_COUNTED_MS: Final = "SUM(IF(verdict = 'void', 0, duration_ms))"


def recompute(days: Collection[tuple[int, int]], *, late: bool) -> list[str]:
    """Compute these users' days (since 1970-01-01) anew, a statement a day."""
    table = f"{'test_results_late' if late else 'test_results'} FORCE INDEX (of_user)"
    users: dict[int, list[int]] = {}
    for user, at in sorted(days):
        users.setdefault(at, []).append(user)
    return [
        "INSERT INTO user_progress (user_id, day, type, late, tests, duration_ms, wpm, best_wpm, accuracy) "
        f"SELECT user_id, {day(at)}, type, {int(late)}, COUNT(*), {_COUNTED_MS}, "
        f"COALESCE({_mean('wpm')}, 0), COALESCE(MAX(IF(verdict = 'void', NULL, wpm)), 0), "
        f"COALESCE({_mean('accuracy')}, 0) "
        f"FROM {table} WHERE user_id IN ({', '.join(map(str, them))}) "
        f"AND created_at >= {instant(at * DAY_MS)} AND created_at < {instant((at + 1) * DAY_MS)} "
        # shared locks: what another transaction has inserted for the same day must be waited for, or it would be missed
        "GROUP BY user_id, type LOCK IN SHARE MODE ON DUPLICATE KEY UPDATE tests = VALUES(tests), "
        "duration_ms = VALUES(duration_ms), wpm = VALUES(wpm), best_wpm = VALUES(best_wpm), "
        "accuracy = VALUES(accuracy)"
        for at, them in users.items()
    ]


def forget(user: int, at: int, *, late: bool) -> str:
    """Delete a day's progress, before it is computed anew without a row that was of another mode."""
    return (
        "DELETE old FROM user_progress AS old FORCE INDEX (PRIMARY) "
        f"WHERE user_id = {int(user)} AND day = {day(at)} AND late = {int(late)}"
    )


def of_user(user: int, since_day: int, until_day: int) -> str:
    """Read a user's progress of these days, the last included."""
    return (
        "SELECT day, type, SUM(tests), SUM(duration_ms), "
        "COALESCE(SUM(wpm * duration_ms) / NULLIF(SUM(duration_ms), 0), 0), MAX(best_wpm), "
        "COALESCE(SUM(accuracy * duration_ms) / NULLIF(SUM(duration_ms), 0), 0) FROM user_progress "
        f"WHERE user_id = {int(user)} AND day BETWEEN {day(since_day)} AND {day(until_day)} "
        # a mode's name, not its place in the enumeration
        "GROUP BY day, type ORDER BY day, CONCAT(type)"
    )


def progress_of(row: Sequence[Any]) -> Progress:
    """The progress that a row of this read is."""
    at, mode, tests, duration_ms, wpm, best_wpm, acc = row
    return Progress(day_number(at), mode, int(tests), int(duration_ms), wpm, best_wpm, acc)


def _mean(column: str) -> str:
    """The mean, weighted by time typed; NULL where nothing counts. As doubles: decimals would be cut off."""
    return f"SUM(IF(verdict = 'void', 0, {column} * 1e0 * duration_ms)) / NULLIF({_COUNTED_MS}, 0)"
