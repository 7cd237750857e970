"""HTTP by uvicorn's protocol class, with the limits that it lacks and its way out to our WebSocket.

uvicorn (0.54) never times a half-sent request out, takes headers of any length, waits without end for a body or for a
client that does not read its response, and on an upgrade drops the bytes that came with it. Here each of these has a
limit (see `EdgeOptions`), and an upgrade goes to the edge with all its bytes. `X-Forwarded-For` and `-Proto` are
believed by the same rule as for WebSockets.

Nor does it stop parsing before all is parsed that a read has brought, which may be fifteen thousand requests, half a
second's work, or reading while thousands wait for their turn. Here a read is parsed in slices: no further than to the
first that has to wait for another's answer, and beside WebSockets' floods (`gateway.wire`) where it takes long. What is
not parsed yet waits as it came, and nothing more is read meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.handshake import Refusal
from gateway.heads import Request, add_header
from gateway.wire import FLOOD_S

if TYPE_CHECKING:
    from gateway.edge import Edge

__all__ = ["HttpConnection"]

_IDLE, _HEAD, _BODY = range(3)  # what of a request is still to come

_SLICE_BYTES = 1024
"""Parsed at once: 56 of the shortest requests, which take 1.5 ms, or 170 chunks of a byte, a tenth of that."""


class _Flow(FlowControl):
    """Whether the client is read from: uvicorn asks for it as it likes, and we say no while something waits here."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._held = False
        self._pause_asked = False

    def pause_reading(self) -> None:
        """Uvicorn wants nothing more."""
        self._pause_asked = True
        super().pause_reading()

    def resume_reading(self) -> None:
        """It does again."""
        self._pause_asked = False
        if not self._held:
            super().resume_reading()

    def hold(self) -> None:
        """Read nothing until `release`."""
        self._held = True
        super().pause_reading()

    def release(self) -> None:
        """Read again, where uvicorn wants it."""
        if self._held:
            self._held = False
            if not self._pause_asked:
                super().resume_reading()


