"""What happens to all at once: (e) a thousand finishes in a second, (g) long texts. Waves of connections: `wave`."""

from __future__ import annotations

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
from loadtest.served import Served
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["finishes", "long_texts"]

GRAPHEMES = 20_000


def _have_typed(meters: Meters, until_ms: float) -> bool:
    return monotonic() * 1000 >= until_ms or meters.accepted > 0


def _are_done(clients: Sequence[TypingClient]) -> bool:
    return all(client.done for client in clients)


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
