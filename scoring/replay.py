"""The replay codec: a test's whole log as a small byte string and back, to the bit.

A log is taken apart into planes of one kind each, because like packs well with like:

- keys, as UTF-8, deflated against a dictionary of common English words (a gain for English, no loss for others);
- code points per key, only where some key has more than one;
- gaps: of each dt the leading four bits and their place, as a byte (at most 240 symbols, in fact some twenty), which
  Huffman coding alone packs best; the bits below, which are noise, are laid end to end as they are;
- holds, likewise, as hold + 1, with 0 for a hold that is not known.

Layout, version 1: byte 0 the version; bytes 1 to 4 the CRC-32 of all that follows, big-endian; then the number of
events and the five planes, the noise of each after its symbols. Numbers are unsigned LEB128. A plane is its length in
bytes as stored, then that many bytes, and a plane that is not needed has length 0. All are raw deflate but noise, which
is so only where it is shorter than its symbols say (a program's equal gaps would else take more than they say). The
layout and the dictionary are for ever: another one takes another version beside this.
"""

import zlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scoring.slices import at_once

__all__ = [
    "DROP_HOLDS_OVER_BYTES",
    "MAX_EVENTS",
    "Log",
    "ReplayError",
    "decode",
    "decoding",
    "encode",
    "encoding",
    "encoding_columns",
]

DROP_HOLDS_OVER_BYTES = 60 * 1024
"""A replay longer than this is stored without its holds."""
MAX_EVENTS = 30_000
"""The most events that a log may have."""
MAX_KEY_BYTES = 64
"""The longest key, in bytes of UTF-8."""
MAX_MS = 2**32 - 2
"""The longest gap or hold, 49 days; one less than the 32 bits hold, because holds are kept plus one."""

VERSION = 1
_HEAD_BYTES = 5
_DICTIONARY = (
    b"people because world order through little which should before good very most any over such our even made after "
    b"also did many must well back years where much your way down each just those how too state own work men day get "
    b"here old between both life being under three never know same last another while us might great since against "
    b"come go right used take that which would there their what about could other into than first time only some "
    b"these two may then been has more when will no if out so up said its who them make like him now such had have "
    b"from not are but this was they you one all were her she at be by on for as with his he and it is to in of a the "
)
_SLICE = 1024
"""Events between two breaths: about 0.4 ms."""
_NOISE_BYTES = 24
"""Noise is taken from bytes in pieces of this many: a longer integer would make each shift dear."""

_OFTEN_MS = 4096
"""Symbols and noise of shorter times are kept once met, under a MiB in all; longer ones are rare."""
_LONG_NOISE_BYTES = 2048
_SHIFTS = (0,) * 8 + tuple(symbol // 8 - 1 for symbol in range(8, 240))
"""Bits of noise that belong to a symbol."""
_MEANINGS = tuple(
    (symbol if symbol < 16 else (symbol & 7 | 8) << shift, (1 << shift) - 1, shift)
    for symbol, shift in enumerate(_SHIFTS)
)
"""Of each symbol: the bits that it stands for, in their place; a mask of the noise below them, and how much that is."""

_T = TypeVar("_T")


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
    max_events: int = MAX_EVENTS,
) -> bytes:
    """Pack a log; without its holds where it would come out over `drop_holds_over` bytes.

    Raises `ReplayError` for a log that is over the limits, or is none.
    """
    return at_once(encoding(events, holds, drop_holds_over=drop_holds_over, max_events=max_events))


def encoding(
    events: Sequence[int | str],
    holds: Mapping[int, int] | None = None,
    *,
    drop_holds_over: int = DROP_HOLDS_OVER_BYTES,
    max_events: int = MAX_EVENTS,
) -> Generator[None, None, bytes]:
    """Encode like `encode`, but stop for breath after each slice of about a millisecond; returns the bytes.

    The log must not change until it is done.
    """
    n = len(events) // 2
    if len(events) % 2:
        raise ReplayError("a log is dt and key in turn; this one has a dt without its key")
    if n > max_events:
        raise ReplayError(f"a log has at most {max_events} events; this one has {n}")
    text, lengths = yield from _text_of(events[1::2])
    gaps = yield from _checked(events[::2])
    held = (yield from _dense(holds, n)) if holds else ()
    return (yield from _packing(text, lengths, gaps, held, drop_holds_over))


