"""A result as a row of `test_results`, and back.

Columns hold what is asked for; `detail` (JSON) what a log cannot give and people look for: reasons, tags, an own text;
`core` the rest: in its first byte the form, then

    1, short   ticket hash (16) | log digest (16) | text hash (4) | seed (8) | numbers, each as unsigned LEB128: flags,
               counts, hundredths, versions, ..., a bit for each feature measured, their values | what the flags tell of
    0, whole   nothing: in `replay` is the packed result but for an own text, for something in it does not fit the short
               form, or would not come out of it the same to the byte

What a log and its text give is not kept: the series per second, and of the text's hash all but the beginning, which
tells whether it is the text (`played` makes them again); nor the core's hash where it is the hash of what is kept. A
result without these is *bare*; to the rule for copies bare ones are all that there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import copysign
from struct import Struct
from typing import Any, Final, NamedTuple

import orjson

from persistence.mysql.literals import blob, instant, text
from persistence.results.copies import VERDICTS, as_it_stands
from scoring.formulas import round2
from scoring.plausibility import Reason
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.options import INPUTS
from session.result import Damaged, Result, core_hash_of

__all__ = ["COLUMNS", "NO_SERIES", "SELECTED", "Origin", "bare", "read_copy", "read_row", "row_values"]

COLUMNS: Final = (
    "id, created_at, user_id, test_id, type, extent, language, wpm, raw_wpm, accuracy, errors, duration_ms, "
    "verdict, ranked, conflicts, seen_live, core, detail, replay, origin"
)
SELECTED: Final = (
    "id, user_id, test_id, type, extent, language, wpm, raw_wpm, accuracy, errors, duration_ms, "
    "verdict, conflicts, seen_live, node, scoring_version, core, detail, replay"
)
"""What `read_row` takes, from a table of results joined with `result_origins` by `number = origin`."""

NO_SERIES: Final = Series([], [], [], [])

_SHORT, _WHOLE = b"\x01", b"\x00"
_TEXT_HASH: Final = 4
"""Bytes that are kept of it."""
_NUMBERS_AT: Final = 1 + 16 + 16 + _TEXT_HASH + 8
_MOST_CORE: Final = 255
_PUNCTUATION, _NUMBERS, _GAVE_UP, _WHOLE_DURATION, _WHOLE_AFK, _ROUNDED_SECONDS, _CLOCKS, _CORE_HASH = (
    1 << bit for bit in range(8)
)
_INPUT_BIT, _VERDICT_BIT = 8, 10
_EXACT_CLOCKS: Final = Struct(">dd")
_FEATURES: Final = (
    "keys_per_s",
    "peak_keys_per_s",
    "gap_variation",
    "gap_skew",
    "gap_core_skew",
    "joined_share",
    "fastest_ten_ms",
    "same_gap_share",
    "gap_order",
    "order",
    "hold_variation",
    "hold_order",
    "drift_ms",
    "lag_ms",
)
"""Features in the order of their measuring. Rows name them by their place here: add at the end, never take one out."""
_PLACES: Final = {name: place for place, name in enumerate(_FEATURES)}
_FIXED_NUMBERS: Final = 20
_MAX_EXTENT, _MAX_ERRORS, _MAX_DURATION_MS = 2**16 - 1, 2**24 - 1, 2**32 - 1


class Origin(NamedTuple):
    """What many rows have in common, kept apart once."""

    node: str
    scoring_version: str


def bare(result: Result) -> Result:
    """The result without what is made again from its log and its text."""
    return replace(result, summary=replace(result.summary, series=NO_SERIES), text_hash=result.text_hash[:_TEXT_HASH])


def row_values(result: Result, *, ranked: bool, verdict: str | None = None, conflicts: int = 0) -> str:
    """The row of a result as SQL, in the order of `COLUMNS` but for `origin`, which each shard numbers for itself.

    `verdict` is the one that holds, its own by default. Raises ValueError, TypeError, OverflowError
    or struct.error for a result that no row can hold.
    """
    summary = result.summary
    short = _short(result)
    core, replay = (_WHOLE, _whole(result)) if short is None else (short, result.replay)
    extent = result.seconds if result.count is None else result.count
    return (
        f"{blob(result.session)},{instant(result.created_at_ms)},{int(result.user)},"
        f"{'NULL' if result.test is None else int(result.test)},{text(result.mode)},"
        f"{'NULL' if extent is None else _within(extent, _MAX_EXTENT)},{text(result.language)},"
        f"{_within(summary.wpm, 99_999.99)!r},{_within(summary.raw, 99_999.99)!r},{_within(summary.acc, 999.99)!r},"
        f"{_within(summary.inserts.wrong, _MAX_ERRORS)},{int(_within(summary.duration_ms, _MAX_DURATION_MS))},"
        f"'{VERDICTS[VERDICTS.index(result.verdict if verdict is None else verdict)]}',{int(ranked)},{int(conflicts)},"
        f"{_within(result.seen_live, _MAX_EXTENT)},{blob(core)},{_detail(result)},{blob(replay)}"
    )


def read_row(row: Sequence[Any]) -> Result:
    """The bare result of a row, with the verdict that holds. Raises `Damaged`."""
    return as_it_stands(read_copy(row), row[11], row[12])


def read_copy(row: Sequence[Any]) -> Result:
    """The bare result of a row as its node made it. Raises `Damaged`."""
    core, detail, replay = row[-3:]
    try:
        if core[:1] == _SHORT:
            return _from_short(row)
        if core == _WHOLE:
            return replace(Result.unpack(replay), text=_from_detail(detail).get("text"))
    except (ValueError, TypeError, IndexError, KeyError) as fault:  # of msgpack and orjson, too
        raise Damaged(f"no row of a result: {fault}") from None
    raise Damaged(f"a row of the unknown form {core[:1].hex() or 'nothing'}")


def _short(result: Result) -> bytes | None:
    """`core` in the short form; None where that would not give the same result again, to the byte."""
    summary = result.summary
    chars, inserts = summary.chars, summary.inserts
    duration_ms, afk_ms, seconds = summary.duration_ms, summary.afk_ms, summary.seconds
    hundredths = []
    for value in (
        summary.consistency,
        summary.key_consistency,
        summary.wpm_consistency,
        summary.wpm,
        summary.raw,
        summary.acc,
    ):
        if type(value) is not float or not 0 <= value < 1e5 or copysign(1.0, value) < 0:
            return None
        as_hundredths = round(value * 100)
        if as_hundredths / 100 != value:
            return None
        hundredths.append(as_hundredths)
    lag, drift = _ten_thousandths(result.lag_ms), _ten_thousandths(result.drift_ms)
    features = _short_features(result.features)
    if (
        features is None
        or summary.acc > 100
        or (result.seconds is not None and result.count is not None)
        or (result.mode == "words") != (result.count is not None)
        or not 0 <= (result.seconds or result.count or 0) <= _MAX_EXTENT
        or not 0 <= inserts.wrong <= _MAX_ERRORS
        or not 0 <= result.seen_live <= _MAX_EXTENT
        or not 0 <= duration_ms <= _MAX_DURATION_MS
        or duration_ms != int(duration_ms)
        or afk_ms != int(afk_ms)
        or min(copysign(1.0, duration_ms), copysign(1.0, afk_ms)) < 0
        or type(seconds) is not float
        or seconds not in (duration_ms / 1000, round2(duration_ms / 1000))
        or not type(result.lag_ms) is type(result.drift_ms) is float
        or not len(result.ticket_hash) == len(result.log_digest) == len(result.core_hash) == 16
        or len(result.text_hash) < _TEXT_HASH
    ):
        return None
    core_hash = core_hash_of(
        session=result.session,
        user=result.user,
        ticket_hash=result.ticket_hash,
        log_digest=result.log_digest,
        summary=summary,
        gave_up=result.gave_up,
        scoring_version=result.scoring_version,
    )
    rest = b""
    flags = INPUTS.index(result.input) << _INPUT_BIT | VERDICTS.index(result.verdict) << _VERDICT_BIT
    if result.punctuation:
        flags |= _PUNCTUATION
    if result.numbers:
        flags |= _NUMBERS
    if result.gave_up:
        flags |= _GAVE_UP
    if type(duration_ms) is int:
        flags |= _WHOLE_DURATION
    if type(afk_ms) is int:
        flags |= _WHOLE_AFK
    if seconds != duration_ms / 1000:
        flags |= _ROUNDED_SECONDS
    if lag is None or drift is None:
        flags |= _CLOCKS
        rest += _EXACT_CLOCKS.pack(result.lag_ms, result.drift_ms)
        lag = drift = 0
    if core_hash != result.core_hash:
        flags |= _CORE_HASH
        rest += result.core_hash
    numbers = (
        flags,
        chars.correct,
        chars.incorrect,
        chars.extra,
        chars.missed,
        summary.total_chars,
        inserts.correct,
        *hundredths[:3],
        int(afk_ms),
        result.test_version,
        result.list_version,
        result.generator,
        result.epoch,
        result.unseen_ms,
        result.slack_ms,
        lag,
        drift,
        *features,
    )
    if min(numbers) < 0:
        return None
    core = b"".join(
        (
            _SHORT,
            result.ticket_hash,
            result.log_digest,
            result.text_hash[:_TEXT_HASH],
            result.seed.to_bytes(8, "big"),
            *[_LEB128[number] if number < 16_384 else _leb128(number) for number in numbers],
            rest,
        )
    )
    return core if len(core) <= _MOST_CORE else None


def _from_short(row: Sequence[Any]) -> Result:
    (
        session, user, test, mode, extent, language, wpm, raw, acc, errors, duration_ms,
        _, _, seen_live, node, scoring_version, core, detail, replay,
    ) = row  # fmt: skip
    (
        flags, correct, incorrect, extra, missed, total_chars, inserted, consistency, key_consistency, wpm_consistency,
        afk_ms, test_version, list_version, generator, epoch, unseen_ms, slack_ms, lag, drift, measured, *values
    ), rest = _read_numbers(core)  # fmt: skip
    features = _long_features(measured, values)
    lag_ms, drift_ms = _from_ten_thousandths(lag), _from_ten_thousandths(drift)
    if flags & _CLOCKS:
        lag_ms, drift_ms = _EXACT_CLOCKS.unpack(rest[: _EXACT_CLOCKS.size])
        rest = rest[_EXACT_CLOCKS.size :]
    told = _from_detail(detail)
    seconds = duration_ms / 1000
    summary = Summary(
        wpm=wpm,
        raw=raw,
        acc=acc,
        consistency=consistency / 100,
        key_consistency=key_consistency / 100,
        wpm_consistency=wpm_consistency / 100,
        chars=CharCounts(correct, incorrect, extra, missed),
        total_chars=total_chars,
        inserts=InsertCounts(inserted, errors),
        duration_ms=duration_ms if flags & _WHOLE_DURATION else float(duration_ms),
        seconds=round2(seconds) if flags & _ROUNDED_SECONDS else seconds,
        afk_ms=afk_ms if flags & _WHOLE_AFK else float(afk_ms),
        series=NO_SERIES,
    )
    ticket_hash, log_digest, gave_up = core[1:17], core[17:33], bool(flags & _GAVE_UP)
    return Result(
        session=session,
        user=user,
        ticket_hash=ticket_hash,
        replay=replay,
        log_digest=log_digest,
        summary=summary,
        mode=mode,
        count=extent if mode == "words" else None,
        seconds=None if mode == "words" else extent,
        test=test,
        test_version=test_version,
        language=language,
        list_version=list_version,
        generator=generator,
        punctuation=bool(flags & _PUNCTUATION),
        numbers=bool(flags & _NUMBERS),
        tags=tuple(told.get("tags", ())),
        input=INPUTS[flags >> _INPUT_BIT & 3],
        seed=int.from_bytes(core[33 + _TEXT_HASH : _NUMBERS_AT], "big"),
        text_hash=core[33 : 33 + _TEXT_HASH],
        scoring_version=scoring_version,
        gave_up=gave_up,
        core_hash=rest
        if flags & _CORE_HASH
        else core_hash_of(
            session=session,
            user=user,
            ticket_hash=ticket_hash,
            log_digest=log_digest,
            summary=summary,
            gave_up=gave_up,
            scoring_version=scoring_version,
        ),
        node=node,
        epoch=epoch,
        seen_live=seen_live,
        unseen_ms=unseen_ms,
        slack_ms=slack_ms,
        lag_ms=lag_ms,
        drift_ms=drift_ms,
        verdict=VERDICTS[flags >> _VERDICT_BIT],
        features=features,
        reasons=tuple(_reason(features, *why) for why in told.get("why", ())),
        text=told.get("text"),
    )


def _whole(result: Result) -> bytes:
    return replace(bare(result), text=None).pack()


def _ten_thousandths(value: float) -> int | None:
    """A number of at most four digits after the point as a whole one, its last bit the sign; None for any other."""
    if not -1e9 < value < 1e9:
        return None
    whole = round(value * 10_000)
    if whole / 10_000 != value:
        return None
    return 2 * abs(whole) + (copysign(1.0, value) < 0)


def _from_ten_thousandths(number: int) -> float:
    value = (number >> 1) / 10_000
    return -value if number & 1 else value


def _short_features(features: Mapping[str, float]) -> list[int] | None:
    """A bit for each feature that was measured, then their values; None where they are not as usual."""
    short = [0]
    last = -1
    for name, value in features.items():
        place = _PLACES.get(name, -1)
        whole = _ten_thousandths(value) if type(value) is float else None
        if place <= last or whole is None:
            return None
        last = place
        short[0] |= 1 << place
        short.append(whole)
    return short


def _long_features(measured: int, values: Sequence[int]) -> dict[str, float]:
    names = [name for place, name in enumerate(_FEATURES) if measured >> place & 1]
    return {name: _from_ten_thousandths(value) for name, value in zip(names, values, strict=True)}


def _leb128(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_LEB128: Final = [_leb128(number) for number in range(16_384)]


def _read_numbers(core: bytes) -> tuple[list[int], bytes]:
    """The numbers of the short form, as many as there are by their own word, and what comes after them."""
    numbers: list[int] = []
    number = shift = at = 0
    count = _FIXED_NUMBERS
    for at in range(_NUMBERS_AT, len(core)):
        byte = core[at]
        number |= (byte & 127) << shift
        if byte > 127:
            shift += 7
            continue
        numbers.append(number)
        if len(numbers) == _FIXED_NUMBERS:
            count += number.bit_count()  # the last of them says which features follow
        if len(numbers) == count:
            break
        number = shift = 0
    return numbers, core[at + 1 :]


def _detail(result: Result) -> str:
    """What people look for and no log gives, as JSON; NULL where there is nothing."""
    if not (result.reasons or result.tags) and result.text is None:
        return "NULL"
    told: dict[str, object] = {}
    if result.reasons:
        told["why"] = [_short_reason(result.features, reason) for reason in result.reasons]
    if result.tags:
        told["tags"] = result.tags
    if result.text is not None:
        told["text"] = result.text
    return f"_utf8mb4 x'{orjson.dumps(told).hex()}'"


def _short_reason(features: Mapping[str, float], reason: Reason) -> tuple[str | float, ...]:
    """Name and threshold, and the value between them where it is not that of the feature of the name."""
    if features.get(reason.name) == reason.value:
        return (reason.name, reason.threshold)
    return (reason.name, reason.value, reason.threshold)


def _reason(features: Mapping[str, float], name: str, *numbers: float) -> Reason:
    return Reason(name, features[name] if len(numbers) == 1 else numbers[0], numbers[-1])


def _from_detail(detail: str | None) -> dict[str, Any]:
    return {} if detail is None else orjson.loads(detail)


def _within(value: float, most: float) -> float:
    """The nearest that a column holds; where that is another value, `core` has the whole result."""
    return max(0, min(value, most))
