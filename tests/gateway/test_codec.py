"""The two encodings: the same messages either way, and clear refusals of what is none."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import CODECS, JSON, MSGPACK, NOT_KEYS, Codec, Undecodable

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


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@given(
    message=st.dictionaries(st.text(), values, min_size=1, max_size=40),
    more=st.dictionaries(st.text(), values, min_size=1, max_size=20),
)
def test_a_payload_with_more_in_it(codec: Codec, message: dict[str, Any], more: dict[str, Any]) -> None:
    """An encoded map that is extended is what both maps together come to, whatever their sizes."""
    more = {name: value for name, value in more.items() if name not in message} or {"\0" * 50: 1}
    extended = codec.extend(codec.encode(message), codec.encode(more))
    assert codec.decode(extended) == message | more


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


atoms = st.none() | st.booleans() | st.integers(-10, 70_000) | st.floats(-5, 5) | st.text(max_size=3)
flat = st.lists(st.integers(0, 400) | st.sampled_from("ab \b"), max_size=8)


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@given(
    message=st.fixed_dictionaries(
        {"t": st.sampled_from(["keys", "keys", "hb"]), "n": st.integers(0, 2**53) | atoms, "e": flat | atoms},
        optional={"h": st.lists(st.integers(0, 400) | atoms, max_size=4) | atoms, "ref": st.integers(0, 9) | atoms},
    )
    | st.dictionaries(st.sampled_from(["t", "n", "e", "h", "ref", "x"]), values, max_size=6)
)
def test_keys_are_what_the_general_decoder_reads(codec: Codec, message: dict[str, Any]) -> None:
    """Or they are none: a wrong type is never taken for a right one."""
    payload = codec.encode(message)
    plain = codec.decode(payload)
    try:
        keys = codec.keys(payload)
    except NOT_KEYS:
        e, h = plain.get("e"), plain.get("h")
        right = (
            plain.get("t") == "keys"
            and type(plain.get("n")) is int
            and type(plain.get("ref")) in (int, type(None))
            and type(e) is list
            and {*map(type, e)} <= {int, str}
            and (h is None or (type(h) is list and {*map(type, h)} <= {int}))
        )
        assert not right
    else:
        assert plain["t"] == "keys"
        assert (keys.n, keys.e, keys.h, keys.ref) == (plain["n"], plain["e"], plain.get("h"), plain.get("ref"))
        found = [keys.n, *keys.e, *(keys.h or []), *([] if keys.ref is None else [keys.ref])]
        assert {*map(type, found)} <= {int, str}
        assert not any(value is True or value is False for value in [plain["n"], *plain["e"], *(plain.get("h") or [])])


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"\xc1", b"\x81\xa1t", b'{"t":"keys"}', b"[" * 100_000, b"\x91" * 100_000]
)
@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_payloads_that_are_no_keys(codec: Codec, payload: bytes) -> None:
    """Whatever is wrong with one, it is left to the general decoder."""
    with pytest.raises(NOT_KEYS):
        codec.keys(payload)
