"""What the edge's tests share: a recording peer, a transport in memory, a served edge, and a client of bare bytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import pytest
import uvloop

from config.edge import EdgeOptions, WireOptions
from gateway.deadlines import Deadlines
from gateway.edge import Edge
from gateway.heads import Request
from gateway.limits import Door
from gateway.masking import exclusive_or
from gateway.wire import Peer, WebSocketWire, Wires

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3 gives this pair


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on uvloop and on asyncio's own loop, for 120 s at the most."""

    @pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
    def run(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(test(), 120))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


class Recorder(Peer):
    """A peer that writes down what it is told, and may do something about it."""

    def __init__(self, *, echo: bool = False, on_frame: Callable[[Recorder, bytes], None] | None = None) -> None:
        self.wire: WebSocketWire
        self.request: Request | None = None
        self.frames: list[tuple[bytes, bool]] = []
        self.pongs: list[bytes] = []
        self.flow: list[str] = []
        self.closes: list[tuple[int, str]] = []
        self.echo = echo
        self.on_frame = on_frame
        self._changed: asyncio.Future[None] | None = None

    def opened(self, wire: WebSocketWire) -> None:
        self.wire = wire
        self._change()

    def frame(self, payload: bytes, binary: bool) -> None:
        assert not self.closes, "a frame after `closed`"
        self.frames.append((payload, binary))
        if self.echo:
            self.wire.send(payload, binary)
        if self.on_frame is not None:
            self.on_frame(self, payload)
        self._change()

    def pong(self, payload: bytes) -> None:
        self.pongs.append(payload)
        self._change()

    def paused(self) -> None:
        self.flow.append("paused")
        self._change()

    def resumed(self) -> None:
        self.flow.append("resumed")
        self._change()

    def closed(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        self._change()

    async def until(self, condition: Callable[[Recorder], bool]) -> None:
        """Wait until something that this peer was told makes `condition` true."""
        while not condition(self):
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    async def until_closed(self) -> tuple[int, str]:
        await self.until(lambda peer: bool(peer.closes))
        return self.closes[0]

    def _change(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class MemoryTransport(asyncio.Transport):
    """A transport whose other end is a bytearray: what is written is there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.eof_written = self.closed = self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written, "written after the end of the stream"
        self.written += data
        self.writes += 1

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def memory_wire(
    peer: Peer, loop: asyncio.AbstractEventLoop, **options: Any
) -> tuple[WebSocketWire, MemoryTransport, Deadlines]:
    """An open wire on a transport in memory. Time stands still: on a busy machine little looks like a flood."""
    deadlines = Deadlines(period_s=1, now_s=0)
    wires = Wires(WireOptions(**options), loop=loop, deadlines=deadlines, door=Door(limit=1), gone=lambda: None)
    wires.clock = lambda: 0.0
    wire = WebSocketWire(wires, peer, subprotocol=None, peer_address="192.0.2.1", door_key=None)
    transport = MemoryTransport()
    wire.begin(transport, b"", b"")
    return wire, transport, deadlines


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = b"\x9a\x01\xff\x37", rsv: int = 0
) -> bytes:
    """One frame as a client sends it (RFC 6455 5.2); without `mask` as it must not."""
    length = len(payload)
    bit = 0x80 if mask is not None else 0
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if length < 126:
        head += bytes((bit | length,))
    elif length < 65_536:
        head += struct.pack("!BH", bit | 126, length)
    else:
        head += struct.pack("!BQ", bit | 127, length)
    return head + (payload if mask is None else mask + exclusive_or(payload, mask))


def close_payload(code: int, reason: str = "") -> bytes:
    return struct.pack("!H", code) + reason.encode()


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a server sent: opcode and payload; each must be whole, final and unmasked."""
    frames = []
    start = 0
    while start < len(data):
        opcode, length = data[start] & 0x0F, data[start + 1]
        assert data[start] & 0xF0 == 0x80
        start += 2
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[start : start + size], "big")
            start += size
        assert length <= len(data) - start
        frames.append((opcode, data[start : start + length]))
        start += length
    return frames


@asynccontextmanager
async def served(
    app: Any = None,
    peer: Callable[[], Recorder] = Recorder,
    *,
    subprotocols: tuple[str, ...] = (),
    ssl: SSLContext | None = None,
    wire_options: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Edge, asyncio.Queue[Recorder]]]:
    """An edge on a port of 127.0.0.1, and the peers that it makes."""
    peers: asyncio.Queue[Recorder] = asyncio.Queue()

    def make(request: Request) -> Recorder:
        made = peer()
        made.request = request
        peers.put_nowait(made)
        return made

    edge_options = EdgeOptions(port=0, wire=WireOptions(**(wire_options or {})), **options)
    async with Edge(edge_options, subprotocols=subprotocols) as edge:
        await edge.start(app, make, ssl=ssl)
        yield edge, peers


class Client:
    """A TCP client that says what it is told to, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, edge: Edge, ssl: SSLContext | None = None) -> AsyncIterator[Client]:
        host, port = edge.addresses[0]
        reader, writer = await asyncio.open_connection(
            host, port, ssl=ssl, server_hostname="localhost" if ssl else None
        )
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def websocket(cls, edge: Edge, ssl: SSLContext | None = None) -> AsyncIterator[Client]:
        """A client whose handshake is done."""
        async with cls.connected(edge, ssl) as client:
            client.send(upgrade_request())
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            yield client

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """The next response's status line and headers."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def response(self) -> tuple[int, bytes, bytes]:
        """The next response: status, head, body by its Content-Length."""
        head = await self.head()
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        return int(head.split(b" ")[1]), head, await self.reader.readexactly(length)

    async def frame(self) -> tuple[int, bytes]:
        """The server's next frame: opcode and payload."""
        first, length = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80
        if length > 125:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    async def end(self) -> bytes:
        """Whatever comes until the server ends the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:  # reset counts as an end
            return b""


def upgrade_request(path: str = "/ws", *, drop: tuple[str, ...] = (), **headers: str) -> bytes:
    """A good upgrade request, with headers dropped (by name) or replaced and added (dashes as underscores)."""
    fields = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY.decode(),
    }
    fields = {name: value for name, value in fields.items() if name not in drop}
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    fields = {name: given.pop(name.lower(), value) for name, value in fields.items()} | given
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
