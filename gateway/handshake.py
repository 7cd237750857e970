"""The opening handshake of RFC 6455, section 4.2, on a request's head: accepted, or refused with a sentence why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Refusal", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a WebSocket client asked for when it connected, as a peer factory gets it."""

    method: str
    path: str
    """Without query, as it was sent (not percent-decoded)."""
    query: str
    """Without the question mark; empty where there is none."""
    version: str
    """`1.1`."""
    headers: dict[str, str]
    """Names in lower case; a name sent several times has its values joined by `, `."""
    subprotocol: str | None = None
    """The subprotocol agreed on."""
    address: str = ""
    """The client's address, behind trusted proxies the one they tell."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of a WebSocket; a peer factory may return one too."""

    status: int
    sentence: str
    headers: tuple[tuple[str, str], ...] = ()
