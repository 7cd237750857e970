"""The opening handshake of RFC 6455, section 4.2, on a parsed request: accepted, or refused with a sentence why."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus

from gateway.heads import Request

__all__ = ["Handshake", "Refusal"]

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_SHA1 = sha1(usedforsecurity=False)  # copied for each key: making one anew takes twice as long
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of a WebSocket; a peer factory may return one too."""

    status: int
    sentence: str
    """Why, and what would help; the body of the answer."""
    headers: tuple[tuple[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """The whole response; the connection ends after it."""
        body = f"{self.sentence}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


class Handshake:
    """Answers upgrade requests by one set of rules.

    `origins`: as in `EdgeOptions`. `subprotocols`: those spoken, of which a client must offer one (the first that it
    offers is taken); empty: none is agreed on.
    """

    __slots__ = ("_any_origin", "_origins", "_same_origin", "_subprotocols", "_wild_origins")

    def __init__(self, *, origins: tuple[str, ...], subprotocols: tuple[str, ...]) -> None:
        self._subprotocols = {
            subprotocol: f"\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode() for subprotocol in subprotocols
        }
        self._any_origin = "*" in origins
        self._same_origin = "same-origin" in origins
        self._origins = frozenset(origin.lower() for origin in origins if "*" not in origin)
        wild = (
            re.escape(origin.lower()).replace(r"\*", r"[a-z0-9-][a-z0-9.-]*") for origin in origins if "*." in origin
        )
        self._wild_origins = [re.compile(pattern) for pattern in wild]

    def answer(self, request: Request) -> bytes | Refusal:
        """The 101 response where `request` may become a WebSocket, by the order of RFC 6455 4.2.1 and 4.2.2.

        Its `subprotocol` is the one agreed on then.
        """
        headers = request.headers
        if request.method != "GET":
            return Refusal(405, "A WebSocket is opened by GET.", (("Allow", "GET"),))
        if request.version != "1.1":
            return Refusal(505, "A WebSocket is opened by HTTP/1.1.")
        host = headers.get("host")
        if not host or "," in host:
            return Refusal(400, "The request needs exactly one Host header.")
        upgrade, connection = headers.get("upgrade", ""), headers.get("connection", "")
        if (upgrade != "websocket" and _tokens(upgrade) != ["websocket"]) or (  # nearly all spell them so
            connection != "Upgrade" and "upgrade" not in _tokens(connection)
        ):
            return Refusal(
                426,
                "This address speaks WebSocket only: send the headers Connection: Upgrade and Upgrade: websocket.",
                (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
            )
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return Refusal(400, "The request that opens a WebSocket has no body.")
        if headers.get("sec-websocket-version") != "13":
            return Refusal(426, "Sec-WebSocket-Version must be 13.", (("Sec-WebSocket-Version", "13"),))
        key = headers.get("sec-websocket-key", "").encode("latin-1")
        if not _is_nonce(key):
            return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64, once.")
        origin = headers.get("origin")
        if origin is not None and not self._any_origin and not self._may_connect(origin.lower(), host.lower()):
            return Refusal(
                403, f"Pages of the origin {origin!r} may not connect here; `origins` in the settings says who may."
            )
        sha = _SHA1.copy()
        sha.update(key + _GUID)
        response = _SWITCHING + binascii.b2a_base64(sha.digest(), newline=False)
        if not self._subprotocols:
            return response + b"\r\n\r\n"
        offered = headers.get("sec-websocket-protocol", "")
        for subprotocol in (offered,) if offered in self._subprotocols else map(str.strip, offered.split(",")):
            agreed = self._subprotocols.get(subprotocol)
            if agreed is not None:
                request.subprotocol = subprotocol
                return response + agreed
        return Refusal(
            400, f"Sec-WebSocket-Protocol must offer {' or '.join(self._subprotocols)}; it offered {offered!r}."
        )

    def _may_connect(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        scheme, _, origin_host = origin.partition("://")
        if self._same_origin:
            default = _DEFAULT_PORTS.get(scheme, "\0")
            if origin_host and origin_host.removesuffix(default) == host.removesuffix(default):
                return True
        return any(pattern.fullmatch(origin) for pattern in self._wild_origins)


def _tokens(value: str) -> list[str]:
    """The members of a list header (RFC 9110 5.6.1: empty ones do not count), in lower case."""
    return [token for part in value.lower().split(",") if (token := part.strip())]


def _is_nonce(key: bytes) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except binascii.Error:
        return False
