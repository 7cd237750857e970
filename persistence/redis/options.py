"""The settings of Redis, and the connections that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection

from persistence.errors import StoreError


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Redis, which all processes share for caches and leaderboards; without one each process keeps its own."""

    url: str = ""
    """A standalone server: `redis://host:6379/0`, or `rediss://` for TLS; empty: none."""
    nodes: tuple[str, ...] = ()
    """A Redis Cluster instead: some of its nodes, each `host:port`; they name the others."""
    user: str = ""
    """The user to log in as; empty: Redis' default user. It must be allowed to read, write and run scripts on keys with
    our prefix, channels with our prefix, and the commands INFO, PING, PUBLISH, SUBSCRIBE and UNSUBSCRIBE, on a Cluster
    SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE and CLUSTER SLOTS."""
    password_file: Path | None = None
    """File with the password."""
    tls: bool = False
    """TLS to the nodes of a Cluster; with `url` its scheme says so."""
    ca_file: Path | None = None
    """PEM file with the certificates to trust; by default the system's."""
    cert_file: Path | None = None
    """PEM file with our own certificate, where Redis asks for one."""
    key_file: Path | None = None
    """PEM file with its private key."""
    prefix: str = "typegate:"
    """What all keys begin with, so that several installations can share a server."""
    connections: int = 16
    """Most connections to one server; calls beyond wait for one."""
    call_ms: int = 500
    """Time that a call may take in all; a server that took longer counts as away until it answers again."""
    retry_min_ms: int = 100
    """First wait before a server that is away is tried again; doubles, with jitter. Calls meanwhile fail at once."""
    retry_max_ms: int = 2_000
    """Longest wait between two tries."""

    def __post_init__(self) -> None:
        if self.url and self.nodes:
            raise ValueError("url and nodes are both given; url names a standalone server, nodes a Cluster")
        if self.url:
            _server(self.url)
        for node in self.nodes:
            _host_and_port(node)
        if self.tls and self.url:
            raise ValueError("tls is for nodes; write rediss:// in url")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; one of them is missing")
        if any((self.ca_file, self.cert_file, self.key_file)) and not (self.tls or self.url.startswith("rediss:")):
            # else all would go in the clear, and nobody would be told
            raise ValueError(
                "ca_file, cert_file and key_file are for TLS: write rediss:// in url, or with nodes set tls"
            )
        if "{" in self.prefix or "}" in self.prefix or len(self.prefix) > 64:
            raise ValueError(f"prefix is {self.prefix[:80]!r}; allowed are up to 64 characters without braces")
        for name, least, most in (
            ("connections", 1, 1_000),
            ("call_ms", 10, 60_000),
            ("retry_min_ms", 10, 60_000),
            ("retry_max_ms", self.retry_min_ms, 600_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; {least} to {most} is allowed")

    @property
    def enabled(self) -> bool:
        """Whether there is a Redis."""
        return bool(self.url or self.nodes)

    @property
    def database(self) -> int:
        """The number of the database; a Cluster has one only."""
        return int(urlsplit(self.url).path[1:] or 0)

    def seeds(self) -> list[tuple[str, int]]:
        """Host and port of what the settings name."""
        if self.url:
            server = urlsplit(self.url)
            return [(server.hostname or "", server.port or 6379)]
        return [_host_and_port(node) for node in self.nodes]

    def opener(self) -> Callable[[str, int], Connection]:
        """Makes a connection to a host and port, not yet opened. Raises `StoreError` where a file cannot be read."""
        kind: type[Connection] = Connection
        arguments: dict[str, Any] = {
            "db": self.database,
            "username": self.user or None,
            "password": None if self.password_file is None else _secret(self.password_file),
            "driver_info": None,  # else two more commands for each connection, which a user may not be allowed
            "protocol": 2,
            "socket_timeout": None,  # the whole call has a limit,
            "socket_connect_timeout": None,  # and to connect is a part of it
        }
        if self.tls or self.url.startswith("rediss:"):
            kind = SSLConnection
            for path in (self.ca_file, self.cert_file, self.key_file):
                if path is not None:
                    _read(path)
            arguments |= {
                "ssl_ca_certs": None if self.ca_file is None else str(self.ca_file),
                "ssl_certfile": None if self.cert_file is None else str(self.cert_file),
                "ssl_keyfile": None if self.key_file is None else str(self.key_file),
            }
        return lambda host, port: kind(host=host, port=port, **arguments)


def _server(url: str) -> None:
    """Raise ValueError for a URL that names no standalone server."""
    server = urlsplit(url)
    shape = f"url is {url[:100]!r}; allowed is redis://host:6379/0 or rediss://host:6379/0"
    if server.username or server.password:
        raise ValueError("url holds a user or password; write them to `user` and, into a file, `password_file`")
    if server.scheme not in ("redis", "rediss") or not server.hostname or server.query or server.fragment:
        raise ValueError(shape)
    try:
        port = server.port
    except ValueError:
        raise ValueError(shape) from None
    database = server.path[1:]
    if port == 0 or (database and not (database.isascii() and database.isdigit() and len(database) <= 5)):
        raise ValueError(shape)


def _host_and_port(node: str) -> tuple[str, int]:
    host, _, port = node.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536) or "/" in host or "@" in host:
        raise ValueError(f"nodes has {node.rpartition('@')[2][:100]!r}; allowed is host:port")
    return host, int(port)


def _secret(path: Path) -> str:
    password = _read(path).decode("utf-8", "surrogateescape").strip("\r\n")
    if not password:
        raise StoreError(f"the password file {path} is empty", retriable=False)
    return password


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise StoreError(f"the file {path} cannot be read: {fault.strerror}", retriable=False) from None
