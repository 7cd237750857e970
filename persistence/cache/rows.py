"""A cached list: rows in descending order of their ids, as one value.

A row is the length of its id (1 byte), the length of its value (4, big-endian), the id, the value. No more than a
script of a cache server can take apart, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct

_HEAD = Struct(">BI")


@dataclass(frozen=True, slots=True)
class Row:
    """A row for the list under a key."""

    key: str
    id: bytes
    value: bytes


def pack_rows(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Rows of id and value, which are in order, as a list."""
    return b"".join(pack_row(id_, value) for id_, value in rows)


def pack_row(id_: bytes, value: bytes) -> bytes:
    """One row of a list."""
    return _HEAD.pack(len(id_), len(value)) + id_ + value


def read_rows(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a list: id and value."""
    at = 0
    while at < len(packed):
        id_length, length = _HEAD.unpack_from(packed, at)
        middle = at + _HEAD.size + id_length
        yield packed[at + _HEAD.size : middle], packed[middle : middle + length]
        at = middle + length


def push_row(row: Row, packed: bytes, *, most: int) -> bytes | None:
    """The list with a row in its place, of at most `most` rows; None where it has a row of this id already."""
    rows = list(read_rows(packed))
    if any(id_ == row.id for id_, _ in rows):
        return None
    rows.append((row.id, row.value))
    rows.sort(key=lambda pair: pair[0], reverse=True)
    return pack_rows(rows[:most])
