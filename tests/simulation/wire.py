"""The server's end of a line: a `WebSocketWire` as far as a connection sees it, with messages instead of bytes.

What it promises a peer is what `gateway.wire` does: messages in order, none while held and none after a close, `closed`
exactly once; a close that is not answered ends after a while.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.wire import Peer, WebSocketWire
from tests.simulation.network import GONE, Item, Line

if TYPE_CHECKING:
    from tests.simulation.process import Process

CLOSE_LIMIT_S = 5.0
"""As `WireOptions.close_limit_s`."""


class Wire:
    """One connection's end in a process."""

    def __init__(self, process: Process, line: Line) -> None:
        self.writable = True
        self.heard = True
        self._process = process
        self._line = line
        self._peer: Peer | None = None
        self._state = "open"
        self._held = False
        self._come: deque[Item] = deque()
        self._close: tuple[int, str] | None = None

    def begin(self, peer: Peer) -> None:
        """The handshake is done."""
        self._peer = peer
        self._line.to_browser.send(("opened", None))
        as_wire: Any = self
        wire: WebSocketWire = as_wire  # what a connection uses of one
        peer.opened(wire)

    # -- what the peer calls ------------------------------------------------------------------------------------------

    def send(self, payload: bytes, binary: bool) -> None:
        if self._state == "open":
            self._line.to_browser.send(("binary" if binary else "text", payload))

    def send_frame(self, frame: bytes) -> None:
        """A whole frame that was made for many."""
        head = {126: 4, 127: 10}.get(frame[1], 2)
        self.send(frame[head:], frame[0] & 0x0F == 2)

    def ping(self, payload: bytes) -> None:
        if self._state == "open":
            self._line.to_browser.send(("ping", payload))

    def ready(self) -> None:
        return

    def close(self, code: int, reason: str) -> None:
        if self._state != "open":
            return
        self._line.network.world.note(self._process.name, f"closes {self._line.browser}", reason)
        self._close = (code, reason)
        self._state = "closing"
        self._line.to_browser.send(("close", (code, reason)))
        self._process.call_later(CLOSE_LIMIT_S, self._overdue)
        self.release()

    def hold(self) -> None:
        if self._state == "open":
            self._held = True

    def release(self) -> None:
        if self._held:
            self._held = False
            self._process.call_soon(self._go_on)

    # -- what comes ---------------------------------------------------------------------------------------------------

    def arrived(self, item: Item) -> None:
        """It is in the system's buffer; the process comes to it."""
        self._process.call_soon(self._take, item)

    def _take(self, item: Item) -> None:
        self._come.append(item)
        self._go_on()

    def _go_on(self) -> None:
        while self._come and not self._held and self._state != "ended":
            kind, value = self._come.popleft()
            if kind == "end":
                self.end(1006, "")
            elif kind == "close":
                if self._state == "open":
                    self._line.to_browser.send(("close", value))
                self.end(*value)
                self._line.forget()
            elif self._state == "open":
                self.heard = True
                assert self._peer is not None
                if kind == "pong":
                    self._peer.pong(value)
                else:
                    self._peer.frame(value, kind == "binary")

    def end(self, code: int, reason: str) -> None:
        """The connection is over."""
        if self._state == "ended":
            return
        self._state = "ended"
        peer, self._peer = self._peer, None
        self._come.clear()
        if peer is not None:
            peer.closed(*(self._close or (code, reason)))

    def _overdue(self) -> None:
        """The client has not answered our close."""
        if self._state != "ended":
            self._line.to_browser.send(GONE)
            self.end(1006, "")
