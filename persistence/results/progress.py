"""The progress of several users as if they were one: an account's, and that of the guests whose past it has. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from persistence.results.port import Progress

__all__ = ["together"]


def together(rows: Iterable[Progress]) -> list[Progress]:
    """One row for each day and mode, oldest first: counts and times added, means weighted by time typed."""
    parts: dict[tuple[int, str], list[Progress]] = {}
    for row in rows:
        parts.setdefault((row.day, row.mode), []).append(row)
    return [part[0] if len(part) == 1 else _one(part) for _, part in sorted(parts.items())]


def _one(rows: list[Progress]) -> Progress:
    duration_ms = sum(row.duration_ms for row in rows)
    typed = duration_ms or 1  # of void results alone: their means are 0
    return Progress(
        day=rows[0].day,
        mode=rows[0].mode,
        tests=sum(row.tests for row in rows),
        duration_ms=duration_ms,
        wpm=sum(row.wpm * row.duration_ms for row in rows) / typed,
        best_wpm=max(row.best_wpm for row in rows),
        acc=sum(row.acc * row.duration_ms for row in rows) / typed,
    )
