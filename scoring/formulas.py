"""The figures of a typing test, each with its definition and source: plain functions of numbers.

Sources: [SM] R. W. Soukoreff and I. S. MacKenzie, "Metrics for text entry research: an evaluation of MSD and KSPC, and
a new unified error metric", CHI 2003. The speed, accuracy and consistency figures are those that popular typing tests
show; their rounding is that of a browser (half up), never Python's (half to even).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt, tanh
from operator import eq, mul
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

__all__ = [
    "WORD_CHARS",
    "ErrorRates",
    "WordCounts",
    "accuracy",
    "count_chars",
    "distance",
    "error_rates",
    "evenness",
    "evenness_of_whole",
    "kogasa",
    "mean_and_sd",
    "round2",
    "sd_of_sums",
    "speed",
    "speed2",
    "speeds",
    "whole",
]

WORD_CHARS = 5
"""A "word" of words per minute: five characters, spaces included (the field's convention since typewriter contests)."""

_ULP = 2.0**-52


def round2(x: float) -> float:
    """Round to two digits, half up, as a browser does: floor((x + 2^-52)·100 + 0.5) / 100."""
    return ((x + _ULP) * 100 + 0.5) // 1 / 100


def whole(x: float) -> int:
    """Round to a whole number, half up: floor(x + 0.5)."""
    return int((x + 0.5) // 1)


def speed(chars: float, seconds: float) -> float:
    """Words per minute of `chars` characters in `seconds`, not rounded; 0 where no time has passed."""
    return chars / WORD_CHARS / (seconds / 60) if seconds > 0 else 0.0


def speed2(chars: float, seconds: float) -> float:
    """`round2` of `speed`, without the two calls: each tick shows two of them."""
    return ((chars / WORD_CHARS / (seconds / 60) + _ULP) * 100 + 0.5) // 1 / 100 if seconds > 0 else 0.0


def speeds(chars: Iterable[int], minutes: Iterable[float]) -> list[int]:
    """`whole` of `speed` for each of a series, without the calls: a result has three of an entry a second."""
    # none is negative, so `int` alone goes down
    return [int(n / WORD_CHARS / m + 0.5) for n, m in zip(chars, minutes, strict=True)]


def accuracy(correct: int, wrong: int) -> float:
    """Correct inserts per hundred inserts, rounded to two digits; 0 without any. A corrected error still counts."""
    inserts = correct + wrong
    return round2(100 * correct / inserts) if inserts else 0.0


def kogasa(variation: float) -> float:
    """100·(1 − tanh(c + c³/3 + c⁵/5)) for a coefficient of variation c: 100 is perfectly even, 0 not at all."""
    c = min(variation, 1e3)  # tanh is 1 long before; the fifth power of a wild c must not overflow
    return 100 * (1 - tanh(c + c**3 / 3 + c**5 / 5))


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and *population* standard deviation; (0, 0) of nothing."""
    if not values:
        return 0.0, 0.0
    mean = fsum(values) / len(values)
    return mean, sqrt(fsum((value - mean) ** 2 for value in values) / len(values))


def sd_of_sums(n: int, total: float, squares: float) -> float:
    """Population standard deviation from count, sum and sum of squares.

    Exact for whole numbers, of any size; for fractional ones good to about 1e-8 of the mean.
    """
    if n == 0:
        return 0.0
    spread = n * squares - total * total  # n²·variance; whole numbers stay whole here, so nothing cancels
    return sqrt(spread) / n if spread > 0 else 0.0


def evenness(mean: float, sd: float) -> float:
    """Consistency of a list from its mean and population standard deviation, two digits; 0 where the mean is 0."""
    return round2(kogasa(sd / mean)) if mean else 0.0


def evenness_of_whole(values: Sequence[int]) -> float:
    """Consistency of whole numbers; 0 of none."""
    total = sum(values)
    return (
        evenness(total / len(values), sd_of_sums(len(values), total, sum(map(mul, values, values)))) if total else 0.0
    )


class WordCounts(NamedTuple):
    """The characters of one word; `all_correct` + `incorrect` + `extra` are those typed."""

    all_correct: int
    """Positions that are equal."""
    correct_word: int
    """The same, if the word is right (or right so far, where that is credited); else 0."""
    incorrect: int
    extra: int
    missed: int


def count_chars(given: Sequence[str], target: Sequence[str], *, credit_partial: bool = False) -> WordCounts:
    """Count the characters of a word as typed against its target, both with their closing spaces where they have one.

    Position by position: equal is correct, but the target's space in a word that is not right is extra; nothing typed
    is missed, but with `credit_partial`; typed beyond the target is extra, and so is a character on the target's space,
    if the input holds no space at all; else incorrect (an early space too).
    """
    n, size = len(given), len(target)
    equal = sum(map(eq, given, target))
    if equal == n == size:
        return WordCounts(n, n, 0, 0, 0)
    incorrect = min(n, size) - equal
    extra = max(n - size, 0)
    if n >= size and target[-1] == " ":
        if given[size - 1] == " ":
            equal -= 1
            extra += 1
        elif " " not in given:
            incorrect -= 1
            extra += 1
    right_so_far = credit_partial and equal == n
    return WordCounts(equal, n if right_so_far else 0, incorrect, extra, 0 if credit_partial else max(size - n, 0))


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates of [SM], as fractions (not per cent)."""

    msd: float
    """Minimum string distance: edit distance of presented and transcribed text / the longer one's length."""
    kspc: float
    """Keystrokes per character: keys typed, deletes too / characters transcribed."""
    total: float
    """(INF + IF) / (C + INF + IF)."""
    corrected: float
    """IF / (C + INF + IF): wrong characters that were taken back."""
    not_corrected: float
    """INF / (C + INF + IF): wrong characters that were left."""


def distance(presented: Sequence[str], transcribed: Sequence[str]) -> int:
    """Edit distance (Levenshtein) of two texts as sequences of characters or clusters, in O(len²/64)."""
    return Levenshtein.distance(presented, transcribed)


def error_rates(
    presented: Sequence[str], transcribed: Sequence[str], keys: int, *, correct: int, left: int, fixed: int
) -> ErrorRates:
    """Soukoreff's and MacKenzie's rates, both texts as sequences of characters (or clusters).

    `keys` is the length of the input stream; `correct` C, `left` INF (wrong and left), `fixed` IF (wrong and fixed).
    Each rate is 0 where its divisor is 0. For the edit distance see `distance`: keep it off the event loop.
    """
    longer = max(len(presented), len(transcribed))
    attempts = correct + left + fixed
    return ErrorRates(
        msd=distance(presented, transcribed) / longer if longer else 0.0,
        kspc=keys / len(transcribed) if transcribed else 0.0,
        total=(left + fixed) / attempts if attempts else 0.0,
        corrected=fixed / attempts if attempts else 0.0,
        not_corrected=left / attempts if attempts else 0.0,
    )
