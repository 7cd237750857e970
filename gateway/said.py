"""What many are told alike: encoded once for each encoding, down to the bytes on the wire, however many hear it."""

from __future__ import annotations

from typing import Any

from gateway.codec import Codec
from gateway.frames import data_frame

__all__ = ["Said"]


class Said:
    """One message to many."""

    __slots__ = ("_frames", "_message", "_payloads")

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message
        self._payloads: dict[str, bytes] = {}
        self._frames: dict[str, tuple[bytes, int]] = {}

    def payload(self, codec: Codec) -> bytes:
        """The message in an encoding."""
        payload = self._payloads.get(codec.subprotocol)
        if payload is None:
            payload = self._payloads[codec.subprotocol] = codec.encode(self._message)
        return payload

    def frame(self, codec: Codec) -> tuple[bytes, int]:
        """The message as a whole frame (`WebSocketWire.send_frame`), and how many bytes of it are the message's."""
        frame = self._frames.get(codec.subprotocol)
        if frame is None:
            payload = self.payload(codec)
            frame = self._frames[codec.subprotocol] = data_frame(payload, codec.binary), len(payload)
        return frame

    def extended(self, codec: Codec, more: dict[str, Any]) -> bytes:
        """The same with what only one is told in it; `more` is not empty, and names nothing that the message has."""
        return codec.extend(self.payload(codec), codec.encode(more))
