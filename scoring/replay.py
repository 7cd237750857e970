"""The replay codec: a test's whole log as a small byte string and back, to the bit."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Log", "ReplayError", "decode", "decoding", "encode", "encoding"]

DROP_HOLDS_OVER_BYTES = 60 * 1024
"""A replay longer than this is stored without its holds."""
MAX_EVENTS = 30_000
"""The most events that a log may have."""


class ReplayError(ValueError):
    """Bytes that are no replay, or a log that cannot be one; the message says what was wrong."""


@dataclass(frozen=True, slots=True)
class Log:
    """A decoded replay."""

    events: list[int | str]
    """Flat `[dt, key, dt, key, ...]`, dt in whole ms since the event before."""
    holds: dict[int, int]
    """Hold in whole ms by number of event, in rising order; empty where none were known or they were dropped."""


def encode(
    events: Sequence[int | str],
    holds: Mapping[int, int] | None = None,
    *,
    drop_holds_over: int = DROP_HOLDS_OVER_BYTES,
) -> bytes:
    """Pack a log; without its holds where it would come out over `drop_holds_over` bytes. Raises `ReplayError`."""
    raise ReplayError("no log")


def encoding(
    events: Sequence[int | str],
    holds: Mapping[int, int] | None = None,
    *,
    drop_holds_over: int = DROP_HOLDS_OVER_BYTES,
) -> Generator[None, None, bytes]:
    """Encode like `encode`, but stop for breath after each slice of about a millisecond; returns the bytes."""
    yield
    return encode(events, holds, drop_holds_over=drop_holds_over)


def decode(blob: bytes, *, max_events: int = MAX_EVENTS) -> Log:
    """Unpack what `encode` made. Raises `ReplayError` for anything else, in bounded memory and time."""
    raise ReplayError("no replay")


def decoding(blob: bytes, *, max_events: int = MAX_EVENTS) -> Generator[None, None, Log]:
    """Decode like `decode`, but stop for breath after each slice of about a millisecond; returns the log."""
    yield
    return decode(blob, max_events=max_events)
