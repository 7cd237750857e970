"""The canonical history of a test: its events as bytes, the same however they were batched on the wire.

For each event: `dt` as unsigned LEB128 (7 bits a byte, the lowest first, the high bit on all but the last); then the
key's UTF-8, a single byte as it is (it is below 128), else a byte 128 + length, 130 to 192, and then the key. Holds
come late and are advisory: they are not part of it. This is layout 1 (`receipt.HISTORY_LAYOUT`).
"""

from collections.abc import Generator, Sequence
from typing import Any, Final

from scoring.text import DELETE, DELETE_WORD, is_key

__all__ = [
    "CODES",
    "MAX_DT_MS",
    "SHORT_GAPS",
    "code_of",
    "columns_of",
    "encode",
    "events_of",
    "keys_of",
    "offset_after",
    "too_fast",
    "varint",
]

MAX_DT_MS: Final = (1 << 31) - 1
"""Longest time between two events: 24 days, since a page may lie open for long before the first key."""

_SLICE = 1024
"""Events between two breaths: about 0.3 ms."""
_MAX_CODES: Final = 4096
_ASCII: Final = bytes(range(128))
_HIGH: Final = bytes(range(128, 256))
_MARKS: Final = bytes(128) + b"\1" * 128
_LOW_BITS: Final = 2 * _ASCII


def _code(key: str) -> bytes:
    data = key.encode()
    return data if len(data) == 1 else bytes([128 + len(data)]) + data


_COMMON: Final = {key: _code(key) for key in (*map(chr, range(0x20, 0x7F)), DELETE, DELETE_WORD)}

CODES: Final = dict(_COMMON)
"""Codes of keys that were found valid, for the hot path; bounded, refilled by `code_of`."""


def code_of(key: object) -> bytes | None:
    """The code of a key, or None where it is no key."""
    if type(key) is not str:
        return None
    code = CODES.get(key)
    if code is None:
        if not is_key(key):
            return None
        if len(CODES) >= _MAX_CODES:  # somebody tries them all; who types an ordinary script refills it at once
            CODES.clear()
            CODES.update(_COMMON)
        code = CODES[key] = _code(key)
    return code


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


SHORT_GAPS: Final = {dt: varint(dt) for dt in range(2048)}
"""Each dt below two seconds as `varint` has it: nearly all that are typed. (A map: it has no -1.)"""


def encode(events: Sequence[Any], history: bytearray) -> str | None:
    """Append flat `[dt, key, ...]` (even length) to a history, checking each value.

    Returns what is wrong with the first bad value; the history is then as before.
    """
    size = len(history)
    pairs = iter(events)
    for dt in pairs:
        code = code_of(next(pairs))
        if type(dt) is not int or not 0 <= dt <= MAX_DT_MS or code is None:
            del history[size:]
            if code is None:
                return "a key is one typed grapheme of at most 64 bytes, \\b or \\u0017"
            return f"dt is a whole number of ms from 0 to {MAX_DT_MS}"
        history += varint(dt) + code
    return None


def offset_after(history: bytes | bytearray, events: int, start: int = 0) -> int:
    """Where in a history `events` more events have passed, from `start` (an event's first byte) on."""
    at = start
    for _ in range(events):
        while history[at] > 127:
            at += 1
        at += 1
        code = history[at]
        at += 1 if code < 128 else code - 127
    return at


def events_of(history: bytes | bytearray, end: int | None = None) -> Generator[None, None, list[int | str]]:
    """The events of a history (up to byte `end`) as flat `[dt, key, ...]`; yields between slices of work."""
    end = len(history) if end is None else end
    events: list[int | str] = []
    append = events.append
    at = 0
    until = 2 * _SLICE
    while at < end:
        dt = history[at]
        at += 1
        if dt > 127:
            dt &= 127
            shift = 7
            while (more := history[at]) > 127:
                dt |= (more & 127) << shift
                shift += 7
                at += 1
            dt |= more << shift
            at += 1
        append(dt)
        code = history[at]
        at += 1
        if code < 128:
            append(chr(code))
        else:
            append(history[at : at + code - 128].decode())
            at += code - 128
        if len(events) >= until:
            until += 2 * _SLICE
            yield
    return events


def keys_of(history: bytes | bytearray, start: int, end: int, *, most: int) -> tuple[list[str], int]:
    """The keys of a history from byte `start` on, up to byte `end` or so many; and the byte after the last of them."""
    keys: list[str] = []
    at = start
    while at < end and len(keys) < most:
        while history[at] > 127:
            at += 1
        at += 1
        code = history[at]
        at += 1
        if code < 128:
            keys.append(chr(code))
        else:
            keys.append(history[at : at + code - 128].decode())
            at += code - 128
    return keys, at


def columns_of(history: bytes | bytearray, n: int) -> Generator[None, None, tuple[list[int], Sequence[str]]]:
    """The n events of a history by columns: each dt, and each key (a str where all have one code point); in slices.

    Where all keys but the first are ASCII and all gaps but the first under 16 s, it is done by looking at all bytes at
    once: one from 128 up is then the low half of a dt, and any two others are the rest of an event.
    """
    first = offset_after(history, 1) if n else 0
    events = yield from events_of(history, first)
    rest = history[first:]
    marks = rest.translate(_MARKS)
    pairs = rest.translate(None, _HIGH)
    # in other keys two bytes from 128 up follow one another, and in three bytes of dt
    if b"\1\1" in marks or len(pairs) != 2 * (n - 1) or len(str(events[1])) > 1:
        events += yield from events_of(rest)
        keys: list[str] = events[1::2]  # type: ignore[assignment]  # a history is dt and key in turn
        text = "".join(keys)
        return events[::2], text if len(text) == n else keys  # type: ignore[return-value]  # likewise
    lows = iter(rest.translate(_LOW_BITS, _ASCII))
    halves = marks.replace(b"\0\0", b"\2").replace(
        b"\1\2", b"\1"
    )  # for each event 1 where its dt has two bytes, else 2
    gaps: list[int] = events[:1]  # type: ignore[assignment]  # likewise
    for start in range(0, n - 1, 4 * _SLICE):
        gaps += [
            high << 7 | next(lows) if half == 1 else high
            for high, half in zip(pairs[2 * start : 2 * start + 8 * _SLICE : 2], halves[start:], strict=False)
        ]
        yield
    return gaps, str(events[1]) + pairs[1::2].decode("ascii")


def too_fast(history: bytes | bytearray, *, keys: int, window_ms: int, start: int = 0) -> bool:
    """Whether more than `keys` events lie within any `window_ms` of claimed time, from byte `start` on.

    Two cursors walk over the history, `keys` events apart: about 0.2 µs an event.
    """
    behind = _gaps(history, start)
    ahead = _gaps(history, start)
    next(behind, None)
    span = 0
    for number, dt in enumerate(ahead):
        if number:
            span += dt
        if number > keys:
            span -= next(behind)
        if number >= keys and span < window_ms:
            return True
    return False


def _gaps(history: bytes | bytearray, at: int) -> Generator[int, None, None]:
    """The dt of one event after the other."""
    while at < len(history):
        dt = history[at] & 127
        shift = 7
        while history[at] > 127:
            at += 1
            dt |= (history[at] & 127) << shift
            shift += 7
        at += 1
        code = history[at]
        at += 1 if code < 128 else code - 127
        yield dt
