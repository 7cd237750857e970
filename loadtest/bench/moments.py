"""What happens to all at once: (d) a wave of connections, (e) a thousand finishes in a second, (g) long texts."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from statistics import median
from time import monotonic
from typing import Any

from loadtest.bench.paced import SteadyPlan, opened
from loadtest.bench.rounds import Bench, Part, middle
from loadtest.client import ClientOptions, TypingClient
from loadtest.engine import Engine
from loadtest.meters import Meters
from loadtest.served import Served, raise_file_limit
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["finishes", "handshakes", "long_texts"]

AT_ONCE = 256
"""Handshakes of the wave that are under way at a time: fewer than the door lets one address have."""

GRAPHEMES = 20_000


class NoPlan:
    """Types nothing."""

    def choose(self, test: int) -> dict[str, Any] | None:
        """A test that is never begun: `start` is what the server is busy with no more than once."""
        return None

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """Nothing."""
        return Typed(array("I"), "", array("H"))

    def pause_ms(self, test: int) -> float:
        """For ever."""
        return 1e9


def handshakes(bench: Bench) -> Part:
    """Server CPU from the first SYN to the last `ready`, over the number of connections."""
    wave = min(2_000 if bench.quick else 10_000, raise_file_limit() - 300)
    rounds = 2 if bench.quick else 3
    costs: list[float] = []
    rates: list[float] = []
    times: list[dict[str, Any]] = []
    for turn in range(rounds):
        bench.progress(turn / rounds, f"{wave:,} connections")
        with Served.in_temporary_folder(core=bench.server_core) as server:
            cost, rate, to_ready = _wave(server, wave)
        costs.append(cost)
        rates.append(rate)
        times.append(to_ready)
    return Part(
        f"(d) Handshake to ready: a wave of {wave:,}, median of {rounds} rounds",
        ("connections", "server CPU µs each", "connections/s", "ready p50 ms", "p99"),
        [
            [
                wave,
                round(median(costs), 1),
                round(median(rates)),
                middle([one["p50"] for one in times]),
                middle([one["p99"] for one in times]),
            ]
        ],
        {"us": costs, "per_s": rates, "times_ms": times},
    )


def _wave(server: Served, size: int) -> tuple[float, float, dict[str, Any]]:
    """Connect so many; server CPU µs each, how many a second, and their times."""
    engine, meters = Engine(), Meters()
    clients = [_Ready(engine, number, NoPlan(), options=ClientOptions(), meters=meters) for number in range(size)]
    try:
        cpu, begun = server.cpu_s(), monotonic()
        for number, client in enumerate(clients):
            client.begin(server.address)
            if number % (AT_ONCE // 2) == 0:
                engine.run(partial(_are_ready, meters, number - AT_ONCE // 2), limit_s=10)
        if not engine.run(partial(_are_ready, meters, size), limit_s=60):
            raise RuntimeError(f"{size - meters.ready} of {size} connections were not ready")
        return 1e6 * (server.cpu_s() - cpu) / size, size / (monotonic() - begun), meters.to_ready.facts()
    finally:
        for client in clients:
            client.abandon()
        engine.close()


def _are_ready(meters: Meters, least: int) -> bool:
    return meters.ready >= least


def _have_typed(meters: Meters, until_ms: float) -> bool:
    return monotonic() * 1000 >= until_ms or meters.accepted > 0


def _are_done(clients: Sequence[TypingClient]) -> bool:
    return all(client.done for client in clients)


class _Ready(TypingClient):
    """A client that goes no further than `ready`."""

    __slots__ = ()

    def _begin_test(self) -> None:
        """Not here."""


class _Finisher(SteadyPlan):
    """One test of 15 seconds, begun and ended at the client's own place within a second."""

    __slots__ = ()

    def choose(self, test: int) -> dict[str, Any] | None:
        """Once."""
        return {"mode": "time", "seconds": 15} if not test else None


