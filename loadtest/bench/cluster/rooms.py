"""(d) One node full of races: a thousand rooms of five, all on it, told of each other ten times a second.

What it takes is the node's own CPU time, Redis beside it. A row is only worth something where all were told as often
as they are to be, and where the load itself was in time; both are in it.
"""

from __future__ import annotations

import os

from loadtest.bench.cluster.plant import Nodes, at
from loadtest.bench.cluster.racing import SEATS, Racer, Room, gather
from loadtest.bench.rounds import LIMIT_NOTE, Bench, Part, limit, undisturbed
from loadtest.engine import Engine
from loadtest.served import cpu_s

__all__ = ["TARGET_PERCENT", "race_in", "races_on_a_node"]

TARGET_PERCENT = 80.0

_SETTLE_S = 3.0


def race_in(nodes: Nodes, count: int, seconds: float) -> dict[str, float]:
    """So many rooms on the first node for so long; what it took. Raises RuntimeError where they do not race."""
    engine = Engine()
    address = at(nodes.each[0])
    rooms = [Room() for _ in range(count)]
    racers = [
        Racer(engine, SEATS * number + seat, room, address)
        for number, room in enumerate(rooms)
        for seat in range(SEATS)
    ]

    def counts() -> tuple[int, int, int]:
        return (
            sum(racer.frames for racer in racers),
            sum(racer.n for racer in racers),
            sum(racer.told for racer in racers),
        )

    try:
        with undisturbed():
            gather(engine, rooms)
            engine.run(lambda: False, limit_s=_SETTLE_S)
            engine.lateness.clear()
            earlier, own, before = counts(), cpu_s(os.getpid()), nodes.spent()
            engine.run(lambda: False, limit_s=seconds)
            spent, own, later = nodes.spent() - before, cpu_s(os.getpid()) - own, counts()
        if (fault := next((room.fault for room in rooms if room.fault is not None), None)) is not None:
            raise RuntimeError(f"a room failed: {fault}")
        took_s = spent.at_s
        frames, keys, told = ((late - early) / took_s for late, early in zip(later, earlier, strict=True))
        return {
            "racers": len(racers),
            "cpu_percent": 100 * spent.nodes_s / took_s,
            "node_us_per_racer_s": 1e6 * spent.nodes_s / took_s / len(racers),
            "redis_percent": 100 * spent.redis_s / took_s,
            "frames_per_s": frames,
            "keys_per_s": keys,
            "told_per_racer_s": told / len(racers),
            "told_to_wait": sum(room.later for room in rooms),
            "generator_percent": 100 * own / took_s,
            "generator_late_p99_ms": engine.lateness.quantile(0.99) or 0.0,
        }
    finally:
        for racer in racers:
            racer.hang_up()
        engine.close()


def races_on_a_node(bench: Bench) -> Part:
    """Measure it."""
    count, seconds = (100, 5.0) if bench.quick else (1_000, 20.0)
    bench.progress(0.0, f"{count:,} rooms on a node")
    with Nodes.running(1) as nodes:
        facts = race_in(nodes, count, seconds)
    most = 1e4 * TARGET_PERCENT / max(1.0, facts["node_us_per_racer_s"])
    row: list[object] = [
        f"{count:,} rooms of {SEATS}",
        SEATS * count,
        round(facts["cpu_percent"], 1),
        round(facts["node_us_per_racer_s"]),
        round(facts["frames_per_s"]),
        round(facts["told_per_racer_s"], 1),
        round(facts["generator_percent"], 1),
        round(facts["generator_late_p99_ms"], 1),
        limit(facts["generator_percent"], facts["generator_late_p99_ms"]),
    ]
    return Part(
        "(d) Races on one node",
        (
            "what",
            "racers",
            "CPU %",
            "µs a racer and second",
            "frames of keys/s",
            "told, times a second",
            "generator CPU %",
            "late p99 ms",
            "limit",
        ),
        [row],
        dict(facts),
        notes=(
            f"Target: 5,000 racers under {TARGET_PERCENT:g} % of a core; at this rate so much is {most:,.0f} racers.",
            LIMIT_NOTE,
        ),
    )
