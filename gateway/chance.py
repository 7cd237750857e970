"""Chance from the system, asked for by the block: one call 512 numbers instead of one each."""

import os
from struct import Struct

BLOCK_NUMBERS = 512
_BLOCK = Struct(f">{BLOCK_NUMBERS}Q")


class Chance:
    """Whole numbers of so many random bits, as good as `secrets.randbits`; no bit is ever used twice.

    A system call costs more than all else that a guest's id takes, and ten thousand guests may come in a second. Not
    for a process that forks: both halves would go on with the same block.
    """

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def __call__(self, bits: int) -> int:
        """A number from 0 to 2^bits - 1; `bits` is at most 64."""
        numbers = self._numbers
        if not numbers:
            numbers.extend(_BLOCK.unpack(os.urandom(_BLOCK.size)))
        return numbers.pop() >> (64 - bits)
