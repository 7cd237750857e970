"""What the edge (listener, handshake, WebSocket wire) may be told: every limit of a connection, with its default."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal

_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(\*\.)?[^*/?#\s,]+")

__all__ = ["EdgeOptions", "WireOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    """Limits of one WebSocket connection after its handshake."""

    message_bytes: int = 65_536
    """Longest message taken from a client, over all its fragments; a longer one closes with 1009."""

    soft_bytes: int = 32_768
    """Unsent bytes above which the peer is told `paused`: from here on what can be left out is left out."""

    hard_bytes: int = 262_144
    """Unsent bytes above which the connection is closed as slow (4002)."""

    close_limit_s: float = 5.0
    """Time from our close frame, or from the client's end of stream, to the connection being cut."""

    stall_limit_s: float = 30.0
    """Longest time above `soft_bytes` before the connection is closed as slow (4002)."""

    def __post_init__(self) -> None:
        if not 125 <= self.message_bytes <= 1 << 30:
            raise ValueError(f"message_bytes is {self.message_bytes}; allowed are 125 to {1 << 30}")
        if not 1024 <= self.soft_bytes <= self.hard_bytes:
            raise ValueError(
                f"soft_bytes is {self.soft_bytes}; allowed are 1024 up to hard_bytes, which is {self.hard_bytes}"
            )
        for name in ("close_limit_s", "stall_limit_s"):
            if not 0 < getattr(self, name) <= 3600:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is more than 0, up to 3600")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """Where to listen, and what a connection may do before and beside its WebSocket."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for every IPv4 address, `::` for IPv6."""

    port: int = 8080
    """Port to listen on; 0 lets the system choose one."""

    backlog: int = 4096
    """Connections that the system may hold for us before we accept them (it may cut this to net.core.somaxconn)."""

    reuse_port: bool = False
    """Share the port with other processes (SO_REUSEPORT)."""

    path: str = "/ws"
    """The path of the WebSocket; an upgrade on any other path is answered 404."""

    origins: tuple[str, ...] = ("same-origin",)
    """Whose pages may connect: `*` (any), `same-origin` (the Origin's host and port are the request's Host), or an
    origin such as `https://typing.example`, also `https://*.typing.example`. A request without Origin comes from no
    page and is let through."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks (`10.0.0.0/8`) of proxies whose X-Forwarded-For and PROXY headers are believed."""

    proxy_protocol: Literal["off", "optional", "required"] = "off"
    """Whether connections begin with a PROXY header (HAProxy's `send-proxy-v2`), before TLS where there is TLS.
    optional: those of trusted proxies may; required: nobody else is let in. Off, it is not looked for."""

    connections: int = 50_000
    """Most open connections, HTTP and WebSocket together; one more is answered 503. The process's limit of open files
    counts too, less a reserve."""

    pending_per_address: int = 2_000
    """Most connections of one client address (IPv6: one /64) that the application has not yet called ready."""

    http_per_address: int = 5_000
    """Most connections of one client address (IPv6: one /64) that speak HTTP; one more is answered 429. Those of
    trusted proxies do not count."""

    head_bytes: int = 16_384
    """Longest request line and headers; longer ones are answered 431."""

    head_limit_s: float = 10.0
    """Time for a request's head to arrive (and for a TLS handshake); 408 and the end after it."""

    body_limit_s: float = 60.0
    """Time for a request's body to arrive after its head."""

    keep_alive_s: float = 20.0
    """How long an idle HTTP connection is kept."""

    wire: WireOptions = field(default_factory=WireOptions)
    """Limits of a connection once it is a WebSocket."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}; allowed are 0 to 65535")
        if not self.path.startswith("/") or any(mark in self.path for mark in "?# "):
            raise ValueError(f"path is {self.path!r}; it must begin with / and hold no ?, # or space")
        for origin in self.origins:
            if origin not in ("*", "same-origin") and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"origins holds {origin!r}; allowed are *, same-origin and scheme://host[:port] without a path, "
                    "its host perhaps with *. before it"
                )
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"trusted_proxies holds {proxy!r}, which is no address or network: {error}") from None
        if self.proxy_protocol != "off" and not self.trusted_proxies:
            raise ValueError(
                f"proxy_protocol is {self.proxy_protocol} and trusted_proxies is empty; name the proxies whose headers "
                "are believed"
            )
        for name in ("backlog", "connections", "pending_per_address", "http_per_address"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 512 <= self.head_bytes <= 1 << 20:
            raise ValueError(f"head_bytes is {self.head_bytes}; allowed are 512 to {1 << 20}")
        for name in ("head_limit_s", "body_limit_s", "keep_alive_s"):
            if not 0 < getattr(self, name) <= 3600:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is more than 0, up to 3600")
