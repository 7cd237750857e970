"""The plan of one run: who is there, what they type, and what goes wrong when. Drawn from a seed; plain data."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tests.simulation.cheat import Trick
from tests.simulation.person import Wish

if TYPE_CHECKING:
    from tests.simulation.races.racer import Habits

FAULTS_S: Final = 24.0
"""So long things go wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong."""

    at_s: float
    kind: str
    who: str = ""
    """Machine, browser or tab, as the kind has it."""
    lasts_s: float = 0.0
    other: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        said = [f"{self.at_s:6.2f} s  {self.kind}", self.who, self.other]
        said += [f"for {self.lasts_s:.2f} s"] if self.lasts_s else []
        said += [f"({self.amount:.2f})"] if self.amount else []
        return " ".join(part for part in said if part)


@dataclass(frozen=True, slots=True)
class Tabs:
    """One browser's tabs: what is typed in each, and when it is opened."""

    browser: str
    wishes: tuple[tuple[Wish, ...], ...]
    opened_s: tuple[float, ...]
    seeds: tuple[int, ...]
    offset_s: float
    rate: float
    locks: bool
    known: bool
    """Whether somebody has been here before, as a guest whose token is kept."""
    resends: int
    """Events that it sends again at times, though nobody asked for them; a page of ours never does."""
    races: Habits | None = None
    """How somebody races in it, who types nothing else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is."""

    seed: int
    machines: tuple[str, ...]
    offsets_s: tuple[float, ...]
    kafka: bool
    """Whether results go by a topic and a worker; else to the store at once."""
    browsers: tuple[Tabs, ...]
    trick: Trick | None = None
    """What somebody tries who cheats."""
    faults: tuple[Fault, ...] = field(default=())
    races: bool = False
    """Whether servers have races, and people race."""
    redis_offset_s: float = 0.0
    """How far the clock of Redis is from the right time."""
    sharded: bool = False
    """Whether Redis is a cluster."""

    def without(self, *faults: Fault) -> Plan:
        """The same, but these do not go wrong."""
        return replace(self, faults=tuple(fault for fault in self.faults if fault not in faults))


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"{seed} plan")
    machines = tuple("abc"[: chance.choice((1, 2, 2, 3))])
    browsers = tuple(_tabs(name, chance) for name in ("x", "y", "z")[: chance.choice((1, 1, 2, 2, 3))])
    offsets = tuple(chance.choice((0.0, 0.0, chance.uniform(-2, 2), chance.uniform(-3600, 3600))) for _ in machines)
    trick = None
    if chance.random() < 0.15:
        kind = chance.choice(("old receipt", "no receipt", "other log", "fork"))
        trick = Trick(chance.uniform(0, 5), kind, chance.choice((5, 10, 15)), chance.uniform(0.1, 3))
    plan = Plan(seed, machines, offsets, chance.random() < 0.7, browsers, trick)
    faults = [
        fault(plan, chance, FAULT_KINDS, within_s=FAULTS_S)
        for _ in range(chance.choice((0, 1, 2, 2, 3, 3, 4, 5, 6, 8)))
    ]
    if chance.random() < 0.1:
        tabs = chance.choice(plan.browsers)
        tab = f"{tabs.browser}{chance.randrange(len(tabs.wishes))}"
        faults.append(Fault(chance.uniform(1, 10), "tab copied", tab))
    if chance.random() < 0.08:
        plan, faults = _wandering(plan, chance)
    return replace(plan, faults=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def _wandering(plan: Plan, chance: random.Random) -> tuple[Plan, list[Fault]]:
    """One who goes from node to node in mid-test, while nodes are cut off from all others and Redis forgets."""
    tabs = replace(plan.browsers[0], wishes=((Wish({"mode": "words", "count": 8}),) * 2, *plan.browsers[0].wishes[1:]))
    machines = tuple("abc")
    faults: list[Fault] = []
    at_s = tabs.opened_s[0]
    for _ in range(6):
        at_s += chance.uniform(0.7, 2)
        faults.append(Fault(at_s, "moved", tabs.browser))
        if chance.random() < 0.4:
            kind = chance.choice(("island", "redis loses"))
            who = chance.choice(machines) if kind == "island" else ""
            faults.append(Fault(at_s + chance.uniform(-0.3, 0.3), kind, who, lasts_s=chance.uniform(1, 6)))
    return replace(plan, machines=machines, offsets_s=(0.0,) * 3, browsers=(tabs,)), faults


def _tabs(name: str, chance: random.Random) -> Tabs:
    count = chance.choice((1, 1, 1, 2))
    return Tabs(
        browser=name,
        wishes=tuple(tuple(_wish(chance) for _ in range(chance.choice((1, 1, 2, 3)))) for _ in range(count)),
        opened_s=tuple(chance.uniform(0, 4) for _ in range(count)),
        seeds=tuple(chance.randrange(1 << 30) for _ in range(count)),
        offset_s=chance.choice((0.0, chance.uniform(-5, 5), chance.uniform(-86_400, 86_400))),
        rate=chance.choice((1.0, 1.0, 1.0001, 0.9999, 1.002, 0.998)),
        locks=chance.random() < 0.8,
        # two new tabs at once become two guests, of which the browser keeps one
        known=count > 1 or chance.random() < 0.5,
        resends=chance.choice((0, 0, 0, 1, 4)),
    )


def _wish(chance: random.Random) -> Wish:
    abort = chance.randrange(1, 12) if chance.random() < 0.12 else None
    match chance.choice(("words", "words", "words", "time", "time", "quote", "text", "timed text", "zen")):
        case "words":
            return Wish({"mode": "words", "count": chance.choice((1, 2, 3, 5, 8))}, abort_after=abort)
        case "time":
            return Wish({"mode": "time", "seconds": chance.choice((1, 2, 3, 5))}, abort_after=abort)
        case "quote":
            return Wish({"mode": "quote", "test": chance.choice("123")}, abort_after=abort)
        case "text":
            return Wish({"mode": "text", "text": chance.choice(("ab cd", "x", "é ß 한", "one two"))}, abort_after=abort)
        case "timed text":
            return Wish({"mode": "text", "text": "go on", "seconds": chance.choice((1, 2, 4))}, abort_after=abort)
        case _:
            return Wish({"mode": "zen"}, zen="free as a bird"[: chance.randrange(1, 14)], abort_after=abort)


FAULT_KINDS: Final = {
    "kill": 6,
    "kill at": 6,
    "power": 2,
    "hang": 4,
    "stop": 4,
    "cut": 5,
    "cut off": 3,
    "dead line": 3,
    "drop": 4,
    "slow disk": 1,
    "disk refuses": 1,
    "new disk": 1,
    "store away": 2,
    "topic away": 2,
    "topic deaf": 3,
    "worker killed": 2,
    "redis away": 2,
    "redis cut": 2,
    "redis loses": 1,
    "clock": 2,
    "wall clock": 1,
    "slow reader": 1,
    "reload": 4,
    "tab crash": 2,
    "tab closed": 2,
    "page hangs": 2,
}


def fault(plan: Plan, chance: random.Random, kinds: Mapping[str, int], *, within_s: float) -> Fault:
    """Something that goes wrong by then, of these kinds by their weights."""
    (kind,) = chance.choices(list(kinds), weights=list(kinds.values()))
    at_s = chance.uniform(0.2, within_s)
    machine = chance.choice(plan.machines)
    tabs = chance.choice(plan.browsers)
    browser = tabs.browser
    tab = f"{browser}{chance.randrange(len(tabs.wishes))}"
    short_s, long_s = chance.uniform(0.05, 3), chance.uniform(0.2, 15)
    match kind:
        case "kill" | "power" | "new disk":
            return Fault(at_s, kind, machine, lasts_s=long_s)
        case "kill at":
            point = chance.choice(("committed", "committed", "handed on", "stored"))
            return Fault(at_s * 0.5, kind, machine, lasts_s=long_s, other=point, amount=chance.choice((0, 0, 1)))
        case "hang":
            return Fault(at_s, kind, machine, lasts_s=chance.choice((short_s, long_s, 40.0)))
        case "stop":
            return Fault(at_s, kind, machine, lasts_s=long_s, amount=chance.choice((0.0, 2.0, 10.0)))
        case "cut":
            return Fault(
                at_s,
                kind,
                browser,
                lasts_s=chance.choice((short_s, long_s)),
                other=machine,
                amount=chance.choice((0, 1)),
            )
        case "cut off":
            return Fault(
                at_s, kind, browser, lasts_s=chance.choice((short_s, long_s, 35.0)), amount=chance.choice((0, 1))
            )
        case "slow disk":
            return Fault(at_s, kind, machine, lasts_s=long_s, amount=chance.choice((20.0, 200.0)))
        case "disk refuses" | "redis cut":
            return Fault(at_s, kind, machine, lasts_s=long_s)
        case "topic deaf":
            return Fault(at_s, kind, lasts_s=long_s, amount=chance.choice((0.3, 0.8)))
        case "store away" | "topic away" | "redis away":
            return Fault(at_s, kind, lasts_s=long_s)
        case "clock":
            return Fault(at_s, kind, machine, amount=chance.choice((-1, 1)) * 10 ** chance.uniform(-1, 3.5))
        case "wall clock":
            return Fault(at_s, kind, browser, amount=chance.choice((-1, 1)) * 10 ** chance.uniform(-1, 3.5))
        case "slow reader" | "dead line" | "drop" | "moved":
            return Fault(at_s, kind, browser, lasts_s=short_s)
        case "tab closed":
            return Fault(at_s, kind, tab, lasts_s=long_s)
        case "page hangs":
            return Fault(at_s, kind, tab, lasts_s=min(short_s, 1.5))
        case _:
            return Fault(at_s, kind, tab)
