"""Is this what a node would send? Every field of a decoded result by type and range, and its core by its hash.

What comes by the stream is the nodes' own and still not believed: a row lives for years, and a field of a kind that
nobody expects would be found by whoever reads it then. What fails here becomes a dead letter, with a sentence that says
which field, what it was and what is allowed.

Fields that follow one rule are looked at together: most of the rules then cost one call of C for a dozen fields.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from operator import attrgetter
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from session.identity import MAX_USER, is_race
from session.options import INPUTS, MODES
from session.result import Result, core_hash_of

__all__ = ["FASTEST", "FIELD_BYTES", "LISTED", "NODE_BYTES", "SERIES", "Implausible", "check", "check_core"]

FIELD_BYTES: Final = 64 * 1024
"""A row's longest field."""
NODE_BYTES: Final = 80
"""A node's longest name: 64 bytes, and the number of its process."""
FASTEST: Final = 900_000_000
"""More words a minute than come of as many keys as a log may have, all of them within a millisecond."""
SERIES: Final = 24 * 3_600
"""Seconds of the longest test that settings allow."""
LISTED: Final = 64
"""Most features and reasons."""


class Implausible(ValueError):
    """A result with a field that no node would have sent."""


class _Rule:
    """What some fields may be; `hold` says whether all of these values are allowed, and may raise where one is not."""

    def __init__(self, hold: Callable[[Sequence[Any]], bool], allowed: str, *names: str) -> None:
        self._hold = hold
        self._allowed = allowed
        self._names = names
        self._values_of = attrgetter(*names)

    def check(self, result: Result) -> None:
        """Raise `Implausible` where a field of the result is not allowed."""
        values = self._values_of(result)
        if len(self._names) == 1:
            values = (values,)
        if not self._holds(values):
            for name, value in zip(self._names, values, strict=True):
                if not self._holds((value,)):
                    raise Implausible(f"the result's {name} is {value!r:.80}; allowed is {self._allowed}")

    def _holds(self, values: Sequence[Any]) -> bool:
        try:
            return self._hold(values)
        except (TypeError, ValueError, OverflowError, AttributeError, IndexError, StructError):
            return False


def _each(holds: Callable[[Any], bool], allowed: str, *names: str) -> _Rule:
    """A rule for each field by itself."""
    return _Rule(lambda values: all(map(holds, values)), allowed, *names)


def _whole(*names: str) -> _Rule:
    layout = Struct(f"{len(names)}I")
    one = Struct("I")

    def hold(values: Sequence[Any]) -> bool:
        return bool((layout if len(values) == len(names) else one).pack(*values))

    return _Rule(hold, "a whole number, 0 to 4294967295", *names)


def _number(least: float, most: float, *names: str) -> _Rule:
    def hold(values: Sequence[Any]) -> bool:
        numbers = array("d", values)
        return isfinite(sum(numbers)) and least <= min(numbers) and max(numbers) <= most

    return _Rule(hold, f"a number, {least:g} to {most:g}", *names)


def _one_of(allowed: Sequence[str], *names: str) -> _Rule:
    return _each(frozenset(allowed).__contains__, f"one of {', '.join(allowed)}", *names)


def _text(most: int, *names: str) -> _Rule:
    return _each(
        lambda value: type(value) is str and len(value.encode()) <= most, f"text of at most {most} bytes", *names
    )


def _flag(value: Any) -> bool:
    return value is True or value is False


def _digest(value: Any) -> bool:
    return type(value) is bytes and len(value) == 16


def _session(value: Any) -> bool:
    return _digest(value) and value[6] >> 4 == 7 and value[8] >> 6 == 0b10


def _user(value: Any) -> bool:
    return type(value) is int and 1 <= abs(value) <= MAX_USER


def _seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _series(value: Any) -> bool:
    parts = value.wpm, value.raw, value.burst, value.err
    seconds = len(value.wpm)
    return (
        all(type(part) is list and len(part) == seconds <= SERIES for part in parts)
        and len(array("I", value.wpm + value.raw + value.burst + value.err)) == 4 * seconds
    )