def encoding_columns(
    gaps: Sequence[int],
    keys: Sequence[str],
    held: Sequence[int] = (),
    *,
    drop_holds_over: int = DROP_HOLDS_OVER_BYTES,
) -> Generator[None, None, bytes]:
    """Encode like `encoding` a log column by column that is known to be one: its times are not looked at again.

    `keys`: a str where each has one code point. `held`: for each event its hold + 1, 0 where it is not known; empty
    where none is.
    """
    if isinstance(keys, str):
        text, lengths = keys.encode(), b""
    else:
        text, lengths = yield from _text_of(keys)
    return (yield from _packing(text, lengths, gaps, held, drop_holds_over))


def _packing(
    text: bytes, lengths: bytes, gaps: Sequence[int], held: Sequence[int], drop_holds_over: int
) -> Generator[None, None, bytes]:
    """Make the planes, and of them the replay."""
    body = bytearray(_number(len(gaps)))
    body += _plane((yield from _deflated(text, zdict=_DICTIONARY)))
    body += _plane((yield from _deflated(lengths)))
    symbols, noise = yield from _taken_apart(gaps)
    body += _plane((yield from _deflated(symbols, zlib.Z_HUFFMAN_ONLY)))
    body += _plane((yield from _shorter(noise)))
    if any(held):
        symbols, noise = yield from _taken_apart(held)
        planes = _plane((yield from _deflated(symbols, zlib.Z_HUFFMAN_ONLY)))
        planes += _plane((yield from _shorter(noise)))
        if _HEAD_BYTES + len(body) + len(planes) <= drop_holds_over:
            return _sealed(body + planes)
    return _sealed(body + _plane(b"") + _plane(b""))


def decode(blob: bytes, *, max_events: int = MAX_EVENTS) -> Log:
    """Unpack what `encode` made.

    Raises `ReplayError` for anything else. What it allocates is bounded by `max_events`, whatever the bytes claim.
    """
    return at_once(decoding(blob, max_events=max_events))


def decoding(blob: bytes, *, max_events: int = MAX_EVENTS, with_holds: bool = True) -> Generator[None, None, Log]:
    """Decode like `decode`, but stop for breath after each slice of about a millisecond; returns the log.

    Without `with_holds` they are passed over, where a log is to be scored alone: they are a third of the work.
    """
    if len(blob) <= _HEAD_BYTES:
        raise ReplayError(f"a replay has more than {_HEAD_BYTES} bytes; here are {len(blob)}")
    if blob[0] != VERSION:
        raise ReplayError(f"replay version {blob[0]} is not known here; version {VERSION} is")
    if zlib.crc32(memoryview(blob)[_HEAD_BYTES:]) != int.from_bytes(blob[1:_HEAD_BYTES], "big"):
        raise ReplayError("the replay is damaged: its checksum does not agree")
    reader = _Reader(blob, _HEAD_BYTES)
    n = reader.number()
    if n > max_events:
        raise ReplayError(f"a log has at most {max_events} events; this replay says {n}")
    text = _inflated(reader.plane(), n * MAX_KEY_BYTES, zdict=_DICTIONARY)
    lengths = _inflated(reader.plane(), n)
    keys = yield from _keys_of(text, lengths, n)
    yield
    gaps = yield from _put_together(_inflated(reader.plane(), n), reader.plane(), n)
    symbols, noise = reader.plane(), reader.plane()
    reader.end()
    holds: dict[int, int] = {}
    if not with_holds:
        pass
    elif symbols:
        dense = yield from _put_together(_inflated(symbols, n), noise, n)
        for start in range(0, n, _SLICE):
            holds.update((at, hold - 1) for at, hold in enumerate(dense[start : start + _SLICE], start) if hold)
            yield
    elif noise:
        raise ReplayError("the replay has noise of holds, but no holds")
    events: list[int | str] = [0] * (2 * n)
    events[::2] = gaps
    events[1::2] = keys
    return Log(events, holds)


# Encoding


def _text_of(keys: Sequence[int | str]) -> Generator[None, None, tuple[bytes, bytes]]:
    """Return the keys as UTF-8, end to end, and code points per key (empty where all have one)."""
    pieces: list[bytes] = []
    lengths = bytearray()
    for start in range(0, len(keys), _SLICE):
        some = keys[start : start + _SLICE]
        try:
            piece = "".join(some).encode()  # type: ignore[arg-type]  # what is no string is reported below
            lengths += bytes(map(len, some))  # type: ignore[arg-type]  # likewise
        except (TypeError, ValueError):  # no string, a lone surrogate, or more code points than a byte counts
            raise _bad_key(some, start) from None
        if len(piece) != len(some) and not all(0 < len(key.encode()) <= MAX_KEY_BYTES for key in some):  # type: ignore[union-attr]  # join() took them: all are strings
            raise _bad_key(some, start)
        pieces.append(piece)
        yield
    single = len(lengths) == lengths.count(1)
    return b"".join(pieces), b"" if single else bytes(lengths)


