"""Waves of connections (d): ten thousand come, are lost, come back, and go on with their tests, a killed server or not.

Beside it the same wave against a server that does nothing but accept on uvloop and answer with constants: what of the
cost is the kernel's and the loop's, so that a figure can be read on a slow machine too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import monotonic
from typing import Any

import msgpack

from loadtest.bench.rounds import Bench, Part, middle
from loadtest.engine import Engine
from loadtest.line import BINARY, Address, Line
from loadtest.meters import Times
from loadtest.served import Child, Served, raise_file_limit

__all__ = ["handshakes"]

AT_ONCE = 256
"""Handshakes of a wave that are under way at a time: fewer than the door lets one address have."""

_LOOK_S = 0.1
_TICKS_S = 1.2  # a test's first tick comes within a second: it is no part of what comes after
_LIMIT_S = 60.0

_FLOOR, _NEW, _BACK, _RESUMED, _TAKEN_OVER, _LOST = (
    "raw uvloop: accept, constant answers",
    "new guests, to `ready`",
    "guests who come back, to `ready`",
    "tests that go on, to `resumed`",
    "after a kill -9, to `resumed`",
    "connections lost in mid-test",
)


class Visitor(Line):
    """A client that does what it is told to, a step at a time: come, start a test, go, come back."""

    __slots__ = ("_address", "_begun", "_goal", "_ready", "_test", "_wave")

    def __init__(self, engine: Engine, number: int, address: Address) -> None:
        super().__init__(engine, number)
        self._address = address
        self._begun = 0.0
        self._ready: dict[str, Any] = {}
        self._test: dict[str, Any] = {}
        self._goal = ""
        self._wave: Wave

    def come(self, wave: Wave, goal: str) -> None:
        """Connect, and go on until a message of this kind comes."""
        self._wave, self._goal = wave, goal
        self._begun = monotonic()
        self.connect(self._address, "typegate.v1.msgpack")

    def begin(self, wave: Wave, goal: str) -> None:
        """Start a test and type one key of it."""
        self._wave, self._goal = wave, goal
        self._say({"t": "start", "mode": "words", "count": 25, "ref": 1})

    def opened(self) -> None:
        """Say who this is."""
        token = self._ready.get("token")
        self._say({"t": "auth"} if token is None else {"t": "auth", "token": token})

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Take the next step."""
        message = msgpack.unpackb(payload)
        kind = message["t"]
        if kind == "ready":
            self._ready = message
            test = self._test
            if test:
                self._say({"t": "resume", "session": test["session"], "ticket": test["ticket"], "n": 1, "ref": 2})
        elif kind == "started":
            self._test = message
            self._say({"t": "keys", "n": 0, "e": [200, "x"], "ref": 1})
            self._say({"t": "hb"})  # its answer says that the key has arrived
        if kind == self._goal:
            self._goal = ""
            self._wave.arrived(monotonic() - self._begun)
        elif kind == "error":
            self._wave.failed(f"error {message['code']}: {message['message']}")

    def lost(self, code: int, reason: str) -> None:
        """No connection of these is lost but by our own hand."""
        self._wave.failed(f"closed {code}: {reason}")

    def _say(self, message: dict[str, Any]) -> None:
        self.send(BINARY, msgpack.packb(message), self._number)


