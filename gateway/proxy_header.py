"""The PROXY protocol's header (HAProxy's proxy-protocol.txt, versions 1 and 2): whose connection a balancer passes on.

Pure: bytes in, who out. Nothing beyond the header need be read to know where it ends (`missing`), for what follows may
be the beginning of a TLS handshake, which is another's to read.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

__all__ = ["HEADER_BYTES", "Malformed", "Source", "begins", "missing", "read"]

HEADER_BYTES: Final = 4096
"""Longest header of version 2, with all that is added to the addresses (TLVs); version 1 has 107 at the most."""

_LINE_BYTES: Final = 107
_LEAST_LINE: Final = len(b"PROXY UNKNOWN\r\n")
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD: Final = 16
"""Bytes of version 2 that say how many more there are."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_FAMILIES: Final = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_NOT_TOLD: Final = frozenset((0x00, 0x31, 0x32))
"""No address, or those of Unix sockets."""


class Malformed(ValueError):
    """These bytes are no header."""


@dataclass(frozen=True, slots=True)
class Source:
    """The client, as the balancer saw it."""

    address: str
    port: int


def begins(data: bytes) -> bool:
    """Whether a header may begin so; False for all that HTTP and TLS begin with."""
    return _SIGNATURE.startswith(data[:12]) or b"PROXY ".startswith(data[:6])


def missing(data: bytes) -> int:
    """How many bytes that are not here yet are the header's for certain; 0 where it is whole. Raises Malformed."""
    size = len(data)
    if not begins(data):
        raise Malformed("neither version's signature")
    if data[:1] == b"P":
        if data.endswith(b"\r\n"):
            return 0
        if size >= _LINE_BYTES:
            raise Malformed(f"a line of over {_LINE_BYTES} bytes")
        return max(_LEAST_LINE - size, 1 if data.endswith(b"\r") else 2)
    if size < _HEAD:
        return (_HEAD if data else _LEAST_LINE) - size
    length = _HEAD + int.from_bytes(data[14:16])
    if length > HEADER_BYTES:
        raise Malformed(f"a header of over {HEADER_BYTES} bytes")
    return length - size


def read(header: bytes) -> Source | None:
    """Who is told by a whole header; None where it tells of nobody: the balancer itself asks. Raises Malformed."""
    return _line(header[:-2]) if header.startswith(b"P") else _binary(header)


def _line(line: bytes) -> Source | None:
    try:
        _, family, *rest = line.decode("ascii").split(" ")
    except ValueError:
        raise Malformed("a line that is no text") from None
    if family == "UNKNOWN":
        return None
    if family not in _FAMILIES or len(rest) != 4 or not all(map(_is_port, rest[2:])):
        raise Malformed("a line that is not PROXY TCP4 or TCP6, two addresses, two ports")
    try:
        source, _ = (socket.inet_pton(_FAMILIES[family], address) for address in rest[:2])
    except OSError:
        raise Malformed("an address that is none") from None
    return Source(socket.inet_ntop(_FAMILIES[family], source), int(rest[2]))


def _is_port(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) < 65_536


def _binary(header: bytes) -> Source | None:
    command, family, told = header[12], header[13], header[_HEAD:]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise Malformed("a version or command that there is not")
    if family in _NOT_TOLD:
        return None
    if family not in (_TCP4, _TCP6):
        raise Malformed("addresses of no stream")
    size = 4 if family == _TCP4 else 16
    if len(told) < 2 * size + 4:
        raise Malformed("addresses that are cut off")
    address = socket.inet_ntop(socket.AF_INET if family == _TCP4 else socket.AF_INET6, told[:size])
    return Source(address, int.from_bytes(told[2 * size : 2 * size + 2]))
