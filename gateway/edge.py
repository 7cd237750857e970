"""One port for WebSocket and HTTP: reads a connection's first request and gives it to our wire or to uvicorn.

Both ways to one port were tried. uvicorn's own hand-over makes and drops a whole HTTP connection for each WebSocket,
which takes more than half as much Python time again; reading the first head here is cheaper, and puts the
deadline, the limits and the bytes that came with the upgrade into our hands. An upgrade on a kept-alive connection (of
a proxy that reuses it) takes the longer way through `gateway.http`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl as tls
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from config.edge import EdgeOptions
from gateway.addresses import Proxies
from gateway.deadlines import Deadlines, Limit
from gateway.handshake import Handshake, Refusal
from gateway.heads import Heads, Request
from gateway.http import HttpConnection
from gateway.limits import Door
from gateway.proxied import ProxiedConnection
from gateway.wire import BufferedWire, Peer, WebSocketWire, Wires

__all__ = ["Edge", "PeerFactory", "Tally"]

PeerFactory = Callable[[Request], Peer | Refusal]
"""Makes the peer of one WebSocket connection, or says why not; called when the handshake is otherwise accepted."""

RESTARTING = 1012
"""Close code: the service restarts (IANA's registry of RFC 6455 close codes)."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """What has happened at this edge since it started; counts only."""

    accepted: int = 0
    """Connections taken, HTTP and WebSocket."""
    websockets: int = 0
    """Handshakes completed."""
    refused_handshakes: int = 0
    """Requests for the WebSocket's path that got another answer."""
    refused_full: int = 0
    """Connections refused since there were too many in all."""
    refused_address: int = 0
    """Connections refused since too many of their address were not ready yet, or spoke HTTP."""
    heads_overdue: int = 0
    """Requests that did not arrive in time."""
    proxy_untrusted: int = 0
    """Connections of peers that are no trusted proxies, where a PROXY header is required."""
    proxy_malformed: int = 0
    """Connections of trusted proxies that began with no PROXY header, where one is required, or with a broken one."""
    proxy_late: int = 0
    """PROXY headers that did not arrive in time."""


class Edge:
    """The listener of one process. An async context manager: leaving it closes it.

    It neither handles signals nor runs the ASGI lifespan: resources and signals are the composition root's.
    `subprotocols`: those that clients must choose from; none: they need not offer any.
    """

    def __init__(self, options: EdgeOptions, *, subprotocols: tuple[str, ...] = ()) -> None:
        self.options = options
        self.tally = Tally()
        self.draining = False
        self.proxies = Proxies(options.trusted_proxies)
        self.parser = Heads(options.path)
        self.handshake = Handshake(origins=options.origins, subprotocols=subprotocols)
        self.door = Door(limit=options.pending_per_address)
        self.http_door = Door(limit=options.http_per_address)
        self.uvicorn_state = ServerState()
        self.opening: set[FirstRequest | ProxiedConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.http: set[HttpConnection] = set()
        self.most_connections = min(options.connections, _open_files())
        self.target = options.path.encode()
        self.loop: asyncio.AbstractEventLoop
        self.uvicorn: uvicorn.Config
        self.heads: Limit
        self.bodies: Limit
        self.wires: Wires
        self._deadlines: Deadlines
        self._peer_factory: PeerFactory
        self._wire_class: type[WebSocketWire]
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._without: asyncio.Event | None = None  # set when there is no connection any more

    async def __aenter__(self) -> Edge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(timeout_s=0)

    async def start(self, app: Any, peer_factory: PeerFactory, *, ssl: tls.SSLContext | None = None) -> None:
        """Listen. `app` is an ASGI application for HTTP, or None: then all but the WebSocket's path is 404.

        Raises:
            OSError: the address cannot be had; its text names it.
        """
        options = self.options
        loop = self.loop = asyncio.get_running_loop()
        limits_s = (
            options.head_limit_s,
            options.body_limit_s,
            options.wire.close_limit_s,
            options.wire.stall_limit_s,
        )
        self._deadlines = Deadlines(period_s=min(1.0, min(limits_s) / 5), now_s=loop.time())
        self.heads = self._deadlines.limit(options.head_limit_s)
        self.bodies = self._deadlines.limit(options.body_limit_s)
        self.wires = Wires(options.wire, loop=loop, deadlines=self._deadlines, door=self.door, gone=self.gone)
        self._peer_factory = peer_factory
        self._wire_class = WebSocketWire if isinstance(loop, uvloop.Loop) else BufferedWire
        self.uvicorn = uvicorn.Config(
            app or _nothing_here,
            loop="none",
            http=HttpConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=options.keep_alive_s,  # type: ignore[arg-type]  # it goes to call_later, fractions and all
        )
        self.uvicorn.load()
        # with PROXY headers it begins after these
        own_tls, told_tls = (ssl, None) if options.proxy_protocol == "off" else (None, ssl)
        self._servers.append(
            await loop.create_server(
                (lambda: FirstRequest(self))
                if options.proxy_protocol == "off"
                else (lambda: ProxiedConnection(self, told_tls)),
                options.host,
                options.port,
                backlog=options.backlog,
                reuse_port=options.reuse_port,
                ssl=own_tls,
                ssl_handshake_timeout=options.head_limit_s if own_tls is not None else None,
            )
        )
        self._sweep()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        return [tuple(socket.getsockname()[:2]) for server in self._servers for socket in server.sockets]

    @property
    def connections(self) -> int:
        """Open connections, HTTP and WebSocket together."""
        return len(self.opening) + len(self.http) + len(self.wires.open)

    @property
    def websockets(self) -> int:
        """Open WebSocket connections, those being closed included."""
        return len(self.wires.open)

    def begin_drain(self) -> None:
        """The listener stays open; HTTP connections end after their next response instead of being kept alive."""
        self.draining = True

    def leave(self) -> None:
        """Take no new connections; those that are open go on. For a port that other processes share: they take them."""
        for server in self._servers:
            server.close()

    async def close(self, *, timeout_s: float) -> None:
        """Stop listening, close WebSockets with 1012, let running HTTP requests end, and cut what is left then."""
        self.draining = True
        for server in self._servers:
            server.close()
        if not self._servers:
            return
        self._servers.clear()
        for first in list(self.opening):
            first.abort()
        for wire in list(self.wires.open):
            wire.close(RESTARTING, "restarting")
        for http in list(self.http):
            http.shutdown()
        await self.emptied(timeout_s)
        aborts = [connection.abort for group in (self.opening, self.http, self.wires.open) for connection in group]
        for abort in aborts:
            abort()
        tasks = [*self.uvicorn_state.tasks, *self.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.emptied(1.0)  # their connection_lost is already under way
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until there is no connection, but no longer than `timeout_s`; whether there is none."""
        if self.connections:
            if self._without is None:
                self._without = asyncio.Event()
            self._without.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._without.wait()
            except TimeoutError:
                return False
        return True

    # What connections of this edge call.

    def upgrade(
        self, transport: asyncio.Transport, request: Request, received: bytes, *, address: str, key: str | None
    ) -> Refusal | None:
        """Make a WebSocket of the connection from `address`, or say why not.

        `received` came after the request. `key` is the connection's place at the door where it has one already; it is
        the wire's from here on, and the caller's still where the request is refused.
        """
        request.address = self.proxies.client(address, request.headers.get("x-forwarded-for"))
        if request.path == self.options.path:
            answer = self.handshake.answer(request)
        else:
            answer = Refusal(404, f"There is no WebSocket here; it is at {self.options.path}.")
        if isinstance(answer, bytes):
            place = key if key is not None else self.door.enter(request.address)
            if place is None:
                return self.crowded()
            peer = self._make_peer(request)
            if not isinstance(peer, Refusal):
                wire = self._wire_class(
                    self.wires, peer, subprotocol=request.subprotocol, peer_address=request.address, door_key=place
                )
                transport.set_protocol(wire)
                self.tally.websockets += 1
                wire.begin(transport, answer, received)
                return None
            if key is None:
                self.door.leave(place)
            answer = peer
        self.tally.refused_handshakes += 1
        return answer

    def first_request(self, told: tuple[str, int] | None) -> FirstRequest:
        """What a connection is after a PROXY header; `told`: the client that it tells of, if it does."""
        return FirstRequest(self, told)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what a connection waits for; the edge owns the task until it ends."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def crowded(self) -> Refusal:
        """The answer to one connection too many of one address."""
        self.tally.refused_address += 1
        return Refusal(429, "Too many connections of your address are open or being opened; try again later.")

    def head_too_long(self) -> Refusal:
        """The answer to too long a head."""
        return Refusal(431, f"Request line and headers may have {self.options.head_bytes} bytes together.")

    def gone(self) -> None:
        """A connection of this edge has ended."""
        if self._without is not None and not self.connections:
            self._without.set()

    # The rest.

    def _make_peer(self, request: Request) -> Peer | Refusal:
        try:
            return self._peer_factory(request)
        except Exception:
            _log.exception("no peer could be made for a connection from %s", request.address)
            return Refusal(500, "The server failed; its log says why.")

    def _sweep(self) -> None:
        """Once a period: deadlines, the Date header, and responses that nobody reads to their end."""
        self._sweeping = self.loop.call_later(self._deadlines.period_s, self._sweep)  # first: come what may below
        self._deadlines.sweep(now_s=self.loop.time())
        self.uvicorn_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        for http in self.http:
            if http.transport.is_closing():
                self.wires.closing.start(http)


class FirstRequest(asyncio.Protocol):
    """A new connection until the head of its first request is here; `told`: whose it is, as a balancer said."""

    __slots__ = ("_address", "_edge", "_head", "_key", "_told", "_transport")

    def __init__(self, edge: Edge, told: tuple[str, int] | None = None) -> None:
        self._edge = edge
        self._told = told
        self._head = b""
        self._address = ""
        self._key: str | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a socket's always is one
        """Take the connection, or refuse it where there are too many."""
        edge = self._edge
        self._transport = transport
        edge.opening.add(self)
        edge.tally.accepted += 1
        address = self._told or transport.get_extra_info("peername")
        self._address = address[0] if address else ""
        if edge.connections > edge.most_connections:
            edge.tally.refused_full += 1
            self._refuse(Refusal(503, "This server has as many connections as it can hold; try again later."))
        elif not edge.proxies or not edge.proxies.trusts(self._address):  # else its clients are counted each
            self._key = edge.door.enter(self._address)
            if self._key is None:
                self._refuse(edge.crowded())
        edge.heads.start(self)

    def data_received(self, data: bytes) -> None:
        """Once the head is whole, give the connection to who speaks its language."""
        edge = self._edge
        transport = self._transport
        if transport.is_closing():
            return
        if self._head:
            data = self._head + data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > edge.options.head_bytes:
            self._head = data
            if len(data) > edge.options.head_bytes:
                self._refuse(edge.head_too_long())
            return
        target = data.find(b" ", 0, 16) + 1  # the longest registered method has 14 letters
        after = target + len(edge.target)
        if data.startswith(edge.target, target) and data[after : after + 1] in (b" ", b"?"):
            request = edge.parser.parse(data[:end])
            if request is None:
                self._refuse(Refusal(400, "This is no HTTP request."))
                return
            refusal = edge.upgrade(transport, request, data[end:], address=self._address, key=self._key)
            if refusal is None:
                self._key = None  # the wire's now
                self._leave()
            else:
                self._refuse(refusal)
            return
        place = None
        if self._key is not None:
            place = edge.http_door.enter(self._address)
            if place is None:
                self._refuse(edge.crowded())
                return
        http = HttpConnection(edge, place)
        transport.set_protocol(http)
        http.connection_made(transport)
        if self._told is not None:
            http.client = self._told
        self._leave()
        http.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended before it became anything."""
        self._leave()
        self._edge.wires.closing.stop(self)
        self._edge.gone()

    def overdue(self) -> None:
        """The head does not come, or the refusal is not read."""
        if self._transport.is_closing():
            self._transport.abort()
        else:
            self._edge.tally.heads_overdue += 1
            self._refuse(Refusal(408, "The request did not arrive in time."))

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        self._transport.write(refusal.to_bytes())
        self._transport.close()
        self._edge.wires.closing.start(self)

    def _leave(self) -> None:
        edge = self._edge
        edge.opening.discard(self)
        edge.heads.stop(self)
        if self._key is not None:
            edge.door.leave(self._key)
            self._key = None


def _open_files() -> int:
    """Connections that the process's limit of open files leaves room for, with a reserve for all other files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return max(1, soft - min(256, soft // 4))


async def _nothing_here(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application where none was given."""
    body = b"There is nothing here.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
