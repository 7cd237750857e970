import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.results.mysql import rows
from persistence.results.mysql.rows import COLUMNS, SELECTED, bare, read_copy, read_row, row_values
from scoring.plausibility import Reason
from session.result import Damaged, Result
from tests.persistence.samples import ranked, sample

# what `SELECTED` has besides columns
JOINED = {"node", "scoring_version"}


def stored(result: Result, **standing: Any) -> tuple[Any, ...]:
    """The row of a result as a database would give it back: the literals read, and put in the order of reading."""
    values: dict[str, Any] = {}
    literals = row_values(result, ranked=False, **standing).split(",")
    for name, literal in zip(COLUMNS.split(", "), [*literals, "1"], strict=True):
        if literal == "NULL":
            values[name] = None
        elif literal.startswith("_utf8mb4 x'"):
            values[name] = bytes.fromhex(literal[11:-1]).decode()
        elif literal.startswith("x'"):
            values[name] = bytes.fromhex(literal[2:-1])
        elif literal.startswith("'"):
            values[name] = literal[1:-1]
        elif name in ("wpm", "raw_wpm", "accuracy"):
            values[name] = round(float(literal), 2)  # DECIMAL(7, 2)
        else:
            values[name] = int(literal) if literal.lstrip("-").isdigit() else round(float(literal))
    values |= {"node": result.node, "scoring_version": result.scoring_version}
    assert set(SELECTED.split(", ")) - set(COLUMNS.split(", ")) == JOINED
    return tuple(values[name] for name in SELECTED.split(", "))


def form(result: Result) -> bytes:
    """The first byte of `core`."""
    core: bytes = stored(result)[-3]
    return core[:1]


counts = st.integers(0, 70_000)
speeds = st.one_of(st.decimals(0, 200_000, places=2).map(float), st.floats(0, 300), st.just(0), st.just(-0.0))
times = st.one_of(st.integers(0, 2**33), st.floats(0, 1e7), st.integers(0, 100_000).map(float))
hashes = st.binary(min_size=16, max_size=16)
clocks = st.one_of(st.floats(-1e5, 1e5), st.decimals(-9_999, 9_999, places=4).map(float), st.integers(-5, 5))
features = st.one_of(
    st.dictionaries(st.sampled_from(rows._FEATURES), clocks),
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False)),
    st.just(dict.fromkeys(rows._FEATURES, 0.25)),
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "ticket_hash": hashes,
        "core_hash": hashes,
        "text_hash": st.binary(max_size=20),
        "replay": st.binary(max_size=50),
        "mode": st.sampled_from(["words", "time", "quote", "text", "zen"]),
        "count": st.one_of(st.none(), counts),
        "seconds": st.one_of(st.none(), counts),
        "test": st.one_of(st.none(), st.integers(0, 2**63 - 1)),
        "test_version": counts,
        "list_version": counts,
        "generator": counts,
        "language": st.sampled_from(["en", "zh-Hant", ""]),
        "punctuation": st.booleans(),
        "numbers": st.booleans(),
        "gave_up": st.booleans(),
        "tags": st.lists(st.sampled_from(["a", "b=c", "'--"]), max_size=3).map(tuple),
        "input": st.sampled_from(["keyboard", "touch", "ime", "assistive"]),
        "seed": st.integers(0, 2**64 - 1),
        "epoch": st.integers(0, 2**53 - 1),
        "seen_live": counts,
        "unseen_ms": counts,
        "slack_ms": counts,
        "lag_ms": clocks,
        "drift_ms": clocks,
        "verdict": st.sampled_from(["ok", "review", "void"]),
        "features": features,
        "reasons": st.lists(
            st.builds(Reason, st.sampled_from(["order", "drift_ms", "other"]), st.just(0.25), st.floats(0, 9)),
            max_size=3,
        ).map(tuple),
        "text": st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        "race": st.one_of(st.none(), st.just("0123456789abc")),
        "node": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    },
)
figures = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("wpm", "raw", "acc", "consistency", "key_consistency", "wpm_consistency"), speeds),
        **dict.fromkeys(("duration_ms", "afk_ms", "seconds"), times),
        "total_chars": counts,
    },
)


@given(st.integers(0, 7), changes, figures)
def test_every_result_comes_back_to_the_byte(i: int, changed: dict[str, Any], summary: dict[str, Any]) -> None:
    """In the short form or, where something does not fit it, whole."""
    result = replace(sample(i), summary=replace(sample(i).summary, **summary))
    result = replace(result, **changed)
    again = read_copy(stored(result))
    assert again == bare(result)
    assert again.pack() == bare(result).pack()


@pytest.mark.parametrize("result", [sample(i) for i in range(4)] + [ranked(i, wpm=80 + i) for i in range(4)])
def test_results_as_they_are_take_the_short_form(result: Result) -> None:
    assert form(result) == b"\x01"
    assert len(stored(result)[-3]) < 110


@pytest.mark.parametrize(
    "odd",
    [
        {"features": {"made_up": 1.0}},
        {"lag_ms": 7},
        {"ticket_hash": b"short"},
        {"summary": replace(sample().summary, wpm=1 / 3)},
        {"summary": replace(sample().summary, wpm=100_000.0)},
        {"summary": replace(sample().summary, duration_ms=29_999.5)},
        {"seen_live": 65_536},
        {"core_hash": bytes(16)},
        {"lag_ms": 1 / 3},
        {"drift_ms": 3.0},
        {"features": {}},
        {"features": dict(reversed(sample().features.items()))},
    ],
)
def test_what_does_not_fit_is_kept_whole(odd: dict[str, Any]) -> None:
    assert form(replace(sample(), **odd)) == b"\x00"


def test_a_verdict_that_holds_against_the_nodes_own_says_why() -> None:
    row = stored(sample(), verdict="review", conflicts=2)
    assert read_copy(row).verdict == "ok"
    read = read_row(row)
    assert (read.verdict, read.reasons) == ("review", (Reason("copies", 3.0, 1.0),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "7; DROP TABLE test_results"},
        {"test": "1) --"},
        {"verdict": "' OR ''='"},
        {"mode": "'zen'"},
        {"seed": -1},
        {"text": "\ud800"},
        {"language": "\ud800"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_no_row_can_hold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError, KeyError, struct.error)):
        row_values(replace(sample(), **wrong), ranked=False)


@given(st.integers(0, 2), st.binary(max_size=120))
def test_a_row_that_is_none_is_damaged_and_nothing_else(form: int, core: bytes) -> None:
    row = stored(sample())
    try:
        read_row((*row[:-3], bytes([form]) + core, *row[-2:]))
    except Damaged:
        return


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2**40])
def test_numbers_are_unsigned_leb128(number: int) -> None:
    packed = rows._leb128(number)
    assert sum((byte & 127) << 7 * at for at, byte in enumerate(packed)) == number
    assert [byte > 127 for byte in packed] == [True] * (len(packed) - 1) + [False]
