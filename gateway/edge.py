"""One port for WebSocket and HTTP: reads a connection's first request and gives it to our wire or to uvicorn."""

from __future__ import annotations

import ssl as tls
from collections.abc import Callable
from types import TracebackType
from typing import Any

from config.edge import EdgeOptions
from gateway.handshake import Refusal, Request
from gateway.wire import Peer

__all__ = ["Edge", "PeerFactory"]

type_of_asgi_app = Any  # uvicorn takes any ASGI application

PeerFactory = Callable[[Request], Peer | Refusal]
"""Makes the peer of one WebSocket connection, or says why not; called when the handshake is otherwise accepted."""


class Edge:
    """The listener of one process. An async context manager: leaving it closes it.

    It neither handles signals nor runs the ASGI lifespan: resources and signals are the composition root's.
    """

    def __init__(self, options: EdgeOptions, *, subprotocols: tuple[str, ...] = ()) -> None: ...

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

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        ...

    @property
    def connections(self) -> int:
        """Open connections, HTTP and WebSocket together."""
        ...

    @property
    def websockets(self) -> int:
        """Open WebSocket connections, those being closed included."""
        ...

    def begin_drain(self) -> None:
        """The listener stays open; HTTP connections end after their next response instead of being kept alive."""

    async def close(self, *, timeout_s: float) -> None:
        """Stop listening, close WebSockets with 1012, let running HTTP requests end, and cut what is left then."""
