"""A client's end of one WebSocket, as lean as it goes: a raw socket in the engine, frames masked and cut by hand.

It is no general client: it trusts the server to send whole messages (it closes on anything else), and its opening
handshake always has the same key, which the RFC leaves to the client.
"""

from __future__ import annotations

import socket
import struct
from base64 import b64encode
from errno import EINPROGRESS
from hashlib import sha1
from math import inf
from random import Random
from urllib.parse import urlsplit

from loadtest.engine import Engine

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library without its C extension
    from websockets.utils import apply_mask

__all__ = ["ACCEPT", "LONGEST_HOLD_MS", "Address", "Line", "client_frame", "loopback", "loopback_url"]

Address = tuple[str, int]

BINARY, TEXT, CLOSE, PING, PONG = 0x82, 0x81, 0x88, 0x89, 0x8A

_KEY = b64encode(bytes(range(16)))
ACCEPT = b64encode(sha1(_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
"""What a server answers to the one key (RFC 6455 4.2.2)."""
_MASKS = [Random("masks").randbytes(4) for _ in range(256)]
_HEADS = [[bytes((first, 0x80 | length)) for length in range(126)] for first in range(256)]
_DATA = frozenset((BINARY, 0xC2))  # compressed only where that was offered (RFC 7692)
LONGEST_HOLD_MS = 65_534
"""Holds travel in 16 bits."""
_HEAD_BYTES = 16_384
_PER_SOURCE = 8_192  # connections from one of our addresses: ports in TIME_WAIT of an earlier run must not run us out
_received = bytearray(65_536)  # every read goes here first: it is taken apart before the next one
_view = memoryview(_received)


def loopback(host: str) -> bool:
    """Whether this is an address of 127.0.0.0/8: nothing else is ever put under load."""
    try:
        return socket.inet_aton(host)[0] == 127 and host.count(".") == 3
    except OSError:
        return False


def loopback_url(url: str) -> Address:
    """Host and port of a `ws://` address of this machine. Raises ValueError for any other."""
    parts = urlsplit(url if "//" in url else f"ws://{url}")
    if parts.scheme not in ("ws", "http") or parts.hostname is None:
        raise ValueError(f"{url!r} is no ws:// address")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    if not loopback(host):
        raise ValueError(f"{host} is not in 127.0.0.0/8: load is only ever put on this machine")
    return host, parts.port or 80


def client_frame(first: int, payload: bytes, number: int = 0) -> bytes:
    """One masked frame (RFC 6455 5.2); `number` chooses among 256 masks."""
    mask = _MASKS[number & 255]
    length = len(payload)
    if length < 126:
        return _HEADS[first][length] + mask + apply_mask(payload, mask)
    if length < 65_536:
        return struct.pack("!BBH", first, 0xFE, length) + mask + apply_mask(payload, mask)
    return struct.pack("!BBQ", first, 0xFF, length) + mask + apply_mask(payload, mask)


class Line:
    """One connection that may be opened again and again. A subclass has `opened`, `message`, `lost` and `wake`."""

    __slots__ = ("_engine", "_fd", "_number", "_socket", "_unread", "_unsent", "_upgraded", "due_ms", "unheard")

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self._socket: socket.socket | None = None
        self._fd = -1
        self._unread = b""
        self._unsent = b""
        self._upgraded = False
        self.due_ms = inf
        self.unheard = 0
        """How often somebody looked since anything was heard; who looks adds one."""

    @property
    def connected(self) -> bool:
        """Whether the handshake is done and the connection stands."""
        return self._upgraded

    # --- what a subclass has ---

    def opened(self) -> None:
        """The handshake is done."""

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """One message; the view is good until the call returns."""

    def lost(self, code: int, reason: str) -> None:
        """The connection is over: close code, 1006 without one, 0 where it could not be made."""

    def pinged(self) -> None:
        """The server asks for a sign of life; the pong goes out after this."""

    def ponged(self) -> None:
        """The server answered a ping."""

    def wake(self, now_ms: float) -> None:
        """The instant asked for of the engine has come."""

    # --- what a subclass calls ---

    def connect(self, address: Address, subprotocol: str | None, *, extensions: str = "") -> None:
        """Begin to connect; `opened` or `lost` follows. Raises ValueError for an address beyond this machine."""
        if not self.dial(address):
            return
        fields = [
            b"GET /ws HTTP/1.1",
            b"Host: %s:%d" % (address[0].encode(), address[1]),
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: " + _KEY,
            b"Sec-WebSocket-Version: 13",
        ]
        if subprotocol is not None:
            fields.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode())
        if extensions:
            fields.append(b"Sec-WebSocket-Extensions: " + extensions.encode())
        self._write(b"\r\n".join([*fields, b"", b""]))

    def dial(self, address: Address) -> bool:
        """Begin a TCP connection without a handshake; False where that failed at once, and `lost` has been called."""
        if not loopback(address[0]):
            raise ValueError(f"{address[0]} is not in 127.0.0.0/8: load is only ever put on this machine")
        opening = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        opening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening.setsockopt(socket.SOL_IP, _BIND_ADDRESS_NO_PORT, 1)
        opening.bind((f"127.0.0.{2 + self._number // _PER_SOURCE % 250}", 0))
        self._socket = opening
        self.unheard = 0
        self._fd = opening.fileno()
        self._engine.watch(self._fd, self)
        failed = opening.connect_ex(address)
        if failed not in (0, EINPROGRESS):
            self._over(0, "could not connect")
            return False
        return True

    def send(self, first: int, payload: bytes, number: int = 0) -> None:
        """Send one frame; dropped where there is no connection."""
        if self._socket is not None:
            self._write(client_frame(first, payload, number))

    def send_frames(self, frames: bytes) -> None:
        """Send frames that are made already."""
        if self._socket is not None:
            self._write(frames)

    def hang_up(self) -> None:
        """Close without a word, as a train does in a tunnel; `lost` is not called."""
        if self._socket is not None:
            self._engine.forget(self._fd)
            self._socket.close()
            self._socket = None
            self._upgraded = False
            self._unread = self._unsent = b""

    def wake_at(self, due_ms: float) -> None:
        """Be woken at this instant of the engine's clock, and not before."""
        self.due_ms = due_ms
        self._engine.at(self)

    # --- what the engine calls ---

    def readable(self) -> None:
        """Read once, and take whole frames."""
        count = self.receive()
        if not count:
            return
        data: memoryview | bytes = _view[:count]
        if self._unread:
            data = self._unread + bytes(data)
            self._unread = b""
        if not self._upgraded:
            whole = bytes(data)
            head, end, rest = whole.partition(b"\r\n\r\n")
            if not end:
                if len(whole) > _HEAD_BYTES:
                    self._over(0, "no end of the response's head")
                self._unread = whole
                return
            if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT not in head:
                self._over(0, (head.split(b"\r\n")[0] + b": " + rest[:200]).decode(errors="replace"))
                return
            self._upgraded = True
            self.opened()
            data = rest
        self._take(data)

    def writable(self) -> None:
        """Send what waits."""
        unsent, self._unsent = self._unsent, b""
        self._engine.watch_both(self._fd, False)
        self._write(unsent)

    # --- inside ---

    def receive(self) -> int:
        """Read once into the shared buffer; 0 where nothing came, or the connection is over and `lost` was called."""
        connection = self._socket
        assert connection is not None
        try:
            count = connection.recv_into(_received)
        except BlockingIOError:
            return 0
        except OSError as fault:
            self._over(1006 if self._upgraded else 0, fault.strerror or "")
            return 0
        if not count:
            self._over(1006 if self._upgraded else 0, "")
        self.unheard = 0
        return count

    def _take(self, data: memoryview | bytes) -> None:
        at = 0
        size = len(data)
        while size - at >= 2 and self._socket is not None:
            first, length = data[at], data[at + 1]
            start = at + 2
            if length > 125:
                start = at + (4 if length == 126 else 10)
                if start > size:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            end = start + length
            if end > size:
                break
            at = end
            if first in _DATA:
                self.message(data[start:end], True)
            elif first == TEXT:
                self.message(data[start:end], False)
            elif first == PING:
                self.pinged()
                self._write(client_frame(PONG, bytes(data[start:end])))
            elif first == PONG:
                self.ponged()
            else:
                payload = bytes(data[start:end])
                self._write(client_frame(CLOSE, payload[:2]))
                code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 1005
                self._over(code if first == CLOSE else 1002, payload[2:].decode(errors="replace"))
                return
        if at < size and self._socket is not None:
            self._unread = bytes(data[at:])

    def _write(self, data: bytes) -> None:
        connection = self._socket
        if connection is None:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the read side will tell
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._engine.watch_both(self._fd, True)

    def _over(self, code: int, reason: str) -> None:
        self.hang_up()
        self.lost(code, reason)


_BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT, which Python's socket module does not name
