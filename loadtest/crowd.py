"""Many typists at once, at a few microseconds a key: `typist`'s people, drawn once and played again and again.

Drawing every gap of every key of 20,000 people takes half of the core that the load must come from. Here each person
draws their rhythm (gaps and holds) once, long enough not to be noticed again within a test, and each test takes a piece
of it from a place of its own; the strokes jump from one error to the next instead of asking at every character. Speeds,
gaps, holds, errors and corrections are the model's (a test holds them to it); what is lost is that no two tests of
20,000 share a gap.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import exp, log, log1p
from random import Random

from loadtest.typist import (
    CORRECTIONS,
    ERRORS_LEFT,
    HOLD_SIGMA,
    KEYS_PER_CHARACTER,
    MOST_GAP_MS,
    MOST_HOLD_MS,
    REACTION_SIGMA,
    TAKEN_BACK,
    Typed,
    Typist,
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

    __slots__ = ("_gaps", "_holds", "typist")

    def __init__(self, typist: Typist) -> None:
        self.typist = typist
        chance = Random(f"rhythm {typist.seed}")
        gauss = chance.gauss
        mean_ms = 12_000.0 / (typist.wpm * KEYS_PER_CHARACTER)
        mu, sigma = log(mean_ms) - typist.gap_sigma**2 / 2, typist.gap_sigma
        # the running time is rounded, not each gap: rounding errors must not add up
        times = [
            round(at) for at in accumulate(min(exp(gauss(mu, sigma)), MOST_GAP_MS) for _ in range(RHYTHM_KEYS + 1))
        ]
        self._gaps = array("I", (late - early for early, late in pairwise(times)))
        hold_mu = log(typist.hold_ms) - HOLD_SIGMA**2 / 2
        self._holds = array(
            "H", (min(int(exp(gauss(hold_mu, HOLD_SIGMA))) + 1, MOST_HOLD_MS) for _ in range(RHYTHM_KEYS))
        )

    def type(self, words: Sequence[Word], *, chance: Random, limit_ms: int | None = None) -> Typed:
        """Type these words to the end; with a limit, over and over until that client time (see `Typist.type`)."""
        start = int(chance.random() * RHYTHM_KEYS)
        reaction = round(self.typist.reaction_ms * exp(chance.gauss(0.0, REACTION_SIGMA)))
        if limit_ms is None:
            keys = _line(_strokes(words, chance))
            gaps = _again(self._gaps, start, len(keys))
        else:
            gaps = self._within(start, limit_ms)
            keys = _line(_strokes(words, chance, least=len(gaps)))[: len(gaps)]
        gaps[0] = reaction
        return Typed(gaps, keys, _again(self._holds, start, len(keys)))

    def _within(self, start: int, limit_ms: int) -> array[int]:
        """Gaps until the limit; the first is the reaction's place, which the test's own time does not count."""
        gaps = self._gaps
        count = 1 + limit_ms * RHYTHM_KEYS // max(1, sum(gaps))
        some = _again(gaps, start, count)
        total = sum(some) - some[0]
        while total < limit_ms:
            count += 1
            total += gaps[(start + count - 1) % RHYTHM_KEYS]
        while total >= limit_ms:
            count -= 1
            total -= gaps[(start + count) % RHYTHM_KEYS]
        return _again(gaps, start, count)


def _again(values: array[int], start: int, count: int) -> array[int]:
    """Take `count` values from `start` on, from the beginning again after the end."""
    taken = values[start : start + count]
    while len(taken) < count:
        taken += values[: count - len(taken)]
    return taken


def _line(strokes: Iterator[Sequence[str]]) -> Sequence[str]:
    """Keys of all strokes: one str where each key is one code point, else a tuple."""
    parts = list(strokes)
    if all(type(part) is str for part in parts):
        return "".join(parts)  # type: ignore[arg-type]  # all are str
    return tuple(key for part in parts for key in part)


def _strokes(words: Sequence[Word], chance: Random, *, least: int = 0) -> Iterator[Sequence[str]]:
    """Yield the keys of typing words once, or again and again until there are `least`.

    Each correction takes place within its word, before the word's last character: there it can end no word and no test.
    """
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
