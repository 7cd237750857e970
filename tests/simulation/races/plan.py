"""The plan of a run with a race: who races, how they are, and what goes wrong meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from tests.simulation.log import Message
from tests.simulation.plan import FAULT_KINDS, Fault, Plan, Tabs, fault
from tests.simulation.races.racer import Habits

RACE_S: Final = 16.0
"""Within so long most races are begun and over, and things go wrong."""

_NEVER: Final = ("new disk", "tab copied", "topic deaf")
_OFTENER: Final = {"redis away": 5, "redis cut": 6, "drop": 6, "dead line": 4, "hang": 6, "moved": 5, "reload": 5}


def race_plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"{seed} race")
    machines = tuple("abc"[: chance.choice((1, 2, 2, 3, 3))])
    offsets = tuple(chance.choice((0.0, 0.0, chance.uniform(-2, 2), chance.uniform(-3600, 3600))) for _ in machines)
    count = chance.choice((2, 2, 3, 3, 4, 5))
    strangers = chance.random() < 0.15
    habits = [_habits(number, strangers, chance) for number in range(count)]
    browsers = tuple(
        Tabs(
            browser=name,
            wishes=((),),
            opened_s=(chance.uniform(0, 2.5),),
            seeds=(chance.randrange(1 << 30),),
            offset_s=chance.choice((0.0, chance.uniform(-5, 5), chance.uniform(-86_400, 86_400))),
            rate=chance.choice((1.0, 1.0, 1.0001, 0.9999, 1.002, 0.998)),
            locks=True,
            known=chance.random() < 0.7,
            resends=chance.choice((0, 0, 0, 2)),
            races=each,
        )
        for name, each in zip("pqrstu", habits, strict=False)
    )
    redis_s = chance.choice((0.0, 0.0, chance.uniform(-300, 300)))
    plan = Plan(
        seed,
        machines,
        offsets,
        chance.random() < 0.6,
        browsers,
        races=True,
        redis_offset_s=redis_s,
        sharded=chance.random() < 0.4,
    )
    weights = {kind: weight for kind, weight in FAULT_KINDS.items() if kind not in _NEVER} | _OFTENER
    faults = [fault(plan, chance, weights, within_s=RACE_S) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4, 5)))]
    if chance.random() < 0.08:
        faults.append(Fault(chance.uniform(0, 8), "kill at", chance.choice(machines), other="settled"))
    return replace(plan, faults=tuple(sorted(faults, key=lambda each: each.at_s)))


def _habits(number: int, strangers: bool, chance: random.Random) -> Habits:
    if strangers:
        role = "stranger"
    elif number == 0:
        role = "host"
    else:
        role = chance.choice(("guest",) * 8 + ("onlooker",))
    host = role == "host"
    return Habits(
        role=role,
        options=_options(chance),
        ready_s=None if chance.random() < 0.1 else chance.uniform(0.2, 3),
        start_s=chance.uniform(2, 6) if host and chance.random() < 0.5 else None,
        leave_s=chance.uniform(1, 14) if chance.random() < 0.12 else None,
        again=chance.random() < 0.35,
        eager=chance.random() < 0.06,
    )


def _options(chance: random.Random) -> Message:
    options: Message = {"racers": 6}
    if chance.random() < 0.3:
        options["public"] = True
    match chance.choice(("words", "words", "time", "quote")):
        case "words":
            return options | {"mode": "words", "count": chance.choice((1, 2, 3, 5))}
        case "time":
            return options | {"mode": "time", "seconds": chance.choice((1, 2, 4))}
        case _:
            return options | {"mode": "quote", "test": chance.choice("123")}
