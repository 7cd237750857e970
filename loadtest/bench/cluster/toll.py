"""(e) What the bus costs: one node with Redis and one without, the same typists at each, in turns.

A typist's keys never go over it; what is paid is what a node does to be one of several: its lease, its channels, and
what it must ask before it starts, shows or stores a test.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.bench.cluster.plant import Nodes
from loadtest.bench.paced import scored
from loadtest.bench.rounds import LIMIT_NOTE, Bench, Part, limit
from loadtest.bench.steady import model_mix
from loadtest.served import Served

__all__ = ["bus_toll", "measured_at"]

WITH, WITHOUT = "with Redis", "without"


def measured_at(bench: Bench, redis_url: str | None, typists: int, window_s: float) -> dict[str, float]:
    """What a node of its own took for these typists (see `paced.scored`)."""
    mix = model_mix()
    variables = {"TYPEGATE_NODE_NAME": "measured"} | ({} if redis_url is None else {"TYPEGATE_REDIS_URL": redis_url})
    with (
        TemporaryDirectory(prefix="typegate-bench-") as folder,
        Served(Path(folder) / "data", core=bench.server_core, variables=variables) as server,
    ):
        return scored(server, typists, [mix], window_s, protocol=True)[mix.name]


def bus_toll(bench: Bench) -> Part:
    """Measure both in turns, so that whatever slows the machine slows both."""
    rounds, typists, window_s = (2, 300, 4.0) if bench.quick else (5, 2_500, 8.0)
    taken: dict[str, list[dict[str, float]]] = {WITH: [], WITHOUT: []}
    with Nodes.running(0) as nodes:
        ways = {WITH: f"redis://{nodes.redis.address}/0", WITHOUT: None}
        for turn in range(rounds):
            for name in list(ways) if turn % 2 else reversed(list(ways)):
                bench.progress(turn / rounds, f"{typists:,} typists, {name}")
                taken[name].append(measured_at(bench, ways[name], typists, window_s))
    middle = {name: {key: median(one[key] for one in runs) for key in runs[0]} for name, runs in taken.items()}
    ratios = [ours["us_per_frame"] / bare["us_per_frame"] for ours, bare in zip(*taken.values(), strict=True)]
    facts: dict[str, Any] = {
        "taken": taken,
        "ratio": median(ratios),
        "ratios": ratios,
        "node_us_per_typist_s": 1e4 * middle[WITH]["cpu_percent"] / typists,
    }
    rows: list[list[object]] = [
        [
            name,
            typists,
            round(one["us_per_frame"], 2),
            f"{one['us_per_frame'] / middle[WITHOUT]['us_per_frame']:.2f}",
            round(one["cpu_percent"], 1),
            round(one["frames_per_s"]),
            round(one["generator_percent"], 1),
            round(one["generator_late_p99_ms"], 1),
            limit(one["generator_percent"], one["generator_late_p99_ms"]),
        ]
        for name, one in middle.items()
    ]
    return Part(
        f"(e) A node with the bus and without it, the model's mix of keys, medians of {rounds} rounds in turns",
        (
            "node",
            "typists",
            "CPU µs a frame",
            "ratio",
            "CPU %",
            "frames/s",
            "generator CPU %",
            "late p99 ms",
            "limit",
        ),
        rows,
        facts,
        notes=(
            f"Median of the rounds' ratios: {facts['ratio']:.2f} ({', '.join(f'{one:.2f}' for one in ratios)}).",
            LIMIT_NOTE,
        ),
    )