def _bad_key(keys: Sequence[object], start: int) -> ReplayError:
    """Name the first of these keys that is none."""

    def wrong(key: object) -> bool:
        try:
            return not (isinstance(key, str) and 0 < len(key.encode()) <= MAX_KEY_BYTES)
        except UnicodeEncodeError:
            return True

    at = next(at for at, key in enumerate(keys) if wrong(key))
    return ReplayError(f"event {start + at} has no key of 1 to {MAX_KEY_BYTES} bytes of UTF-8, but {keys[at]!r:.80}")


def _dense(holds: Mapping[int, int], n: int) -> Generator[None, None, list[int]]:
    """Return hold + 1 for each event, 0 where it is not known."""
    dense = [0] * n
    for count, (event, hold) in enumerate(holds.items()):
        if type(event) is not int or not 0 <= event < n:
            raise ReplayError(f"a hold is for event {event!r:.80}, but events go from 0 to {n - 1}")
        if type(hold) is not int or not 0 <= hold <= MAX_MS:
            raise ReplayError(f"the hold of event {event} is {hold!r:.80}; it must be whole ms from 0 to {MAX_MS}")
        dense[event] = hold + 1
        if count % _SLICE == 0:
            yield
    return dense


def _checked(gaps: Sequence[int | str]) -> Generator[None, None, list[int]]:
    """Return the gaps, all of them whole ms within the limits."""
    for start in range(0, len(gaps), _SLICE):
        some = gaps[start : start + _SLICE]
        if set(map(type, some)) != {int} or min(some) < 0 or max(some) > MAX_MS:  # type: ignore[operator]  # all are int when they are compared
            at, gap = next((a, g) for a, g in enumerate(some) if type(g) is not int or not 0 <= g <= MAX_MS)
            raise ReplayError(f"event {start + at}: dt is {gap!r:.80}; it must be whole ms from 0 to {MAX_MS}")
        yield
    return gaps  # type: ignore[return-value]  # the loop has seen that all are int


class _Symbols(dict[int, int]):
    """The symbol of a whole number: its four leading bits and their place."""

    def __missing__(self, value: int) -> int:
        shift = value.bit_length() - 4
        symbol = value if shift <= 0 else (shift << 3) + (value >> shift)
        if value < _OFTEN_MS:
            self[value] = symbol
        return symbol


class _Noise(dict[int, str]):
    """The bits of a whole number below its symbol, as binary digits."""

    def __missing__(self, value: int) -> str:
        shift = value.bit_length() - 4
        digits = "" if shift <= 0 else f"{value & ((1 << shift) - 1):0{shift}b}"
        if value < _OFTEN_MS:
            self[value] = digits
        return digits


_symbols = _Symbols()
_noise = _Noise()


def _taken_apart(values: Sequence[int]) -> Generator[None, None, tuple[bytes, bytes]]:
    """Split whole numbers of up to 32 bits into symbols (four leading bits and their place) and noise (bits below)."""
    symbols = bytearray()
    noise = bytearray()
    digits = ""  # not yet a whole byte; the first bit is the last digit
    for start in range(0, len(values), _SLICE):
        some = values[start : start + _SLICE]
        symbols += bytes(map(_symbols.__getitem__, some))
        digits = "".join(map(_noise.__getitem__, reversed(some))) + digits
        whole = len(digits) // 8
        if whole:
            noise += int(digits[-8 * whole :], 2).to_bytes(whole, "little")
            digits = digits[: -8 * whole]
        yield
    if digits:
        noise.append(int(digits, 2))
    return bytes(symbols), bytes(noise)


def _deflated(data: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY, zdict: bytes = b"") -> Generator[None, None, bytes]:
    """Deflate in slices, without zlib's own head and checksum; nothing to nothing."""
    if not data:
        return b""
    # a window and tables no larger than the data: what zlib clears at the start would cost more than the work
    small = len(data) <= 2048
    window, memory = (-12, 5) if small else (-15, 8)
    if zdict:
        packer = zlib.compressobj(9, zlib.DEFLATED, window, memory, strategy, zdict)
    else:
        packer = zlib.compressobj(9, zlib.DEFLATED, window, memory, strategy)
    packed = bytearray()
    for start in range(0, len(data), 4 * _SLICE):
        packed += packer.compress(data[start : start + 4 * _SLICE])
        yield
    return bytes(packed + packer.flush())


