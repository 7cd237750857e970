"""A connection that a balancer passes on, until the balancer has said whose it is.

Not one byte beyond the header is read, so that TLS may come after it. Only used where `server.proxy_protocol` is not
off; where it is, a connection knows nothing of it.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from typing import TYPE_CHECKING

from gateway import proxy_header
from gateway.proxy_header import Malformed, Source

if TYPE_CHECKING:
    from gateway.edge import Edge

__all__ = ["ProxiedConnection"]


class ProxiedConnection(asyncio.BufferedProtocol):
    """A new connection, until its PROXY header and its TLS handshake are over; then it is a `FirstRequest`'s.

    A header of a peer that is no trusted proxy is not believed: where one is required the connection is closed, else
    it is taken for what it is. Closed without a word: a balancer that is set up wrongly can do nothing with one.
    """

    def __init__(self, edge: Edge, ssl: tls.SSLContext | None) -> None:
        self._edge = edge
        self._ssl = ssl
        self._header = b""
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a socket's always is one
        """Take the connection; wait for its header where this peer is believed."""
        edge, self._transport = self._edge, transport
        edge.opening.add(self)
        peer = transport.get_extra_info("peername")
        if edge.connections > edge.most_connections:
            edge.tally.refused_full += 1
            transport.close()
        elif edge.proxies.trusts(peer[0] if peer else ""):
            edge.heads.start(self)
        elif edge.options.proxy_protocol == "required":
            edge.tally.proxy_untrusted += 1
            transport.close()
        else:
            transport.pause_reading()
            self._pass_on(transport, None, b"")

    def get_buffer(self, sizehint: int) -> bytearray:
        """Room for what is the header's for certain, and for nothing more."""
        self._buffer = bytearray(proxy_header.missing(self._header))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much of it has come."""
        edge, transport = self._edge, self._transport
        header = self._header = self._header + bytes(self._buffer[:nbytes])
        try:
            if proxy_header.missing(header):
                return
            source = proxy_header.read(header)
        except Malformed:
            if edge.options.proxy_protocol == "required" or proxy_header.begins(header):
                edge.tally.proxy_malformed += 1
                transport.close()
                return
            source = None
        else:
            header = b""
        transport.pause_reading()  # nothing may be read before who reads it is in place
        if self._ssl is None:
            self._pass_on(transport, source, header)
        else:
            edge.own(self._secure(self._ssl, source))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended before it became anything."""
        self._leave()
        self._edge.gone()

    def overdue(self) -> None:
        """The header does not come."""
        self._edge.tally.proxy_late += 1
        self._transport.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    async def _secure(self, ssl: tls.SSLContext, source: Source | None) -> None:
        """Have TLS begin, and pass on what comes out of it."""
        edge, early = self._edge, _Early()
        edge.heads.stop(self)
        try:
            secured = await edge.loop.start_tls(
                self._transport,
                early,
                ssl,
                server_side=True,
                ssl_handshake_timeout=edge.options.head_limit_s,
            )
        except OSError:  # of the client's making: it went, took too long, or speaks no TLS
            secured = None
        if secured is None or early.lost:
            self._transport.abort()
            self._leave()
            edge.gone()
        else:
            self._pass_on(secured, source, bytes(early.received))

    def _pass_on(self, transport: asyncio.Transport, source: Source | None, received: bytes) -> None:
        edge = self._edge
        first = edge.first_request(None if source is None else (source.address, source.port))
        self._leave()
        transport.set_protocol(first)
        first.connection_made(transport)
        if transport is self._transport and not transport.is_closing():
            transport.resume_reading()
        if received:
            first.data_received(received)

    def _leave(self) -> None:
        self._edge.opening.discard(self)
        self._edge.heads.stop(self)


class _Early(asyncio.Protocol):
    """Keeps what comes in the turn in which a TLS handshake is over, before anybody else can have it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """The client wrote its request right behind its handshake."""
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """It went again."""
        self.lost = True
