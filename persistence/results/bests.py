"""Personal bests, pure: which board a result counts for, which of two results is the better, which periods there are.

A board is a kind of test that everybody types alike, in one language. For each board a user has a best result of the
day, of the week (Monday to Sunday) and of all time, all UTC and by the instant at which the test was started. The
greater speed is the better; of equal ones the earlier test.

What a store keeps of it can be made anew from its rows alone: a day's and a week's best from the results of that week,
the best of all time from the weeks' bests. So a verdict that falls later takes no more than a week's rows to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache
from re import compile as pattern
from typing import Final, NamedTuple

from session.identity import MAX_EPOCH_MS
from session.options import Mode
from session.result import Result

DAY_MS: Final = 86_400_000

KINDS: Final[tuple[tuple[Mode, int], ...]] = (("time", 15), ("time", 60), ("words", 50))
"""The tests that have boards: mode, and its seconds or words."""

_NAME = pattern(r"(time|words)-([1-9][0-9]{0,5})-([A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,7})")
_MODES: Mapping[str, Mode] = {"time": "time", "words": "words"}
_MONDAY = 4  # 1970-01-05, in days since 1970-01-01


class BoardError(ValueError):
    """Text that names no board or period; the message says which there are."""


@dataclass(frozen=True, slots=True)
class BestRules:
    """How much of a test must have been seen as it was typed for it to count as a personal best and on boards."""

    unseen_ms: int = 5_000
    """Client time in events that the server did not see live, at most this or the share below, whichever is more."""
    unseen_percent: int = 10
    """The same as a share of the test's duration."""
    slack_ms: int = 3_000
    """Server time before resumes that the log does not account for, at most."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 100 if field.name == "unseen_percent" else 3_600_000
            if not 0 <= value <= most:
                raise ValueError(f"{field.name} is {value}; allowed is 0 to {most}")


class Board(NamedTuple):
    """A kind of test in a language; its text is `time-15-en`."""

    mode: Mode
    extent: int
    """Seconds in mode `time`, words in mode `words`."""
    language: str
    """BCP 47 tag of the word list."""

    def __str__(self) -> str:
        return f"{self.mode}-{self.extent}-{self.language}"

    @classmethod
    def named(cls, name: str) -> Board:
        """The board of a name. Raises `BoardError` where there is none such."""
        found = _NAME.fullmatch(name)
        if found is not None:
            mode, extent = _MODES[found[1]], int(found[2])
            if (mode, extent) in KINDS:
                return cls(mode, extent, found[3])
        kinds = ", ".join(f"{mode}-{extent}-en" for mode, extent in KINDS)
        raise BoardError(f"there is no board {name[:80]!r}; there are {kinds}, and the like in other languages")


class Span(Enum):
    """How long a best is the best."""

    __hash__ = object.__hash__  # there is one of each; the enumeration's own takes longer than all else of a place

    DAY = "day"
    WEEK = "week"
    ALL = "all"


class Period(NamedTuple):
    """A day, a week, or all time; its text is `day-20783`, `week-20780` or `all`."""

    span: Span
    day: int
    """Its first day, in days since 1970-01-01; 0 for all time."""

    def __str__(self) -> str:
        return self.span.value if self.span is Span.ALL else f"{self.span.value}-{self.day}"

    @classmethod
    def of(cls, span: Span, day: int) -> Period:
        """The period of this span that a day lies in."""
        match span:
            case Span.DAY:
                return cls(span, day)
            case Span.WEEK:
                return cls(span, day - (day - _MONDAY) % 7)
            case Span.ALL:
                return cls(span, 0)

    @property
    def bounds_ms(self) -> tuple[int, int]:
        """Its first instant and the first one after it, in epoch ms."""
        if self.span is Span.ALL:
            return 0, MAX_EPOCH_MS + 1
        return self.day * DAY_MS, (self.day + (1 if self.span is Span.DAY else 7)) * DAY_MS


@lru_cache(maxsize=256)
def periods_of(day: int) -> tuple[Period, ...]:
    """The day itself, its week, and all time."""
    return tuple(Period.of(span, day) for span in Span)


class Place(NamedTuple):
    """Where a user may have a best."""

    user: int
    board: Board
    period: Period


class PersonalBest(NamedTuple):
    """A user's best on a board in a period."""

    place: Place
    session: bytes
    """The result's id; it tells when the test was started, too."""
    wpm: float
    acc: float

    @property
    def order(self) -> tuple[float, int]:
        """Orders bests of one board: the greater is the better; of equal speeds the earlier test is."""
        return self.wpm, -int.from_bytes(self.session, "big")


def board_of(result: Result, rules: BestRules) -> Board | None:
    """The board that a result counts for while its verdict is `ok`; None where no verdict would bring it on one.

    Guests have none. Modes `time` and `words` are typed from the server's own passages; the others have no board.
    """
    extent = result.seconds if result.mode == "time" else result.count
    if result.user <= 0 or extent is None or (result.mode, extent) not in KINDS:
        return None
    unseen_ms = max(rules.unseen_ms, result.summary.duration_ms * rules.unseen_percent / 100)
    if result.unseen_ms > unseen_ms or result.slack_ms > rules.slack_ms:
        return None
    return Board(result.mode, extent, result.language)


def places_of(user: int, board: Board, created_at_ms: int) -> tuple[Place, ...]:
    """Where a test that was started at this instant may be a user's best: its day, its week, all time."""
    return tuple(Place(user, board, period) for period in periods_of(created_at_ms // DAY_MS))
