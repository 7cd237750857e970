"""What every part of the bench shares: two cores, rounds, medians."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Bench", "Part", "middle", "undisturbed"]


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what there is."""
    there = [value for value in values if value is not None]
    return median(there) if there else None


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
    core: int | None
    progress: Callable[[float, str], None]
    """Share of the present part that is done, and what is being done."""

    @classmethod
    def on_two_cores(cls, *, quick: bool, progress: Callable[[float, str], None]) -> Bench:
        """The server on the first core that this process may use, the load on the last; on one core both share it."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            return cls(quick, None, None, progress)
        os.sched_setaffinity(0, {cores[-1]})
        return cls(quick, cores[0], cores[-1], progress)
