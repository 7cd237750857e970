"""Values as SQL literals. Whatever is not a number goes in hexadecimal, so that nothing needs to be escaped."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from math import isfinite
from typing import Final

__all__ = ["blob", "day", "day_number", "instant", "number", "text"]

_DAY_S: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAYS: Final = range(date.max.toordinal() - _EPOCH + 1)


def blob(value: bytes) -> str:
    """A binary string."""
    return f"x'{value.hex()}'"


def text(value: str | None) -> str:
    """A string, or NULL. Raises ValueError for one that is no Unicode text."""
    return "NULL" if value is None else f"_utf8mb4 x'{value.encode().hex()}'"


def number(value: float | None) -> str:
    """A number, or NULL. Raises ValueError for one that is infinite, or none at all."""
    if value is None:
        return "NULL"
    if not isfinite(value):
        raise ValueError(f"{value} is no number that can be stored")
    return repr(value)


def day(since_epoch: int) -> str:
    """A DATE, of days since 1970-01-01. Raises ValueError beyond the year 9999."""
    return f"'{_calendar(since_epoch)}'"


def instant(epoch_ms: int) -> str:
    """A DATETIME(3), UTC. Raises ValueError beyond the year 9999."""
    seconds, ms = divmod(epoch_ms, 1000)
    return f"'{_clock(seconds)}.{ms:03}'"


def day_number(value: str) -> int:
    """Days since 1970-01-01 of a DATE that was read."""
    return date.fromisoformat(value).toordinal() - _EPOCH


@lru_cache(maxsize=1024)
def _clock(seconds: int) -> str:
    days, seconds = divmod(seconds, _DAY_S)
    minutes, seconds = divmod(seconds, 60)
    return f"{_calendar(days)} {minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


@lru_cache(maxsize=1024)
def _calendar(since_epoch: int) -> str:
    if since_epoch not in _DAYS:
        raise ValueError(f"{since_epoch} days since 1970 are beyond the year 9999, or before 1970")
    return date.fromordinal(since_epoch + _EPOCH).isoformat()
