"""Heads to requests: the short way held to httptools, and what it remembers."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.heads import LINE_BYTES, LINES_KEPT, Heads, Request, parse_head
from tests.gateway.edges import KEY, upgrade_request

CHROME = [
    b"Host: typing.example",
    b"Connection: Upgrade",
    b"Pragma: no-cache",
    b"Cache-Control: no-cache",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) WebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    b"Upgrade: websocket",
    b"Origin: https://typing.example",
    b"Sec-WebSocket-Version: 13",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Accept-Language: en-GB,en;q=0.9",
    b"Cookie: a=1; b=2",
    b"Sec-WebSocket-Key: " + KEY,
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Protocol: typegate.v1.json",
]


def head(*lines: bytes, first: bytes = b"GET /ws HTTP/1.1") -> bytes:
    return b"\r\n".join((first, *lines, b"", b""))


@pytest.mark.parametrize(
    "malformed",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        upgrade_request(X="a\x00b"),
        head(b"no colon"),
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request(malformed: bytes) -> None:
    assert Heads("/ws").parse(malformed) is None


def test_a_request_as_a_peer_factory_gets_it() -> None:
    """Names in lower case, values that came twice joined, the query apart."""
    lines = b"Host: h", b"X-Forwarded-For: 192.0.2.1", b"x-forwarded-for:192.0.2.2 "
    request = Heads("/ws").parse(head(*lines, first=b"GET /ws?node=a&x=%20 HTTP/1.1"))
    headers = {"host": "h", "x-forwarded-for": "192.0.2.1, 192.0.2.2"}
    assert request == Request("GET", "/ws", "node=a&x=%20", "1.1", headers)


def test_a_browsers_lines_are_known_again() -> None:
    """All but those that no two clients share."""
    heads = Heads("/ws")
    for _ in range(2):
        request = heads.parse(head(*CHROME))
        assert request == parse_head(head(*CHROME))
        assert len(heads) == len(CHROME) - 2


def test_what_is_remembered_is_bounded() -> None:
    """In lines and in the length of one; what was forgotten is read anew."""
    heads = Heads("/ws")
    most = 0
    for number in range(2 * LINES_KEPT + 1):
        request = heads.parse(head(b"X-Serial: %d" % number, b"X-Long: " + b"x" * LINE_BYTES))
        assert request is not None
        assert request.headers == {"x-serial": str(number), "x-long": "x" * LINE_BYTES}
        most = max(most, len(heads))
    assert most == LINES_KEPT
    assert len(heads) == 1


# httptools as reference.

odd = st.binary(max_size=3) | st.sampled_from(
    (b" ", b"\t", b"\r", b"\n", b"\r\n ", b"\0", b":", b": ", b"\xe9", b"\x7f", b",", b"#", b"?")
)
values = st.sampled_from(
    (
        b"Upgrade",
        b"close",
        b"keep-alive, Upgrade",
        b"websocket",
        b"h2c",
        b"13",
        b"0",
        b"5",
        b"chunked",
        b"gzip",
        b"a b",
        b"",
    )
)
names = st.sampled_from(
    (
        *(b"Host", b"host", b"Connection", b"Upgrade", b"Proxy-Connection", b"Content-Length", b"content-length"),
        *(b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Sec-WebSocket-Key", b"Expect", b"X_y", b"-", b"1", b""),
    )
)
lines = st.one_of(
    st.sampled_from(CHROME),
    st.builds(b"%b%b%b".__mod__, st.tuples(names, st.sampled_from((b": ", b":", b":  ", b" : ", b":\t")), values)),
    st.builds(
        lambda line, at, what: line[: at % (len(line) + 1)] + what + line[at % (len(line) + 1) :],
        st.sampled_from(CHROME),
        st.integers(0, 200),
        odd,
    ),
)
first_lines = st.sampled_from(
    (
        *[b"GET /ws HTTP/1.1"] * 8,
        *(b"GET /ws?node=a HTTP/1.1", b"GET /ws HTTP/1.0", b"GET /ws  HTTP/1.1", b"get /ws HTTP/1.1", b"GET /ws"),
        *(b"POST /ws HTTP/1.1", b"GET http://h/ws HTTP/1.1", b"GET /ws#x HTTP/1.1", b"\r\nGET /ws HTTP/1.1", b""),
    )
)
remembering = Heads("/ws")


@settings(max_examples=1500, deadline=None)
@given(first=first_lines, fields=st.lists(lines, max_size=8))
@example(first=b"GET /ws HTTP/1.1", fields=CHROME)
def test_the_short_way_takes_heads_as_httptools_does(first: bytes, fields: list[bytes]) -> None:
    """Whatever the lines are and whatever was remembered of heads before."""
    whole = head(*fields, first=first)
    assert remembering.parse(whole) == parse_head(whole)
