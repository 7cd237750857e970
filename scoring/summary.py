"""What a finished test says: plain values, equal for equal logs, ready to be stored or sent."""

from dataclasses import dataclass

__all__ = ["CharCounts", "InsertCounts", "Series", "Summary"]


@dataclass(frozen=True, slots=True)
class CharCounts:
    """Characters (grapheme clusters) as they stood at the end."""

    correct: int
    """Of correctly typed words, their closing spaces included: what `wpm` is made of."""
    incorrect: int
    extra: int
    missed: int


@dataclass(frozen=True, slots=True)
class InsertCounts:
    """Keys that put something in, as they were typed; nothing is ever taken back here."""

    correct: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Series:
    """One entry a second of client time (the last may be a shorter rest), the lists equally long."""

    wpm: list[int]
    """Speed from the start to this second, of the characters right at that moment."""
    raw: list[int]
    """The same of every character that stood there."""
    burst: list[int]
    """Inserts within this second alone, as words per minute; deletes do not lower it."""
    err: list[int]
    """Wrong inserts within this second."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished test. Speeds in words (5 characters) per minute, rates in per cent, all with two digits."""

    wpm: float
    raw: float
    acc: float
    """Correct inserts per hundred; 0 where nothing was inserted."""
    consistency: float
    """Evenness of `series.burst`: 100 is perfectly even."""
    key_consistency: float
    """Evenness of the gaps between presses, the last gap left out."""
    wpm_consistency: float
    """Evenness of `series.wpm`."""
    chars: CharCounts
    total_chars: int
    """Characters typed and left standing, right or wrong: what `raw` is made of."""
    inserts: InsertCounts
    duration_ms: float
    """Client time that counts: the limit, or the last key; see `Scorer.summary`."""
    seconds: float
    """The duration that `wpm` and `raw` were made with: `duration_ms` rounded to two digits of a second where the mode
    rounds."""
    afk_ms: float
    """Time of the seconds in which no key did anything (a shorter rest counts as a whole second)."""
    series: Series
