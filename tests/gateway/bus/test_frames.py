"""Frames: what goes in comes out, and nothing else is taken for one."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.bus import frames

RUN = bytes(range(8))
MARK = b"our mark"
MESSAGES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(MESSAGES, max_size=20), st.integers(0, 2**63), st.booleans())
def test_what_goes_in_comes_out(messages: list[Any], number: int, lost: bool) -> None:
    frame = frames.compose(RUN, number, [frames.pack(message) for message in messages], lost=lost)
    assert frames.read(frame) == (RUN, number, lost, messages, b"")
    frame = frames.compose(RUN, number, [frames.pack(message) for message in messages], lost=lost, mark=MARK)
    assert frames.read(frame) == (RUN, number, lost, messages, MARK)


@given(st.binary(max_size=200))
@example(b"")
@example(msgpack.packb("news"))
@example(msgpack.packb([1, RUN, 1, False]))
@example(msgpack.packb([1, RUN, -1, False, []]))
@example(msgpack.packb([1, b"short", 1, False, []]))
@example(msgpack.packb([1, RUN, 1, False, {}]))
@example(msgpack.packb([True, RUN, 1, False, []]))
@example(msgpack.packb([0, RUN, 1, False, []]))
@example(b"\x95\x01" + b"\x95" * 5_000)
def test_anything_else_is_no_frame(noise: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(no |version)"):
        frames.read(noise)


def test_a_newer_version_is_told_apart() -> None:
    with pytest.raises(frames.Newer, match="version 2"):
        frames.read(msgpack.packb([2, "whatever", {}]))


def test_what_a_later_build_adds_is_passed_over() -> None:
    assert frames.read(msgpack.packb([1, RUN, 7, True, ["m"], MARK, 3])) == (RUN, 7, True, ["m"], MARK)


def test_what_an_earlier_build_leaves_out_is_nobodys_mark() -> None:
    assert frames.read(msgpack.packb([1, RUN, 7, True, ["m"]])).mark == b""
    assert frames.read(msgpack.packb([1, RUN, 7, True, ["m"], 3])).mark == b""
