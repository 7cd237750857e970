"""Many typists at once, at a few microseconds a key: `typist`'s people, drawn once and played again and again.

Drawing every gap of every key of 20,000 people takes half of the core that the load must come from. Here each person
draws their rhythm (what chance adds to their habits, for gaps and holds) once, long enough not to be noticed again
within a test, and each test takes a piece of it from a place of its own; the strokes jump from one error to the next
instead of asking at every character. Speeds, habits, gaps, holds, errors and corrections are the model's (a test holds
them to it); what is lost is that no two tests of 20,000 share a draw.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, repeat
from math import exp, log1p
from operator import add, mul, sub
from random import Random

from loadtest.habits import GapHabits, HoldHabits
from loadtest.typist import (
    CORRECTIONS,
    ERRORS_LEFT,
    MOST_HOLD_MS,
    REACTION_SIGMA,
    TAKEN_BACK,
    Typed,
    Typist,
    pair_of,
)
from scoring.text import Word

__all__ = ["Crowd", "Person"]

RHYTHM_KEYS = 512
"""Keys that a person draws: about as many as a test of a minute has."""

PEOPLE = 1_000
"""Different people in a crowd at most; more typists than these share them."""

_LATER = log1p(-1 / TAKEN_BACK)


class Crowd:
    """People by number, drawn when first asked for."""

    def __init__(self, seed: int, people: int = PEOPLE) -> None:
        self._seed = seed
        self._people: list[Person | None] = [None] * people

    def person(self, number: int) -> Person:
        """The typist of this number."""
        at = number % len(self._people)
        person = self._people[at]
        if person is None:
            person = self._people[at] = Person(Typist(self._seed * 1_000_003 + at))
        return person


class Person:
    """One person's rhythm, and their typing of any words."""

    __slots__ = ("_gap_habits", "_hold_habits", "_holds", "_rhythm", "typist")

    def __init__(self, typist: Typist) -> None:
        self.typist = typist
        chance = Random(f"rhythm {typist.seed}")
        rhythm = list(islice(typist.rhythm(chance), RHYTHM_KEYS))
        mean = sum(rhythm) / RHYTHM_KEYS  # of so few draws it is not 1, and the person's speed is to stay theirs
        self._rhythm = array("d", (draw / mean for draw in rhythm))
        self._holds = array("d", (min(typist.hold(chance), MOST_HOLD_MS / 2) for _ in range(RHYTHM_KEYS)))
        self._gap_habits = GapHabits(typist.seed, typist.gap_sigma)
        self._hold_habits = HoldHabits(typist.seed)

    def type(self, words: Sequence[Word], *, chance: Random, limit_ms: int | None = None) -> Typed:
        """Type these words to the end; with a limit, over and over until that client time (see `Typist.type`)."""
        start = int(chance.random() * RHYTHM_KEYS)
        reaction = round(self.typist.reaction_ms * exp(chance.gauss(0.0, REACTION_SIGMA)))
        if limit_ms is None:
            keys = _line(_strokes(words, chance))
            times = self._times(keys, start)
        else:
            # some more than the speed promises; a test of few keys may still be far from the mean
            least = 20 + int(1.1 * limit_ms / self.typist.mean_gap_ms)
            keys = _line(_strokes(words, chance, least=least))
            times = self._times(keys, start)
            while times[-1] < limit_ms:
                keys = _line([keys, *_strokes(words, chance, least=least)])
                times = self._times(keys, start)
            count = bisect_left(times, limit_ms)
            keys, times = keys[:count], times[:count]
        gaps = array("I", map(sub, times, [-reaction, *times]))
        habits = map(self._hold_habits.__getitem__, keys)
        holds = map(int, map(mul, _again(self._holds, start, len(keys)), habits))
        return Typed(gaps, keys, array("H", holds))

    def _times(self, keys: Sequence[str], start: int) -> list[int]:
        """When each key is typed, in ms since the first; the running time is made whole, not each gap."""
        pairs = map(pair_of, keys, keys[1:]) if type(keys) is not str else map(add, keys, keys[1:])
        habits = list(map(self._gap_habits.__getitem__, pairs))
        if not habits:
            return [0]
        mean_ms = self.typist.mean_gap_ms * len(habits) / sum(habits)
        waits = map(mul, habits, _again(self._rhythm, start, len(habits)))
        return list(map(int, map(mul, accumulate(waits, initial=0.0), repeat(mean_ms))))


def _again(values: array[float], start: int, count: int) -> array[float]:
    """Take `count` values from `start` on, from the beginning again after the end."""
    taken = values[start : start + count]
    while len(taken) < count:
        taken += values[: count - len(taken)]
    return taken


def _line(strokes: Iterable[Sequence[str]]) -> Sequence[str]:
    """Keys of all strokes: one str where each key is one code point, else a tuple."""
    parts = list(strokes)
    if all(type(part) is str for part in parts):
        return "".join(parts)  # type: ignore[arg-type]  # all are str
    return tuple(key for part in parts for key in part)


def _strokes(words: Sequence[Word], chance: Random, *, least: int = 0) -> Iterator[Sequence[str]]:
    """Yield the keys of typing words once, or again and again until there are `least`.

    Each correction takes place within its word, before the word's last character: there it can end no word and no test.
    """
    if least:  # no more of the text than will be typed
        words = words[: bisect_left(list(accumulate(map(len, words[:least]))), least) + 1]
    text: Sequence[str]
    if all(type(word) is str for word in words):
        text = "".join(words)  # type: ignore[arg-type]  # all are str
    else:
        text = tuple(cluster for word in words for cluster in word)
    ends = list(accumulate(map(len, words)))
    letters = sorted({cluster for cluster in text[:400] if cluster != " "}) or ["x"]
    # only places inside a word are open to errors, so that there they are more frequent
    inside = sum(max(0, len(word) - 2) for word in words)
    share = len(text) / max(1, inside)
    wrong = min(0.9, (CORRECTIONS + ERRORS_LEFT) * share)
    corrected = CORRECTIONS / (CORRECTIONS + ERRORS_LEFT)
    step = log1p(-wrong)
    uniform = chance.random
    typed = 0
    while True:
        at = 0
        left_wrong = False
        skip = int(log1p(-uniform()) / step)
        for word, end in enumerate(ends):
            begin = end - len(words[word])
            left_wrong = False
            open_places = max(0, end - begin - 2)
            while skip < open_places:
                place = begin + skip
                yield text[at:place]
                typed += place - at
                if uniform() < corrected:
                    later = min(1 + int(log1p(-uniform()) / _LATER), end - 1 - place)
                    yield _wrong(text[place], letters, chance)
                    yield text[place + 1 : place + later]
                    yield "\b" * later
                    typed += 2 * later
                    at = place
                else:
                    yield _wrong(text[place], letters, chance)
                    typed += 1
                    at = place + 1
                    left_wrong = True
                skip += 1 + int(log1p(-uniform()) / step)
            skip -= open_places
            if typed + end - at >= least > 0:
                yield text[at:end]
                return
        yield text[at:]
        typed += len(text) - at
        if not least:
            if left_wrong and text[-1] != " ":
                yield " "
            return


def _wrong(target: str, letters: Sequence[str], chance: Random) -> str:
    wrong = letters[int(chance.random() * len(letters))]
    if wrong != target:
        return wrong
    at = letters.index(target)
    return letters[at - 1] if len(letters) > 1 else "xy"[target == "x"]
