"""A frame: all that a process says on a channel at once, and where in its sequence that belongs.

It is a msgpack array: version, the sender's run (8 bytes, drawn at each start), its number among the frames of this
sender on this channel, whether the sender had to give up messages of the channel just before it, the messages, and the
mark of the sender's cluster (8 bytes; empty where it has none, and left out by earlier builds). Numbers go up by one;
after a sender forgot a channel they begin anew at a higher one. Whoever adds to the array's end keeps the version;
whoever changes the meaning of what is there takes the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

__all__ = ["RUN_BYTES", "VERSION", "Frame", "Newer", "compose", "pack", "read"]

VERSION = 1
RUN_BYTES = 8

_packer = msgpack.Packer(autoreset=True)


class Frame(NamedTuple):
    """A frame, taken apart."""

    run: bytes
    number: int
    lost: bool
    """Whether messages were given up before it."""
    messages: list[Any]
    mark: bytes
    """Of the sender's cluster; empty: it does not say."""


class Newer(ValueError):
    """A frame of a version that we do not know."""


def pack(message: Any) -> bytes:
    """A message as it goes into a frame. Raises TypeError or ValueError for what msgpack has no form of."""
    return bytes(_packer.pack(message))


def compose(run: bytes, number: int, messages: Sequence[bytes], *, lost: bool = False, mark: bytes = b"") -> bytes:
    """The frame with these packed messages."""
    parts = map(_packer.pack, (VERSION, run, number, lost))
    return b"".join((b"\x96", *parts, _packer.pack_array_header(len(messages)), *messages, _packer.pack(mark)))


def read(frame: bytes) -> Frame:
    """A frame, taken apart.

    Raises ValueError for what is no frame, `Newer` for a newer version's.
    """
    try:
        parts = msgpack.unpackb(frame)
    except Exception as error:  # msgpack's own errors are of many kinds; whatever it stumbles over is no frame
        raise ValueError(f"no msgpack: {error}") from None
    if not isinstance(parts, list) or not parts or type(parts[0]) is not int or parts[0] < 1:
        raise ValueError("no frame of a bus")
    if parts[0] > VERSION:
        raise Newer(f"version {parts[0]}; this one knows up to {VERSION}")
    match parts[1:]:
        case [bytes(run), int(number), bool(lost), list(messages), *more] if len(run) == RUN_BYTES and number >= 0:
            mark = more[0] if more and isinstance(more[0], bytes) else b""
            return Frame(run, number, lost, messages, mark)
    raise ValueError("no frame of a bus")
