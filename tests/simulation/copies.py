"""Who has which session at a moment: one node at most, once all that was to be said of it has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.simulation.node import Machine
from tests.simulation.redis import Redis

SETTLED_S = 10.0
"""By then whoever may have missed something has looked, however often it had to."""


def strays(machines: Iterable[Machine], redis: Redis) -> set[tuple[str, bytes, int]]:
    """Copies, live or held, that should not be: machine, session, epoch.

    By the record another node has taken the session since; or another one has a later copy.
    """
    there = sorted(_copies(machines), key=lambda copy: (copy[2], copy[0]))
    latest = {session: (machine, session, epoch) for machine, session, epoch in there}
    found = set()
    for copy in there:
        machine, session, epoch = copy
        record = redis.record(session)
        if latest[session] != copy or (record is not None and record.node != machine and record.epoch > epoch):
            found.add(copy)
    return found


def _copies(machines: Iterable[Machine]) -> Iterator[tuple[str, bytes, int]]:
    for machine in machines:
        if machine.server is not None and machine.listens:
            hub = machine.server.hub
            for session in hub.copies():
                copy = hub.copy_of(session)
                assert copy is not None
                yield machine.name, session, copy.epoch
