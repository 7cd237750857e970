"""Notices on their way to browsers: within this process, or from whoever stores results to every gateway.

Across processes there is one channel in Redis for all: a notice is rare (one result in some dozens), and which node a
user is at, or how many of them, nobody need know. A browser that is not connected misses it; the leaderboards and bests
themselves are in the API.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from persistence.notices import Notice
from persistence.redis import RedisServers
from persistence.redis.channel import publish

__all__ = ["CHANNEL", "LocalNotices", "RedisNotices", "hearing"]

CHANNEL = "notices"
"""The channel's name, after the prefix of all keys."""

Deliver = Callable[[int, dict[str, Any]], None]
"""Brings the `event` message, as a map, to all browsers of a user that are connected here."""


class LocalNotices:
    """`Notices` where the gateway that stores a result is the only one there is."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Bring them to whoever is connected."""
        for notice in notices:
            self._deliver(notice.user, notice.to_wire())

    async def ping(self) -> None:
        """There is nothing that could be away."""


class RedisNotices:
    """`Notices` published for every gateway."""

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Publish these, in one message."""
        await publish(self._servers, CHANNEL, msgpack.packb([(notice.user, notice.to_wire()) for notice in notices]))

    async def ping(self) -> None:
        """Raise `StoreError` where Redis does not answer."""
        await self._servers.ping()


def hearing(deliver: Deliver) -> Callable[[bytes], None]:
    """What a gateway does with a message of the channel."""

    def heard(message: bytes) -> None:
        for user, wire in msgpack.unpackb(message):
            deliver(user, wire)

    return heard
