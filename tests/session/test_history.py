"""The canonical history: golden bytes, there and back, and the walk that looks for too much speed."""

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.slices import at_once
from session import history as module
from session.history import (
    CODES,
    MAX_DT_MS,
    code_of,
    columns_of,
    encode,
    events_of,
    keys_of,
    offset_after,
    too_fast,
    varint,
)

KEYS = st.sampled_from(["a", " ", "Z", "\b", "\x17", "é", "e\u0301", "한", "👩‍👩‍👧‍👦", "\u0301"])
LOGS = st.lists(st.tuples(st.integers(0, 300) | st.integers(0, MAX_DT_MS), KEYS), max_size=60)


def flat(log: list[tuple[int, str]]) -> list[Any]:
    return [value for event in log for value in event]


def encoded(events: list[Any]) -> bytearray:
    history = bytearray()
    assert encode(events, history) is None
    return history


def test_golden() -> None:
    """Receipts of running tests are over these bytes: layout 1 is for ever."""
    events = [0, "a", 127, " ", 128, "\b", 300, "\x17", MAX_DT_MS, "é", 5, "한"]
    assert encoded(events).hex() == "0061" "7f20" "800108" "ac0217" "ffffffff07" "82c3a9" "05" "83ed959c"  # fmt: skip


@given(LOGS)
def test_there_and_back(log: list[tuple[int, str]]) -> None:
    assert at_once(events_of(encoded(flat(log)))) == flat(log)


@given(LOGS, st.data())
def test_batching_does_not_matter(log: list[tuple[int, str]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    first = encoded(flat(log[:cut]))
    whole = encoded(flat(log))
    assert first + encoded(flat(log[cut:])) == whole
    assert offset_after(whole, cut) == len(first)
    assert offset_after(whole, len(log) - cut, len(first)) == len(whole)
    assert at_once(events_of(whole, len(first))) == flat(log[:cut])


def test_long_logs_are_read_in_slices() -> None:
    steps = events_of(encoded([5, "a"] * 5000))
    assert sum(1 for _ in steps) == 4


@given(LOGS, st.integers(0, 60), st.integers(1, 20))
def test_keys_alone_are_read_from_anywhere_in_pieces(log: list[tuple[int, str]], first: int, most: int) -> None:
    """From event `first` on, so many at a time: each key once, in order, and nothing beyond the end."""
    history = encoded(flat(log))
    at, end = offset_after(history, min(first, len(log))), len(history)
    history += b"\0?"
    keys: list[str] = []
    while at < end:
        some, at = keys_of(history, at, end, most=most)
        assert 1 <= len(some) <= most
        keys += some
    assert keys == [key for _, key in log[first:]]
    assert keys_of(history, end, end, most=most) == ([], end)


@given(LOGS)
def test_columns_are_those_of_the_events(log: list[tuple[int, str]]) -> None:
    gaps, keys = at_once(columns_of(encoded(flat(log)), len(log)))
    assert (gaps, list(keys)) == ([dt for dt, _ in log], [key for _, key in log])
    assert isinstance(keys, str) is all(len(key) == 1 for _, key in log)


@pytest.mark.parametrize(
    "odd", [[], [700, "é"], [3, "e\u0301"], [3, "字"], [16_384, "a"], [16_383, "a"], [MAX_DT_MS, "\b"]]
)
@pytest.mark.parametrize("first", [[5, "t"], [900_000, "t"], [5, "é"], [5, "e\u0301"]])
@pytest.mark.parametrize("n", [0, 1, 6000])
def test_columns_with_and_without_what_takes_the_long_way(first: list[Any], odd: list[Any], n: int) -> None:
    events = first + [130, "h", 90, "e"] * n + odd + [127, "x", 128, " "] * n
    steps = columns_of(encoded(events), len(events) // 2)
    slices = 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            gaps, keys = done.value
            break
        slices += 1
    assert (gaps, list(keys)) == (events[::2], events[1::2])
    assert slices >= 4 * n // 4096


@pytest.mark.parametrize("key", ["", "ab", "\x00", "\ud800", "e" + "\u0301" * 40, 5, None, ["a"], b"a", True])
def test_what_is_no_key(key: object) -> None:
    assert code_of(key) is None
    history = bytearray(b"\x05a")
    fault = encode([4, "b", 5, key], history)
    assert fault is not None
    assert "grapheme" in fault
    assert history == b"\x05a"


@pytest.mark.parametrize("dt", [-1, MAX_DT_MS + 1, 10**30, 1.0, float("nan"), True, "5", None, [5]])
def test_what_is_no_dt(dt: object) -> None:
    history = bytearray()
    fault = encode([4, "b", dt, "a"], history)
    assert fault is not None
    assert "whole number" in fault
    assert history == b""


def test_known_keys_are_bounded() -> None:
    """Whoever sends every key there is costs no memory for ever, and common keys stay known."""
    for number in range(module._MAX_CODES + 10):
        assert code_of(chr(0x4E00 + number)) is not None
    assert len(CODES) <= module._MAX_CODES
    assert code_of("é") == b"\x82\xc3\xa9"
    assert CODES["a"] == b"a"


@given(st.integers(0, 2**40))
def test_varints(value: int) -> None:
    assert sum((byte & 127) << 7 * at for at, byte in enumerate(varint(value))) == value


@given(
    st.lists(st.integers(0, 40) | st.sampled_from([130, 20_000]), max_size=50), st.integers(1, 6), st.integers(1, 90)
)
def test_too_fast(gaps: list[int], keys: int, window_ms: int) -> None:
    """More than `keys` events within less than the window, wherever that lies."""
    times = list(accumulate(gaps))
    expected = any(late - early < window_ms for early, late in zip(times, times[keys:], strict=False))
    assert too_fast(encoded([value for dt in gaps for value in (dt, "a")]), keys=keys, window_ms=window_ms) is expected
