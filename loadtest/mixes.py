"""What typists of a load choose, and how they type it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from loadtest.crowd import Crowd
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["MIXES", "MixPlan"]

OTHERS: tuple[dict[str, Any], ...] = (
    {"mode": "words", "count": 50},
    {"mode": "words", "count": 25, "punctuation": True, "numbers": True},
    {"mode": "quote"},
    {"mode": "time", "seconds": 15, "language": "de"},
    {"mode": "time", "seconds": 30, "language": "hi"},
    {"mode": "text", "text": "Own practice: a short text, typed to its end, twice if it was fun."},
    {"mode": "text", "text": "the same again on the clock", "seconds": 20},
    {"mode": "zen"},
)
"""The mix's last tenth."""

SHORT: tuple[dict[str, Any], ...] = (
    {"mode": "words", "count": 5},
    {"mode": "words", "count": 4, "punctuation": True, "numbers": True},
    {"mode": "time", "seconds": 4, "language": "ar"},
    {"mode": "time", "seconds": 5, "language": "hi"},
    {"mode": "words", "count": 4, "language": "ko"},
    {"mode": "text", "text": "Own practice, short."},
    {"mode": "text", "text": "again on the clock", "seconds": 5},
    {"mode": "zen"},
)
"""A few seconds of everything but quotes, which are longer."""

ZEN = ("what ", "comes ", "to ", "mind ", "without ", "any ", "text ")
"""What is typed where there is no text."""


def _bench(chance: Random) -> dict[str, Any]:
    draw = chance.random()
    if draw < 0.6:
        return {"mode": "time", "seconds": 30}
    if draw < 0.9:
        return {"mode": "time", "seconds": 60}
    return chance.choice(OTHERS)


MIXES: dict[str, Callable[[Random], dict[str, Any]]] = {
    "mix": _bench,
    "time5": lambda chance: {"mode": "time", "seconds": 5},
    "time15": lambda chance: {"mode": "time", "seconds": 15},
    "time30": lambda chance: {"mode": "time", "seconds": 30},
    "time60": lambda chance: {"mode": "time", "seconds": 60},
    "time600": lambda chance: {"mode": "time", "seconds": 600},
    "words25": lambda chance: {"mode": "words", "count": 25},
    "quote": lambda chance: {"mode": "quote"},
    "short": lambda chance: chance.choice(SHORT),
    "others": lambda chance: chance.choice(OTHERS),
}
"""By name. `mix` is the bench mix: 60 % tests of 30 s, 30 % of 60 s, 10 % others."""


class MixPlan:
    """One typist of a crowd who chooses from a mix, test after test, resting for a few seconds between them."""

    __slots__ = ("_chance", "_crowd", "_mix", "_number", "_rest_ms", "_tests")

    def __init__(
        self, crowd: Crowd, number: int, *, mix: str, seed: int, rest_ms: float = 2000.0, tests: int | None = None
    ) -> None:
        self._crowd = crowd
        self._number = number
        self._mix = MIXES[mix]
        self._chance = Random(f"plan {seed} {number}")
        self._rest_ms = rest_ms
        self._tests = tests

    def choose(self, test: int) -> dict[str, Any] | None:
        """The next test, until there were as many as wanted."""
        if self._tests is not None and test >= self._tests:
            return None
        return self._mix(self._chance)

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """Type as the crowd's person of this number does."""
        return self._crowd.person(self._number).type(words or ZEN, chance=self._chance, limit_ms=limit_ms)

    def pause_ms(self, test: int) -> float:
        """Rest between half of the mean and one and a half of it."""
        return self._rest_ms * (0.5 + self._chance.random())
