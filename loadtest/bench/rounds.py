"""What every part of the bench shares: two cores, rounds, medians."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["LIMIT_NOTE", "Bench", "Part", "limit", "middle", "undisturbed"]

MOST_GENERATOR_PERCENT = 90.0
MOST_LATE_MS = 20.0
_REALTIME_PRIORITY = 50  # of 1 to 99: above whatever runs in turns, below the kernel's own threads

LIMIT_NOTE = (
    f"limit: generator, where its busiest process took over {MOST_GENERATOR_PERCENT:.0f} % of a core or was late by "
    f"over {MOST_LATE_MS:.0f} ms (p99): such a row tells of the generator, not of the server."
)


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what there is."""
    there = [value for value in values if value is not None]
    return median(there) if there else None


def limit(generator_percent: float, late_p99_ms: float | None) -> str:
    """What limited a load: the generator, or nothing that is known."""
    return "generator" if generator_percent > MOST_GENERATOR_PERCENT or (late_p99_ms or 0.0) > MOST_LATE_MS else ""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the generator's garbage collector, whose walks over ten thousand clients would make it late."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


@dataclass(frozen=True, slots=True)
class Part:
    """One part's outcome: a table and its facts."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[object]]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """How this run measures."""

    quick: bool
    server_core: int | None
    cores: tuple[int, ...]
    """Where the load comes from, where that is not left to the kernel."""
    progress: Callable[[float, str], None]
    """Share of the present part that is done, and what is being done."""

    @classmethod
    def on_two_cores(cls, *, quick: bool, alone: bool, progress: Callable[[float, str], None]) -> Bench:
        """The server on the first core that this process may use, the load on the others; on one core both share it.

        Alone: this process and all that it starts go before whatever else the machine runs. Raises PermissionError.
        """
        if alone:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_REALTIME_PRIORITY))
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return cls(quick, None, (), progress)
        os.sched_setaffinity(0, {cores[-1]})
        return cls(quick, cores[0], tuple(cores[:0:-1]), progress)
