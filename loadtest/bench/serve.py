"""The Python servers of the comparison, each a program: `python -m loadtest.bench.serve NAME WORK`.

Work `echo` sends each message back. Work `paced` takes 40-byte messages and answers every fourth one of a connection
with 100 bytes. Work `scored` (websockets alone) speaks `typegate.v1.msgpack` and does what Typegate does with keys: the
same codec, session and ticks, from a library's connection instead of ours, without limits, results and metrics.
Work `handshake` (raw alone) answers a connection's first two reads with what Typegate answers, made once for all.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

from loadtest.line import ACCEPT
from loadtest.served import raise_file_limit

__all__ = ["ANSWER", "SERVERS", "main"]

ANSWER = bytes(range(100))
"""What `paced` work answers: about the size of a tick."""


def announce(port: int) -> None:
    """Tell the bench where to connect."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.stdout.write(f"ready 127.0.0.1:{port}\n")
    sys.stdout.flush()


async def raw(work: str) -> None:
    """TCP without WebSocket: what uvloop and the kernel cost, the floor for any Python server."""

    class Raw(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.count = 0

        def data_received(self, data: bytes) -> None:
            if work == "echo":
                self.transport.write(data)
            else:
                self.count += 1
                if not self.count & 3:
                    self.transport.write(ANSWER)

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.answers = iter(answers)

        def data_received(self, data: bytes) -> None:
            self.transport.write(next(self.answers))

    answers = _greetings() if work == "handshake" else ()
    protocol = Greeter if work == "handshake" else Raw
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _greetings() -> tuple[bytes, bytes]:
    """The response to an upgrade with `hello`, and `ready`: about as long as Typegate's, for the client's one key."""
    from gateway.codec import MSGPACK
    from gateway.frames import BINARY_HEADS, head_16
    from session.messages import Hello, Ready

    hello = MSGPACK.encode(Hello(1, "node", 10_000, {f"limit {number}": 65_536 for number in range(8)}).to_wire())
    ready = MSGPACK.encode(Ready(-(2**52), True, "x" * 46).to_wire())
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: typegate.v1.msgpack\r\n\r\n"
    ) % ACCEPT
    return response + head_16(0x82, 126, len(hello)) + hello, BINARY_HEADS[len(ready)] + ready


async def wire(work: str) -> None:
    """Typegate's own edge and wire, with nothing behind them."""
    from config.edge import EdgeOptions
    from gateway.edge import Edge
    from gateway.wire import Peer, WebSocketWire

    class Echo(Peer):
        def opened(self, wire: WebSocketWire) -> None:
            self.wire = wire
            self.count = 0
            wire.ready()

        def frame(self, payload: bytes, binary: bool) -> None:
            if work == "echo":
                self.wire.send(payload, binary)
            else:
                self.count += 1
                if not self.count & 3:
                    self.wire.send(ANSWER, True)

    async with Edge(EdgeOptions(port=0)) as edge:
        await edge.start(None, lambda request: Echo())
        announce(edge.addresses[0][1])
        await asyncio.Event().wait()


async def library(work: str, *, compression: str | None) -> None:
    """`websockets.asyncio.serve`."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.typing import Subprotocol

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def paced(connection: ServerConnection) -> None:
        count = 0
        async for _ in connection:
            count += 1
            if not count & 3:
                await connection.send(ANSWER)

    options: dict[str, Any] = {"compression": compression}
    if compression is None:
        options["ping_interval"] = None
    handler: Callable[[ServerConnection], Coroutine[Any, Any, None]] = echo if work == "echo" else paced
    if work == "scored":
        from loadtest.bench.scored import scorer

        handler = await scorer()
        options["subprotocols"] = [Subprotocol("typegate.v1.msgpack")]
    async with serve(handler, "127.0.0.1", 0, backlog=4096, **options) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.wait_closed()


async def picows(work: str) -> None:
    """picows: a WebSocket in Cython on uvloop."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    class Echo(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            self.count = 0

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close()
                transport.disconnect()
            elif work == "echo":
                transport.send(frame.msg_type, frame.get_payload_as_bytes())
            else:
                self.count += 1
                if not self.count & 3:
                    transport.send(WSMsgType.BINARY, ANSWER)

    def listen(request: WSUpgradeRequest) -> WSListener:
        return Echo()

    server = await ws_create_server(listen, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


Server = Callable[[str], Coroutine[Any, Any, None]]

SERVERS: dict[str, Server] = {
    "raw": raw,
    "wire": wire,
    "picows": picows,
    "websockets": partial(library, compression=None),
    "websockets-default": partial(library, compression="deflate"),
    "websockets-stock": partial(library, compression=None),
    "websockets-stock-default": partial(library, compression="deflate"),
}
"""By name; those with `stock` run on asyncio's own event loop, the others on uvloop."""


def main() -> None:
    """Run the server of this name."""
    name, work = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    raise_file_limit()
    if "stock" in name:
        asyncio.run(SERVERS[name](work))
    else:
        uvloop.run(SERVERS[name](work))


if __name__ == "__main__":
    main()
