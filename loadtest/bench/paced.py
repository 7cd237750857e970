"""(b) Paced load: many connections, four frames a second each, at instants spread over the second.

Two kinds of work. *Plain*: the server takes 40-byte frames and answers every fourth one of a connection with 100 bytes,
a message a second. *Scored, ticking*: the frames are the keys of a running test (see `steady`), the server scores them
and sends a tick a second. Typegate does so as it is, with limits, counters, metrics and its spool; `websockets` with
the same codec, sessions and ticks; the servers in other languages with the least that this takes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import monotonic
from typing import Any

from loadtest.bench.builds import Absent
from loadtest.bench.closed import frame_for
from loadtest.bench.contenders import CONTENDERS, OURS, Contender
from loadtest.bench.rounds import LIMIT_NOTE, Bench, Part, limit, undisturbed
from loadtest.bench.steady import (
    ONE_KEY,
    PERIOD_MS,
    TWO_KEYS,
    Beat,
    ProtocolTypist,
    Rhythm,
    SteadyTypist,
    model_mix,
)
from loadtest.client import TypingClient
from loadtest.engine import Engine
from loadtest.line import Address, Line
from loadtest.served import Child, Served, cpu_s
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["SteadyPlan", "opened", "paced_load", "plain", "scored"]

GATEWAY = "Typegate, the whole gateway"
PLAIN = "1 answer/s"
_OPENING_PER_S = 2_000.0
_OPEN_S = 60.0
_OPENING = 200  # connections under way at a time: as a listener's backlog can take
_SETTLE_S = 1.2  # from a change of rhythm to its measure


class PacedLine(Line):
    """One connection that sends a frame every 250 ms, whatever the server does."""

    __slots__ = ("_bytes", "_next_ms", "_raw", "answers", "open", "sent")

    def __init__(self, engine: Engine, number: int, frame: bytes, *, raw: bool) -> None:
        super().__init__(engine, number)
        self._bytes = frame
        self._raw = raw
        self._next_ms = 0.0
        self.open = False
        self.sent = self.answers = 0

    def begin(self, address: Address, *, deflate: bool) -> None:
        """Connect."""
        if self._raw:
            if self.dial(address):
                self.opened()
        else:
            self.connect(address, None, extensions="permessage-deflate; client_no_context_takeover" if deflate else "")

    def readable(self) -> None:
        """Count whatever comes over raw TCP as one answer."""
        if not self._raw:
            super().readable()
        elif self.receive():
            self.answers += 1

    def opened(self) -> None:
        """Wait for the others."""
        self.open = True

    def start(self) -> None:
        """Begin to send, at a phase of its own."""
        self._next_ms = self._engine.now_ms + self._number * 7.919 % PERIOD_MS
        self.wake_at(self._next_ms)

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """An answer."""
        self.answers += 1

    def wake(self, now_ms: float) -> None:
        """Send; what was missed is left out, so that each keeps its place in the second."""
        self._write(self._bytes)
        self.sent += 1
        self._next_ms += PERIOD_MS
        while self._next_ms < now_ms:
            self._next_ms += PERIOD_MS
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


@dataclass(slots=True)
class _Counts:
    """What a window is counted by."""

    frames: int
    keys: int
    answers: int


def plain(server: Child, contender: Contender, connections: int, window_s: float) -> dict[str, float]:
    """Server CPU of taking frames and answering every fourth one, and what a connection costs before it sends."""
    engine, frame = Engine(), frame_for(contender)
    lines = [PacedLine(engine, number, frame, raw=contender.speaks == "raw") for number in range(connections)]

    def counts() -> _Counts:
        return _Counts(sum(line.sent for line in lines), 0, sum(line.answers for line in lines))

    try:
        empty_bytes, cpu = server.memory_bytes(), server.cpu_s()
        for start in range(0, connections, _OPENING):
            for line in lines[start : start + _OPENING]:
                line.begin(server.address, deflate=contender.speaks == "deflate")
            if not engine.run(partial(_all_open, lines[start : start + _OPENING]), limit_s=10):
                raise RuntimeError(f"connections after the first {start} do not open")
        cpu = server.cpu_s() - cpu
        idle_kib = (server.memory_bytes() - empty_bytes) / 1024 / connections
        with undisturbed():
            for line in lines:
                line.start()
            engine.run(_never, limit_s=1.0)
            facts = _window(server, engine, counts, window_s)
        facts |= {"idle_kib": idle_kib, "handshake_us": 1e6 * cpu / connections}
        if 4 * facts["answers_per_s"] < 0.8 * facts["frames_per_s"]:
            raise RuntimeError(f"does not keep up: {facts['answers_per_s']:.0f} answers/s")
        return facts
    finally:
        for line in lines:
            line.hang_up()
        engine.close()


def scored(
    server: Child, connections: int, rhythms: Sequence[Rhythm], window_s: float, *, protocol: bool
) -> dict[str, dict[str, float]]:
    """Server CPU of scoring, and a tick a second, by rhythm.

    Raises RuntimeError where the server does not keep up, since at the end a tick must tell each typist of their last
    key, or the load does not.
    """
    engine, beat = Engine(), Beat(rhythms[0])
    kind = ProtocolTypist if protocol else SteadyTypist
    typists = [kind(engine, number, beat) for number in range(connections)]

    def counts() -> _Counts:
        return _Counts(beat.frames, beat.keys, beat.ticks)

    try:
        for number, typist in enumerate(typists):
            typist.begin(server.address)
            if number - beat.begun >= _OPENING:
                engine.run(partial(_have_begun, beat, number - _OPENING // 2), limit_s=10)
        if not engine.run(partial(_all_type, typists), limit_s=10):
            raise RuntimeError(f"not all type: {_faults(typists)}")
        taken: dict[str, dict[str, float]] = {}
        with undisturbed():
            for rhythm in rhythms:
                beat.rhythm = rhythm
                for typist in typists:
                    typist.prepare(int((_SETTLE_S + window_s) * 1000 / PERIOD_MS))
                if not beat.playing:
                    beat.playing = True
                    for typist in typists:
                        typist.start()
                engine.run(_never, limit_s=_SETTLE_S)
                facts = taken[rhythm.name] = _window(server, engine, counts, window_s)
                if facts["frames_per_s"] < 0.8 * connections * 1000 / PERIOD_MS:
                    raise RuntimeError(f"only {facts['frames_per_s']:.0f} frames/s are sent: {_faults(typists)}")
            beat.playing = False
            if not engine.run(partial(_all_acknowledged, typists), limit_s=10):
                raise RuntimeError(f"ticks are missing: {_faults(typists)}")
        return taken
    finally:
        for typist in typists:
            typist.hang_up()
        engine.close()


def _window(server: Child, engine: Engine, counts: Callable[[], _Counts], window_s: float) -> dict[str, float]:
    """The server's CPU and the generator's own, over a while."""
    engine.lateness.clear()
    before, begun = counts(), monotonic()
    cpu, own = server.cpu_s(), cpu_s(os.getpid())
    engine.run(_never, limit_s=window_s)
    cpu, own, took = server.cpu_s() - cpu, cpu_s(os.getpid()) - own, monotonic() - begun
    after = counts()
    frames = max(1, after.frames - before.frames)
    return {
        "us_per_frame": 1e6 * cpu / frames,
        "cpu_percent": 100 * cpu / took,
        "frames_per_s": frames / took,
        "keys_per_frame": (after.keys - before.keys) / frames,
        "answers_per_s": (after.answers - before.answers) / took,
        "generator_percent": 100 * own / took,
        "generator_late_p99_ms": engine.lateness.quantile(0.99) or 0.0,
    }


def _never() -> bool:
    return False


def _all_open(lines: Sequence[PacedLine]) -> bool:
    return all(line.open for line in lines)


def _have_begun(beat: Beat, least: int) -> bool:
    return beat.begun >= least


def _all_type(typists: Sequence[SteadyTypist]) -> bool:
    return all(typist.typing for typist in typists)


def _all_acknowledged(typists: Sequence[SteadyTypist]) -> bool:
    return all(typist.acknowledged == typist.n for typist in typists)


def _faults(typists: Sequence[SteadyTypist]) -> str:
    faults = [typist.fault for typist in typists if typist.fault is not None]
    return f"{len(faults)} of {len(typists)} at fault, the first: {faults[0] if faults else 'none'}"


@dataclass(frozen=True, slots=True)
class _Job:
    """One server to be started, and what is asked of it."""

    name: str
    contender: Contender | None
    """None: the whole gateway."""
    work: str
    connections: int


def paced_load(bench: Bench) -> Part:
    """Measure plain and scored work in interleaved rounds."""
    rounds = 1 if bench.quick else 2
    window_s = 2.0 if bench.quick else 3.0
    many, few = (2_000, 1_000) if bench.quick else (10_000, 2_500)
    jobs = [_Job(GATEWAY, None, "scored", many)]
    for work in ("scored", "paced"):
        jobs += [
            _Job(contender.name, contender, work, few if contender.heavy else many)
            for contender in CONTENDERS
            if work in contender.works
        ]
    rhythms = [TWO_KEYS, model_mix(), ONE_KEY]
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    absent: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], str] = {}
    for turn in range(rounds):
        for at, job in enumerate(jobs):
            bench.progress((turn * len(jobs) + at) / (rounds * len(jobs)), f"{job.name}, {job.work}")
            if (job.name, job.work) in absent:
                continue
            try:
                for what, facts in _once(bench, job, rhythms, window_s).items():
                    taken.setdefault((job.name, what), []).append(facts)
            except Absent as fault:
                absent[job.name, job.work] = str(fault)
            except (RuntimeError, OSError) as fault:
                failed[job.name, job.work] = str(fault)  # the next round may be better
            rhythms.reverse()
    why = failed | absent
    rows: list[list[object]] = []
    for what in (PLAIN, *(rhythm.name for rhythm in (TWO_KEYS, model_mix(), ONE_KEY))):
        work = "paced" if what == PLAIN else "scored"
        own = _cost(taken.get((OURS if what == PLAIN else GATEWAY, what)))
        for job in jobs:
            if job.work == work:
                runs = taken.get((job.name, what))
                measured = _row(job, runs, own) if runs else [why.get((job.name, work))]
                rows.append([job.name, _told(what), *measured])
    width = max(map(len, rows))
    return Part(
        f"(b) Paced: 4 frames/s a connection, median of {rounds} rounds",
        (
            "server",
            "work",
            "connections",
            "CPU µs a frame",
            "ratio",
            "CPU %",
            "frames/s",
            "idle KiB",
            "handshake µs",
            "generator CPU %",
            "late p99 ms",
            "limit",
        ),
        [row + [None] * (width - len(row)) for row in rows],
        {
            "taken": {f"{name}: {what}": runs for (name, what), runs in taken.items()},
            "failed": {f"{name}: {work}": said for (name, work), said in why.items()},
        },
        notes=(
            *_over(taken, model_mix().name),
            f"{PLAIN}: 40-byte frames are taken, every fourth is answered; raw TCP doing so is the floor. "
            f"Others: scored, a tick a second; the model's mix has {model_mix().keys_a_frame:.2f} keys a frame.",
            "Ratios are to Typegate's row of the same work: its bare wire plain, the whole gateway scored. Servers in "
            "other languages score without receipts, limits, metrics and plausibility: the least that it takes.",
            f"websockets has {few:,} connections: it cannot hold more. idle KiB: the server's own memory for a "
            "connection that has not sent a frame; handshake: its CPU for TCP and upgrade.",
            LIMIT_NOTE,
        ),
    )


def _over(taken: Mapping[tuple[str, str], Sequence[dict[str, float]]], what: str) -> list[str]:
    """The whole gateway's cost as a multiple of each other server's, for the same work."""
    own = _cost(taken.get((GATEWAY, what)))
    others = {name: cost for (name, work), runs in taken.items() if work == what and (cost := _cost(runs))}
    others.pop(GATEWAY, None)
    if own is None or not others:
        return []
    multiples = ", ".join(f"{name} {own / cost:.2f}" for name, cost in others.items())
    return [f"Typegate's CPU over theirs, {_told(what)}: {multiples}."]


def _told(what: str) -> str:
    return what if what == PLAIN else f"scored, {what}"


def _cost(runs: Sequence[dict[str, float]] | None) -> float | None:
    return median(one["us_per_frame"] for one in runs) if runs else None


def _row(job: _Job, runs: Sequence[dict[str, float]], own: float | None) -> list[object]:
    middle = {name: median(one[name] for one in runs) for name in runs[0]}
    return [
        job.connections,
        round(middle["us_per_frame"], 2),
        own and f"{middle['us_per_frame'] / own:.2f}",
        round(middle["cpu_percent"], 1),
        round(middle["frames_per_s"]),
        *(round(middle[name], 1) if name in middle else None for name in ("idle_kib", "handshake_us")),
        round(middle["generator_percent"], 1),
        round(middle["generator_late_p99_ms"], 1),
        limit(middle["generator_percent"], middle["generator_late_p99_ms"]),
    ]


def _once(bench: Bench, job: _Job, rhythms: Sequence[Rhythm], window_s: float) -> dict[str, dict[str, float]]:
    """Start the server, measure, and stop it. Raises Absent, RuntimeError or OSError."""
    with ExitStack() as stack:
        contender = job.contender
        if contender is None:
            server: Child = stack.enter_context(Served.in_temporary_folder(core=bench.server_core))
        else:
            work = contender.child("paced" if job.work == "paced" else "scored", core=bench.server_core)
            server = stack.enter_context(work)
            if job.work == "paced":
                return {PLAIN: plain(server, contender, job.connections, window_s)}
        protocol = contender is None or contender.scores == "the protocol"
        return scored(server, job.connections, rhythms, window_s, protocol=protocol)
