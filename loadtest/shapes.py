"""How many type when: the course of a load run, as plain functions of the time."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["SHAPES", "Crowding"]


class Crowding(NamedTuple):
    """What is wanted at one moment."""

    users: int
    per_s: float
    """At most so many come or go a second."""


def steady(at_s: float, total_s: float, users: int, per_s: float) -> Crowding:
    """All come, and stay."""
    return Crowding(users, per_s)


def ramp(at_s: float, total_s: float, users: int, per_s: float) -> Crowding:
    """One after the other over nine tenths of the run: where does it begin to hurt?"""
    return Crowding(max(1, round(users * min(1.0, at_s / (0.9 * total_s)))), max(per_s, users / (0.9 * total_s)))


def spike(at_s: float, total_s: float, users: int, per_s: float) -> Crowding:
    """A fifth of all, then all at once for the middle third, then a fifth again: a class begins, and ends."""
    if total_s / 3 <= at_s < 2 * total_s / 3:
        return Crowding(users, max(per_s, float(users)))
    return Crowding(max(1, users // 5), max(per_s, float(users)))


def soak(at_s: float, total_s: float, users: int, per_s: float) -> Crowding:
    """All within the first tenth (ten minutes at most), and there they stay: what leaks, what fills up?"""
    return Crowding(users, users / max(1.0, min(0.1 * total_s, 600.0)))


SHAPES: Mapping[str, Callable[[float, float, int, float], Crowding]] = {
    "steady": steady,
    "ramp": ramp,
    "spike": spike,
    "soak": soak,
}
"""By name; the arguments are seconds since the start, seconds in all, the most users, and how many come a second."""
