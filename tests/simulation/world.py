"""Time, chance and what happened: there is one of each in a world, and nothing in it waits."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any, Final, NoReturn, TypeAlias
from unittest import mock

import structlog

EPOCH_S: Final = 1_790_000_000.0
"""When every world begins, by a clock that is right."""

Timer: TypeAlias = list[Any]
"""When, lot, number, what is called (None: nothing any more) and with what; the first three order it among others."""


class Broken(AssertionError):
    """A law does not hold. `law` names it, in a few words."""

    def __init__(self, law: str, detail: str) -> None:
        super().__init__(f"{law}: {detail}")
        self.law = law


class World:
    """Calls what is due, in the order of time; what is due at one instant in an order drawn by lot.

    `now` is in seconds from its beginning. Chance is given out in streams by name, so that what one part draws does not
    change what another part gets.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.play: list[tuple[float, str, str, object]] = []
        """What happened: when, to whom, what, and with what."""
        self.failures: list[str] = []
        """Exceptions that somebody has caught and logged: faults of ours."""
        self._due: list[Timer] = []
        self._serial = 0
        self._lots = self.chance("lots").random

    def chance(self, name: str) -> random.Random:
        """A stream of chance of this name."""
        return random.Random(f"{self.seed} {name}")

    def at(self, when: float, call: Callable[..., object], *args: object) -> Timer:
        """Call at this time, or as soon as may be where it is past."""
        self._serial += 1
        now = self.now
        timer: Timer = [when if when > now else now, self._lots(), self._serial, call, args]
        heappush(self._due, timer)
        return timer

    def after(self, seconds: float, call: Callable[..., object], *args: object) -> Timer:
        """Call in so many seconds."""
        self._serial += 1
        timer: Timer = [self.now + seconds if seconds > 0 else self.now, self._lots(), self._serial, call, args]
        heappush(self._due, timer)
        return timer

    def note(self, who: str, what: str, detail: object = "") -> None:
        """Note what happened."""
        self.play.append((self.now, who, what, detail))

    def run(self, until: float, *, unless: Callable[[], bool] = lambda: False) -> bool:
        """Let time go on, until then or until it is `unless`, which is asked each half second; whether it was."""
        due = self._due
        ask_at = self.now
        while True:
            if self.now >= ask_at:
                if unless():
                    return True
                ask_at = self.now + 0.5
            if not due or due[0][0] > until:
                break
            when, _, _, call, args = heappop(due)
            if call is not None:
                self.now = when
                call(*args)
        self.now = until
        return unless()

    def digest(self) -> str:
        """A hash of the whole play."""
        digest = blake2b(digest_size=16)
        for step in self.play:
            digest.update(repr(step).encode())
        return digest.hexdigest()


def cancel(timer: Timer | None) -> None:
    """Have it called no more."""
    if timer is not None:
        timer[3] = None


@contextmanager
def no_other_world(world: World) -> Iterator[None]:
    """Whatever asks for the time or for random bytes gets this world's, while this is open; and no log is written."""
    chance = world.chance("random bytes")

    def seconds() -> float:
        return world.now + 1_000.0

    def nanoseconds() -> int:
        return int((world.now + 1_000.0) * 1e9)

    def wall_s() -> float:
        return world.now + EPOCH_S

    def wall_ns() -> int:
        return int((world.now + EPOCH_S) * 1e9)

    def hear(_: object, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        if event.get("exc_info"):
            world.failures.append(f"{event.get('event')}: {event['exc_info']!r}")
        raise structlog.DropEvent

    logs = structlog.get_config()
    structlog.configure(processors=[hear], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        with (
            mock.patch.object(time, "monotonic", seconds),
            mock.patch.object(time, "perf_counter", seconds),
            mock.patch.object(time, "monotonic_ns", nanoseconds),
            mock.patch.object(time, "perf_counter_ns", nanoseconds),
            mock.patch.object(time, "time", wall_s),
            mock.patch.object(time, "time_ns", wall_ns),
            mock.patch.object(os, "urandom", chance.randbytes),
        ):
            yield
    finally:
        structlog.configure(**logs)
