"""A loop whose time stands still until a test moves it: the callbacks of an event loop, without waiting."""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class _Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clockwork:
    """`call_soon`, `call_at` and `time` of an event loop; `advance` runs what falls due on the way."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._serial = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Itself, as the type that the gateway's classes ask for."""
        loop: Any = self
        return loop  # type: ignore[no-any-return]  # it implements what they use and no more

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[..., None], *args: object) -> None:
        self._soon.append(lambda: call(*args))

    def call_at(self, when: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer(call)
        self._serial += 1
        heappush(self._timers, (when, self._serial, timer))
        return timer

    def run_soon(self) -> int:
        """Run one turn of what `call_soon` has gathered; how much that was."""
        turn, self._soon = self._soon, deque()
        for call in turn:
            call()
        return len(turn)

    def advance(self, seconds: float) -> None:
        """Move time on, running timers at their instants and all that they call soon."""
        until = self.now + seconds
        while True:
            while self.run_soon():
                pass
            if not self._timers or self._timers[0][0] > until:
                break
            when, _, timer = heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.call()
        self.now = max(self.now, until)
