"""A test that goes on here is given up elsewhere: who takes a session over says so, and others drop their copy.

A copy that is left, since this was missed, does no harm: a session without a connection has no result, and of two
results of one session the store keeps one. It is said so that a second tab is told, and memory is free.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gateway.bus import Bus
from gateway.hub import Hub

__all__ = ["Takeovers"]

CHANNEL = "takeovers"
KEPT = 50_000
"""Sessions of which it is remembered when they came here; the oldest is forgotten first."""

_BEYOND = 1 << 53
"""Milliseconds that no clock shows; who believed them could not say anything later."""


class Takeovers:
    """Between a hub and the bus. `node` names this process; `epoch_ms` is the wall clock.

    Two who take a session at once must not both give it up: the later one has it, and of two at the same time the one
    whose name is greater. The time is the wall clock's, but always later than all that was heard of: who takes a
    session after hearing that another did has it, however much their clocks differ.
    """

    def __init__(self, bus: Bus, hub: Hub, *, node: str, epoch_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._hub = hub
        self._node = node
        self._epoch_ms = epoch_ms
        self._latest = 0
        self._taken: OrderedDict[bytes, int] = OrderedDict()
        bus.subscribe(CHANNEL, self._heard)
        hub.took = self._say

    def _say(self, session: bytes) -> None:
        when = self._latest = max(self._epoch_ms(), self._latest + 1)
        self._taken[session] = when
        self._taken.move_to_end(session)
        if len(self._taken) > KEPT:
            self._taken.popitem(last=False)
        self._bus.post(CHANNEL, [session, when, self._node])

    def _heard(self, message: Any) -> None:
        session, when, node, *_ = message  # a newer version may say more
        if not 0 <= when < _BEYOND:
            raise ValueError(f"no time: {when!r}")
        self._latest = max(self._latest, when)
        if node != self._node and (when, node) > (self._taken.get(session, 0), self._node):
            self._taken.pop(session, None)
            self._hub.release(session)
