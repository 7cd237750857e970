"""What may be lost, as README says: a race whose servers all died, and Redis with them, before its places were final.

Until then the servers that its racers are connected to know it, and a Redis that keeps nothing on a disk. Each gives it
back to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from loadtest.chaos.faults import Suffered

__all__ = ["may_be_lost"]

_ENDS = ("kill", "restart")


def may_be_lost(start_s: float, suffered: Sequence[Suffered]) -> bool:
    """Whether since a race began a server died and Redis was emptied, and not first Redis alone.

    A server that lives until all are well again with the new Redis has given the race back to it.
    """
    ends = [one for one in suffered if one.fault.kind in _ENDS]
    nodes = [one.begun_s for one in ends if one.fault.sort == "node" and one.begun_s >= start_s]
    emptied = [one for one in ends if one.fault.sort == "redis" and (one.ended_s or inf) >= start_s]
    return any(died_s <= (one.well_s or inf) for one in emptied for died_s in nodes)
