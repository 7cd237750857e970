"""The opening handshake: a table of refusals, origins, subprotocols, and the library as reference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request as LibraryRequest
from websockets.server import ServerProtocol

from gateway.handshake import Handshake, Refusal
from gateway.heads import parse_head
from tests.gateway.edges import ACCEPT, KEY, upgrade_request

JSON, MSGPACK = "typegate.v1.json", "typegate.v1.msgpack"


def answer(request: bytes, *, origins: tuple[str, ...] = ("*",), subprotocols: tuple[str, ...] = ()) -> bytes | Refusal:
    parsed = parse_head(request)
    assert parsed is not None
    return Handshake(origins=origins, subprotocols=subprotocols).answer(parsed)


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 1.3: this key gives this answer."""
    assert answer(upgrade_request()) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        (upgrade_request().replace(b"GET", b"POST"), 405, "GET"),
        (upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505, "HTTP/1.1"),
        (upgrade_request(drop=("Host",)), 400, "Host"),
        (upgrade_request(Host="a, b"), 400, "Host"),
        (upgrade_request(drop=("Upgrade",)), 426, "Upgrade"),
        (upgrade_request(drop=("Connection",)), 426, "Connection"),
        (upgrade_request(Connection="keep-alive"), 426, "Connection"),
        (upgrade_request(Upgrade="h2c"), 426, "Upgrade"),
        (upgrade_request(drop=("Sec-WebSocket-Version",)), 426, "13"),
        (upgrade_request(Sec_WebSocket_Version="8"), 426, "13"),
        (upgrade_request(drop=("Sec-WebSocket-Key",)), 400, "Sec-WebSocket-Key"),
        (upgrade_request(Sec_WebSocket_Key="short"), 400, "Sec-WebSocket-Key"),
        (upgrade_request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE="), 400, "Sec-WebSocket-Key"),
        (upgrade_request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==é"), 400, "Sec-WebSocket-Key"),
        (upgrade_request(Content_Length="5"), 400, "body"),
        (upgrade_request(Transfer_Encoding="chunked"), 400, "body"),
        (b"GET /ws\r\n\r\n", 505, "HTTP/1.1"),
    ],
)
def test_a_wrong_request_is_refused_with_a_sentence(request_: bytes, status: int, word: str) -> None:
    refusal = answer(request_)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert word in refusal.sentence


def test_a_refusal_is_a_whole_response() -> None:
    """426 names the version we speak (RFC 6455 4.4), 405 the method; the connection ends."""
    refusal = answer(upgrade_request(Sec_WebSocket_Version="8"))
    assert isinstance(refusal, Refusal)
    head, _, body = refusal.to_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13" in head
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    refusal = answer(upgrade_request().replace(b"GET", b"HEAD"))
    assert isinstance(refusal, Refusal)
    assert b"\r\nAllow: GET" in refusal.to_bytes()


@pytest.mark.parametrize("connection", ["upgrade", "UPGRADE", "keep-alive, Upgrade", "foo ,upgrade,bar"])
def test_connection_is_a_list_of_tokens_in_any_case(connection: str) -> None:
    assert isinstance(answer(upgrade_request(Connection=connection, Upgrade="WebSocket")), bytes)


# Origins.


@pytest.mark.parametrize(
    ("origins", "origin", "host", "allowed"),
    [
        (("same-origin",), "https://typing.example", "typing.example", True),
        (("same-origin",), "https://TYPING.example", "typing.EXAMPLE", True),
        (("same-origin",), "https://typing.example", "typing.example:443", True),
        (("same-origin",), "http://typing.example:80", "typing.example", True),
        (("same-origin",), "http://typing.example:8080", "typing.example:8080", True),
        (("same-origin",), "http://typing.example:8080", "typing.example", False),
        (("same-origin",), "https://evil.example", "typing.example", False),
        (("same-origin",), "https://typing.example.evil.example", "typing.example", False),
        (("same-origin",), "null", "typing.example", False),
        (("same-origin",), "", "typing.example", False),
        (("same-origin",), None, "typing.example", True),
        (("https://a.example",), "https://a.example", "typing.example", True),
        (("https://a.example",), "http://a.example", "typing.example", False),
        (("https://a.example",), "https://typing.example", "typing.example", False),
        (("https://a.example", "https://b.example:8443"), "https://b.example:8443", "x", True),
        (("https://*.a.example",), "https://www.a.example", "x", True),
        (("https://*.a.example",), "https://a.example", "x", False),
        (("https://*.a.example",), "https://.a.example", "x", False),
        (("https://*.a.example",), "https://nota.example", "x", False),
        (("https://*.a.example",), "http://www.a.example", "x", False),
        (("https://*.a.example",), "https://evil.example/.a.example", "x", False),
        (("*",), "null", "x", True),
        ((), "https://typing.example", "typing.example", False),
    ],
)
def test_whose_pages_may_connect(origins: tuple[str, ...], origin: str | None, host: str, *, allowed: bool) -> None:
    request = upgrade_request(Host=host) if origin is None else upgrade_request(Host=host, Origin=origin)
    result = answer(request, origins=origins)
    if allowed:
        assert isinstance(result, bytes)
    else:
        assert isinstance(result, Refusal)
        assert result.status == 403


