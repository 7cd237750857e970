"""The seeded typist: what a population of people types, key by key, with their errors and corrections.

A model for load, not of any one person. Its figures are those of V. Dhakal, A. M. Feit, P. O. Kristensson and
A. Oulasvirta, "Observations on Typing from 136 Million Keystrokes", CHI 2018:

- speed across people is lognormal (mu 3.871, sigma 0.378 of words a minute, errors and their correction included);
- 1.173 keystrokes for each character that stands in the end, 6.3 corrections for each 100 characters, 1.2 % of the
  characters wrong in the end. The three fit together if a correction takes back 1.373 characters on average: the wrong
  one and those typed before it was noticed (1 + 2 · 0.063 · 1.373 = 1.173);
- gaps are lognormal within a person, keys held for 116 ms on average (24 ms from person to person).

Within these laws a person has habits: which keys come late and which at once (see `habits`). They change no mean and no
variance, and are what `scoring.plausibility` knows people by; `python -m loadtest.bots` prints how it judges this one.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import exp, inf, log1p, sqrt
from random import Random

from loadtest.habits import (
    HOLD_HABITS_VARIANCE,
    PACE_KEEPS,
    PACE_VARIANCE,
    REST_VARIANCE,
    GapHabits,
    HoldHabits,
)
from scoring.text import Word

__all__ = ["Typed", "Typist", "mean_habit", "pair_of"]

WPM_MU, WPM_SIGMA = 3.871, 0.378
"""Of the logarithm of words a minute, across people."""
KEYS_PER_CHARACTER = 1.173
CORRECTIONS = 0.063
"""Per character of the text."""
TAKEN_BACK = (KEYS_PER_CHARACTER - 1) / (2 * CORRECTIONS)
"""Characters that a correction deletes, on average."""
ERRORS_LEFT = 0.012
"""Share of the characters that stand wrong in the end."""
GAP_SIGMA, GAP_SIGMA_SPREAD = 0.55, 0.08
"""Of the logarithm of a person's gaps, and how people differ in it: what the study's own sessions show."""
HOLD_MS, HOLD_MS_SPREAD, HOLD_SIGMA = 116.0, 24.0, 0.25
"""A person's mean hold, how people differ in it, and sigma of the logarithm within a person."""
REACTION_MS, REACTION_SIGMA = 700.0, 0.4
"""Median time from `started` to the first key."""
MOST_GAP_MS = 10_000
MOST_HOLD_MS = 2_000
"""No gap and no hold is longer, however the draw falls."""

_MIN_WPM, _MAX_WPM = 8.0, 220.0
_MEASURED_KEYS = 256  # by which a text is told to be quicker or slower than others; the person's speed is for any text


