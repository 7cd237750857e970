"""(a) Takeovers: tests of a minute that live on one node go on at another.

A typist with a log of 60 s (480 keys) comes to another node with the ticket and the last receipt. The clock runs from
when the new connection is begun: to `ready`, to `resumed`, to when the whole log is scored there again (the answer to
an `hb` sent right after it), and to the first tick after the next key, which comes when it is the session's turn in
its second: up to a second later, and nobody waits for it. The former connection was lost before, or still stands when
the typist comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

import msgpack

from loadtest.bench.cluster.plant import Nodes, at
from loadtest.bench.rounds import Bench, Part
from loadtest.checking import words_of
from loadtest.engine import Engine
from loadtest.line import BINARY, Address, Line
from loadtest.meters import Times

__all__ = ["TARGET_MS", "Moves", "move", "takeovers"]

TARGET_MS = 50.0
GAP_MS = 125
LOG_MS = 60_000
KEYS = LOG_MS // GAP_MS

_TEST_S = 300
_LIMIT_S = 60.0
_A_FRAME = 240
_WARM = 20  # uncounted: the first of a process are slower
_CALM_S = 1.0


@dataclass(slots=True)
class Moves:
    """What a wave of takeovers showed."""

    to_ready: Times = field(default_factory=Times)
    to_resumed: Times = field(default_factory=Times)
    to_caught_up: Times = field(default_factory=Times)
    to_tick: Times = field(default_factory=Times)
    logged: int = 0
    """Tests whose log the first node has, receipt and all."""
    resent: int = 0
    """Keys that the second node asked for again."""
    fault: str | None = None
    cpu_ms: float = 0.0
    """Of both nodes, a takeover; what they take without any is left out."""
    redis_us: float = 0.0
    """Of Redis, likewise."""
    late_ms: float | None = None
    """The load's own lateness, p99."""

    def have(self, times: Times, least: int) -> bool:
        """Whether so many have come so far. Raises RuntimeError where one cannot."""
        self._raise()
        return times.n >= least

    def all_logged(self, least: int) -> bool:
        """Whether so many tests are under way. Raises RuntimeError where one cannot."""
        self._raise()
        return self.logged >= least

    def _raise(self) -> None:
        if self.fault is not None:
            raise RuntimeError(f"a takeover failed: {self.fault}")


class Sitter(Line):
    """A typist who has a log of a minute on a node."""

    __slots__ = ("_keys", "_moves", "gone", "receipt", "started", "token")

    def __init__(self, engine: Engine, number: int, moves: Moves) -> None:
        super().__init__(engine, number)
        self._moves = moves
        self._keys: list[Any] = []
        self.token: str | None = None
        self.started: dict[str, Any] = {}
        self.receipt: bytes | None = None
        self.gone = False
        """Whether its test goes on elsewhere."""

    def log(self, n: int, *, ref: int) -> Iterator[dict[str, Any]]:
        """The messages that bring the log from event `n` on."""
        for first in range(n, KEYS, _A_FRAME):
            events = self._keys[2 * first : 2 * (first + _A_FRAME)]
            yield {"t": "keys", "n": first, "e": events, "ref": ref}

    def opened(self) -> None:
        """Say who this is."""
        self._say({"t": "auth"})

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Take the next step."""
        message = msgpack.unpackb(payload)
        kind = message["t"]
        if kind == "ready":
            self.token = message["token"]
            self._say({"t": "start", "mode": "time", "seconds": _TEST_S, "ref": 1})
        elif kind == "started":
            self.started = message
            text = "".join(cluster for word in words_of(message) for cluster in word)[:KEYS]
            self._keys = [part for key in text for part in (GAP_MS, key)]
            for keys in self.log(0, ref=1):
                self._say(keys)
        elif kind == "tick" and self.receipt is None and message["n"] == KEYS:
            self.receipt = message["r"]
            self._moves.logged += 1
        elif kind == "error":
            self._moves.fault = f"{message['code']}: {message['message']}"

    def lost(self, code: int, reason: str) -> None:
        """Superseded in the end; anything before that is a fault."""
        if not self.gone:
            self._moves.fault = f"closed {code} {reason}"

    def _say(self, message: dict[str, Any]) -> None:
        self.send(BINARY, msgpack.packb(message), self._number)


class Taker(Line):
    """The same typist, come to another node."""

    __slots__ = ("_begun_s", "_moves", "_sitter", "_ticked")

    def __init__(self, engine: Engine, number: int, sitter: Sitter, moves: Moves) -> None:
        super().__init__(engine, number)
        self._sitter = sitter
        self._moves = moves
        self._begun_s = 0.0
        self._ticked = False

    def come(self, address: Address) -> None:
        """Connect and go on with the test."""
        self._sitter.gone = True
        self._begun_s = monotonic()
        self.connect(address, "typegate.v1.msgpack")

    def opened(self) -> None:
        """Say who this is."""
        self._say({"t": "auth", "token": self._sitter.token})

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Take the next step."""
        took_ms = 1000 * (monotonic() - self._begun_s)
        message = msgpack.unpackb(payload)
        moves, sitter = self._moves, self._sitter
        match message["t"]:
            case "ready":
                moves.to_ready.add(took_ms)
                test = {name: sitter.started[name] for name in ("session", "ticket")}
                self._say({"t": "resume", **test, "receipt": sitter.receipt, "n": KEYS, "ref": 2})
            case "resumed":
                moves.to_resumed.add(took_ms)
                moves.resent += KEYS - message["n"]
                for keys in sitter.log(message["n"], ref=2):
                    self._say(keys)
                self._say({"t": "hb"})  # its answer says that all before it is scored
            case "hb":
                moves.to_caught_up.add(took_ms)
                self._say({"t": "keys", "n": KEYS, "e": [GAP_MS, "x"], "ref": 2})
            case "tick" if not self._ticked and message["n"] == KEYS + 1:
                self._ticked = True
                moves.to_tick.add(took_ms)
            case "error":
                moves.fault = f"{message['code']}: {message['message']}"

    def lost(self, code: int, reason: str) -> None:
        """Nobody should hang up."""
        self._moves.fault = f"closed {code} {reason}"

    def _say(self, message: dict[str, Any]) -> None:
        self.send(BINARY, msgpack.packb(message), self._number)


