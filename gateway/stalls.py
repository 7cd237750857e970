"""When this process did not get to read what its clients had sent: so much of a batch's lateness is ours.

The wheel turns forty times a second. Where two turns are further apart than `STALL_MS`, nothing was read between them
(the process was stopped, the machine was busy, a callback took long), and what was read from the first of them on may
have come right after it. What a stall has left behind is read by the next turn that is in time, but for what the wires
put off so that others have their turn (`Wires.put_off`): who has typed on for seconds looks like a flood.

How long a batch may have waited is asked at a test's end, of its last batch alone, and then allowed for as a slow
network is: see `scoring.drift`. So it excuses a clock only at the very moment at which this process hung, and by no
more than it hung and then took to catch up; no client can make it hang for longer than a few milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ["STALL_MS", "Stalls"]

STALL_MS: Final = 100.0
"""Turns closer than this are in time: what such a wait adds to a drift is far below what is allowed."""

_APART_MS: Final = 10.0
"""A late turn is followed by another at once, before anything is read. One so much later comes after that."""
_KEPT: Final = 256
"""Stalls remembered, the latest: a test may be settled a while after its last batch."""


class _Stall:
    """Between two turns of the wheel."""

    __slots__ = ("calm_ms", "since_ms", "until_ms")

    def __init__(self, since_ms: float, until_ms: float) -> None:
        self.since_ms = since_ms
        """The turn before it."""
        self.until_ms = until_ms
        """The turn that ended it."""
        self.calm_ms = inf
        """A later turn, by which all is read that had come."""


class Stalls:
    """One a process. All instants are of the loop's clock."""

    __slots__ = ("_kept", "_turned_ms", "behind")

    def __init__(self) -> None:
        self.behind: Callable[[], bool] = _never
        """Whether something that was read waits to be taken. What does for longer than the stall took came after it."""
        self._turned_ms = inf
        self._kept: deque[_Stall] = deque(maxlen=_KEPT)

    def turned(self, now_s: float) -> None:
        """The wheel turns."""
        now_ms = now_s * 1000
        kept = self._kept
        if kept and kept[-1].calm_ms == inf:
            last = kept[-1]
            after_ms = now_ms - last.until_ms
            if after_ms >= _APART_MS and (after_ms >= last.until_ms - last.since_ms or not self.behind()):
                last.calm_ms = now_ms
        if now_ms - self._turned_ms > STALL_MS:
            kept.append(_Stall(self._turned_ms, now_ms))
        self._turned_ms = now_ms

    def waited_ms(self, read_ms: float) -> float:
        """How long something that was read at this instant may have been here by then; 0 where it was read in time."""
        since_ms = self._turned_ms if read_ms - self._turned_ms > STALL_MS else read_ms
        for stall in reversed(self._kept):
            if read_ms > stall.calm_ms:
                break
            since_ms = min(since_ms, stall.since_ms)
        return read_ms - since_ms


def _never() -> bool:
    """Nothing ever waits here."""
    return False