@dataclass(frozen=True, slots=True)
class Typed:
    """What a typist typed, packed: about 8 bytes a key, so that 20,000 of these fit into one process."""

    gaps: "array[int]"
    """ms since the event before, whole; the first is the reaction time."""
    keys: Sequence[str]
    """One grapheme, or `"\\b"`, for each event; a plain str where each is one code point."""
    holds: "array[int]"
    """How long each key is held, whole ms."""

    def __len__(self) -> int:
        return len(self.gaps)

    @property
    def duration_ms(self) -> int:
        """Client time of the last event; the first is at 0."""
        return sum(self.gaps) - self.gaps[0] if self.gaps else 0

    def events(self, start: int = 0, stop: int | None = None) -> list[int | str]:
        """Return events from start to before stop as the wire has them: flat `[dt, key, dt, key, ...]`."""
        gaps, keys = self.gaps[start:stop], self.keys[start:stop]
        flat: list[int | str] = [0] * (2 * len(gaps))
        flat[::2] = gaps
        flat[1::2] = keys
        return flat

    def held(self, start: int = 0, stop: int | None = None) -> list[int]:
        """Return holds of events from start to before stop as the wire has them: flat `[event, ms, ...]`."""
        flat = [0] * (2 * len(self.holds[start:stop]))
        flat[::2] = range(start, start + len(flat) // 2)
        flat[1::2] = self.holds[start:stop]
        return flat


class Typist:
    """One person, drawn from the population by a seed: equal seeds type equal keys at equal times, on any machine.

    It keeps five numbers and no generator of its own: 20,000 of them are 4 MB.
    """

    __slots__ = ("gap_sigma", "hold_ms", "reaction_ms", "seed", "wpm")

    def __init__(self, seed: int) -> None:
        chance = Random(f"typist {seed}")
        self.seed = seed
        self.wpm = min(max(exp(chance.gauss(WPM_MU, WPM_SIGMA)), _MIN_WPM), _MAX_WPM)
        """Words a minute over a long test, errors and corrections included."""
        self.gap_sigma = min(max(chance.gauss(GAP_SIGMA, GAP_SIGMA_SPREAD), 0.3), 0.85)
        self.hold_ms = min(max(chance.gauss(HOLD_MS, HOLD_MS_SPREAD), 50.0), 220.0)
        self.reaction_ms = REACTION_MS * exp(chance.gauss(0.0, REACTION_SIGMA))

    @property
    def mean_gap_ms(self) -> float:
        """From key to key, over a long test; a word is five characters."""
        return 12_000.0 / (self.wpm * KEYS_PER_CHARACTER)

    def rhythm(self, chance: Random) -> Iterator[float]:
        """Yield what chance and the pace of the moment make of one gap after the other; the mean is 1."""
        scale = self.gap_sigma / GAP_SIGMA
        pace_sigma = scale * sqrt(PACE_VARIANCE)
        step_sigma, rest_sigma = pace_sigma * sqrt(1 - PACE_KEEPS**2), scale * sqrt(REST_VARIANCE)
        mu = -(pace_sigma**2 + rest_sigma**2) / 2
        pace = chance.gauss(0.0, pace_sigma)
        while True:
            yield exp(mu + pace + chance.gauss(0.0, rest_sigma))
            pace = PACE_KEEPS * pace + chance.gauss(0.0, step_sigma)

    def hold(self, chance: Random) -> float:
        """Draw how long a key is held, in ms, but for the habit."""
        sigma = sqrt(HOLD_SIGMA**2 - HOLD_HABITS_VARIANCE)
        return self.hold_ms * exp(chance.gauss(-(sigma**2) / 2, sigma))

    def type(self, words: Sequence[Word], *, test: int = 0, limit_ms: float | None = None) -> Typed:
        """Type these words (`Passage.words`) to the end; with a limit, over and over until that client time.

        `test` numbers the person's tests: each is typed anew, and the same one the same way again. With `limit_ms` all
        events lie before it. A test without a limit ends with its last word: by the key that completes it, or by a
        space if that word stands wrong.
        """
        text = [cluster for word in words for cluster in word]
        if not text:
            raise ValueError("there is nothing to type")
        chance = Random(f"typist {self.seed} test {test}")
        gauss = chance.gauss
        rhythm = self.rhythm(chance)
        strokes = _strokes(text, _without_space(words), chance, again=limit_ms is not None)
        first = list(islice(strokes, _MEASURED_KEYS))
        gap_habits, hold_habits = GapHabits(self.seed, self.gap_sigma), HoldHabits(self.seed)
        mean_ms = self.mean_gap_ms / mean_habit(first, gap_habits)
        keys: list[str] = []
        gaps = array("I")
        holds = array("H")
        # the running time is rounded, not each gap: rounding errors must not add up
        now = reaction = self.reaction_ms * exp(gauss(0.0, REACTION_SIGMA))
        last = 0
        end = inf if limit_ms is None else limit_ms + round(reaction)
        for key in chain(first, strokes):
            if keys:
                now += min(mean_ms * gap_habits[pair_of(keys[-1], key)] * next(rhythm), MOST_GAP_MS)
            at = round(now)
            if at >= end:
                break
            keys.append(key)
            gaps.append(at - last)
            holds.append(min(round(self.hold(chance) * hold_habits[key]), MOST_HOLD_MS))
            last = at
        single = "".join(keys)
        return Typed(gaps, single if len(single) == len(keys) else tuple(keys), holds)


def pair_of(before: str, key: str) -> str:
    """Return two keys as one string, from which they can be told again."""
    return before + key if len(before) == 1 else f"{before}\0{key}"


def mean_habit(keys: Sequence[str], habits: GapHabits) -> float:
    """Return the mean of what habits make of the gaps between these keys; 1 of fewer than two."""
    pairs = list(map(pair_of, keys, keys[1:]))
    return sum(map(habits.__getitem__, pairs)) / len(pairs) if pairs else 1.0


def _without_space(words: Sequence[Word]) -> frozenset[int]:
    """Return the places in the text where a word ends without a closing space."""
    ends = set()
    place = -1
    for word in words:
        place += len(word)
        if word and word[-1] != " ":
            ends.add(place)
    return frozenset(ends)


def _strokes(text: Sequence[str], word_ends: frozenset[int], chance: Random, *, again: bool) -> Iterator[str]:
    """Yield the keys of typing a text, once or again and again.

    A wrong key is noticed at once or some keys later, and all since then is deleted and typed anew. That is before
    there is no way back: before a second word is ended (the first is wrong, so one can step back into it), before the
    end of a word without a closing space, and before the text's very last character, which would end the test.
    """
    length = len(text)
    letters = sorted({cluster for cluster in text[:400] if cluster != " "}) or ["x"]
    left = ERRORS_LEFT * length / max(1, length - text.count(" "))  # no space is left wrong: it would shift all words
    later = log1p(-1 / TAKEN_BACK)
    uniform = chance.random
    while True:
        word_right = True
        for place, target in enumerate(text):
            draw = uniform()
            if draw < CORRECTIONS:
                yield _wrong(target, letters, chance)
                stop = place + 1 + int(log1p(-uniform()) / later)
                typed = 1
                spaces = 0
                for at in range(place + 1, min(stop, length - 1)):
                    spaces += text[at] == " "
                    if spaces > 1 or at - 1 in word_ends:
                        break
                    yield text[at]
                    typed += 1
                for _ in range(typed):
                    yield "\b"
                yield target
            elif draw < CORRECTIONS + left and target != " ":
                word_right = False
                yield _wrong(target, letters, chance)
            else:
                yield target
            if (target == " " or place in word_ends) and place < length - 1:
                word_right = True
        if not again:
            if not word_right and text[-1] != " ":
                yield " "
            return


def _wrong(target: str, letters: Sequence[str], chance: Random) -> str:
    """Return a character of this text that is not the right one."""
    wrong = letters[int(chance.random() * len(letters))]
    if wrong != target:
        return wrong
    at = letters.index(target)
    return letters[at - 1] if len(letters) > 1 else "xy"[target == "x"]
