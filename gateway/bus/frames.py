"""A frame: all that a process says on a channel at once, and where in its sequence that belongs.

It is a msgpack array: version, the sender's run (8 bytes, drawn at each start), its number among the frames of this
sender on this channel, whether the sender had to give up messages of the channel just before it, and the messages.
Numbers go up by one; after a sender forgot a channel they begin anew at a higher one. Whoever adds to the array's end
keeps the version; whoever changes the meaning of what is there takes the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

__all__ = ["RUN_BYTES", "VERSION", "Newer", "compose", "pack", "read"]

VERSION = 1
RUN_BYTES = 8

_packer = msgpack.Packer(autoreset=True)


class Newer(ValueError):
    """A frame of a version that we do not know."""


def pack(message: Any) -> bytes:
    """A message as it goes into a frame. Raises TypeError or ValueError for what msgpack has no form of."""
    return bytes(_packer.pack(message))


def compose(run: bytes, number: int, messages: Sequence[bytes], *, lost: bool = False) -> bytes:
    """The frame with these packed messages."""
    parts = map(_packer.pack, (VERSION, run, number, lost))
    return b"".join((b"\x95", *parts, _packer.pack_array_header(len(messages)), *messages))


def read(frame: bytes) -> tuple[bytes, int, bool, list[Any]]:
    """A frame's run, number, whether messages were lost before it, and its messages.

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
        case [bytes(run), int(number), bool(lost), list(messages), *_] if len(run) == RUN_BYTES and number >= 0:
            return run, number, lost, messages
    raise ValueError("no frame of a bus")
