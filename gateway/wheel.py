"""Time for all connections of the process: a wheel for what may happen any time within a second, a heap for the rest.

A timer per connection costs several microseconds each second, a task ten; a visit from a shared bucket well under one.
So each member is visited once a second, at a phase of its own, and asks for an alarm where it must be on time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

BUCKETS = 40
"""Phases a second: every 25 ms the members of another bucket are visited."""

PERIOD_S = 1.0
"""Each member is visited this often."""

TURN_S = 0.003
"""Visits hold the loop no longer than this at once; the rest goes on after the loop's other work."""

STRIDE = 32
"""Visits between two looks at the clock: 32 ticks take about 0.2 ms."""


class Member(Protocol):
    """What the wheel visits."""

    phase: int
    """The member's bucket; the wheel sets it."""

    def beat(self, now_ms: float) -> None:
        """Once a second, at `now_ms` of the loop's clock. Must not raise."""

    def alarm(self, now_ms: float) -> None:
        """At or after an instant asked for with `Wheel.ring`; the member looks what is due. Must not raise."""


class Wheel:
    """Visits each member once a second, and rings members at instants that they asked for.

    Buckets follow each other in order. A stall, or visits that take longer than there is time, stretch the second for
    everybody alike: nothing is caught up with, unless `late_s` says for how much, and no more than one bucket ever
    waits. Members may join and leave at any time, in a visit too.
    """

    __slots__ = (
        "_buckets",
        "_clock",
        "_current",
        "_joined",
        "_late_s",
        "_loop",
        "_owed",
        "_ringing",
        "_rings",
        "_serial",
        "_stride",
        "_timer",
        "_turn_at",
        "_turned",
        "_waiting",
        "_width_s",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float] | None = None,
        period_s: float = PERIOD_S,
        buckets: int = BUCKETS,
        stride: int = STRIDE,
        late_s: float = 0.0,
        turned: Callable[[float], None] | None = None,
    ) -> None:
        """`clock` is the loop's own, in seconds, unless a test brings another.

        `period_s`: how often each is visited, instead of once a second; `buckets`: phases in that time; `stride`:
        visits between two looks at the clock; `late_s`: what turns are late by is made up for by the next, up to so
        much (less than a period), so that a busy loop makes nobody's period longer; `turned` is told the clock at each
        turn, before anybody is visited.
        """
        self._loop = loop
        self._clock = clock or loop.time
        self._stride = stride
        self._late_s = late_s
        self._owed = 0  # turns that came while a bucket was still being visited
        self._turned = turned
        self._width_s = period_s / buckets
        self._buckets: list[set[Member]] = [set() for _ in range(buckets)]
        self._joined = 0
        self._current = 0
        self._waiting: deque[Member] = deque()
        self._turn_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._rings: list[tuple[float, int, Member]] = []
        self._ringing: asyncio.TimerHandle | None = None
        self._serial = 0

    def start(self) -> None:
        """Begin to turn."""
        self._turn_at = self._clock() + self._width_s
        self._timer = self._loop.call_at(self._turn_at, self._turn)

    def stop(self) -> None:
        """Turn no more; alarms ring no more."""
        for handle in (self._timer, self._ringing):
            if handle is not None:
                handle.cancel()
        self._timer = self._ringing = None
        self._waiting.clear()
        self._owed = 0
        self._rings.clear()

    def join(self, member: Member) -> None:
        """Visit `member` from now on. Members are dealt to the buckets in turn."""
        member.phase = self._joined % len(self._buckets)
        self._joined += 1
        self._buckets[member.phase].add(member)

    def leave(self, member: Member) -> None:
        """Visit `member` no more; harmless where it never joined. An alarm that it asked for may still ring."""
        self._buckets[member.phase].discard(member)

    def ring(self, member: Member, at_ms: float) -> None:
        """Call `member.alarm` at `at_ms` of the loop's clock.

        Alarms cannot be taken back, so ask only for what is due within about a second (from `beat`): that bounds the
        heap to what a second holds.
        """
        self._serial += 1
        heappush(self._rings, (at_ms, self._serial, member))
        if self._rings[0][1] == self._serial:
            if self._ringing is not None:
                self._ringing.cancel()
            self._ringing = self._loop.call_at(at_ms / 1000, self._ring_due)

    def _turn(self) -> None:
        now = self._clock()
        self._turn_at = max(self._turn_at + self._width_s, now - self._late_s)
        self._timer = self._loop.call_at(self._turn_at, self._turn)
        if self._turned is not None:
            self._turned(now)
        if self._waiting:
            self._owed = min(self._owed + 1, int(self._late_s / self._width_s))
        else:
            self._next()
            self._visit()

    def _next(self) -> None:
        self._current = (self._current + 1) % len(self._buckets)
        self._waiting.extend(self._buckets[self._current])

    def _visit(self) -> None:
        clock, waiting, buckets = self._clock, self._waiting, self._buckets
        now = clock()
        until = now + TURN_S
        now_ms = now * 1000
        try:
            while waiting:
                for _ in range(min(self._stride, len(waiting))):
                    member = waiting.popleft()
                    if member in buckets[member.phase]:  # it may have left since the snapshot
                        member.beat(now_ms)
                if clock() >= until:
                    break
        finally:  # a fault in one visit is reported by the loop and costs the others nothing
            if not waiting and self._owed:
                self._owed -= 1
                self._next()
            if waiting:
                self._loop.call_soon(self._visit)

    def _ring_due(self) -> None:
        rings = self._rings
        self._ringing = None
        now_ms = self._clock() * 1000
        until = now_ms + TURN_S * 1000
        try:
            while rings and rings[0][0] <= now_ms + 1:  # the loop's timers are whole milliseconds
                at_ms, _, member = heappop(rings)
                member.alarm(max(at_ms, now_ms))  # never before its instant: it would ask again, or not at all
                if self._clock() * 1000 >= until:
                    break
        finally:
            if rings and self._ringing is None:
                self._ringing = self._loop.call_at(max(rings[0][0] / 1000, self._clock()), self._ring_due)
