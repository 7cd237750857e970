"""Time limits for many connections on one coarse timer, instead of a timer each.

All that wait under one `Limit` wait equally long, so they fall due in the order in which they came: a sweep looks at
those that are due and at one more. A start reads no clock; a limit ends between its length and two sweeps more.
"""

from __future__ import annotations

from typing import Protocol


class Limited(Protocol):
    """What may be under a time limit."""

    def overdue(self) -> None:
        """A limit is over and is no longer held. May start another; must not raise."""


class Limit:
    """The connections that wait for one thing, for at most the same time."""

    __slots__ = ("_deadlines", "_due", "length_s")

    def __init__(self, deadlines: Deadlines, length_s: float) -> None:
        self.length_s = length_s
        self._deadlines = deadlines
        self._due: dict[Limited, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def start(self, limited: Limited) -> None:
        """Hold `limited` to this limit from now on; where it is held already nothing changes."""
        due = self._due
        if limited not in due:
            due[limited] = self._deadlines.next_sweep_s + self.length_s

    def stop(self, limited: Limited) -> None:
        """What was waited for has come, or the connection is gone; harmless where it is not held."""
        self._due.pop(limited, None)

    def take_overdue(self, now_s: float) -> list[Limited]:
        """Those whose time is over, no longer held."""
        overdue = []
        for limited, due_s in self._due.items():
            if due_s > now_s:
                break
            overdue.append(limited)
        for limited in overdue:
            del self._due[limited]
        return overdue


class Deadlines:
    """All limits of an edge; its owner calls `sweep` every `period_s`."""

    __slots__ = ("_limits", "next_sweep_s", "period_s")

    def __init__(self, *, period_s: float, now_s: float) -> None:
        self.period_s = period_s
        self.next_sweep_s = now_s + period_s
        """The earliest instant at which the next sweep comes, on the owner's clock."""
        self._limits: list[Limit] = []

    def limit(self, length_s: float) -> Limit:
        """A limit of this length, swept from now on."""
        limit = Limit(self, length_s)
        self._limits.append(limit)
        return limit

    def sweep(self, *, now_s: float) -> None:
        """Tell every connection whose time is over."""
        self.next_sweep_s = now_s + self.period_s
        for limit in self._limits:
            for limited in limit.take_overdue(now_s):
                limited.overdue()