@dataclass(slots=True)
class Wave:
    """One step of all visitors."""

    done: int = 0
    fault: str | None = None
    times: Times = field(default_factory=Times)

    def arrived(self, seconds: float) -> None:
        """One more has come to its goal."""
        self.done += 1
        self.times.add(1000 * seconds)

    def failed(self, why: str) -> None:
        """One will not."""
        self.fault = why

    def have(self, least: int) -> bool:
        """Whether so many have. Raises RuntimeError where one cannot."""
        if self.fault is not None:
            raise RuntimeError(f"a connection of the wave failed: {self.fault}")
        return self.done >= least


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step of all cost the server."""

    us: float
    """CPU microseconds each."""
    per_s: float
    """How many a second."""
    times_ms: dict[str, Any]


class Crowd:
    """All visitors of one server."""

    def __init__(self, server: Child, size: int) -> None:
        self._server = server
        self._engine = Engine()
        self._visitors = [Visitor(self._engine, number, server.address) for number in range(size)]
        self._files = server.open_files() + 16  # a server may open some of its own meanwhile

    def step(self, do: Callable[[Visitor, Wave], None]) -> Cost:
        """Have each do something, `AT_ONCE` at a time, and wait for all. Raises RuntimeError where one cannot."""
        engine, visitors, wave = self._engine, self._visitors, Wave()
        cpu, begun = self._server.cpu_s(), monotonic()
        for number, visitor in enumerate(visitors):
            do(visitor, wave)
            if number % (AT_ONCE // 2) == 0:
                engine.run(partial(wave.have, number - AT_ONCE // 2), limit_s=_LIMIT_S)
        if not engine.run(partial(wave.have, len(visitors)), limit_s=_LIMIT_S):
            raise RuntimeError(f"{len(visitors) - wave.done} of {len(visitors)} connections did not come to their goal")
        return self._cost(cpu, begun, wave.times)

    def go(self) -> Cost:
        """All hang up without a word; over when the server has closed their sockets too."""
        self._engine.run(lambda: False, limit_s=_TICKS_S)
        cpu, begun = self._server.cpu_s(), monotonic()
        for visitor in self._visitors:
            visitor.hang_up()
        until = monotonic() + _LIMIT_S
        while self._server.open_files() > self._files:
            if monotonic() > until:
                raise RuntimeError(f"the server still has connections {_LIMIT_S:g} s after all have hung up")
            self._engine.run(lambda: False, limit_s=_LOOK_S)
        return self._cost(cpu, begun, Times())

    def restart(self) -> None:
        """Have the server killed and started again: it has nothing of the tests, the visitors have their tickets."""
        for visitor in self._visitors:
            visitor.hang_up()
        self._server.kill()
        self._server.start()

    def close(self) -> None:
        """Leave."""
        for visitor in self._visitors:
            visitor.hang_up()
        self._engine.close()

    def _cost(self, cpu_s: float, begun: float, times: Times) -> Cost:
        size = len(self._visitors)
        return Cost(1e6 * (self._server.cpu_s() - cpu_s) / size, size / (monotonic() - begun), times.facts())


def handshakes(bench: Bench) -> Part:
    """Server CPU from the first SYN to the last answer, over the number of connections."""
    size = min(2_000 if bench.quick else 10_000, raise_file_limit() - 300)
    rounds = 2 if bench.quick else 5
    taken: dict[str, list[Cost]] = {name: [] for name in (_FLOOR, _NEW, _BACK, _RESUMED, _TAKEN_OVER, _LOST)}
    for turn in range(rounds):
        bench.progress(turn / rounds, f"{size:,} connections")
        for name, cost in (_floor(bench, size) | _typegate(bench, size)).items():
            taken[name].append(cost)
    floor = median(cost.us for cost in taken[_FLOOR])
    rows: list[list[object]] = []
    for name, costs in taken.items():
        us = median(cost.us for cost in costs)
        rows.append(
            [
                name,
                size,
                round(us, 1),
                round(us / floor, 2),
                None if name == _LOST else round(median(cost.per_s for cost in costs)),
                *(middle([cost.times_ms[key] for cost in costs]) for key in ("p50", "p99")),
            ]
        )
    return Part(
        f"(d) Handshakes: waves of {size:,}, {AT_ONCE} under way at a time, median of {rounds} rounds",
        ("wave", "connections", "server CPU µs each", "times the raw one", "a second", "p50 ms", "p99"),
        rows,
        {
            name: {"us": [cost.us for cost in costs], "per_s": [cost.per_s for cost in costs]}
            for name, costs in taken.items()
        },
        notes=("A wave begins when the one before has its answers, or its sockets are closed.",),
    )


def _floor(bench: Bench, size: int) -> dict[str, Cost]:
    command: Sequence[str] = (sys.executable, "-m", "loadtest.bench.serve", "raw", "handshake")
    with Child("raw uvloop", command, core=bench.server_core) as server:
        crowd = Crowd(server, size)
        try:
            return {_FLOOR: crowd.step(partial(Visitor.come, goal="ready"))}
        finally:
            crowd.close()


def _typegate(bench: Bench, size: int) -> dict[str, Cost]:
    with Served.in_temporary_folder(core=bench.server_core) as server:
        crowd = Crowd(server, size)
        try:
            new = crowd.step(partial(Visitor.come, goal="ready"))
            crowd.go()
            back = crowd.step(partial(Visitor.come, goal="ready"))
            crowd.step(partial(Visitor.begin, goal="hb"))
            lost = crowd.go()
            resumed = crowd.step(partial(Visitor.come, goal="resumed"))
            crowd.restart()
            taken_over = crowd.step(partial(Visitor.come, goal="resumed"))
        finally:
            crowd.close()
    return {_NEW: new, _BACK: back, _RESUMED: resumed, _TAKEN_OVER: taken_over, _LOST: lost}
