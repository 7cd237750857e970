"""What many are told alike: encoded once for each encoding, however many hear it."""

from __future__ import annotations

from typing import Any

from gateway.codec import Codec

__all__ = ["Said"]


class Said:
    """One message to many."""

    __slots__ = ("_message", "_payloads")

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message
        self._payloads: dict[str, bytes] = {}

    def payload(self, codec: Codec) -> bytes:
        """The message in an encoding."""
        payload = self._payloads.get(codec.subprotocol)
        if payload is None:
            payload = self._payloads[codec.subprotocol] = codec.encode(self._message)
        return payload

    def extended(self, codec: Codec, more: dict[str, Any]) -> bytes:
        """The same with what only one is told in it; `more` is not empty, and names nothing that the message has."""
        return codec.extend(self.payload(codec), codec.encode(more))