# Subprotocols.


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (JSON, JSON),
        (f"{JSON}, {MSGPACK}", JSON),
        (f"{MSGPACK},{JSON}", MSGPACK),
        (f"soap, {MSGPACK}", MSGPACK),
        ("", None),
        ("soap", None),
        (JSON.upper(), None),
    ],
)
def test_the_clients_first_known_subprotocol_is_taken(offered: str, chosen: str | None) -> None:
    request = parse_head(upgrade_request(Sec_WebSocket_Protocol=offered))
    assert request is not None
    result = Handshake(origins=("*",), subprotocols=(JSON, MSGPACK)).answer(request)
    assert request.subprotocol == chosen
    if chosen is None:
        assert isinstance(result, Refusal)
        assert result.status == 400
        assert JSON in result.sentence
        assert MSGPACK in result.sentence
    else:
        assert isinstance(result, bytes)
        assert result.endswith(b"\r\nSec-WebSocket-Protocol: " + chosen.encode() + b"\r\n\r\n")


def test_without_an_offer_there_is_a_sentence_why() -> None:
    result = answer(upgrade_request(), subprotocols=(JSON, MSGPACK))
    assert isinstance(result, Refusal)
    assert (result.status, JSON in result.sentence) == (400, True)


# The library as reference.

tokens = st.sampled_from(("Upgrade", "upgrade", "keep-alive", "websocket", "h2c", ""))
requests = st.fixed_dictionaries(
    {},
    optional={
        "Connection": st.lists(tokens, max_size=3).map(", ".join),
        "Upgrade": st.one_of(st.just("websocket"), st.lists(tokens, min_size=1, max_size=2).map(", ".join)),
        "Sec-WebSocket-Version": st.sampled_from(("13", "13", "8", "013", "13, 8", "")),
        "Sec-WebSocket-Key": st.one_of(
            st.just(KEY.decode()), st.sampled_from(("AAAA", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==="))
        ),
        "Origin": st.sampled_from(("https://a.example", "https://b.example", "null")),
        "Sec-WebSocket-Protocol": st.lists(st.sampled_from((JSON, MSGPACK, "soap")), min_size=1, max_size=3).map(
            ", ".join
        ),
    },
)


@settings(max_examples=1500, deadline=None)
@given(changes=requests, dropped=st.sets(st.sampled_from(("Connection", "Upgrade", "Sec-WebSocket-Key")), max_size=1))
def test_as_the_library_does(changes: dict[str, str], dropped: set[str]) -> None:
    """What the library accepts is accepted with its response, what it refuses is refused.

    Its response has a Date, which a 101 needs not; it takes subprotocols in the server's order, so only whether there
    is one is compared; and it answers 400 to a version that it does not know, where RFC 6455 4.4 wants 426, and to
    an empty Connection or Upgrade header.
    """
    fields = {
        "Host": "h",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY.decode(),
    }
    fields = {name: value for name, value in fields.items() if name not in dropped} | changes
    head = "\r\n".join(["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    ours = answer(head.encode(), origins=("https://a.example",), subprotocols=(JSON, MSGPACK))
    library = ServerProtocol(origins=["https://a.example", None], subprotocols=[JSON, MSGPACK])  # type: ignore[list-item]  # plain str is what it takes
    theirs = library.accept(LibraryRequest("/ws", Headers(fields)))
    if isinstance(ours, bytes):
        assert theirs.status_code == 101
        given_headers = dict(line.split(": ") for line in ours.decode().split("\r\n")[1:-2])
        for name in ("Upgrade", "Connection", "Sec-WebSocket-Accept"):
            assert given_headers.pop(name) == theirs.headers[name]
        chosen = given_headers.pop("Sec-WebSocket-Protocol")
        assert chosen in fields["Sec-WebSocket-Protocol"].split(", ")
        assert given_headers == {}
    else:
        assert theirs.status_code != 101
        if ours.status != theirs.status_code:
            assert (ours.status, theirs.status_code) == (426, 400)
