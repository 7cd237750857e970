"""A channel in Redis: what one process publishes, every process that listens hears, at most once.

Nobody keeps what is published: who has no connection at that moment has missed it. So a channel is for what may be
missed; `on_gap` says that something may have been.

Redis' clients that mend their connections by themselves do so silently. This one opens each connection itself, asks the
server for a sign of life, and gives up a connection on which nothing comes: a server that vanished without a word is
noticed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from persistence.errors import StoreError
from persistence.redis.calls import Call
from persistence.redis.options import RedisOptions
from persistence.redis.servers import RedisServers

__all__ = ["Listener", "publish"]

log = structlog.get_logger(__name__)

_PING_S = 5.0
_SILENT_S = 12.0
"""Time without a word, pongs included, after which a connection is given up."""


async def publish(servers: RedisServers, channel: str, message: bytes) -> None:
    """Publish a message; on a Cluster it is heard at every node. Raises `StoreError`."""
    name = servers.prefix + channel
    await servers.ask(Call(name, ("PUBLISH", name, message)))


class Listener:
    """Hears a channel as long as it is open. Opening needs no Redis: it listens from when there is one.

    `heard(message)` is called on the event loop; what it raises is logged.
    """

    def __init__(
        self,
        options: RedisOptions,
        channel: str,
        heard: Callable[[bytes], None],
        *,
        on_gap: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
    ) -> None:
        self._options = options
        self._channel = options.prefix + channel
        self._heard = heard
        self._on_gap = on_gap
        self._chance = chance or random.Random()
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = "not connected yet"
        self.subscribed = asyncio.Event()
        """Set while it listens."""

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where a file that the options name cannot be read."""
        opener = await asyncio.to_thread(self._options.opener)
        self._task = asyncio.get_running_loop().create_task(self._listen(opener), name=f"channel {self._channel}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def ping(self) -> None:
        """Raise `StoreError` where it does not listen just now."""
        if self._fault is not None:
            raise StoreError(f"channel {self._channel}: {self._fault}", retriable=True)

    async def _listen(self, opener: Callable[[str, int], Connection]) -> None:
        seeds = self._options.seeds()
        tries = 0
        while True:
            host, port = self._chance.choice(seeds)
            connection = opener(host, port)
            try:
                await self._hear(connection)
            except TimeoutError:
                fault = f"Redis at {host}:{port} says nothing any more"
            except (RedisError, OSError) as error:
                fault = f"Redis at {host}:{port}: {error}"
            finally:
                await connection.disconnect(nowait=True)
            if self.subscribed.is_set():
                self.subscribed.clear()
                tries = 0
                log.warning("nothing is heard of a channel in Redis", channel=self._channel, why=fault)
            self._fault = fault
            longest_ms = min(self._options.retry_max_ms, self._options.retry_min_ms << min(tries, 20))
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * longest_ms / 1000)
            tries += 1

    async def _hear(self, connection: Connection) -> None:
        """Subscribe on a connection and hear what comes, until nothing does."""
        async with asyncio.timeout(self._options.call_ms / 1000):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own gap
            await connection.send_command("SUBSCRIBE", self._channel)
            await connection.read_response()
        log.info("listening to a channel in Redis", channel=self._channel)
        self._fault = None
        self._on_gap()
        self.subscribed.set()
        pinging = asyncio.get_running_loop().create_task(_ping(connection))
        try:
            while True:
                async with asyncio.timeout(_SILENT_S):
                    said = await connection.read_response()
                if isinstance(said, list) and said[0] == b"message":
                    self._pass_on(said[2])
        finally:
            pinging.cancel()
            await asyncio.wait([pinging])

    def _pass_on(self, message: bytes) -> None:
        try:
            self._heard(message)
        except Exception:
            log.exception("a message of a channel could not be taken", channel=self._channel)


async def _ping(connection: Connection) -> None:
    """Make the server say something. A connection that cannot be written to is noticed by who reads it."""
    while True:
        await asyncio.sleep(_PING_S)
        try:
            await connection.send_command("PING")
        except (RedisError, OSError):
            return
