"""Races that are wrong on purpose: the simulation finds each, with a small part of what CI runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any
from unittest import mock

import pytest

from gateway.races import Racing, Room, room
from gateway.races.catching_up import Behind, CatchingUp
from gateway.races.recording import Recording
from persistence.races import RedisRaces
from session import racing
from session.machine import Outcome, TypingSession
from session.race import Race, Racer
from session.racing import Back
from session.state import RacerState
from tests.simulation.plan import Plan
from tests.simulation.races.plan import race_plan_of
from tests.simulation.running import run

BUDGET = 120
"""Runs within which each must be found."""
SEEDS = range(10_000)


async def _over_others(self: RedisRaces, race: str, before: Race | None, after: Race) -> bool:
    """Whatever was written meanwhile is written over."""
    return await _put(self, race, await self.read(race), after)


_put = RedisRaces._put


def _late_is_in_time(race: Race, racer: Racer, at_ms: int) -> bool:
    """Whose result comes when all is over is placed after all."""
    return racer.state is RacerState.DNF


def _looks_at_nothing(self: CatchingUp, room: Behind) -> None:
    """After something may have been missed nothing is looked at."""


def _from_the_first(
    self: TypingSession, n: int, e: list[Any], h: object, *, now_ms: float
) -> Generator[None, None, Outcome]:
    """Keys count whenever they come."""
    if self._start_ms is not None:
        self._start_ms = min(self._start_ms, now_ms)
    return (yield from _feeding(self, n, e, h, now_ms=now_ms))


_feeding = TypingSession.feeding


def _at_once_from_the_first(self: TypingSession, n: int, e: list[Any], h: object, *, now_ms: float) -> Outcome:
    if self._start_ms is not None:
        self._start_ms = min(self._start_ms, now_ms)
    return _keys(self, n, e, h, now_ms=now_ms)


_keys = TypingSession.keys


def _was_always_here(user: int, node: str, still: bool = False) -> Back:
    """Who was taken for gone takes a racer back who has come to another node since."""
    return Back(user, node)


def _is_recorded(self: Recording, now_ms: float) -> None:
    """Whoever has not settled a race takes it for recorded."""
    if self._ours:
        _look(self, now_ms)


_look = Recording.look


async def _begins_anew(self: Racing, room: Room, race: Race, user: int) -> Race:
    """Nobody looks whether a racer's result is stored."""
    return race


MUTANTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "changes are written over others": partial(mock.patch.object, RedisRaces, "_put", _over_others),
    "a race settles twice": partial(mock.patch.object, racing, "_may_yet_finish", _late_is_in_time),
    "what was missed is not looked for": partial(mock.patch.object, CatchingUp, "add", _looks_at_nothing),
    "keys before the start count": partial(
        mock.patch.multiple, TypingSession, feeding=_from_the_first, keys=_at_once_from_the_first
    ),
    "a node that hung takes racers back": partial(mock.patch.object, room, "Back", _was_always_here),
    "nobody records for who was killed": partial(mock.patch.object, Recording, "look", _is_recorded),
    "what is stored begins anew": partial(
        mock.patch.multiple, Racing, stored=lambda *_: None, _unless_stored=_begins_anew
    ),
}


def _has(*kinds: str) -> Callable[[Plan], bool]:
    return lambda plan: any(fault.kind in kinds for fault in plan.faults)


NEEDS: dict[str, Callable[[Plan], bool]] = {
    "a race settles twice": _has("hang", "cut off", "kill", "dead line"),
    "what was missed is not looked for": _has("redis cut"),
    "keys before the start count": lambda plan: any(tabs.races and tabs.races.eager for tabs in plan.browsers),
    "a node that hung takes racers back": _has("hang"),
    "nobody records for who was killed": lambda plan: any(fault.other == "settled" for fault in plan.faults),
    "what is stored begins anew": _has("kill at", "kill", "power"),
}
"""Without what it takes to see a mutant no time is spent on a plan."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_is_found(mutant: str) -> None:
    """Within the budget a law is broken, and the seed breaks it again."""
    plans = islice(filter(NEEDS.get(mutant), map(race_plan_of, SEEDS)), BUDGET)
    with MUTANTS[mutant]():
        found = next((plan for plan in plans if run(plan).broken), None)
        assert found is not None
        assert run(race_plan_of(found.seed)).broken is not None, f"seed {found.seed}"
