"""What happens to which part, when and for how long: drawn from a seed before anything runs.

Faults may overlap in any way but one: a part suffers one thing at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random

__all__ = ["KINDS", "WAY", "Fault", "ScheduleOptions", "draw"]

WAY = "way"

KINDS: Mapping[str, tuple[str, ...]] = {
    "node": ("kill", "pause", "restart"),
    "worker": ("kill", "pause", "restart"),
    "balancer": ("kill", "pause"),
    "redis": ("kill", "pause", "restart"),
    "kafka": ("kill", "pause", "restart"),
    "shard": ("kill", "pause", "restart"),
    WAY: ("cut", "silence", "reset", "slow", "narrow"),
}
"""What may happen to each sort of part. `kill`: SIGKILL, and back after a while; `pause`: SIGSTOP until SIGCONT;
`restart`: SIGTERM, and back; `cut`: nobody can connect; `silence`: connections stay and nothing gets through; `reset`:
connections end as soon as anything is said; `slow` and `narrow` as they say."""

_ALWAYS = (("node", "kill"), ("balancer", "kill"))  # the second is felt by all who type, wherever they are
_EACH = {"kafka": ("kill", "pause")}  # what each part of a sort suffers at least once, where there are several
_SHORTEST_S = 0.5
_AMOUNTS = {"slow": (50, 1_500), "narrow": (4, 64)}
_REST_S = 1.0  # of a part between two faults, at least


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens to one part."""

    at_s: float
    """After the typists have come."""
    part: str
    sort: str
    """What sort of part it is: a key of `KINDS`."""
    kind: str
    lasts_s: float
    amount: int = 0
    """ms that a slow way takes longer (up to as much again by chance); KiB/s that a narrow one lets through."""

    @property
    def words(self) -> str:
        """For people."""
        amount = {"slow": f" by {self.amount} ms", "narrow": f" to {self.amount} KiB/s"}.get(self.kind, "")
        return f"{self.kind}{amount} for {self.lasts_s:.1f} s"


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """How much happens."""

    seconds: float = 300.0
    """The last fault begins before this; 0: only what it takes to bring every kind once."""
    every_s: float = 4.0
    """Mean time from one fault to the next."""
    longest_s: float = 20.0
    """Of one fault."""

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= 86_400:
            raise ValueError(f"seconds is {self.seconds:g}; allowed are 0 to 86,400")
        if not 0.1 <= self.every_s <= 3_600:
            raise ValueError(f"every is {self.every_s:g} s; allowed are 0.1 to 3,600")
        if not _SHORTEST_S < self.longest_s <= 60:
            raise ValueError(f"longest is {self.longest_s:g} s; allowed are more than {_SHORTEST_S} and up to 60")


def draw(seed: int, parts: Mapping[str, str], options: ScheduleOptions) -> list[Fault]:
    """The faults of a seed for these parts (name to sort), by their beginning.

    Every kind of fault and every sort of part comes at least once, however short the time; a node and the balancer are
    killed, and of several brokers each is killed and paused. Those come first.
    """
    chance = Random(f"chaos {seed}")
    by_sort: dict[str, list[str]] = {}
    for name, sort in parts.items():
        by_sort.setdefault(sort, []).append(name)
    pairs = [(sort, kind) for sort in by_sort for kind in KINDS[sort]]
    wanted: list[tuple[str, str, str | None]] = [(sort, kind, None) for sort, kind in _each_once(pairs, chance)]
    each: list[tuple[str, str, str | None]] = [
        (sort, kind, part)
        for sort, kinds in _EACH.items()
        for kind in kinds
        for part in by_sort.get(sort, [])
        if len(by_sort[sort]) > 1
    ]
    if each:
        wanted = chance.sample(wanted + each, len(wanted) + len(each))
    free_s = dict.fromkeys(parts, 0.0)
    faults: list[Fault] = []
    at_s = 0.0
    while True:
        at_s += chance.expovariate(1 / options.every_s)
        part: str | None = None
        if wanted:
            sort, kind, part = wanted.pop()
        elif at_s < options.seconds:
            sort, kind = chance.choice(pairs)
        else:
            return sorted(faults, key=lambda fault: fault.at_s)
        if part is None:
            part = chance.choice([name for name in by_sort[sort] if free_s[name] <= at_s] or by_sort[sort])
        begins_s = round(max(at_s, free_s[part]), 1)
        lasts_s = round(_between(chance, _SHORTEST_S, options.longest_s), 1)
        free_s[part] = begins_s + lasts_s + _REST_S
        amount = round(_between(chance, *_AMOUNTS[kind])) if kind in _AMOUNTS else 0
        faults.append(Fault(begins_s, part, sort, kind, lasts_s, amount))


def _each_once(pairs: Sequence[tuple[str, str]], chance: Random) -> list[tuple[str, str]]:
    """As few of these as bring every sort of part, every kind of fault and what is always to be, in any order."""
    shuffled = chance.sample(pairs, len(pairs))
    taken = [pair for pair in _ALWAYS if pair in pairs]
    sorts, kinds = {sort for sort, _ in taken}, {kind for _, kind in taken}
    for both in (True, False):  # first those that bring both at once
        for sort, kind in shuffled:
            new = sort not in sorts, kind not in kinds
            if all(new) if both else any(new):
                taken.append((sort, kind))
                sorts.add(sort)
                kinds.add(kind)
    return chance.sample(taken, len(taken))


def _between(chance: Random, least: float, most: float) -> float:
    """Even on the scale of logarithms: short ones are as frequent as long ones."""
    return exp(chance.uniform(log(least), log(most)))
