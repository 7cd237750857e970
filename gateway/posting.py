"""One signed POST to somebody else's server, in bounded time and memory.

A connection each: what is posted is rare. Redirects are not followed, proxies not asked, of the answer only the status
is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["Target", "Undelivered", "signature"]

SIGNATURE = "Typegate-Signature"
"""The header that bears the signature."""
_STATUS_BYTES = 1024
"""A longest status line."""


class Undelivered(Exception):
    """No server took it; the message says what happened.

    `refused`: the server understood it and does not want it, so that trying again is of little use.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


def signature(secret: bytes, body: bytes, *, epoch_s: int) -> str:
    """The signature header's value: `t=<epoch s>,v1=<hex>`, v1 being HMAC-SHA256 of `<epoch s>.<body>`.

    The time is signed too, so that whoever checks it can refuse what somebody recorded and plays again.
    """
    digest = hmac.new(secret, b"%d." % epoch_s + body, hashlib.sha256).hexdigest()
    return f"t={epoch_s},v1={digest}"


class Target:
    """Where to post to: an http or https URL that has been checked. A post takes `limit_s` at most."""

    def __init__(self, url: str, *, limit_s: float) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._authority = parts.netloc
        self._limit_s = limit_s

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post JSON. Returns when the server has taken it (2xx); raises `Undelivered`."""
        try:
            async with asyncio.timeout(self._limit_s):
                status = await self._exchange(body, headers)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._limit_s:g} s") from None
        except OSError as fault:  # TLS' own faults are OSErrors too
            raise Undelivered(f"cannot be reached: {fault.strerror or fault}") from None
        except UnicodeError as fault:
            raise Undelivered(f"cannot be reached: {self._host[:100]!r} is no host's name ({fault})") from None
        if not 200 <= status < 300:
            later = status in (408, 425, 429) or not 400 <= status < 500
            raise Undelivered(f"answered {status}", refused=not later)

    async def _exchange(self, body: bytes, headers: Mapping[str, str]) -> int:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_STATUS_BYTES)
        try:
            head = {
                "Host": self._authority,
                "User-Agent": "Typegate",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                **headers,
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            writer.write(f"POST {self._path} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + body)
            try:
                line = await reader.readuntil(b"\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                raise Undelivered("answered nothing that is HTTP") from None
            protocol, _, rest = line.partition(b" ")
            if not protocol.startswith(b"HTTP/1.") or not rest[:3].isdigit():
                raise Undelivered("answered nothing that is HTTP")
            return int(rest[:3])
        finally:
            writer.transport.abort()
