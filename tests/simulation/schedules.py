"""Which seeds CI runs, in parts: a file of tests each, for pytest gives a file to one process."""

from __future__ import annotations

import os
from typing import Final

from tests.simulation.plan import plan_of
from tests.simulation.running import run

PARTS: Final = 4
_CHUNKS: Final = 5


def chunks(part: int) -> list[range]:
    """A part's seeds in chunks. TYPEGATE_SIMULATION_SEEDS chooses others than 0:10000."""
    first, _, beyond = os.environ.get("TYPEGATE_SIMULATION_SEEDS", "0:10000").partition(":")
    seeds = range(int(first), int(beyond))
    count = PARTS * _CHUNKS
    edges = [seeds.start + len(seeds) * i // count for i in range(count + 1)]
    return [range(edges[i], edges[i + 1]) for i in range(part * _CHUNKS, (part + 1) * _CHUNKS)]


def named(seeds: range) -> str:
    return f"{seeds.start}:{seeds.stop}"


def broken_of(seeds: range) -> list[tuple[int, str]]:
    """The seeds that break a law, and how."""
    return [(seed, str(broken)) for seed in seeds if (broken := run(plan_of(seed)).broken) is not None]


def all_hold(seeds: range) -> None:
    """Run these, and fail with the first that breaks a law."""
    for seed in seeds:
        broken = run(plan_of(seed)).broken
        assert broken is None, f"seed {seed}: {broken}\nsee it: python -m tests.simulation --replay {seed} --shrink"
