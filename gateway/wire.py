"""WebSocket frames on an asyncio transport: bytes in, whole messages to a peer; messages out, one write a turn.

A `WebSocketWire` is the asyncio protocol of a connection whose opening handshake is done. It knows RFC 6455 and its
limits, and nothing of what the messages say. An echo server on it, with an edge for listener and handshake:

    class Echo(Peer):
        def opened(self, wire):
            self.wire = wire

        def frame(self, payload, binary):
            self.wire.send(payload, binary)

    async def main():
        async with Edge(EdgeOptions(port=8765)) as edge:
            await edge.start(None, lambda request: Echo())
            await asyncio.Event().wait()

Reading has two ways. Nearly all frames of a typing client are whole messages of known shape, and whole in the buffer:
`data_received` takes those apart itself. Every other frame goes, whole, through `gateway.frames` to the library's
parser, so that after it we are at a frame's first byte again. A frame that is not whole waits, at most `message_bytes`
of it.

One read may bring tens of thousands of tiny frames, a second's work. Who floods us so has about a millisecond of each
turn of the loop, together with all others who do, and is not read from until what has come is taken apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from config.edge import WireOptions
from gateway.deadlines import Deadlines, Limit
from gateway.frames import (
    BINARY_HEADS,
    INVALID_DATA,
    NOT_UTF8,
    TEXT_HEADS,
    RareFrames,
    close_frame,
    head_16,
    head_64,
    is_utf8,
)
from gateway.limits import Door
from gateway.masking import apply_mask

__all__ = ["BufferedWire", "Peer", "WebSocketWire", "Wires"]

INTERNAL = 4000
"""Close code: the peer failed; the client may come back (a code of the application's range, RFC 6455 7.4.2)."""

SLOW = 4002
"""Close code: the client does not read what it is sent."""

_OPEN, _CLOSING, _ENDED = range(3)  # a close frame of ours is out; nothing is delivered or sent any more
_COALESCED_BYTES = 16_384  # a turn's frames are joined up to here, so that joining stays cheap

FLOOD_S = 0.001
"""How long floods may hold the loop in one of its turns."""

_STRIDE_BYTES = 256  # between two looks at the clock: 42 pings, which take half a millisecond

_log = logging.getLogger(__name__)


class Peer:
    """Who a wire works for. Every method is called on the event loop and must return soon (3 ms at the most).

    Each method does nothing here: a subclass has those that it needs.
    """

    __slots__ = ()

    def opened(self, wire: WebSocketWire) -> None:
        """The handshake is done; what is sent from here leaves in one packet with its response."""

    def frame(self, payload: bytes, binary: bool) -> None:
        """One whole data message (of one frame or put together from fragments); text is valid UTF-8."""

    def pong(self, payload: bytes) -> None:
        """The client answered a ping (or sent a pong unasked)."""

    def rare(self) -> None:
        """A ping or a fragment came (or another frame that is not common): it costs ten times a common one's time."""

    def paused(self) -> None:
        """More than `soft_bytes` wait to be sent: leave out what can be left out."""

    def resumed(self) -> None:
        """The client reads again."""

    def closed(self, code: int, reason: str) -> None:
        """Exactly once, the last call: no frame comes any more, and what is sent is dropped.

        `code` and `reason` are those of the first close frame on the wire, ours or the client's; 1005 where the
        client's frame had no code, 1006 where the connection ended without one.
        """


class Flood(Protocol):
    """A connection that has read more than can be taken apart at once."""

    def flood(self, until: float) -> None:
        """Go on where it was put off, until this instant of the loop's clock."""


class Wires:
    """All WebSocket connections of an edge: who they are, and what they share."""

    __slots__ = (
        "_flushing",
        "_loop",
        "_putting_off",
        "_unsent",
        "clock",
        "closing",
        "door",
        "gone",
        "open",
        "options",
        "put_off",
        "receive_buffer",
        "stalled",
    )

    def __init__(
        self,
        options: WireOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        door: Door,
        gone: Callable[[], None],
    ) -> None:
        self.options = options
        self.open: set[WebSocketWire] = set()
        """Every connection that still has its transport, those being closed included."""
        self.closing: Limit = deadlines.limit(options.close_limit_s)
        self.stalled: Limit = deadlines.limit(options.stall_limit_s)
        self.door = door
        self.gone = gone
        """Called when a connection has ended and is out of `open`."""
        self.receive_buffer = memoryview(bytearray(65_536))
        """Where `BufferedWire` reads: one for all, since a read is taken apart before the next one begins."""
        self.clock = loop.time
        self.put_off: deque[Flood] = deque()
        """Floods that wait for their next turn, HTTP's among them."""
        self._loop = loop
        self._unsent: list[WebSocketWire] = []
        self._flushing = False
        self._putting_off = False

    def flush_soon(self, wire: WebSocketWire) -> None:
        """Have what `wire` was given outside of a read written in the next turn, with everybody else's."""
        self._unsent.append(wire)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def go_on_soon(self, wire: WebSocketWire) -> None:
        """Have `wire` take up what waits in its buffer in the next turn."""
        self._loop.call_soon(wire.go_on)

    def take_turns(self, flood: Flood) -> None:
        """Have this one go on when it is its turn."""
        self.put_off.append(flood)
        if not self._putting_off:
            self._putting_off = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        until = self.clock() + FLOOD_S
        waiting = self.put_off
        try:
            for _ in range(len(waiting)):
                waiting.popleft().flood(until)
                if self.clock() >= until:
                    break
        finally:
            self._putting_off = bool(waiting)
            if waiting:
                self._loop.call_soon(self._turn)

    def _flush(self) -> None:
        self._flushing = False
        unsent, self._unsent = self._unsent, []
        for wire in unsent:
            wire.flush()


class _OfEachRead(asyncio.Protocol):
    """What each read looks at, side by side: a base's slots come first, and ten thousand wires fit no cache."""

    __slots__ = (
        "_corked",
        "_fast",
        "_out",
        "_partial",
        "_peer",
        "heard",
    )


class WebSocketWire(_OfEachRead):
    """One WebSocket connection, after its opening handshake, as the server's side of it."""

    __slots__ = (
        "_close",
        "_door_key",
        "_held",
        "_need",
        "_put_off",
        "_rare",
        "_state",
        "_transport",
        "_wires",
        "peer_address",
        "subprotocol",
        "writable",
    )

    def __init__(
        self, wires: Wires, peer: Peer, *, subprotocol: str | None, peer_address: str, door_key: str | None
    ) -> None:
        self.subprotocol = subprotocol
        """The subprotocol agreed on, None where none was asked of the client."""
        self.peer_address = peer_address
        """The client's address, behind trusted proxies the one they tell."""
        self.writable = True
        """False between `paused` and `resumed`."""
        self.heard = True
        """Set by every whole frame that arrives; whoever watches for silence clears it and looks again later."""
        self._wires = wires
        self._peer: Peer | None = peer
        self._transport: asyncio.Transport | None = None
        self._door_key = door_key
        self._state = _OPEN
        self._fast = True  # open, not held, and no fragmented message under way: common frames are ours
        self._held = False
        self._corked = True  # a read is being taken apart: what is sent meanwhile waits for its end
        self._out = b""  # frames of this turn
        self._partial: bytearray | None = None  # read, but not yet a whole frame, or put off
        self._put_off = False  # a flood: nothing is read, and what was read waits for its turn
        self._need = 0  # length of `_partial` with which to look again
        self._rare: RareFrames | None = None  # while a fragmented message is under way
        self._close: tuple[int, str] | None = None  # what `closed` will say

    # What the peer calls.

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent: no close frame has been sent or received, and the connection stands."""
        return self._state == _OPEN

    @property
    def pending_bytes(self) -> int:
        """Bytes accepted by `send` that the system has not yet taken."""
        transport = self._transport
        return len(self._out) + (transport.get_write_buffer_size() if transport is not None else 0)

    @property
    def waiting_bytes(self) -> int:
        """Bytes received that are not delivered yet: of a frame, or a message of fragments, that is not whole."""
        return len(self._partial or b"") + (self._rare.waiting_bytes if self._rare is not None else 0)

    def send(self, payload: bytes, binary: bool) -> None:
        """Send one data message (text: valid UTF-8 is the caller's care); dropped where the connection is not open.

        Beyond `hard_bytes` of unsent bytes the connection is closed as slow (4002).
        """
        if self._state:
            return
        length = len(payload)
        if length < 126:
            self._write((BINARY_HEADS if binary else TEXT_HEADS)[length] + payload)
        elif length < 65_536:
            self._write(head_16(0x82 if binary else 0x81, 126, length) + payload)
        else:
            self._write(head_64(0x82 if binary else 0x81, 127, length) + payload)

    def send_frame(self, frame: bytes) -> None:
        """Send what `frames.data_frame` has made, for many; to be called only while `writable`.

        Without an attempt to join it with this turn's other frames: the loop writes at the turn's end all the same.
        """
        if self._state:
            return
        if self._out or self._corked:
            self._write(frame)
        else:
            self._transport.write(frame)  # type: ignore[union-attr]  # who is open has it

    def ping(self, payload: bytes) -> None:
        """Send a ping of at most 125 bytes; the client's answer comes as `pong`.

        Raises:
            ValueError: the payload is longer.
        """
        if len(payload) > 125:
            raise ValueError(f"a ping has at most 125 bytes (RFC 6455 5.5), not {len(payload)}")
        if not self._state:
            self._write(bytes((0x89, len(payload))) + payload)

    def ready(self) -> None:
        """The application knows this client: it counts no more against its address's pending connections."""
        key = self._door_key
        if key is not None:
            self._door_key = None
            self._wires.door.leave(key)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and have the connection over within `close_limit_s`.

        No frame is delivered after it; `closed` follows when the client has answered, or has not in time. Closing
        again does nothing. A reason beyond the 123 bytes that a frame holds is cut.

        Raises:
            websockets.exceptions.ProtocolError: no close frame may have this code (RFC 6455 7.4).
        """
        if self._state:
            return
        frame, reason = close_frame(code, reason)
        self._close = (code, reason)
        self._state = _CLOSING
        self._fast = False
        self._write(frame)
        self._wires.stalled.stop(self)
        self._wires.closing.start(self)
        self.release()  # the client's close frame must be read

    def hold(self) -> None:
        """Deliver no further frame, and read no further bytes, until `release`."""
        if self._state == _OPEN and not self._held:
            self._held = True
            self._fast = False
            assert self._transport is not None
            self._transport.pause_reading()

    def release(self) -> None:
        """Go on after `hold`; frames that waited are delivered in a later turn, in order."""
        if self._held:
            self._held = False
            self._fast = self._state == _OPEN and self._rare is None
            self._wires.go_on_soon(self)

    # What the edge and the shared timers call.

    def begin(self, transport: asyncio.Transport, response: bytes, received: bytes) -> None:
        """Take over a connection whose handshake `response` is yet to be sent; `received` came after its request."""
        self._transport = transport
        self._wires.open.add(self)
        transport.set_write_buffer_limits(high=self._wires.options.soft_bytes)
        self._out = response
        try:
            assert self._peer is not None
            self._peer.opened(self)
        except Exception:
            self._fail_internal()
        self.data_received(received)

    def go_on(self) -> None:
        """Take up reading, and what was read before, after a `hold`."""
        if not self._held and not self._put_off:
            self.data_received(b"")
            self._read_on()

    def flood(self, until: float) -> None:
        """Take up a flood where it was put off, until this instant of the loop's clock."""
        self._put_off = False
        if not self._held:
            self.data_received(b"", until)
            self._read_on()

    def flush(self) -> None:
        """Write what this turn has gathered."""
        out = self._out
        transport = self._transport
        if out and transport is not None:
            self._out = b""
            transport.write(out)
            if not self.writable and self._state == _OPEN and self.pending_bytes > self._wires.options.hard_bytes:
                self.close(SLOW, "slow")

    def abort(self) -> None:
        """End the connection at once, without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def overdue(self) -> None:
        """A time limit is over: a reader stalled too long, or a close that the client does not complete."""
        if self._state == _OPEN:
            self.close(SLOW, "slow")
        else:
            self.abort()

    # What the transport calls.

    def data_received(self, data: bytes, until: float = 0) -> None:
        """Take the next bytes of the stream; where they are many, until this instant, or for a short while."""
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._need or self._put_off:
                return
            self._partial = None
            data = bytes(partial)
        position = 0
        size = len(data)
        look = _STRIDE_BYTES
        self._corked = True
        try:
            while position < size:
                if position > look:
                    look = position + _STRIDE_BYTES
                    wires = self._wires
                    until = until or wires.clock() + (0 if wires.put_off else FLOOD_S)
                    if wires.clock() >= until and self._may_put_off():
                        self._wait(data, position, 0)
                        self._put_off = True
                        wires.take_turns(self)
                        break
                start = position + 6
                if self._fast and start <= size:
                    # RFC 6455 5.2: FIN and opcode; mask bit and length; 16 bits of length; mask; payload
                    first = data[position]
                    length = data[position + 1] - 0x80
                    if length == 126:
                        start += 2
                        length = data[position + 2] << 8 | data[position + 3]
                        if length > self._wires.options.message_bytes:
                            length = -1
                    elif length == 127:
                        length = -1
                    end = start + length
                    if length >= 0 and end <= size:
                        if first == 0x82:
                            position = end
                            self._peer.frame(apply_mask(data[start:end], data[start - 4 : start]), True)  # type: ignore[union-attr]  # who is `_fast` has it
                            continue
                        if first == 0x81:
                            payload = apply_mask(data[start:end], data[start - 4 : start])
                            position = end
                            if payload.isascii() or is_utf8(payload):
                                self._peer.frame(payload, False)  # type: ignore[union-attr]  # who is `_fast` has it
                            else:
                                self._fail(INVALID_DATA, NOT_UTF8)
                            continue
                        if first == 0x8A and length < 126 and start == position + 6:
                            position = end
                            self._peer.pong(apply_mask(data[start:end], data[start - 4 : start]))  # type: ignore[union-attr]  # likewise
                            continue
                consumed = self._take_other(data, position)
                if not consumed:
                    break
                position += consumed
        except Exception:
            self._fail_internal()
        if position:
            self.heard = True
        self._corked = False
        if self._out:
            self.flush()

    def eof_received(self) -> None:
        """The client sends no more (returning None has the transport closed)."""
        self._end(1006, "")

    def pause_writing(self) -> None:
        """The transport holds more than `soft_bytes`."""
        self.writable = False
        if self._state == _OPEN:
            self._wires.stalled.start(self)
            self._tell("paused")

    def resume_writing(self) -> None:
        """The transport has got rid of most of it."""
        if not self.writable:
            self.writable = True
            self._wires.stalled.stop(self)
            if self._state == _OPEN:
                self._tell("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over: leave nothing behind."""
        self._transport = None
        self._end(1006, "")
        wires = self._wires
        wires.open.discard(self)
        wires.closing.stop(self)
        self._partial = None
        self._out = b""
        self.ready()
        wires.gone()

    # What is done with frames that are not common.

    def _take_other(self, data: bytes, position: int) -> int:
        """Take one frame of any kind; the number of bytes taken, 0 where the frame has to wait."""
        available = len(data) - position
        if self._state == _ENDED:
            return available  # RFC 6455 7.1.7: nothing more is to be processed
        if self._held:
            return self._wait(data, position, 0)
        rare = self._rare
        if rare is None:
            rare = RareFrames(message_bytes=self._wires.options.message_bytes)
        length = rare.length_at(data, position)
        if available < length:
            return self._wait(data, position, length)
        if self._peer is not None:
            self._peer.rare()
        outcome = rare.take(data[position : position + length], close_sent=self._close)
        self._rare = rare if rare.amid_message else None
        self._fast = self._state == _OPEN and self._rare is None
        if outcome.end is not None:
            self._finish(outcome.reply, *outcome.end)
            return length
        if outcome.reply and self.writable:  # a pong; RFC 6455 5.5.3 lets us leave out all but the last
            self._write(outcome.reply)
        if self._state == _OPEN:
            assert self._peer is not None  # it leaves with the state
            if outcome.message is not None:
                self._peer.frame(*outcome.message)
            elif outcome.pong is not None:
                self._peer.pong(outcome.pong)
        return length

    def _may_put_off(self) -> bool:
        """Read no further bytes until those that are here are taken apart, where this connection is still read."""
        transport = self._transport
        if transport is None or self._held or self._state == _ENDED:
            return False
        transport.pause_reading()
        return True

    def _wait(self, data: bytes, position: int, need: int) -> int:
        self._partial = bytearray(data[position:])
        self._need = need
        return 0

    # How frames go out, and how it ends.

    def _write(self, frame: bytes) -> None:
        out = self._out
        if not out:
            self._out = frame
            if not self._corked:
                self._wires.flush_soon(self)
        else:
            self._out = out + frame
            if len(out) > _COALESCED_BYTES:
                self.flush()

    def _read_on(self) -> None:
        if self._transport is not None and not self._held and not self._put_off:
            self._transport.resume_reading()

    def _tell(self, what: str) -> None:
        try:
            getattr(self._peer, what)()
        except Exception:
            self._fail_internal()

    def _fail_internal(self) -> None:
        _log.exception("the peer of the connection from %s failed", self.peer_address)
        self._fail(INTERNAL, "internal error")

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 7.1.7): say why, where that may still be said, and hang up."""
        if self._state != _ENDED:
            self._finish(close_frame(code, reason)[0] if self._state == _OPEN else b"", code, reason)

    def _finish(self, last: bytes, code: int, reason: str) -> None:
        """Send the `last` bytes and our end of stream; the client's end is awaited until `close_limit_s`."""
        transport = self._transport
        if self._state == _ENDED or transport is None:
            return
        self._state = _CLOSING  # before the flush, which may find the reader slow
        self._out += last
        self.flush()
        if transport.can_write_eof():
            # Closing both ways now would, with bytes of the client's still unread, reset the connection, and our
            # close frame could be lost with it (RFC 6455 7.1.1).
            transport.write_eof()
        else:  # TLS knows no half-closed connection
            transport.close()
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        """Tell the peer, once, and let go of all that only an open connection needs."""
        peer = self._peer
        if peer is None:
            return
        self._peer = None
        self._state = _ENDED
        self._fast = False
        self._partial = None
        if self._rare is not None:
            self._rare.dismiss()
            self._rare = None
        self._wires.stalled.stop(self)
        self._held = self._put_off = False
        if self._transport is not None:
            self._wires.closing.start(self)
            self._read_on()  # to the client's end of stream
        try:
            peer.closed(*(self._close or (code, reason)))
        except Exception:
            _log.exception("the peer of the connection from %s failed in `closed`", self.peer_address)


class BufferedWire(WebSocketWire, asyncio.BufferedProtocol):
    """The wire on asyncio's own loop, which otherwise makes and cuts 256 KiB of memory for each read."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop may read to."""
        return self._wires.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The loop has read `nbytes`."""
        self.data_received(bytes(self._wires.receive_buffer[:nbytes]))
