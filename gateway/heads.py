"""The head of an HTTP request: from its bytes to what it asks for.

Heads have two ways, as frames have. httptools parses any of them. But nearly all that ask for a WebSocket are made of
lines that were seen before, all but one or two: browsers send the same a thousand times, and the client that comes back
after a restart is one of ten thousand. So lines of the common shape are known again by their bytes, and a head of
nothing else needs no parser. A test holds the short way to the long one.
"""

from __future__ import annotations

from dataclasses import dataclass

import httptools

__all__ = ["Heads", "Request", "add_header", "parse_head"]

LINES_KEPT = 1024
"""Lines that are known again; with one more all are forgotten, and those that are common soon learnt anew."""

LINE_BYTES = 256
"""Longest line that is kept: enough for a browser's name, too short for most cookies, which no two clients share."""

_FRAMING = frozenset(("content-length", "transfer-encoding"))  # what says that a body follows is the parser's to judge
_NEVER_AGAIN = frozenset(("sec-websocket-key", "cookie", "x-forwarded-for"))  # no two clients have the same


@dataclass(slots=True)
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


class Heads:
    """Parses heads, most of which ask for `path`, and remembers the lines of those before."""

    __slots__ = ("_fields", "_path", "_request_line")

    def __init__(self, path: str) -> None:
        self._path = path
        self._request_line = f"GET {path} HTTP/1.1".encode()
        self._fields = _Fields()

    def __len__(self) -> int:
        """Lines remembered."""
        return len(self._fields)

    def parse(self, head: bytes) -> Request | None:
        """The request of one whole head (with the empty line that ends it), or None where it is malformed."""
        lines = head[:-4].split(b"\r\n")
        if lines.pop(0) == self._request_line:
            try:
                headers = dict(map(self._fields.__getitem__, lines))
            except ValueError:
                pass
            else:
                if len(headers) == len(lines):  # no name twice
                    return Request("GET", self._path, "", "1.1", headers)
        return parse_head(head)


class _Fields(dict[bytes, tuple[str, str]]):
    """Header lines as name (in lower case) and value; raises ValueError for those that need a parser's judgement.

    Of all that RFC 9112 allows, the common shape needs none: letters, digits and dashes, one space after the colon,
    printable ASCII, no space at its ends.
    """

    __slots__ = ()

    def __missing__(self, line: bytes) -> tuple[str, str]:
        name, _, value = line.decode("ascii").partition(": ")
        name = name.lower()
        common = name.replace("-", "").isalnum() and name not in _FRAMING
        if not common or not value.isprintable() or not value or value != value.strip():
            raise ValueError("not of the common shape")
        field = name, value
        if len(line) <= LINE_BYTES and name not in _NEVER_AGAIN:
            if len(self) >= LINES_KEPT:
                self.clear()
            self[line] = field
        return field


class _Collector:
    """What httptools calls while it parses a head."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        add_header(self.headers, name, value)

    def on_headers_complete(self) -> None:
        self.complete = True


def add_header(headers: dict[str, str], name: bytes, value: bytes) -> None:
    """Take a header into `headers` as `Request` has them."""
    key = name.decode("latin-1").lower()
    text = value.decode("latin-1").rstrip(" \t")  # RFC 9112 5.1; the parser strips only what stands before
    headers[key] = f"{headers[key]}, {text}" if key in headers else text


def parse_head(head: bytes) -> Request | None:
    """As `Heads.parse`, for any head."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if not collector.complete:
        return None
    path, _, query = collector.target.decode("latin-1").partition("?")
    return Request(parser.get_method().decode("ascii"), path, query, parser.get_http_version(), collector.headers)
