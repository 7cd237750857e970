"""The clock that all nodes race by: that of the server that keeps the races.

    race's clock = this process's monotonic clock + the median of five offsets, taken anew every ten seconds

A monotonic clock is not set by anybody meanwhile, and the median of five is not moved by an answer that came late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from types import TracebackType
from typing import Final, Self

from persistence.errors import StoreError
from persistence.redis import Call, RedisServers

__all__ = ["RaceClock"]

READINGS: Final = 5

_UNKNOWN_S: Final = 0.5
"""Until it is known it is asked for again so soon: tests of races that come from another node wait for it."""


class RaceClock:
    """A server's TIME, from here. All processes of a cluster ask the server that has `key`.

    Until it was read for the first time it is this machine's wall clock. `monotonic_ms` and `epoch_ms` are clocks.
    """

    def __init__(
        self,
        servers: RedisServers,
        key: str,
        *,
        every_ms: int,
        monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
        epoch_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._servers = servers
        self._call = Call(key, ("TIME",))
        self._every_s = every_ms / 1000
        self._monotonic_ms = monotonic_ms
        self._offset_ms = epoch_ms() - monotonic_ms()
        self.known = False
        """Whether the server has ever been asked with success."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._reading(), name="the race's clock")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def now_ms(self) -> int:
        """The race's clock, epoch ms."""
        return round(self._monotonic_ms() + self._offset_ms)

    async def read(self) -> None:
        """Ask the server. Raises `StoreError`, and the clock goes on as it did."""
        offsets = []
        for _ in range(READINGS):
            asked_ms = self._monotonic_ms()
            answer = await self._servers.ask(self._call)
            answered_ms = self._monotonic_ms()
            seconds, micros = map(int, answer.value)
            offsets.append(seconds * 1000 + micros / 1000 - (asked_ms + answered_ms) / 2)
        self._offset_ms = median(offsets)
        self.known = True

    async def _reading(self) -> None:
        while True:
            try:
                await self.read()
            except StoreError:
                pass  # it is told where somebody wants to change a race
            await asyncio.sleep(self._every_s if self.known else min(_UNKNOWN_S, self._every_s))
