"""The embedded carrier: buses of one process, on one event loop, hear each other through an `Exchange`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.bus.port import Carrier, Frame, Hearer
from persistence.errors import StoreError

__all__ = ["Exchange"]


class Exchange:
    """Where the carriers of one process meet. Nothing is ever missed in it."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Hearer]] = {}

    def carrier(self) -> Carrier:
        """One bus's carrier."""
        return _LocalCarrier(self._listeners)


class _LocalCarrier:
    def __init__(self, listeners: dict[str, list[Hearer]]) -> None:
        self._listeners = listeners
        self._channels: set[str] = set()
        self._hearer: Hearer

    async def open(self, hearer: Hearer) -> None:
        self._hearer = hearer

    async def close(self) -> None:
        for channel in list(self._channels):
            self.ignore(channel)

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        for channel, frame in frames:
            for hearer in tuple(self._listeners.get(channel, ())):
                hearer.heard(channel, frame)
        return [None] * len(frames)

    def listen(self, channel: str) -> None:
        self._channels.add(channel)
        self._listeners.setdefault(channel, []).append(self._hearer)
        asyncio.get_running_loop().call_soon(self._listening, channel)

    def _listening(self, channel: str) -> None:
        if channel in self._channels:
            self._hearer.listening(channel)

    def ignore(self, channel: str) -> None:
        self._channels.discard(channel)
        hearers = self._listeners[channel]
        hearers.remove(self._hearer)
        if not hearers:
            del self._listeners[channel]

    async def ping(self) -> None:
        return
