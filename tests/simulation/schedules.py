"""Which seeds CI runs, in parts: a file of tests each, for pytest gives a file to one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from tests.simulation.plan import Plan, plan_of
from tests.simulation.races.plan import race_plan_of
from tests.simulation.running import run

PLANS: Final[Mapping[str, Callable[[int], Plan]]] = {"tests": plan_of, "races": race_plan_of}
"""What a seed is the plan of."""
PARTS: Final = 4
_CHUNKS: Final = 5


def chunks(part: int) -> list[range]:
    """A part's seeds in chunks. TYPEGATE_SIMULATION_SEEDS chooses others than 0:10000."""
    first, _, beyond = os.environ.get("TYPEGATE_SIMULATION_SEEDS", "0:10000").partition(":")
    seeds = range(int(first), int(beyond))
    count = PARTS * _CHUNKS
    edges = [seeds.start + len(seeds) * i // count for i in range(count + 1)]
    return [range(edges[i], edges[i + 1]) for i in range(part * _CHUNKS, (part + 1) * _CHUNKS)]


def race_chunks() -> list[range]:
    """The seeds of races in chunks. TYPEGATE_SIMULATION_RACES chooses others than 0:1000."""
    first, _, beyond = os.environ.get("TYPEGATE_SIMULATION_RACES", "0:1000").partition(":")
    edges = [int(first) + (int(beyond) - int(first)) * i // _CHUNKS for i in range(_CHUNKS + 1)]
    return [range(edges[i], edges[i + 1]) for i in range(_CHUNKS)]


def named(seeds: range) -> str:
    return f"{seeds.start}:{seeds.stop}"


def broken_of(seeds: range, kind: str = "tests") -> list[tuple[int, str]]:
    """The seeds that break a law, and how."""
    return [(seed, str(broken)) for seed in seeds if (broken := run(PLANS[kind](seed)).broken) is not None]


def all_hold(seeds: range, kind: str = "tests") -> None:
    """Run these, and fail with the first that breaks a law."""
    which = "" if kind == "tests" else f" --{kind}"
    for seed in seeds:
        broken = run(PLANS[kind](seed)).broken
        see = f"see it: python -m tests.simulation{which} --replay {seed} --shrink"
        assert broken is None, f"seed {seed}: {broken}\n{see}"
