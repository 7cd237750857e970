"""Single values as an old installation has them: numbers, instants, switches, in whatever form they come. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from math import isfinite
from re import compile as pattern
from typing import Final

__all__ = ["Bad", "instant_ms", "number", "shown", "switch", "whole"]

_NUMBER: Final = pattern(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DECIMAL_COMMA: Final = pattern(r"[+-]?[0-9]+,[0-9]{1,2}")
_MOST_CHARACTERS: Final = 60
_SHOWN: Final = 60
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# As JavaScript prints a date; the name of the zone in brackets is left out before.
_JAVASCRIPT: Final = "%a %b %d %Y %H:%M:%S GMT%z"
_INSTANTS: Final = "an ISO 8601 date, or seconds, milliseconds or microseconds since 1970"
_SWITCHES: Final[Mapping[object, bool]] = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0", ""), False),
}


class Bad(ValueError):
    """A row cannot be imported; the message says which value is wrong, and what is allowed."""

    def __init__(self, what: str, problem: str, allowed: str | None = None) -> None:
        super().__init__(f"{what} {problem}" + (f"; allowed: {allowed}" if allowed else ""))


def number(what: str, value: object, least: float, most: float) -> float:
    """A finite number within these bounds, also where it comes as text: `72.5`, `"72.5"`, `"72,5"`, `"98 %"`."""
    found = value if type(value) is float else _number(value)
    # a whole number may be too large for a float to compare with
    if found is None or not (least <= found <= most):
        raise Bad(what, f"is {shown(value)}", f"a number from {least:,g} to {most:,g}")
    return found


def whole(what: str, value: object, least: int, most: int) -> int:
    """A whole number within these bounds; `12.0` and `"12"` are whole."""
    found = _number(value)
    if found is None or not (least <= found <= most) or found != int(found):
        raise Bad(what, f"is {shown(value)}", f"a whole number from {least:,} to {most:,}")
    return int(found)


def switch(value: object) -> bool | None:
    """Yes or no, however it is written; None where it is neither."""
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    return _SWITCHES.get(value.strip().lower()) if isinstance(value, str) else None


def instant_ms(what: str, value: object, zone: tzinfo) -> int:
    """Epoch ms of an instant in one of many forms. `zone` is that of dates which name none."""
    told = value
    for name in ("$date", "$numberLong"):  # as MongoDB exports it
        if isinstance(told, dict) and name in told:
            told = told[name]
    try:
        if isinstance(told, str):
            return _instant_of_text(told.strip(), zone)
        if type(told) is int or type(told) is float:
            return _since_epoch(told)
        if isinstance(told, dict):  # as Firestore does
            seconds = told.get("_seconds", told.get("seconds"))
            if type(seconds) is int:
                return _since_epoch(seconds)
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser of mail's dates raises all of them
        pass
    raise Bad(what, f"is {shown(value)}", _INSTANTS)


def shown(value: object) -> str:
    """A value for a message: as it stands, but short, and always text that can be stored."""
    if value is None:
        return "missing"
    text = repr(value[: _SHOWN + 1]) if isinstance(value, str) else str(_short(value))
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _short(value: object) -> object:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**30):
        return value
    if isinstance(value, int):
        return "a number beyond all bounds"
    return f"{'an' if isinstance(value, list) else 'a'} {_NAMES.get(type(value), type(value).__name__)}"


_NAMES: Final[Mapping[type, str]] = {list: "array", dict: "map", bytes: "binary value"}


def _number(value: object) -> float | None:
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, dict) and len(value) == 1:  # MongoDB's extended JSON
        ((kind, digits),) = value.items()
        if isinstance(kind, str) and kind.startswith("$number") and isinstance(digits, str):
            return _of_text(digits)
    return None


def _of_text(text: str) -> float | None:
    text = text.strip().removesuffix("%").rstrip()
    if len(text) > _MOST_CHARACTERS:
        return None
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    # a float would change a long whole number
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _instant_of_text(text: str, zone: tzinfo) -> int:
    if len(text) > _MOST_CHARACTERS + 40:
        raise ValueError(text)
    if _NUMBER.fullmatch(text) and len(text) != 8:  # eight digits are a day
        return _since_epoch(float(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = datetime.strptime(text.partition(" (")[0], _JAVASCRIPT)
        except ValueError:
            at = parsedate_to_datetime(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone)
    return (at - _EPOCH) // _MS


def _since_epoch(value: float) -> int:
    """Seconds, milliseconds or microseconds, told apart by size: each for the years 1973 to 5138."""
    if not isfinite(value):
        raise ValueError(value)
    if abs(value) < 1e11:
        value *= 1000
    elif abs(value) >= 1e17:
        raise ValueError(value)
    elif abs(value) >= 1e14:
        value /= 1000
    return int(value)
