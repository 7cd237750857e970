"""The two encodings: the same messages either way, and clear refusals of what is none."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import CODECS, JSON, MSGPACK, Codec, Undecodable

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@given(message=st.dictionaries(st.text(), values, max_size=6))
def test_round_trip(codec: Codec, message: dict[str, Any]) -> None:
    """What is encoded is decoded to the same map."""
    assert codec.decode(codec.encode(message)) == message


def test_bytes_in_either_encoding() -> None:
    """A MAC is bytes in msgpack and base64url without padding in JSON."""
    assert MSGPACK.decode(MSGPACK.encode({"r": b"\xff\xfe"})) == {"r": b"\xff\xfe"}
    assert JSON.decode(JSON.encode({"r": b"\xff\xfe"})) == {"r": "__4"}


def test_what_no_message_holds_is_our_fault() -> None:
    """An object that has no encoding is a bug of ours, and no `Undecodable`."""
    with pytest.raises(TypeError):
        JSON.encode({"x": object()})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"t"',
        b'{"t":NaN}',
        b'{"t":Infinity}',
        b'{"t":"\xff"}',
        b'{"t":"\xed\xa0\x80"}',
        b'{"t":1}{"t":1}',
        b"{" * 100_000,
        b'{"e":' + b"[" * 60_000,
        b'{"e":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
    ids=range(14),
)
def test_undecodable_json(payload: bytes) -> None:
    """Broken syntax, broken UTF-8, NaN, deep nesting and anything but one map are refused alike."""
    with pytest.raises(Undecodable):
        JSON.decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x81",
        b"\x90",
        b"\x01",
        b"\xc0",
        b"\xc1",
        b"\x81\xa1t\xc1",
        b"\x81\xa1t\xa1\xff",
        b"\x81\xa1t\x01\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1t\xdd\xff\xff\xff\xff",
        b"\x81\xa1t\xc6\xff\xff\xff\xff",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        b"\x81\xa1t" + b"\x91" * 60_000 + b"\x01",
    ],
    ids=range(15),
)
def test_undecodable_msgpack(payload: bytes) -> None:
    """Truncated, trailing, oversized, deep, non-string keys, and anything but one map are refused alike."""
    with pytest.raises(Undecodable):
        MSGPACK.decode(payload)


@given(payload=st.binary(max_size=200))
def test_garbage_is_a_map_or_undecodable(payload: bytes) -> None:
    """Random bytes never raise anything else."""
    for codec in CODECS.values():
        try:
            assert isinstance(codec.decode(payload), dict)
        except Undecodable:
            pass


def test_others_read_what_we_write() -> None:
    """The encodings are the common ones."""
    message = {"t": "tick", "n": 3, "r": b"\x00" * 3, "wpm": 61.5}
    assert msgpack.loads(MSGPACK.encode(message)) == message
    assert json.loads(JSON.encode(message)) == message | {"r": "AAAA"}
