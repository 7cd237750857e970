"""One Redis server: its connections, the time it gets, and whether it is away.

The rule: the first call that a server does not answer in time marks it as away; from then on calls fail at once, and
one task tries the server again, ever more seldom, until it answers (`servers` runs it). So a dead server costs each of
the calls that are under way one time limit, and later ones nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError

from persistence.errors import StoreError
from persistence.redis.calls import Argument

log = structlog.get_logger(__name__)


class RedisNode:
    """A server at a host and port. `on_away()` is called when it is found to be away; `probe` ends that state."""

    def __init__(
        self,
        host: str,
        port: int,
        open_: Callable[[str, int], Connection],
        *,
        connections: int,
        call_ms: int,
        on_away: Callable[[RedisNode], None],
    ) -> None:
        self.host = host
        self.port = port
        self.name = f"{host}:{port}"
        self.fault: str | None = None
        """Why it is thought to be away; None while it answers."""
        self._open_connection = open_
        self._call_ms = call_ms
        self._on_away = on_away
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Line] = []
        self._run = ""
        self._closed = False

    async def exchange(self, commands: Sequence[tuple[Argument, ...]]) -> tuple[list[Any], str]:
        """Send commands on one connection; the answer to each (a ResponseError where it was refused), and whose.

        Raises `StoreError`, always retriable: at once while the server is away, else within the time limit.
        """
        if self.fault is not None:
            raise StoreError(self.fault, retriable=True)
        return await self._exchange(commands)

    async def probe(self) -> bool:
        """Try whether the server is back."""
        try:
            await self._exchange([("PING",)])
        except StoreError:
            return False
        log.info("Redis is back", server=self.name, after=self.fault)
        self.fault = None
        return True

    async def close(self) -> None:
        """Close the connections; those under way close when they are done."""
        self._closed = True
        await self._drop_idle()

    async def _exchange(self, commands: Sequence[tuple[Argument, ...]]) -> tuple[list[Any], str]:
        waited = True
        try:
            async with asyncio.timeout(self._call_ms / 1000), self._free:
                waited = False
                return await self._on_some_line(commands)
        except TimeoutError:
            if waited:  # our own crowd: the server may be well
                raise StoreError(f"Redis at {self.name} has no connection free for us", retriable=True) from None
            why = f"Redis at {self.name} did not answer within {self._call_ms} ms"
        except (RedisError, OSError) as fault:
            why = f"Redis at {self.name} cannot be used: {_reason(fault)}"
        await self._away(why)
        raise StoreError(why, retriable=True)

    async def _on_some_line(self, commands: Sequence[tuple[Argument, ...]]) -> tuple[list[Any], str]:
        while self._idle:
            line = self._idle.pop()
            try:
                return await self._on(line, commands), line.run
            except (Disconnected, OSError):
                # It was closed since its last use, and so are the others of its age: a restart is no absence.
                await self._drop_idle()
        line = await self._open()
        return await self._on(line, commands), line.run

    async def _on(self, line: _Line, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        replies = await line.talk(commands)
        if self._closed:
            await line.close()
        else:
            self._idle.append(line)
        return replies

    async def _open(self) -> _Line:
        line = _Line(self._open_connection(self.host, self.port))
        await line.open()
        if line.run != self._run:
            if self._run:
                log.warning("Redis was started anew; what it holds may be old", server=self.name)
            self._run = line.run
        return line

    async def _away(self, why: str) -> None:
        if self.fault is None and not self._closed:
            log.error("Redis is away", server=self.name, why=why)
            self.fault = why
            self._on_away(self)
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        lines, self._idle = self._idle, []
        for line in lines:
            await line.close()


def _reason(fault: BaseException) -> str:
    """The operating system's word for it, where it was the system that failed, instead of redis-py's around it."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__context__
    return str(fault).rstrip(".")


class _Line:
    """One connection."""

    __slots__ = ("_connection", "run")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.run = ""

    async def open(self) -> None:
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own gap
        (info,) = await self.talk([("INFO", "server")])
        if isinstance(info, ResponseError):
            await self.close()
            raise info
        for text in info.decode("utf-8", "replace").splitlines():
            if text.startswith("run_id:"):
                self.run = text.removeprefix("run_id:")

    async def talk(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        connection = self._connection
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await self._reply() for _ in commands]
        except BaseException:
            await self.close()  # answers that are still to come must not be taken for another call's
            raise

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as refusal:
            return refusal

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)