def _shorter(noise: bytes) -> Generator[None, None, bytes]:
    """Return long noise deflated where that is shorter: never of a person's gaps, much of a program's equal ones."""
    if len(noise) < _LONG_NOISE_BYTES:
        return noise
    packed = yield from _deflated(noise)
    return packed if len(packed) < len(noise) else noise


def _sealed(body: bytearray) -> bytes:
    """Put version and checksum before the body."""
    return bytes((VERSION,)) + zlib.crc32(body).to_bytes(4, "big") + body


def _number(value: int) -> bytes:
    """Return a whole number as unsigned LEB128."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _plane(data: bytes) -> bytes:
    """Put its length before a plane."""
    return _number(len(data)) + data


# Decoding


class _Reader:
    """Reads numbers and planes one after another, never past the end."""

    __slots__ = ("_at", "_blob")

    def __init__(self, blob: bytes, at: int) -> None:
        self._blob = blob
        self._at = at

    def number(self) -> int:
        """Read one unsigned LEB128 of at most 4 bytes."""
        value = 0
        for shift in (0, 7, 14, 21):
            if self._at == len(self._blob):
                break
            digit = self._blob[self._at]
            self._at += 1
            value |= (digit & 127) << shift
            if digit < 128:
                return value
        raise ReplayError("the replay is damaged: a number does not end")

    def plane(self) -> bytes:
        """Read one plane as it is stored."""
        length = self.number()
        start, self._at = self._at, self._at + length
        if self._at > len(self._blob):
            raise ReplayError("the replay is damaged: a plane goes past its end")
        return self._blob[start : self._at]

    def end(self) -> None:
        """See that nothing is left."""
        if self._at != len(self._blob):
            raise ReplayError(f"the replay is damaged: {len(self._blob) - self._at} bytes follow its end")


def _inflated(plane: bytes, most_bytes: int, zdict: bytes = b"") -> bytes:
    """Inflate a plane that may come out as `most_bytes` at most; nothing to nothing."""
    if not plane:
        return b""
    unpacker = zlib.decompressobj(-15, zdict) if zdict else zlib.decompressobj(-15)
    try:
        data = unpacker.decompress(plane, most_bytes + 1)
    except zlib.error as error:
        raise ReplayError(f"the replay is damaged: {error}") from None
    if len(data) > most_bytes:
        raise ReplayError(f"the replay is damaged: a plane comes out longer than the {most_bytes} bytes it may have")
    if not unpacker.eof or unpacker.unused_data:
        raise ReplayError("the replay is damaged: a plane does not end where it should")
    return data


def _keys_of(text: bytes, lengths: bytes, n: int) -> Generator[None, None, list[str]]:
    """Cut the text into n keys."""
    try:
        points = text.decode()
    except UnicodeDecodeError as error:
        raise ReplayError(f"the replay is damaged: its keys are no UTF-8 ({error.reason})") from None
    if not lengths:
        if len(points) != n:
            raise ReplayError(f"the replay is damaged: {len(points)} keys for {n} events")
        return list(points)
    if len(lengths) != n or 0 in lengths or sum(lengths) != len(points):
        raise ReplayError(f"the replay is damaged: its keys cannot be cut into {n}")
    keys: list[str] = []
    at = 0
    for event, length in enumerate(lengths):
        key = points[at : at + length]
        if len(key.encode()) > MAX_KEY_BYTES:
            raise ReplayError(f"the replay is damaged: the key of event {event} is over {MAX_KEY_BYTES} bytes")
        keys.append(key)
        at += length
        if event % _SLICE == 0:
            yield
    return keys


def _put_together(symbols: bytes, noise: bytes, n: int) -> Generator[None, None, list[int]]:
    """Undo `_taken_apart`."""
    if len(symbols) != n or (symbols and max(symbols) >= len(_SHIFTS)):
        raise ReplayError(f"the replay is damaged: its times are not {n}")
    length = (sum(map(_SHIFTS.__getitem__, symbols)) + 7) // 8
    if len(noise) < length:
        noise = _inflated(noise, length)
    if len(noise) != length:
        raise ReplayError("the replay is damaged: its times lack bits, or have too many")
    yield
    values: list[int] = []
    append = values.append
    bits = left = at = 0
    for start in range(0, n, _SLICE):
        for symbol in symbols[start : start + _SLICE]:
            leading, mask, shift = _MEANINGS[symbol]
            if left < shift:
                bits |= int.from_bytes(noise[at : at + _NOISE_BYTES], "little") << left
                left += 8 * _NOISE_BYTES
                at += _NOISE_BYTES
            append(leading | bits & mask)
            bits >>= shift
            left -= shift
        yield
    if bits:
        raise ReplayError("the replay is damaged: its times have bits after their end")
    return values
