"""Unmasking a payload (RFC 6455 5.3): the library's C function, or one exclusive or of two big integers without it."""

from __future__ import annotations

__all__ = ["apply_mask", "exclusive_or"]


def exclusive_or(data: bytes | bytearray | memoryview, mask: bytes | bytearray) -> bytes:
    """`data` with each byte combined with that of the four bytes of `mask` whose turn it is."""
    length = len(data)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(length, "little")


try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without its C extension
    apply_mask = exclusive_or
