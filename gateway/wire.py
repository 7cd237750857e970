"""WebSocket frames on an asyncio transport: bytes in, whole messages to a peer; messages out, one write a turn.

A `WebSocketWire` is an asyncio protocol for a connection whose opening handshake is done. It knows RFC 6455 and its
limits, and nothing of what the messages say.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from config.edge import WireOptions

__all__ = ["Peer", "WebSocketWire"]


class Peer(Protocol):
    """Who a wire works for. Every method is called on the event loop and must return soon (3 ms at the most).

    Subclass it to inherit methods that do nothing.
    """

    __slots__ = ()

    def opened(self, wire: WebSocketWire) -> None:
        """The handshake is done; what is sent from here leaves in one packet with its response."""

    def frame(self, payload: bytes, binary: bool) -> None:
        """One whole data message (of one frame or put together from fragments); text is valid UTF-8."""

    def pong(self, payload: bytes) -> None:
        """The client answered a ping (or sent a pong unasked)."""

    def paused(self) -> None:
        """More than `soft_bytes` wait to be sent: leave out what can be left out."""

    def resumed(self) -> None:
        """The client reads again."""

    def closed(self, code: int, reason: str) -> None:
        """Exactly once, the last call: no frame comes any more, and what is sent is dropped.

        `code` and `reason` are those of the first close frame on the wire, ours or the client's; 1005 where the
        client's frame had no code, 1006 where the connection ended without one.
        """


class WebSocketWire(asyncio.Protocol):
    """One WebSocket connection, after its opening handshake, as the server's side of it."""

    __slots__ = ("heard", "peer_address", "subprotocol", "writable")

    heard: bool
    """Set by every whole frame that arrives; whoever watches for silence clears it and looks again later."""

    peer_address: str
    """The client's address, behind trusted proxies the one they tell."""

    subprotocol: str | None
    """The subprotocol agreed on, None where none was asked of the client."""

    writable: bool
    """False between `paused` and `resumed`."""

    def __init__(self, peer: Peer, *, options: WireOptions, subprotocol: str | None, peer_address: str) -> None: ...

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent: no close frame has been sent or received, and the connection stands."""
        ...

    @property
    def pending_bytes(self) -> int:
        """Bytes accepted by `send` that the system has not yet taken."""
        ...

    def send(self, payload: bytes, binary: bool) -> None:
        """Send one data message; dropped where the connection is not open.

        Beyond `hard_bytes` of unsent bytes the connection is closed as slow (4002).
        """

    def ping(self, payload: bytes) -> None:
        """Send a ping of at most 125 bytes; the client's answer comes as `pong`."""

    def ready(self) -> None:
        """The application knows this client: it counts no more against its address's pending connections."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame (reason: at most 123 bytes of UTF-8) and end the connection within `close_limit_s`.

        No frame is delivered after it; `closed` follows when the client has answered or the limit is over. Closing
        again does nothing.
        """

    def hold(self) -> None:
        """Deliver no further frame, and read no further bytes, until `release`."""

    def release(self) -> None:
        """Go on after `hold`; frames that waited are delivered in a later turn, in order."""
