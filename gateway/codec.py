"""Frames to messages and back: the two encodings of `typegate.v1`, and nothing of what a message means.

A message is one map with a `t`. In msgpack MACs and digests are bytes; JSON has none, so there they are base64url
without padding (RFC 4648 §5), and `session.messages.parse` takes either.

Nearly all that comes is `keys`. A typed decoder reads these in two thirds of the time, and its values are found at a
third of the price of a map's; every other payload, and whatever is wrong with one, is left to the general decoder.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import msgspec
import orjson


class Undecodable(ValueError):
    """The payload is no message at all: not the encoding that was agreed on, or not one map. The peer's fault."""


class KeysFrame(msgspec.Struct, tag_field="t", tag="keys", gc=False):
    """A `keys` message: types as the protocol has them, values unchecked."""

    n: int
    e: list[int | str]
    h: list[int] | None = None
    ref: int | None = None


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoding of messages: `decode` raises `Undecodable`, `encode` takes what a `to_wire()` gives."""

    subprotocol: str
    """The name that the handshake agrees on."""

    binary: bool
    """Whether its frames are binary; a frame of the other kind is the peer's fault."""

    decode: Callable[[bytes], dict[Any, Any]]
    """Payload to map. Only the outermost type is checked here; `parse` checks the rest."""

    keys: Callable[[bytes], KeysFrame]
    """Payload to `keys`; raises `NOT_KEYS` for whatever is none."""

    encode: Callable[[dict[str, Any]], bytes]
    """Map to payload."""

    extend: Callable[[bytes, bytes], bytes]
    """The payload of a map that has what the second payload's map has, too; neither is empty, no name is in both."""


_FIXMAP, _FIXMAP_MOST, _MAP16 = 0x80, 15, 0xDE


def _base64url(value: object) -> str:
    if isinstance(value, bytes):
        return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _decode_json(payload: bytes) -> dict[Any, Any]:
    try:
        message = orjson.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise Undecodable(f"not JSON: {exc}") from None
    if type(message) is not dict:
        raise Undecodable("a message is one JSON object")
    return message


def _encode_json(message: dict[str, Any]) -> bytes:
    return orjson.dumps(message, default=_base64url)


def _extend_json(payload: bytes, more: bytes) -> bytes:
    return payload[:-1] + b"," + more[1:]


def _extend_msgpack(payload: bytes, more: bytes) -> bytes:
    size, at = _map_head(payload)
    more_size, more_at = _map_head(more)
    size += more_size
    head = bytes((_FIXMAP | size,)) if size <= _FIXMAP_MOST else bytes((_MAP16, size >> 8, size & 255))
    return b"".join((head, payload[at:], more[more_at:]))


def _map_head(payload: bytes) -> tuple[int, int]:
    """How many entries a map of at most 65,535 has, and where they begin (msgpack's specification, map format)."""
    first = payload[0]
    return (int.from_bytes(payload[1:3], "big"), 3) if first == _MAP16 else (first & _FIXMAP_MOST, 1)


def _decode_msgpack(payload: bytes) -> dict[Any, Any]:
    try:
        message = msgpack.unpackb(payload)
    # msgpack reports bad input as ValueError and its kin, too deep nesting as StackError (a ValueError), and
    # an unhashable key as TypeError
    except (ValueError, TypeError, RecursionError) as exc:
        raise Undecodable(f"not msgpack: {str(exc) or type(exc).__name__}") from None
    if type(message) is not dict:
        raise Undecodable("a message is one msgpack map")
    return message


NOT_KEYS = (msgspec.DecodeError, RecursionError)
"""What `Codec.keys` raises where a payload is no `keys` of the right types: `decode` and `parse` tell what it is."""

JSON = Codec(
    "typegate.v1.json",
    binary=False,
    decode=_decode_json,
    keys=msgspec.json.Decoder(KeysFrame).decode,
    encode=_encode_json,
    extend=_extend_json,
)
MSGPACK = Codec(
    "typegate.v1.msgpack",
    binary=True,
    decode=_decode_msgpack,
    keys=msgspec.msgpack.Decoder(KeysFrame).decode,
    encode=msgspec.msgpack.Encoder().encode,  # half of what msgpack's own packer takes
    extend=_extend_msgpack,
)

CODECS: dict[str, Codec] = {codec.subprotocol: codec for codec in (MSGPACK, JSON)}
"""By subprotocol, the server's preference first."""
