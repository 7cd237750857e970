"""The bus through Redis: PUBLISH on a standalone server, SPUBLISH on a Cluster, one connection to hear on each."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gateway.bus.port import Frame, Hearer
from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from persistence.redis.channels import Channels

__all__ = ["RedisCarrier"]


class RedisCarrier:
    """A `Carrier`. Frames go by the connections of `servers`; what is heard comes on connections of their own."""

    def __init__(self, servers: RedisServers, options: RedisOptions, *, chance: random.Random | None = None) -> None:
        self._servers = servers
        # channels know no database: an installation in another one of the same server must not hear us
        self._prefix = f"{servers.prefix}{options.database}:bus:"
        self._publish = "SPUBLISH" if options.nodes else "PUBLISH"
        self._channels = Channels(options, servers, heard=self._heard, listening=self._listening, chance=chance)
        self._hearer: Hearer | None = None
        servers.on_return(self._returned)

    @property
    def connections(self) -> int:
        """Connections on which it hears."""
        return self._channels.connections

    async def open(self, hearer: Hearer) -> None:
        """Raises `StoreError` where a file that the options name cannot be read."""
        await self._channels.open()
        self._hearer = hearer

    async def close(self) -> None:
        """End."""
        self._hearer = None
        await self._channels.close()

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        """Publish these, in one go for each server."""
        calls = []
        for channel, frame in frames:
            name = self._prefix + channel
            calls.append(Call(name, (self._publish, name, frame)))
        answers = await self._servers.each(calls)
        return [answer if isinstance(answer, StoreError) else None for answer in answers]

    def listen(self, channel: str) -> None:
        """Hear a channel."""
        self._channels.add(self._prefix + channel)

    def ignore(self, channel: str) -> None:
        """Hear it no more."""
        self._channels.discard(self._prefix + channel)

    async def ping(self) -> None:
        """Raise `StoreError` where a channel is not heard, or a server does not answer."""
        self._channels.ping()
        await self._servers.ping()

    def _heard(self, name: str, frame: bytes) -> None:
        if self._hearer is not None:
            self._hearer.heard(name.removeprefix(self._prefix), frame)

    def _listening(self, name: str) -> None:
        if self._hearer is not None:
            self._hearer.listening(name.removeprefix(self._prefix))

    def _returned(self) -> None:
        if self._hearer is not None:
            self._hearer.returned()