def move(nodes: Nodes, count: int, per_s: float, *, standing: bool) -> Moves:
    """So many takeovers, so many a second, from the first node to the second.

    `standing`: the former connections are still there. Raises RuntimeError where one fails.
    """
    engine, moves = Engine(), Moves()
    here, there = at(nodes.each[0]), at(nodes.each[1])
    sitters = [Sitter(engine, number, moves) for number in range(count)]
    takers = [Taker(engine, number, sitter, moves) for number, sitter in enumerate(sitters)]
    try:
        for number, sitter in enumerate(sitters):
            sitter.connect(here, "typegate.v1.msgpack")
            if number % 50 == 49:
                _reach(engine, partial(moves.all_logged, number - 25), "have a log")
        _reach(engine, partial(moves.all_logged, count), "have a log")
        if not standing:
            for sitter in sitters:
                sitter.hang_up()
        engine.run(lambda: False, limit_s=_CALM_S)
        calm = nodes.spent()
        engine.run(lambda: False, limit_s=_CALM_S)
        before = nodes.spent()
        idle = before - calm
        engine.lateness.clear()
        begun_ms = engine.now_ms
        for number, taker in enumerate(takers):
            due_ms = begun_ms + 1000 * number / per_s
            engine.run(partial(_is_due, engine, due_ms), limit_s=_LIMIT_S)
            taker.come(there)
        _reach(engine, partial(moves.have, moves.to_tick, count), "go on")
        spent = nodes.spent() - before
        of_idle = spent.at_s / idle.at_s
        moves.cpu_ms = 1000 * max(0.0, spent.nodes_s - idle.nodes_s * of_idle) / count
        moves.redis_us = 1e6 * max(0.0, spent.redis_s - idle.redis_s * of_idle) / count
        moves.late_ms = engine.lateness.quantile(0.99)
        return moves
    finally:
        for line in (*sitters, *takers):
            line.hang_up()
        engine.close()


def _is_due(engine: Engine, due_ms: float) -> bool:
    return engine.now_ms >= due_ms


def _reach(engine: Engine, there: Callable[[], bool], what: str) -> None:
    if not engine.run(there, limit_s=_LIMIT_S):
        raise RuntimeError(f"not all {what} after {_LIMIT_S:g} s")


def takeovers(bench: Bench) -> Part:
    """Measure both ways in turn."""
    count, per_s = (60, 20.0) if bench.quick else (500, 50.0)
    taken: dict[str, Moves] = {}
    with Nodes.running(2) as nodes:
        move(nodes, _WARM, per_s, standing=False)
        ways = {"the connection was lost before": False, "the connection still stands": True}
        for number, (name, standing) in enumerate(ways.items()):
            bench.progress(number / 2, f"takeovers, {name}")
            taken[name] = move(nodes, count, per_s, standing=standing)
    rows: list[list[object]] = []
    for name, moves in taken.items():
        for what, times in _times(moves).items():
            rows.append(
                [
                    f"{name}: {what}",
                    times.n,
                    *(times.quantile(share) for share in (0.5, 0.99)),
                    moves.cpu_ms,
                    moves.redis_us,
                    moves.late_ms,
                ]
            )
    return Part(
        f"(a) Takeovers of tests with a log of {LOG_MS // 1000} s, {per_s:g} a second, from the new connection on",
        ("to", "takeovers", "p50 ms", "p99 ms", "nodes' CPU ms each", "Redis µs each", "load late p99 ms"),
        rows,
        {
            "taken": {
                name: {what: times.facts() for what, times in _times(moves).items()}
                | {"node_cpu_ms": moves.cpu_ms, "redis_us": moves.redis_us, "keys_resent": moves.resent}
                for name, moves in taken.items()
            },
            "redis_us": max(moves.redis_us for moves in taken.values()),
            "node_ms": max(moves.cpu_ms for moves in taken.values()),
        },
        notes=(
            f"Target: caught up within {TARGET_MS:g} ms (p99). A tick comes in its second's turn: nobody waits for it.",
        ),
    )


def _times(moves: Moves) -> dict[str, Times]:
    return {
        "ready": moves.to_ready,
        "resumed": moves.to_resumed,
        "log caught up": moves.to_caught_up,
        "first tick": moves.to_tick,
    }
