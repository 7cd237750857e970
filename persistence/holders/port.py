"""The port of the holders' records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["KEPT_S", "LAST_EPOCH", "Holders", "Holding"]

KEPT_S = 7_200
"""A record is forgotten so long after the session was last taken over; none is held longer."""

LAST_EPOCH = (1 << 53) - 1
"""No epoch is greater; what claims to be is no record."""


class Holding(NamedTuple):
    """A session's record."""

    epoch: int
    """Of two who took a session over the one with the greater epoch was the later."""
    node: str
    """Who has it; empty: nobody is recorded."""


class Holders(Protocol):
    """One record {epoch, node} for each session that was taken over.

    Guarantees: those who take one session do so one after the other, each at a greater epoch than all before and than
    its own floor, and each is told whom it took it from. Records may be lost, all at once too: then the next one who
    takes a session is told of nobody, and has its floor's epoch.
    """

    async def take(self, session: bytes, node: str, *, floor: int) -> tuple[int, str]:
        """Make `node` the holder: the epoch at which it is that, and who was it before (empty: nobody is recorded).

        Raises `StoreError` where it is not known to be recorded.
        """
        ...

    async def read(self, sessions: Sequence[bytes]) -> list[Holding | None]:
        """The records of sessions, in their order. Raises `StoreError`."""
        ...