def finishes(bench: Bench) -> Part:
    """1,000 typists whose tests end in the same second."""
    typists, rounds = 1_000, 1 if bench.quick else 3
    taken: list[dict[str, Any]] = []
    for turn in range(rounds):
        bench.progress(turn / rounds, f"{typists:,} typists finish")
        with Served.in_temporary_folder(core=bench.server_core) as server:
            engine, meters = Engine(), Meters()
            clients = [
                TypingClient(
                    engine, number, _Finisher(0, seconds=15), options=ClientOptions(check_every=1), meters=meters
                )
                for number in range(typists)
            ]
            try:
                for number, client in enumerate(clients):
                    client.begin(server.address, due_ms=engine.now_ms + number * 1000 / typists)
                engine.run(partial(_have_typed, meters, engine.now_ms + 14_500), limit_s=20)
                cpu = server.cpu_s()
                engine.run(partial(_are_done, clients), limit_s=60)
                taken.append(
                    {
                        "accepted": meters.to_accepted.facts(),
                        "stored": meters.to_stored.facts(),
                        "us_per_result": 1e6 * (server.cpu_s() - cpu) / typists,
                        "results": meters.stored,
                        "mismatched": meters.mismatched,
                        "errors": dict(meters.errors),
                    }
                )
            finally:
                for client in clients:
                    client.abandon()
                engine.close()
    rows: list[list[object]] = [
        [
            f"finish → {what}",
            min(one["results"] for one in taken),
            *(middle([one[what][key] for one in taken]) for key in ("p50", "p99", "max")),
            round(median(one["us_per_result"] for one in taken)),
        ]
        for what in ("accepted", "stored")
    ]
    return Part(
        f"(e) {typists:,} typists finish in the same second, median of {rounds} rounds",
        ("way", "results", "p50 ms", "p99", "most", "CPU µs a test's last second"),
        rows,
        {"rounds": taken},
    )


class _LongText(SteadyPlan):
    """An own text of 20,000 graphemes; a few keys of it are typed."""

    __slots__ = ()

    def choose(self, test: int) -> dict[str, Any] | None:
        """The same text for each."""
        words = ["seven", "letters", "make", "one", "word", "and", "this", "goes", "on"] * (GRAPHEMES // 40)
        return {"mode": "text", "text": " ".join(words)[:GRAPHEMES].strip()}

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """Two seconds of it."""
        return super().type(words[:4], test=test, limit_ms=limit_ms)


def long_texts(bench: Bench) -> Part:
    """20 clients start texts of 20,000 graphemes at once; 200 others type, and ask all the time."""
    others, starters = 200, 20
    with Served.in_temporary_folder(core=bench.server_core) as server:
        engine, meters, their = Engine(), Meters(), Meters()
        options = ClientOptions(probe_every=1, check_every=0)
        clients = [
            TypingClient(engine, number, SteadyPlan(number), options=options, meters=meters) for number in range(others)
        ]
        long = [
            TypingClient(engine, others + number, _LongText(number), options=ClientOptions(), meters=their)
            for number in range(starters)
        ]
        try:
            opened(engine, clients, server.address)
            meters.clear_times()
            engine.run(lambda: False, limit_s=3.0)
            bench.progress(0.5, "long texts")
            quiet = meters.answer.facts()
            meters.clear_times()
            for client in long:
                client.begin(server.address)
            if not engine.run(lambda: their.started == starters, limit_s=30):
                raise RuntimeError(f"{their.started} of {starters} long texts were started: {dict(their.errors)}")
            engine.run(lambda: False, limit_s=0.5)
            amid = meters.answer.facts()
        finally:
            for client in [*clients, *long]:
                client.abandon()
            engine.close()
    rows: list[list[object]] = [
        [what, facts["n"], facts["p50"], facts["p99"], facts["max"]]
        for what, facts in (("before", quiet), (f"while {starters} long texts start", amid))
    ]
    return Part(
        f"(g) Stall: {starters} texts of {GRAPHEMES:,} graphemes start at once, {others} others type",
        ("answers to the others", "readings", "p50 ms", "p99", "longest"),
        rows,
        {"quiet": quiet, "amid": amid, "to_started": their.to_started.facts()},
    )