def _finite(values: Iterable[Any]) -> bool:
    """Whether these are finite numbers, and such as can be packed again."""
    values = tuple(values)
    whole = all(type(value) is float or -(1 << 63) <= value < 1 << 64 for value in values)
    return whole and isfinite(sum(array("d", values)))


def _features(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) <= LISTED
        and all(type(name) is str and len(name) <= 64 for name in value)
        and _finite(value.values())
    )


def _reasons(value: Any) -> bool:
    return (
        type(value) is tuple
        and len(value) <= LISTED
        and all(
            type(reason.name) is str and len(reason.name) <= 64 and _finite((reason.value, reason.threshold))
            for reason in value
        )
    )


def _tags(value: Any) -> bool:
    return (
        type(value) is tuple
        and len(value) <= 255
        and all(type(tag) is str and len(tag.encode()) <= 32 for tag in value)
    )


_RULES: Final = (
    _each(_session, "16 bytes, a UUIDv7", "session"),
    _each(_user, f"a whole number, 1 to {MAX_USER}, a guest's with a minus sign", "user"),
    _each(_digest, "16 bytes", "ticket_hash", "log_digest", "text_hash", "core_hash"),
    _each(lambda value: type(value) is bytes and 0 < len(value) <= FIELD_BYTES, f"1 to {FIELD_BYTES} bytes", "replay"),
    _one_of(MODES, "mode"),
    _one_of(INPUTS, "input"),
    _one_of(("ok", "review", "void"), "verdict"),
    _each(
        lambda value: value is None or (type(value) is int and 0 < value < 1 << 63),
        f"a whole number, 1 to {2**63 - 1}, or nothing",
        "count",
        "seconds",
        "test",
    ),
    _each(_seed, f"a whole number, 0 to {2**64 - 1}", "seed"),
    _whole(
        "test_version",
        "list_version",
        "generator",
        "seen_live",
        "unseen_ms",
        "slack_ms",
        "summary.total_chars",
        "summary.chars.correct",
        "summary.chars.incorrect",
        "summary.chars.extra",
        "summary.chars.missed",
        "summary.inserts.correct",
        "summary.inserts.wrong",
    ),
    _each(
        lambda value: type(value) is int and 0 <= value < 1 << 53,  # a clock's, where the test was taken over
        f"a whole number, 0 to {2**53 - 1}",
        "epoch",
    ),
    _number(0, FASTEST, "summary.wpm", "summary.raw"),
    _number(0, 100, "summary.acc", "summary.consistency", "summary.key_consistency", "summary.wpm_consistency"),
    _number(0, 2**31, "summary.duration_ms", "summary.seconds", "summary.afk_ms"),
    _number(-(2**48), 2**48, "lag_ms", "drift_ms"),
    _each(_series, f"four lists of whole numbers, equally long, {SERIES} at most", "summary.series"),
    _each(_flag, "true or false", "punctuation", "numbers", "gave_up"),
    _text(71, "language"),
    _text(64, "scoring_version"),
    _text(NODE_BYTES, "node"),
    _each(_tags, "at most 255 texts of at most 32 bytes", "tags"),
    _each(_features, f"at most {LISTED} finite numbers by name", "features"),
    _each(_reasons, f"at most {LISTED} reasons, each a name and two finite numbers", "reasons"),
    _each(
        lambda value: value is None or (type(value) is str and len(value.encode()) <= FIELD_BYTES),
        f"text of at most {FIELD_BYTES} bytes, or nothing",
        "text",
    ),
    _each(lambda value: value is None or (type(value) is str and is_race(value)), "a race's id, or nothing", "race"),
)


def check(result: Result) -> None:
    """Raise `Implausible` where a decoded result is not what a node would send."""
    for rule in _RULES:
        rule.check(result)
    if not check_core(result):
        raise Implausible("the result's core does not have the hash that was sent with it")


def check_core(result: Result) -> bool:
    """Whether the result's core has the hash that was sent with it."""
    core_hash = core_hash_of(
        session=result.session,
        user=result.user,
        ticket_hash=result.ticket_hash,
        log_digest=result.log_digest,
        summary=result.summary,
        gave_up=result.gave_up,
        scoring_version=result.scoring_version,
    )
    return core_hash == result.core_hash