class HttpConnection(HttpToolsProtocol):
    """One connection that speaks HTTP, for one request after the other. `place`: its own among those of its address."""

    def __init__(self, edge: Edge, place: str | None = None) -> None:
        super().__init__(edge.uvicorn, edge.uvicorn_state, {}, edge.loop)
        self._edge = edge
        self._place = place
        self._awaited = _IDLE
        self._head_bytes = 0  # of the head under way, as far as it is parsed
        self._unparsed_bytes = 0  # received since the head began, while it is not complete
        self._rest = b""  # received, and not given to the parser yet
        self._put_off = False  # a flood: the rest waits for its turn
        self._deaf = False  # whatever comes is not read any more

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin; the edge has read a first request already, which comes next."""
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        self._edge.http.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        super().connection_lost(exc)
        self._forget()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._unset_keepalive_if_required()
        if self._deaf:
            return
        if self._rest:
            self._rest += data
        else:
            self._parse(data)

    def flood(self, until: float) -> None:
        """Take up parsing where it was put off, until this instant of the loop's clock (`Wires.take_turns`)."""
        self._put_off = False
        rest, self._rest = self._rest, b""
        if rest and not (self._deaf or self.transport.is_closing()):
            self._unset_keepalive_if_required()
            self._parse(rest, until)

    def pause_writing(self) -> None:
        """The client does not read its response."""
        super().pause_writing()
        self._edge.wires.stalled.start(self)

    def resume_writing(self) -> None:
        """The client reads on."""
        super().resume_writing()
        self._edge.wires.stalled.stop(self)

    # What the application's answers call.

    def on_response_complete(self) -> None:
        """A request is answered: the next one's turn, and if none waits that of what was not parsed for its sake."""
        super().on_response_complete()
        if self._rest and not (self.pipeline or self._put_off or self.transport.is_closing()):
            self._take_turns()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._awaited = _HEAD
        self._head_bytes = self._unparsed_bytes = 0
        self._edge.heads.start(self)

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: believe proxies, and start the application."""
        edge = self._edge
        edge.heads.stop(self)
        edge.bodies.start(self)
        self._awaited = _BODY
        if edge.proxies and self.client is not None and edge.proxies.trusts(self.client[0]):
            forwarded = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
            address = edge.proxies.client(self.client[0], ", ".join(forwarded))
            self.scope["client"] = (address, 0 if forwarded else self.client[1])
            for name, value in self.headers:
                if name == b"x-forwarded-proto" and value in (b"http", b"https"):
                    self.scope["scheme"] = "https" if value == b"https" else "http"
        super().on_headers_complete()
        if edge.draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._edge.bodies.stop(self)
        self._awaited = _IDLE
        super().on_message_complete()

    # What the deadlines call.

    def overdue(self) -> None:
        """A request, or the reading of its response, takes too long."""
        if self.transport.is_closing() or self.flow.write_paused or not self._answered:
            self.transport.abort()
        else:
            self._edge.tally.heads_overdue += 1
            self._refuse(Refusal(408, "The request did not arrive in time."))

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    # The rest.

    @property
    def _answered(self) -> bool:
        """Whether no request waits for its response."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # uvicorn begins with None

    def _parse(self, data: bytes, until: float = 0) -> None:
        """Parse this, as far as it is its turn and until this instant, or for a short while."""
        wires = self._edge.wires
        at, size = 0, len(data)
        while at < size:
            if self.pipeline:  # each answer is followed by the next one's turn
                self._wait(data[at:])
                return
            if at:
                until = until or wires.clock() + (0 if wires.put_off else FLOOD_S)
                if wires.clock() >= until:
                    self._wait(data[at:])
                    self._take_turns()
                    return
            end = at + _SLICE_BYTES
            if not self._feed(data, at, end):
                return
            at = end
        self.flow.release()
        if self._awaited == _IDLE and self._answered and self.timeout_keep_alive_task is None:
            self._edge.heads.start(self)  # bytes between requests have ended the wait for one to begin

    def _wait(self, rest: bytes) -> None:
        self._rest = rest
        self.flow.hold()

    def _take_turns(self) -> None:
        self._put_off = True
        self._edge.wires.take_turns(self)

    def _feed(self, data: bytes, at: int, end: int) -> bool:
        """Give this part of it to the parser; whether what follows is the parser's, too."""
        some = data[at:end]
        if self._awaited == _HEAD:
            self._unparsed_bytes += len(some)
        try:
            self.parser.feed_data(some)
        except httptools.HttpParserUpgrade as upgrade:
            self.flow.release()
            self._upgrade(data[at + upgrade.args[0] :])
            return False
        except httptools.HttpParserError:
            if self._head_bytes > self._edge.options.head_bytes:
                self._refuse(self._edge.head_too_long())
            else:
                self._refuse(Refusal(400, "This is no HTTP request."))
            return False
        if self._awaited == _HEAD and self._unparsed_bytes > self._edge.options.head_bytes:
            self._refuse(self._edge.head_too_long())
            return False
        return True

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > self._edge.options.head_bytes:
            raise ValueError("the head is too long")  # httptools stops parsing; `data_received` answers

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket"

    def _upgrade(self, received: bytes) -> None:
        """The request asks for another protocol; `received` came after it."""
        self._deaf = True  # the parser takes nothing more
        if self._should_upgrade() and self._answered:
            headers: dict[str, str] = {}
            for name, value in self.headers:
                add_header(headers, name, value)
            try:
                url = httptools.parse_url(self.url)
            except httptools.HttpParserInvalidURLError:
                self._refuse(Refusal(400, "This is no HTTP request."))
                return
            request = Request(
                self.parser.get_method().decode("ascii"),
                (url.path or b"").decode("latin-1"),
                (url.query or b"").decode("latin-1"),
                self.parser.get_http_version(),
                headers,
            )
            address = self.client[0] if self.client is not None else ""
            refusal = self._edge.upgrade(self.transport, request, received, address=address, key=None)
            if refusal is None:
                self.connections.discard(self)
                # as uvicorn does when a connection is lost: parser and protocol hold each other
                self.parser = None  # type: ignore[assignment]  # uvicorn declares it otherwise, and does it too
                self._forget()
            else:
                self._refuse(refusal)
        elif self.cycle is not None:
            # Some protocol that we do not speak (RFC 9110 7.8: then the request is answered as it is), or a WebSocket
            # asked for before earlier requests were answered. Either way this is the connection's last request.
            self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        self._deaf = True
        if self._answered and not self.transport.is_closing():
            self.transport.write(refusal.to_bytes())
        self.transport.close()
        self._edge.wires.closing.start(self)

    def _forget(self) -> None:
        edge = self._edge
        self._rest = b""
        edge.http.discard(self)
        if self._place is not None:
            edge.http_door.leave(self._place)
            self._place = None
        for limit in (edge.heads, edge.bodies, edge.wires.stalled, edge.wires.closing):
            limit.stop(self)
        edge.gone()
