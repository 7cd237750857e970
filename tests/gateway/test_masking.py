"""Unmasking without the library's C function gives the same as with it."""

import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.masking
from gateway.masking import exclusive_or


@given(data=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4))
def test_both_ways_agree_and_undo_themselves(data: bytes, mask: bytes) -> None:
    masked = exclusive_or(data, mask)
    assert masked == bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    assert gateway.masking.apply_mask(data, mask) == masked
    assert exclusive_or(masked, mask) == data


def test_without_the_extension_the_big_integers_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    try:
        plain = importlib.reload(gateway.masking)
        assert plain.apply_mask is plain.exclusive_or
    finally:
        monkeypatch.undo()
        importlib.reload(gateway.masking)
