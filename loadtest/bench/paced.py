"""(b) Paced load: many connections, four 40-byte frames a second each, at instants spread over the second.

Two kinds of work. *Plain*: the server takes frames and answers every fourth one of a connection with 100 bytes, a
message a second. *Scored*: the frames are two keystrokes of a running test each (40 bytes with their holds), the server
scores them and sends a tick a second: Typegate as it is, with limits, counters, metrics and its spool, and `websockets`
with the same codec, sessions and ticks.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from math import inf
from statistics import median
from time import monotonic
from typing import Any

from loadtest.bench.contenders import CONTENDERS, Contender
from loadtest.bench.rounds import Bench, Part
from loadtest.client import ClientOptions, TypingClient
from loadtest.engine import Engine
from loadtest.line import BINARY, Address, Line, client_frame
from loadtest.meters import Meters
from loadtest.served import Child, Served
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["SteadyPlan", "opened", "paced_load"]

PERIOD_MS = 250.0
_FRAME = client_frame(BINARY, b"forty bytes, as a frame of two keys has.")
_OPENING_PER_S = 2_000.0
_OPEN_S = 60.0


class PacedLine(Line):
    """One connection that sends a frame every 250 ms, whatever the server does."""

    __slots__ = ("_next_ms", "_raw", "answers", "sent")

    def __init__(self, engine: Engine, number: int, *, raw: bool) -> None:
        super().__init__(engine, number)
        self._raw = raw
        self._next_ms = 0.0
        self.sent = self.answers = 0

    def begin(self, address: Address, *, deflate: bool) -> None:
        """Connect."""
        if self._raw:
            if self.dial(address):
                self.opened()
        else:
            self.connect(address, None, extensions="permessage-deflate" if deflate else "")

    def readable(self) -> None:
        """Count whatever comes over raw TCP as one answer."""
        if not self._raw:
            super().readable()
        elif self.receive():
            self.answers += 1

    def opened(self) -> None:
        """Begin to send, at a phase of its own."""
        self._next_ms = self._engine.now_ms + self._number * 7.919 % PERIOD_MS
        self.wake_at(self._next_ms)

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """An answer."""
        self.answers += 1

    def wake(self, now_ms: float) -> None:
        """Send; what was late is not caught up with."""
        self.send_frames(_FRAME)
        self.sent += 1
        self._next_ms = max(self._next_ms + PERIOD_MS, now_ms)
        self.wake_at(self._next_ms)


class SteadyPlan:
    """One long test, typed without errors at eight keys a second: two to a frame."""

    __slots__ = ("_first_ms", "_seconds")

    def __init__(self, number: int, *, seconds: int = 120) -> None:
        self._first_ms = 250 + number * 7919 % 250
        self._seconds = seconds

    def choose(self, test: int) -> dict[str, Any] | None:
        """A test on the clock."""
        return {"mode": "time", "seconds": self._seconds}

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """Every key right, every gap 125 ms."""
        text = "".join(cluster for word in words for cluster in word)
        count = min(8 * self._seconds - 1, len(text))
        gaps = array("I", [125]) * count
        gaps[0] = self._first_ms
        return Typed(gaps, text[:count], array("H", [110]) * count)

    def pause_ms(self, test: int) -> float:
        """At once."""
        return 1.0


def opened(engine: Engine, clients: Sequence[TypingClient], address: Address, *, typing: bool = True) -> None:
    """Connect clients, 2,000 a second, until all type. Raises RuntimeError where they do not within a minute."""
    for number, client in enumerate(clients):
        client.begin(address, due_ms=engine.now_ms + number * 1000 / _OPENING_PER_S)
    left = set(clients)

    def all_there() -> bool:
        left.difference_update([client for client in left if client.typing == typing and client.connected])
        return not left

    if not engine.run(all_there, limit_s=_OPEN_S):
        raise RuntimeError(f"{len(left)} of {len(clients)} clients have no test after {_OPEN_S:g} s")


def plain(server: Child, contender: Contender, connections: int, window_s: float) -> dict[str, float]:
    """Server CPU of taking frames and answering every fourth one."""
    engine = Engine()
    lines = [PacedLine(engine, number, raw=contender.speaks == "raw") for number in range(connections)]
    try:
        for start in range(0, connections, 200):  # as a listener's backlog can take
            for line in lines[start : start + 200]:
                line.begin(server.address, deflate=contender.speaks == "deflate")
            engine.run(partial(_all_send, lines[start : start + 200]), limit_s=10)
        engine.run(lambda: False, limit_s=1.0)
        sent, answers = sum(line.sent for line in lines), sum(line.answers for line in lines)
        cpu, begun = server.cpu_s(), monotonic()
        engine.run(lambda: False, limit_s=window_s)
        took = monotonic() - begun
        return _facts(
            server.cpu_s() - cpu,
            sum(line.sent for line in lines) - sent,
            sum(line.answers for line in lines) - answers,
            took,
        )
    finally:
        for line in lines:
            line.hang_up()
        engine.close()


def scored(server: Child, connections: int, window_s: float) -> dict[str, float]:
    """Server CPU of scoring two keys a frame, and a tick a second."""
    engine, meters = Engine(), Meters()
    options = ClientOptions(flush_ms=PERIOD_MS, probe_every=0, check_every=0)
    clients = [
        TypingClient(engine, number, SteadyPlan(number), options=options, meters=meters)
        for number in range(connections)
    ]
    try:
        opened(engine, clients, server.address)
        engine.run(lambda: False, limit_s=1.5)
        sent, ticks, cpu, begun = meters.frames_out, meters.ticks, server.cpu_s(), monotonic()
        engine.run(lambda: False, limit_s=window_s)
        took = monotonic() - begun
        return _facts(server.cpu_s() - cpu, meters.frames_out - sent, meters.ticks - ticks, took)
    finally:
        for client in clients:
            client.abandon()
        engine.close()


def _all_send(lines: Sequence[PacedLine]) -> bool:
    return all(line.due_ms < inf for line in lines)


def _facts(cpu_s: float, frames: int, answers: int, took_s: float) -> dict[str, float]:
    return {
        "us_per_frame": 1e6 * cpu_s / max(1, frames),
        "cpu_percent": 100 * cpu_s / took_s,
        "frames_per_s": frames / took_s,
        "answers_per_s": answers / took_s,
    }


def paced_load(bench: Bench) -> Part:
    """Measure plain and scored work in interleaved rounds."""
    rounds = 1 if bench.quick else 2
    window_s = 2.0 if bench.quick else 4.0
    many, few = (2_000, 1_000) if bench.quick else (10_000, 2_500)
    jobs: list[tuple[str, str, int]] = [("typegate, the whole gateway", "scored", many), ("websockets", "scored", few)]
    jobs += [(contender.name, "paced", few if "websockets" in contender.name else many) for contender in CONTENDERS]
    by_name = {contender.name: contender for contender in CONTENDERS}
    taken: dict[str, list[dict[str, float]]] = {}
    absent: dict[str, str] = {}
    for turn in range(rounds):
        for at, (name, work, connections) in enumerate(jobs):
            bench.progress((turn * len(jobs) + at) / (rounds * len(jobs)), f"{name}, {work}")
            key = f"{name}, {work}"
            if key in absent:
                continue
            try:
                taken.setdefault(key, []).append(_once(bench, by_name, name, work, connections, window_s))
            except (RuntimeError, OSError) as fault:
                absent[key] = str(fault)
    reference = taken.get("typegate, the whole gateway, scored")
    own_scored = median(one["us_per_frame"] for one in reference) if reference else None
    plain_taken = taken.get("typegate's wire, paced")
    own_plain = median(one["us_per_frame"] for one in plain_taken) if plain_taken else None
    rows: list[list[object]] = []
    for name, work, connections in jobs:
        runs = taken.get(f"{name}, {work}")
        label = f"{name}: {'scored, ticking' if work == 'scored' else 'taken, 1 answer/s'}"
        if not runs:
            rows.append([label, connections, absent.get(f"{name}, {work}", "–"), None, None, None])
            continue
        cost = median(one["us_per_frame"] for one in runs)
        own = own_scored if work == "scored" else own_plain
        rows.append(
            [
                label,
                connections,
                round(cost, 2),
                own and round(cost / own, 2),
                round(median(one["cpu_percent"] for one in runs), 1),
                round(median(one["frames_per_s"] for one in runs)),
            ]
        )
    return Part(
        f"(b) Paced: 4 frames/s a connection, median of {rounds} rounds",
        ("server", "connections", "CPU µs a frame", "ratio", "CPU %", "frames/s"),
        rows,
        {"taken": taken, "absent": absent},
        notes=(
            f"websockets has {few:,} connections: it cannot hold more. "
            "Ratios are to typegate's row of the same work: the whole gateway scored, its bare wire for the others.",
        ),
    )


def _once(
    bench: Bench, by_name: dict[str, Contender], name: str, work: str, connections: int, window_s: float
) -> dict[str, float]:
    if work == "paced":
        contender = by_name[name]
        if contender.spins:
            raise RuntimeError("polls: no measure")
        child = contender.child("paced", core=bench.server_core)
        if isinstance(child, str):
            raise RuntimeError(child)
        with child:
            return plain(child, contender, connections, window_s)
    if name == "websockets":
        child = by_name["websockets"].child("scored", core=bench.server_core)
        assert not isinstance(child, str), "websockets is no option"
        with child:
            return scored(child, connections, window_s)
    with Served.in_temporary_folder(core=bench.server_core) as server:
        return scored(server, connections, window_s)
