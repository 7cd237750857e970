"""Records in this process: for one that is alone, and for several in one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from persistence.holders.port import Holding

__all__ = ["MemoryHolders"]

MOST = 100_000
"""Records kept; the one that was written longest ago is forgotten first."""


class MemoryHolders:
    """`Holders` that nobody else sees and that nothing outlives."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, Holding] = OrderedDict()

    async def take(self, session: bytes, node: str, *, floor: int) -> tuple[int, str]:
        """Make `node` the holder."""
        former = self._records.pop(session, Holding(0, ""))
        epoch = max(former.epoch + 1, floor)
        self._records[session] = Holding(epoch, node)
        if len(self._records) > MOST:
            self._records.popitem(last=False)
        return epoch, former.node

    async def read(self, sessions: Sequence[bytes]) -> list[Holding | None]:
        """The records of sessions."""
        return [self._records.get(session) for session in sessions]
