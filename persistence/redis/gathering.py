"""Calls that come while others are under way go together in the next exchange.

Ten thousand clients that come back at once make ten thousand calls, each from a task of its own; so they are some
dozens of exchanges. A call that comes alone goes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from persistence.errors import StoreError
from persistence.redis.calls import Answer, Call
from persistence.redis.servers import RedisServers

__all__ = ["Gathering"]

AT_ONCE = 500
"""Most calls in one exchange: Redis serves others in between."""
MOST = 50_000
"""Calls that may wait; beyond them one fails at once."""


class Gathering:
    """Brings calls to servers; what waits is bounded, and in time by the servers' own limit."""

    def __init__(self, servers: RedisServers) -> None:
        self._servers = servers
        self._waiting: list[tuple[Call, asyncio.Future[Answer | StoreError]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    async def ask(self, call: Call) -> Answer:
        """Bring one call. Raises `StoreError`."""
        (answer,) = await self.each([call])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def each(self, calls: Sequence[Call]) -> list[Answer | StoreError]:
        """Bring calls; what became of each, in their order."""
        if len(self._waiting) + len(calls) > MOST:
            return [StoreError(f"{len(self._waiting)} calls wait for Redis", retriable=True)] * len(calls)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in calls]
        self._waiting += zip(calls, futures, strict=True)
        if self._sending is None:
            self._sending = loop.create_task(self._send(), name="calls gathered for Redis")
        return [await future for future in futures]

    async def _send(self) -> None:
        """Send until nothing waits."""
        batch: list[tuple[Call, asyncio.Future[Answer | StoreError]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                answers = await self._servers.each([call for call, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():  # who asked may have gone
                        future.set_result(answer)
        finally:
            self._sending = None
            for _, future in (*batch, *self._waiting):  # a fault of ours, or the process ends: nobody waits for ever
                if not future.done():
                    future.set_result(StoreError("Redis was not asked", retriable=True))
            self._waiting = []
