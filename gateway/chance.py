"""Chance from the system, asked for by the block: one call a few hundred numbers instead of one each."""

import os

BLOCK_BYTES = 4096


class Chance:
    """Whole numbers of so many random bits, as good as `secrets.randbits`; no byte is ever used twice.

    A system call costs more than all else that a guest's id takes, and ten thousand guests may come in a second. Not
    for a process that forks: both halves would go on with the same block.
    """

    __slots__ = ("_at", "_block")

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def __call__(self, bits: int) -> int:
        """A number from 0 to 2^bits - 1; `bits` is at most 512."""
        size = (bits + 7) >> 3
        at = self._at
        self._at = end = at + size
        if end > len(self._block):
            self._block = os.urandom(BLOCK_BYTES)
            at, self._at = 0, size
            end = size
        return int.from_bytes(self._block[at:end], "big") >> (8 * size - bits)
