"""A packed result read by a typed decoder: fields, types and ranges in one pass of C, where all is as it should be.

What it lets through is what `Result.unpack` reads and `checking` lets through, to the digit; the tests hold it to them.
Whatever else it is (of another build, malformed, implausible), it is theirs to read, and to say what is wrong with.
"""

from __future__ import annotations

from dataclasses import fields
from math import isfinite
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from persistence.workers.checking import FASTEST, FIELD_BYTES, LISTED, NODE_BYTES, SERIES, check_core
from scoring.plausibility import Reason
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.identity import MAX_USER, RACE_PATTERN
from session.options import Input, Mode
from session.result import Result

__all__ = ["read"]

_Digest: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Wholes: TypeAlias = Annotated[list[_Whole], msgspec.Meta(max_length=SERIES)]
_Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Speed: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=FASTEST)]
_Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Ms: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31)] | Annotated[float, msgspec.Meta(ge=0, le=2**31)]
"""Whole or not: it stays what it is, for a store keeps the one in fewer bytes than the other."""
_Clock: TypeAlias = Annotated[float, msgspec.Meta(ge=-(2**48), le=2**48)]
_Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
_Tag: TypeAlias = Annotated[str, msgspec.Meta(max_length=32)]


class _Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A part of a result, packed as its fields in their order."""


class _Chars(_Part):
    correct: _Whole
    incorrect: _Whole
    extra: _Whole
    missed: _Whole


class _Inserts(_Part):
    correct: _Whole
    wrong: _Whole


class _Series(_Part):
    wpm: _Wholes
    raw: _Wholes
    burst: _Wholes
    err: _Wholes


class _Summary(_Part):
    wpm: _Speed
    raw: _Speed
    acc: _Share
    consistency: _Share
    key_consistency: _Share
    wpm_consistency: _Share
    chars: _Chars
    total_chars: _Whole
    inserts: _Inserts
    duration_ms: _Ms
    seconds: _Ms
    afk_ms: _Ms
    series: _Series


class _Reason(_Part):
    name: _Name
    value: float
    threshold: float


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """The whole; fields that a newer build has appended are passed over."""

    version: Literal[1, 3]
    session: _Digest
    user: Annotated[int, msgspec.Meta(ge=-MAX_USER, le=MAX_USER)]
    ticket_hash: _Digest
    replay: Annotated[bytes, msgspec.Meta(min_length=1, max_length=FIELD_BYTES)]
    log_digest: _Digest
    summary: _Summary
    mode: Mode
    count: _Positive | None
    seconds: _Positive | None
    test: _Positive | None
    test_version: _Whole
    language: Annotated[str, msgspec.Meta(max_length=71)]
    list_version: _Whole
    generator: _Whole
    punctuation: bool
    numbers: bool
    tags: Annotated[tuple[_Tag, ...], msgspec.Meta(max_length=255)]
    input: Input
    seed: Annotated[int, msgspec.Meta(ge=0)]
    text_hash: _Digest
    scoring_version: _Name
    gave_up: bool
    core_hash: _Digest
    node: Annotated[str, msgspec.Meta(max_length=NODE_BYTES)]
    epoch: _Epoch
    seen_live: _Whole
    unseen_ms: _Whole
    slack_ms: _Whole
    lag_ms: _Clock
    drift_ms: _Clock
    verdict: Literal["ok", "review", "void"]
    features: Annotated[dict[_Name, float], msgspec.Meta(max_length=LISTED)]
    reasons: Annotated[tuple[_Reason, ...], msgspec.Meta(max_length=LISTED)]
    text: str | None
    race: Annotated[str, msgspec.Meta(pattern=RACE_PATTERN)] | None = None


assert _Packed.__struct_fields__[1:] == tuple(field.name for field in fields(Result)), "a field was appended to Result"
assert _Summary.__struct_fields__ == tuple(field.name for field in fields(Summary))

_decode: Final = msgspec.msgpack.Decoder(_Packed).decode
_values_of: Final = msgspec.structs.astuple


def read(packed: bytes) -> Result | None:
    """The result, where it is one that this build would have packed and a node would have sent; else None."""
    try:
        found = _decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    figures = found.summary
    series = figures.series
    session = found.session
    numbers = (
        figures.wpm + figures.raw + figures.acc + figures.consistency + figures.key_consistency
        + figures.wpm_consistency + figures.duration_ms + figures.seconds + figures.afk_ms + found.lag_ms
        + found.drift_ms + sum(found.features.values())
    )  # fmt: skip  # one sum tells whether any of them is none or infinite: ranges let those through
    reasons = tuple([Reason(reason.name, reason.value, reason.threshold) for reason in found.reasons])
    if (
        not isfinite(numbers)
        or not all(isfinite(reason.value + reason.threshold) for reason in reasons)
        or not len(series.wpm) == len(series.raw) == len(series.burst) == len(series.err)
        or found.user == 0
        or session[6] >> 4 != 7
        or session[8] >> 6 != 0b10
        # their limits are in bytes
        or not (found.language.isascii() and found.node.isascii() and found.scoring_version.isascii())
        or not all(map(str.isascii, found.tags))
        or (found.text is not None and len(found.text.encode()) > FIELD_BYTES)
    ):
        return None
    _, *values = _values_of(found)
    values[_SUMMARY_AT] = Summary(
        figures.wpm,
        figures.raw,
        figures.acc,
        figures.consistency,
        figures.key_consistency,
        figures.wpm_consistency,
        CharCounts(*_values_of(figures.chars)),
        figures.total_chars,
        InsertCounts(*_values_of(figures.inserts)),
        figures.duration_ms,
        figures.seconds,
        figures.afk_ms,
        Series(*_values_of(series)),
    )
    values[_REASONS_AT] = reasons
    result = Result(*values)
    return result if check_core(result) else None


_NAMES = [field.name for field in fields(Result)]
_SUMMARY_AT = _NAMES.index("summary")
_REASONS_AT = _NAMES.index("reasons")
