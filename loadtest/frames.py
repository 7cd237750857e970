"""A typed test cut into the frames that the page would send: the first key at once, then what has come, after a while.

What a frame holds, and when it is due, depends on nothing but the typing, so that it is known before the first key is
sent: the load stays what it is however slow the server answers, and a frame costs the generator little when it is due.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate
from math import inf
from typing import Any

from loadtest.typist import Typed

__all__ = ["Frames", "cut"]


def cut(times_ms: Iterable[int], flush_ms: float) -> tuple[list[int], list[float]]:
    """Cut key times into frames at least `flush_ms` apart: events up to each frame's end, and when each is due."""
    stops: list[int] = []
    dues: list[float] = []
    due = -inf
    event = 0
    for event, at in enumerate(times_ms, 1):  # its last value is the number of all
        if at > due:
            stops.append(event - 1)
            due = at if at > due + flush_ms else due + flush_ms
            dues.append(due)
    stops.append(event)
    return stops[1:], dues


class Frames:
    """One test's frames, by number. Times are in ms since its first key."""

    __slots__ = ("dues", "stops", "times", "typed")

    def __init__(self, typed: Typed, flush_ms: float) -> None:
        self.typed = typed
        gaps = typed.gaps
        times = list(accumulate(gaps[1:], initial=0)) if gaps else []
        stops, dues = cut(times, flush_ms)
        self.times = array("I", times)
        """When each key is typed."""
        self.stops = array("I", stops)
        """The number of events up to the end of each frame."""
        self.dues = array("d", dues)
        """When each frame is sent."""

    def __len__(self) -> int:
        return len(self.stops)

    def message(self, frame: int, *, holds: bool) -> dict[str, Any]:
        """The `keys` message of this frame.

        A key is let go after it was sent: each frame tells how long the keys of the one before were held, and the last
        one of its own, too.
        """
        typed, stops = self.typed, self.stops
        gaps, keys = typed.gaps, typed.keys
        start = stops[frame - 1] if frame else 0
        stop = stops[frame]
        events: list[int | str] = []
        for event in range(start, stop):  # one or two: slices would cost more
            events.append(gaps[event])
            events.append(keys[event])
        message: dict[str, Any] = {"t": "keys", "n": start, "e": events}
        if holds:
            held: list[int] = []
            for event in range(stops[frame - 2] if frame > 1 else 0, stop if frame == len(stops) - 1 else start):
                held.append(event)
                held.append(typed.holds[event])
            if held:
                message["h"] = held
        return message
