"""Around every HTTP request: bans, a limit per address, security headers, a count, an answer even to our own faults.

A plain ASGI callable (the framework's own middleware costs a task a request).
"""

import time
from collections.abc import Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import structlog

from gateway.api.problems import problem_response
from gateway.limits import Credits, network
from gateway.metrics import Metrics
from persistence.bans import Ban

__all__ = ["Guard", "allowing", "security_headers"]

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
"""What ASGI says about a request."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types typegate",
    )
)
"""Nothing but what this server serves; no inline script or style, and one trusted type, for the worker's address."""


def security_headers(*, tls: bool) -> list[tuple[bytes, bytes]]:
    """The headers that every answer bears (OWASP Secure Headers)."""
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    if tls:
        headers["strict-transport-security"] = "max-age=31536000"
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class Guard:
    """Wraps an ASGI application."""

    def __init__(
        self,
        app: Any,
        *,
        allowance: Credits,
        pages: Credits,
        metrics: Metrics,
        ban_of: Callable[[str], Ban | None],
        tls: bool,
        may_read: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._allowance = allowance
        self._pages = pages
        self._metrics = metrics
        self._ban_of = ban_of
        self._headers = security_headers(tls=tls)
        self._may_read = may_read

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        method, status, headers = scope["method"], 500, [*self._headers, *self._allow_origin(scope)]
        answered = False

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                given = message.get("headers", ())
                if status == HTTPStatus.TEMPORARY_REDIRECT:
                    given = [(name, _path_of(value) if name == b"location" else value) for name, value in given]
                message["headers"] = [*given, *headers]
            elif method == "HEAD" and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            if (ban := self._ban(scope)) is not None:
                await problem_response(403, f"your address is banned {ban.told}")(scope, receive, answer)
            elif (wait_ms := self._over_limit(scope)) > 0:
                seconds = -(-wait_ms // 1000)
                await problem_response(
                    429, f"too many requests; wait {seconds} s", headers={"retry-after": str(seconds)}
                )(scope, receive, answer)
            elif method == "OPTIONS" and scope["path"].startswith("/v1/"):
                await answer({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
                await answer({"type": "http.response.body", "body": b""})
            else:
                if method == "HEAD":  # RFC 9110, 9.3.2: as GET, without the content
                    scope = {**scope, "method": "GET"}
                await self._app(scope, receive, answer)
        except Exception:
            # the one broad except of this edge: a fault of ours is an answer and a log line, not a torn connection
            log.exception("a request failed", route=_route(scope), method=method)
            if not answered:
                await problem_response(500, "the server made a mistake; its log says which")(scope, receive, answer)
        finally:
            self._metrics.http(_route(scope), method, status, time.perf_counter() - began)

    def _over_limit(self, scope: Scope) -> int:
        """Milliseconds that this address must wait; 0: none. What is in memory costs credits of its own, and far less.

        Health costs none: a balancer that is refused takes the server away.
        """
        client, path = scope.get("client"), scope["path"]
        if client is None or path in _HEALTH:
            return 0
        allowance = self._allowance if path.startswith("/v1/") else self._pages
        return allowance.take(network(client[0]), now_ms=time.monotonic() * 1000)

    def _ban(self, scope: Scope) -> Ban | None:
        """The ban of this address. The page comes all the same: it says why nobody can type here."""
        client = scope.get("client")
        return None if client is None or not scope["path"].startswith("/v1/") else self._ban_of(client[0])

    def _allow_origin(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Lets the pages that may open our WebSocket read the API too (Fetch standard, CORS protocol)."""
        if not scope["path"].startswith("/v1/"):
            return []
        found = [(b"vary", b"origin")]
        for name, value in scope["headers"]:
            if name == b"origin" and self._may_read(value.decode("latin-1")):
                found.append((b"access-control-allow-origin", value))
                found.append((b"access-control-expose-headers", b"etag, retry-after"))
        return found


def allowing(origins: tuple[str, ...]) -> Callable[[str], bool]:
    """Whose pages may read the API: the origins that may connect to the WebSocket (`EdgeOptions.origins`).

    Nothing that a browser sends by itself (cookies) opens anything here, so "same-origin" needs no word about others.
    """
    anybody = "*" in origins
    exact = frozenset(origin.lower() for origin in origins if "://" in origin and "*" not in origin)
    wild = [(start + "://", "." + end) for start, mark, end in (o.lower().partition("://*.") for o in origins) if mark]

    def may_read(origin: str) -> bool:
        origin = origin.lower()
        return (
            anybody or origin in exact or any(origin.startswith(start) and origin.endswith(end) for start, end in wild)
        )

    return may_read


def _path_of(location: bytes) -> bytes:
    """Where a path with a slash too many is led to (RFC 9110, 10.2.2: a reference relative to what was asked for).

    The framework puts Host and scheme before it: what anybody writes, and what a balancer that ends TLS has changed.
    """
    _, mark, rest = location.partition(b"://")
    return b"/" + rest.partition(b"/")[2].lstrip(b"/") if mark else location


_HEALTH = frozenset({"/healthz", "/readyz"})

_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, if-none-match"),
    (b"access-control-max-age", b"86400"),
]


def _route(scope: Scope) -> str:
    """The route's template: a closed set, unlike paths."""
    route = scope.get("route")
    return getattr(route, "path", None) or "unmatched"
