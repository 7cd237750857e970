"""PROXY headers: whose they say a connection is, and where they end."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy_header import HEADER_BYTES, Malformed, Source, begins, missing, read

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + b"\x12\x67\x01\xbb"
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + b"\x12\x67\x01\xbb"


def binary(command: int = 0x21, family: int = 0x11, told: bytes = V4) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(told).to_bytes(2) + told


HEADERS = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Source("192.0.2.7", 4711)),
    (b"PROXY TCP6 2001:DB8::7 ::1 65535 0\r\n", Source("2001:db8::7", 65_535)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ff:: whatever it says\r\n", None),
    (binary(), Source("192.0.2.7", 4711)),
    (binary(family=0x21, told=V6), Source("2001:db8::7", 4711)),
    (binary(told=V4 + b"\x03\x00\x04\x01\x02\x03\x04" * 99), Source("192.0.2.7", 4711)),
    (binary(0x20, 0x00, b""), None),
    (binary(0x20, 0x11, V4), None),
    (binary(0x21, 0x00, b""), None),
    (binary(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_a_header_is_read_to_its_end_and_no_further(header: bytes, source: Source | None) -> None:
    """However it arrives: what is asked for is the header's, and at its end nothing more is."""
    for step in (1, 2, 7, HEADER_BYTES):
        had = b""
        while (wanted := missing(had)) > 0:
            assert len(had) + wanted <= len(header)
            had = header[: len(had) + min(wanted, step)]
        assert had == header
    assert read(header) == source


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n",
        b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 \xb2 443\r\n",
        b"PROXY TCP4 192.0.2 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 4711 443\r\n",
        b"PROXY TCP6 192.0.2.7 ::1 4711 443\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7\n10.0.0.1 4711 443\r\n",
        b"PROXY         \r\n",
    ],
)
def test_a_line_that_says_something_else_is_malformed(line: bytes) -> None:
    """Nothing is guessed."""
    assert missing(line) == 0
    with pytest.raises(Malformed):
        read(line)


@pytest.mark.parametrize(
    "header",
    [
        binary(0x11),
        binary(0x22),
        binary(family=0x12),
        binary(family=0x99),
        binary(told=V4[:-1]),
        binary(family=0x21, told=V4),
    ],
)
def test_a_binary_header_that_says_something_else_is_malformed(header: bytes) -> None:
    """Another version, another command, datagrams, addresses that are cut off."""
    assert missing(header) == 0
    with pytest.raises(Malformed):
        read(header)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"PROXIES ",
        b"\x16\x03\x01\x02\x00\x01",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"PROXY UNKNOWN " + b"x" * 100,
        SIGNATURE + b"\x21\x11" + (HEADER_BYTES - 15).to_bytes(2),
    ],
)
def test_what_is_no_header_or_too_long_asks_for_nothing_more(data: bytes) -> None:
    """So nobody can make us wait for it, or keep it."""
    with pytest.raises(Malformed):
        missing(data)


def test_http_and_tls_do_not_begin_as_a_header_does() -> None:
    """One may tell them apart where a header is optional."""
    assert begins(b"P")
    assert begins(b"\r\n")
    assert not begins(b"POST /v1/claims")
    assert not begins(b"\x16\x03\x01")


@given(st.binary(max_size=64), st.booleans())
def test_whatever_comes_is_bounded(noise: bytes, binary_: bool) -> None:
    """Any bytes: malformed, or a header of bounded length that can be read."""
    data = (SIGNATURE if binary_ else b"PROXY ") + noise
    try:
        had = data[:15]
        while (wanted := missing(had)) > 0:
            assert len(had) + wanted <= HEADER_BYTES
            more = data[len(had) : len(had) + wanted]
            if not more:
                return
            had += more
        read(had)
    except Malformed:
        pass


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_any_client_is_told_in_both_versions(address: IPv4Address | IPv6Address, port: int) -> None:
    """They say the same."""
    family, code = ("TCP4", 0x11) if address.version == 4 else ("TCP6", 0x21)
    line = f"PROXY {family} {address} {address} {port} 1\r\n".encode()
    told = address.packed * 2 + port.to_bytes(2) + b"\0\1"
    expected = Source(socket.inet_ntop(socket.AF_INET if code == 0x11 else socket.AF_INET6, address.packed), port)
    assert read(line) == read(binary(family=code, told=told)) == expected
