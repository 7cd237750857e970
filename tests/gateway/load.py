"""Typists in a thread of their own, who type over real sockets, come back when a server dies, and lose nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loadtest.client import ClientOptions, TypingClient
from loadtest.crowd import Crowd
from loadtest.engine import Engine
from loadtest.meters import Meters
from loadtest.mixes import MixPlan

_PATIENCE_S = 240.0


class Brief(MixPlan):
    """Tests of two or three words: as many as can be in the time."""

    def choose(self, test: int) -> dict[str, Any] | None:
        """The next test."""
        return {"mode": "words", "count": 2 + test % 2}


class Load:
    """A few typists at work, test after test of a few seconds, at their own pace."""

    def __init__(self, address: tuple[str, int], typists: int) -> None:
        self.meters = Meters()
        self._engine = Engine()
        crowd = Crowd(1, typists)
        options = ClientOptions(retry_ms=(100.0, 1_000.0), tries=1_000)
        self._clients: list[TypingClient] = []
        for number in range(typists):
            plan = Brief(crowd, number, mix="short", seed=1, rest_ms=100.0)
            client = TypingClient(self._engine, number, plan, options=options, meters=self.meters)
            client.begin(address)
            self._clients.append(client)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="typists")

    def _run(self) -> None:
        self._engine.run(until=lambda: self._stopping, limit_s=1_200)
        for client in self._clients:
            client.stop()
        self._engine.run(until=self._done, limit_s=_PATIENCE_S)

    def _done(self) -> bool:
        return all(client.done for client in self._clients)

    def start(self) -> None:
        """Begin to type."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the tests under way, and hear that they are stored."""
        self._stopping = True
        self._thread.join()
        for client in self._clients:
            client.abandon()
        self._engine.close()

    @property
    def done(self) -> bool:
        """Whether everybody has heard of their last test."""
        return self._done()

    @property
    def stored(self) -> list[str]:
        """Sessions of which it was said that they are stored."""
        return [session for client in self._clients for session in client.sessions]

    async def waits(self) -> None:
        """Wait until everybody has a result that is accepted and cannot be stored."""
        async with asyncio.timeout(_PATIENCE_S):
            while self.meters.accepted < self.meters.stored + len(self._clients):  # noqa: ASYNC110  # as below
                await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Wait until all that was accepted is stored; for when nothing more is accepted."""
        async with asyncio.timeout(_PATIENCE_S):
            while self.meters.stored < self.meters.accepted:  # noqa: ASYNC110  # as below
                await asyncio.sleep(0.05)

    async def resumed(self, times: int) -> None:
        """Wait until a test was resumed so many times in all."""
        async with asyncio.timeout(_PATIENCE_S):
            while self.meters.resumed < times:  # noqa: ASYNC110  # as below
                await asyncio.sleep(0.05)

    async def refused(self, times: int) -> None:
        """Wait until it was said so many times that there is no room."""
        async with asyncio.timeout(_PATIENCE_S):
            while self.meters.errors["full"] < times:  # noqa: ASYNC110  # as below
                await asyncio.sleep(0.05)

    async def confirmed(self, more: int) -> None:
        """Wait until so many more results are stored than are now."""
        wanted = self.meters.stored + more
        async with asyncio.timeout(_PATIENCE_S):
            while self.meters.stored < wanted:  # noqa: ASYNC110  # another thread counts
                await asyncio.sleep(0.05)


@contextmanager
def typing(address: tuple[str, int], typists: int) -> Iterator[Load]:
    """Have them type until the context is left, and a little longer: until their last tests are stored."""
    load = Load(address, typists)
    load.start()
    try:
        yield load
    finally:
        load.stop()
