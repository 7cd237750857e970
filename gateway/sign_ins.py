"""Who signs in anew closes the older connections of the account (or guest), at all processes: `sign_ins = "newest"`.

The newest is told from the older ones as in `gateway.takeovers`: by the wall clock, but always later than all that was
heard of, and of two at the same time by the process's name. So of two who sign in at once one stays. What was being
typed over an older connection is held, and the newest may resume it. Connections that sign nobody in (`aside`)
are no older ones either. Where the bus missed something both stay until it is back; then each process says anew who is
here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.bus import Bus
from gateway.connection import Connection
from gateway.hub import Hub
from session.identity import MAX_EPOCH_MS

__all__ = ["SignIns"]

CHANNEL = "sign-ins"
_AT_ONCE = 500
_SPARE = 1_000


class SignIns:
    """Between a hub and the bus. `node` names this process; `epoch_ms` is the wall clock."""

    def __init__(self, bus: Bus, hub: Hub, *, node: str, epoch_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._hub = hub
        self._node = node
        self._epoch_ms = epoch_ms
        self._latest = 0
        self._when: dict[int, int] = {}
        """When the users who are here signed in here last; those who are gone are forgotten now and then."""
        bus.subscribe(CHANNEL, self._heard, resync=self._say_all)
        hub.signing_in.append(self._signed_in)

    def _signed_in(self, connection: Connection) -> None:
        user = connection.user
        when = self._latest = max(self._epoch_ms(), self._latest + 1)
        self._when[user] = when
        if len(self._when) > 2 * len(self._hub.connections) + _SPARE:
            self._when = {user: when for user, when in self._when.items() if self._here(user)}
        for other in self._here(user):
            if other is not connection:
                other.outdo()
        self._bus.post(CHANNEL, [[user, when, self._node]])

    def _say_all(self) -> None:
        """Something may have been missed, by others too."""
        said = [[user, when, self._node] for user, when in self._when.items() if self._here(user)]
        for start in range(0, len(said), _AT_ONCE):
            self._bus.post(CHANNEL, said[start : start + _AT_ONCE])

    def _heard(self, message: Sequence[Sequence[Any]]) -> None:
        unheard = []
        for user, when, node, *_ in message:  # a newer version may say more
            if not 0 <= when <= MAX_EPOCH_MS:
                raise ValueError(f"no time: {when!r}")
            self._latest = max(self._latest, when)
            here = self._here(user)
            if node == self._node or not here:
                continue
            ours = self._when.get(user, 0)
            if (when, node) > (ours, self._node):
                for connection in here:
                    connection.outdo()
            else:  # who says so has missed that ours is newer
                unheard.append([user, ours, self._node])
        if unheard:
            self._bus.post(CHANNEL, unheard)

    def _here(self, user: int) -> list[Connection]:
        """Those of a user's connections here that have signed in."""
        return [connection for connection in self._hub.of(user) if not connection.aside]
