"""A result as a row of `test_results`, and back.

Columns hold what is asked for; `detail` (JSON) what a log cannot give and people look for: reasons, tags, an own text,
the race; `core` the rest: in its first byte the form, then

    1, short   ticket hash (16) | log digest (16) | text hash (4) | seed (8) | numbers, each as unsigned LEB128: flags,
               counts, hundredths, versions, ..., a bit for each feature that was measured, then their values
    0, whole   nothing: in `replay` is the packed result but for own text and race, for something in it does not fit
               the short form, or would not come out of it the same to the byte

What a log and its text give is not kept: the series per second, and of the text's hash all but the beginning, which
tells whether it is the text (`played` makes them again); nor the core's hash, which is the hash of what is kept. A
result without these is *bare*; to the rule for copies bare ones are all that there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import copysign
from typing import Any, Final, NamedTuple

import orjson

from persistence.mysql.literals import instant, text
from persistence.results.copies import VERDICTS, as_it_stands
from scoring.formulas import round2
from scoring.plausibility import Reason
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.identity import created_at_ms
from session.options import INPUTS, MODES
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
_PUNCTUATION, _NUMBERS, _GAVE_UP, _ROUNDED_SECONDS = (1 << bit for bit in range(4))
_INPUT_BIT, _VERDICT_BIT = 4, 6
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
_EXTENTS: Final = frozenset([None, *range(2**16)])
_MAX_EXTENT, _MAX_ERRORS, _MAX_DURATION_MS = 2**16 - 1, 2**24 - 1, 2**32 - 1
_MOST: Final = (99_999.99, 99_999.99, 999.99, _MAX_ERRORS, _MAX_DURATION_MS, _MAX_EXTENT)
_MODES: Final = {mode: f"'{mode}'" for mode in MODES}
_VERDICTS: Final = {verdict: f"'{verdict}'" for verdict in VERDICTS}
_word: Final = lru_cache(maxsize=256)(text)


class Origin(NamedTuple):
    """What many rows have in common, kept apart once."""

    node: str
    scoring_version: str


def bare(result: Result) -> Result:
    """The result without what is made again from its log and its text."""
    return replace(result, summary=replace(result.summary, series=NO_SERIES), text_hash=result.text_hash[:_TEXT_HASH])


def row_values(result: Result, *, ranked: bool, verdict: str | None = None, conflicts: int = 0) -> str:
    """The row of a result as SQL, in the order of `COLUMNS` but for `origin`, which each shard numbers for itself.

    `verdict` is the one that holds, its own by default. Raises whatever Python does for a result that no row can hold.
    """
    summary = result.summary
    extent = result.seconds if result.count is None else result.count
    figures: tuple[float, ...] = (
        summary.wpm,
        summary.raw,
        summary.acc,
        summary.inserts.wrong,
        summary.duration_ms,
        result.seen_live,
    )
    core, replay = _short(result), result.replay
    if core is None:
        core, replay = _WHOLE, _whole(result)
        # the nearest that the columns hold
        extent = None if extent is None else max(0, min(extent, _MAX_EXTENT))
        figures = tuple(max(0, min(value, most)) for value, most in zip(figures, _MOST, strict=True))
    wpm, raw, acc, errors, duration_ms, seen_live = figures
    return (
        f"x'{result.session.hex()}',{instant(created_at_ms(result.session))},{int(result.user)},"
        f"{'NULL' if result.test is None else int(result.test)},{_MODES[result.mode]},"
        f"{'NULL' if extent is None else extent},{_word(result.language)},{wpm},{raw},{acc},{errors},{duration_ms},"
        f"{_VERDICTS[result.verdict if verdict is None else verdict]},{int(ranked)},{int(conflicts)},{seen_live},"
        f"x'{core.hex()}',{_detail(result)},x'{replay.hex()}'"
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
            told = _from_detail(detail)
            return replace(Result.unpack(replay), text=told.get("text"), race=told.get("race"))
    except (ValueError, TypeError, IndexError, KeyError) as fault:  # of msgpack and orjson, too
        raise Damaged(f"no row of a result: {fault}") from None
    raise Damaged(f"a row of the unknown form {core[:1].hex() or 'nothing'}")


def _short(result: Result) -> bytes | None:
    """`core` in the short form; None where that would not give the same result again, to the byte."""
    summary = result.summary
    chars, inserts, seconds = summary.chars, summary.inserts, summary.seconds
    figures = [
        summary.consistency,
        summary.key_consistency,
        summary.wpm_consistency,
        summary.wpm,
        summary.raw,
        summary.acc,
    ]
    hundredths = _scaled(figures, 100)
    features = _short_features(result)
    if (
        hundredths is None
        or features is None
        or not type(summary.duration_ms) is type(summary.afk_ms) is int
        or summary.duration_ms > _MAX_DURATION_MS
        or max(figures) >= 1e5
        or summary.acc > 100
        or inserts.wrong > _MAX_ERRORS
        or result.seen_live > _MAX_EXTENT
        or (result.seconds if result.mode != "words" else result.count or -1) not in _EXTENTS
        or (result.count if result.mode != "words" else result.seconds) is not None
        or type(seconds) is not float
        or not len(result.ticket_hash) == len(result.log_digest) == 16
        or len(result.text_hash) < _TEXT_HASH
        or result.core_hash
        != core_hash_of(
            session=result.session,
            user=result.user,
            ticket_hash=result.ticket_hash,
            log_digest=result.log_digest,
            summary=summary,
            gave_up=result.gave_up,
            scoring_version=result.scoring_version,
        )
    ):
        return None
    flags = INPUTS.index(result.input) << _INPUT_BIT | VERDICTS.index(result.verdict) << _VERDICT_BIT
    if result.punctuation:
        flags |= _PUNCTUATION
    if result.numbers:
        flags |= _NUMBERS
    if result.gave_up:
        flags |= _GAVE_UP
    if seconds != summary.duration_ms / 1000:
        if seconds != round2(summary.duration_ms / 1000):
            return None
        flags |= _ROUNDED_SECONDS
    numbers = (
        flags,
        chars.correct,
        chars.incorrect,
        chars.extra,
        chars.missed,
        summary.total_chars,
        inserts.correct,
        *hundredths[:3],
        summary.afk_ms,
        result.test_version,
        result.list_version,
        result.generator,
        result.epoch,
        result.unseen_ms,
        result.slack_ms,
        *features,
    )
    if min(*numbers, *hundredths, summary.duration_ms, inserts.wrong, result.seen_live) < 0:
        return None
    core = b"".join(
        (
            _SHORT,
            result.ticket_hash,
            result.log_digest,
            result.text_hash[:_TEXT_HASH],
            result.seed.to_bytes(8, "big"),
            *[_SHORT_LEB128[number] if number < 16_384 else _leb128(number) for number in numbers],
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
        afk_ms, test_version, list_version, generator, epoch, unseen_ms, slack_ms, measured, *values
    ) = _read_numbers(core)  # fmt: skip
    features = _long_features(measured, values)
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
        duration_ms=duration_ms,
        seconds=round2(seconds) if flags & _ROUNDED_SECONDS else seconds,
        afk_ms=afk_ms,
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
        core_hash=core_hash_of(
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
        lag_ms=features["lag_ms"],
        drift_ms=features["drift_ms"],
        verdict=VERDICTS[flags >> _VERDICT_BIT],
        features=features,
        reasons=tuple(_reason(features, *why) for why in told.get("why", ())),
        text=told.get("text"),
        race=told.get("race"),
    )


def _whole(result: Result) -> bytes:
    return replace(bare(result), text=None, race=None).pack()


def _scaled(values: Sequence[float], scale: int) -> list[int] | None:
    """These times `scale`, as whole numbers; None where one is no float, or is lost by that."""
    try:
        whole = [round(value * scale) for value in values]
    except (ValueError, OverflowError, TypeError):  # no number, infinite, none at all
        return None
    if [value / scale for value in whole] != values or {*map(type, values)} != {float}:
        return None
    if 0 in whole and any(not value and copysign(1.0, value) < 0 for value in values):
        return None
    return whole


def _short_features(result: Result) -> list[int] | None:
    """A bit for each feature that was measured, then their values, times 10,000 and with the sign in the last bit.

    None where they are not as usual: four digits, in the order of measuring, the clocks among them as in the result.
    """
    names, values = tuple(result.features), list(result.features.values())
    measured = _measured(names)
    if measured is None or result.lag_ms != result.features["lag_ms"] or result.drift_ms != result.features["drift_ms"]:
        return None
    whole = _scaled([*values, result.lag_ms, result.drift_ms], 10_000)
    if whole is None:
        return None
    return [measured, *[value + value if value >= 0 else 1 - value - value for value in whole[:-2]]]


@lru_cache(maxsize=256)
def _measured(names: tuple[str, ...]) -> int | None:
    """A bit for each of these features; None where one is unknown or not in its place, or the clocks are missing."""
    places = [_PLACES.get(name, -1) for name in names]
    if -1 in places or places != sorted(places) or not {"lag_ms", "drift_ms"} <= {*names}:
        return None
    return sum(1 << place for place in places)


def _long_features(measured: int, values: Sequence[int]) -> dict[str, float]:
    names = [name for place, name in enumerate(_FEATURES) if measured >> place & 1]
    signed = [-(value >> 1) if value & 1 else value >> 1 for value in values]
    return {name: value / 10_000 for name, value in zip(names, signed, strict=True)}


def _leb128(number: int) -> bytes:
    if 1 << 14 <= number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SHORT_LEB128: Final = [_leb128(number) for number in range(16_384)]


def _read_numbers(core: bytes) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in core[_NUMBERS_AT:]:
        number |= (byte & 127) << shift
        if byte > 127:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    return numbers


def _detail(result: Result) -> str:
    """What people look for and no log gives, as JSON; NULL where there is nothing."""
    if not (result.reasons or result.tags) and result.text is result.race is None:
        return "NULL"
    told: dict[str, object] = {}
    if result.reasons:
        told["why"] = [_short_reason(result.features, reason) for reason in result.reasons]
    if result.tags:
        told["tags"] = result.tags
    if result.text is not None:
        told["text"] = result.text
    if result.race is not None:
        told["race"] = result.race
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
