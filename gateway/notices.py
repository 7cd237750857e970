"""Notices on their way to browsers: on the bus, from whoever stores results to every gateway.

There is one channel for all: a notice is rare (one result in some dozens, and of two copies in doubt), and which node
a user is at, or how many of them, nobody need know. A browser that is not connected misses it, and so does everybody
while the bus does; the leaderboards, bests and verdicts themselves are in the API.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.bus import Bus
from persistence.notices import Doubt, Notice

__all__ = ["CHANNEL", "BusNotices", "hearing"]

CHANNEL = "notices"
AT_ONCE = 100
"""Notices in a message: some 20 KB."""

Deliver = Callable[[int, dict[str, Any]], None]
"""Brings the `event` or `stored` message, as a map, to all browsers of a user that are connected here."""


class BusNotices:
    """`Notices` said to every gateway."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, notices: Sequence[Notice | Doubt]) -> None:
        """Say these."""
        told = [(notice.user, notice.to_wire()) for notice in notices]
        for start in range(0, len(told), AT_ONCE):
            await self._bus.publish(CHANNEL, told[start : start + AT_ONCE])

    async def ping(self) -> None:
        """Raise `StoreError` where nobody hears us."""
        await self._bus.ping()


def hearing(deliver: Deliver) -> Callable[[Any], None]:
    """What a gateway does with a message of the channel."""

    def heard(message: Any) -> None:
        for user, wire in message:
            deliver(user, wire)

    return heard
