"""What may be lost, as README says: a race whose servers all died, and Redis with them, before its places were final.

Until then the servers that its racers are connected to know it, also those that a racer has left since, and a Redis
that keeps nothing on a disk. Each gives it back to the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from loadtest.chaos.faults import Suffered

__all__ = ["may_be_lost"]

_ENDS = ("kill", "restart")
_LATE_S = 5.0
"""What a server says may be on its way for so long, and the server dead when it is heard."""


def may_be_lost(start_s: float, told: Mapping[str, float], suffered: Sequence[Suffered]) -> bool:
    """Whether since a race began all servers that told a racer of it have died, and Redis was emptied, and not first
    Redis alone. `told`: when each of them did so last; all in s since the typists had come.

    A server that lives until all are well again with the new Redis has given the race back to it.
    """
    ends = [one for one in suffered if one.fault.kind in _ENDS]
    deaths = [(one.fault.part, one.begun_s) for one in ends if one.fault.sort == "node"]
    emptied = [one.well_s or inf for one in ends if one.fault.sort == "redis" and (one.ended_s or inf) >= start_s]

    def died(node: str, told_s: float, until_s: float) -> bool:
        since_s = max(start_s, told_s - _LATE_S)
        return any(part == node and since_s <= died_s <= until_s for part, died_s in deaths)

    return any(all(died(node, told_s, until_s) for node, told_s in told.items()) for until_s in emptied if told)
