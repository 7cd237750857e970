"""Connections to one server, with limits: how many, how long one waits for one, how long a transaction may take.

A server that could not be reached is left alone for a moment and its requests fail at once, so that it costs nobody a
time-out each. A connection on which anything went wrong is closed, never used again: what is in it is not known.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiomysql
import structlog
from pymysql.constants import CR, ER, FIELD_TYPE
from pymysql.err import Error

from persistence.mysql.dsn import Dsn
from persistence.mysql.errors import MysqlError, mysql_error
from persistence.mysql.options import MysqlOptions

__all__ = ["Connection", "Pool"]

log = structlog.get_logger(__name__)

Row = tuple[Any, ...]

_OLDEST_S: Final = 600.0
"""Age at which a connection is replaced, so that a server behind a moved name is found again."""
_LOCK_WAIT_S: Final = 5
_SESSION: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; "
    # MySQL warns of a strict mode without the three of it that are its own in name alone
    "SET SESSION sql_mode = "
    "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE', "
    f"time_zone = '+00:00', innodb_lock_wait_timeout = {_LOCK_WAIT_S}, lock_wait_timeout = {_LOCK_WAIT_S}, "
    f"group_concat_max_len = {2**24}"  # MySQL's own is 1,024
)
# DATE and DATETIME stay text: objects of them would be dear to make, and ids say the instants anyway
_DECODERS: Final = {
    **dict.fromkeys((FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24), int),
    **dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE, FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL), float),
}


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]  # the library has no types
    """A cursor that logs warnings, but for the one on VALUES() in upserts: MariaDB knows no other way to write it."""

    async def _show_warnings(self, conn: Any) -> None:
        if self._result is not None and self._result.has_next:
            return  # to ask now would be to throw away the answers that are still to come
        for level, code, message in await conn.show_warnings() or ():
            if level != "Note" and code != ER.WARN_DEPRECATED_SYNTAX:
                log.warning("the database warns", code=code, warning=message)


class Connection:
    """One connection. Every method raises `MysqlError`."""

    __slots__ = ("_cursor", "_what", "born_s", "memory", "raw")

    def __init__(self, raw: Any, cursor: Any, what: str, *, born_s: float) -> None:
        self.raw = raw
        self.born_s = born_s
        self.memory: dict[Any, Any] = {}
        """What whoever uses it knows of its server; it is forgotten with the connection."""
        self._cursor = cursor
        self._what = what

    async def ask(self, statement: str) -> Sequence[Row]:
        """The rows of a statement."""
        try:
            await self._cursor.execute(statement)
            return await self._cursor.fetchall()  # type: ignore[no-any-return]  # of the library
        except (Error, OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            raise mysql_error(error, self._what) from error

    async def run(self, statement: str) -> int:
        """Run a statement; the number of rows that it changed."""
        try:
            return await self._cursor.execute(statement)  # type: ignore[no-any-return]  # of the library
        except (Error, OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            raise mysql_error(error, self._what) from error

    async def run_all(self, *statements: str) -> list[Sequence[Row]]:
        """Send several statements at once; the rows of each. The first that fails is the last that is run."""
        try:
            await self._cursor.execute("; ".join(statements))
            answers = [await self._cursor.fetchall()]
            while len(answers) < len(statements) and await self._cursor.nextset():
                answers.append(await self._cursor.fetchall())
        except (Error, OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            raise mysql_error(error, self._what) from error
        assert len(answers) == len(statements), f"{len(answers)} answers to {len(statements)} statements"
        return answers


class Pool:
    """Connections to a server. Its context managers raise `MysqlError`, also for what goes wrong within them."""

    def __init__(self, dsn: Dsn, options: MysqlOptions) -> None:
        self.name = str(dsn)
        self._dsn = dsn
        self._options = options
        self._free = asyncio.Semaphore(options.connections)
        self._idle: list[Connection] = []
        self._waiting = 0
        self._tls: ssl.SSLContext | None = None
        self._closed = False
        self._away_until_s = 0.0
        self._away_because = ""

    @asynccontextmanager
    async def connection(self, within_ms: int) -> AsyncIterator[Connection]:
        """A connection in autocommit mode, for at most this long."""
        try:
            async with asyncio.timeout(within_ms / 1000), self._one() as connection:
                yield connection
        except TimeoutError as error:
            raise mysql_error(error, self.name) from error

    @asynccontextmanager
    async def transaction(self, within_ms: int) -> AsyncIterator[Connection]:
        """A connection in a transaction (READ COMMITTED), which is committed at the end and rolled back by an error."""
        async with self.connection(within_ms) as connection:
            await connection.run("BEGIN")
            yield connection
            await connection.run("COMMIT")  # where something was raised, the connection is closed: that rolls it back

    async def close(self) -> None:
        """Close what is idle; connections in use are closed when they are given back."""
        self._closed = True
        while self._idle:
            _hang_up(self._idle.pop())

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Connection]:
        await self._wait()
        try:
            connection = await self._take()
            try:
                yield connection
            except BaseException:
                _hang_up(connection)
                raise
            if self._closed:
                _hang_up(connection)
            else:
                self._idle.append(connection)
        finally:
            self._free.release()

    async def _wait(self) -> None:
        """Wait until one more connection may be used."""
        if self._closed:
            raise MysqlError(f"{self.name} is closed", retriable=False)
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._options.max_waiting:
            raise MysqlError(f"{self.name}: {self._waiting} requests wait for a connection already", retriable=True)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._options.wait_ms / 1000):
                await self._free.acquire()
        except TimeoutError:
            raise MysqlError(
                f"{self.name}: all {self._options.connections} connections are in use", retriable=True
            ) from None
        finally:
            self._waiting -= 1

    async def _take(self) -> Connection:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            # the server, or something on the way, may have closed it while it was idle
            if not connection.raw._reader.at_eof() and now - connection.born_s < _OLDEST_S:
                return connection
            _hang_up(connection)
        if now < self._away_until_s:
            raise MysqlError(self._away_because, retriable=True, code=CR.CR_CONN_HOST_ERROR)
        return await self._connect()

    async def _connect(self) -> Connection:
        dsn = self._dsn
        try:
            async with asyncio.timeout(self._options.connect_ms / 1000):
                raw = await aiomysql.connect(
                    host=dsn.host,
                    port=dsn.port,
                    user=dsn.user,
                    password=dsn.password or "",
                    db=dsn.database,
                    charset="utf8mb4",
                    autocommit=True,
                    conv=_DECODERS,
                    cursorclass=_Cursor,
                    ssl=await self._tls_context(),
                )
        except (Error, OSError, asyncio.IncompleteReadError, RuntimeError) as error:
            fault = mysql_error(error, f"cannot connect to {self.name}")
            if dsn.ca is not None and fault.code == ER.HANDSHAKE_ERROR:  # MySQL's word to who asks for a TLS it has not
                fault = self._no_tls()
            self._away_until_s = time.monotonic() + self._options.retry_ms / 1000
            self._away_because = str(fault)
            raise MysqlError(str(fault), retriable=True, code=CR.CR_CONN_HOST_ERROR) from error
        if dsn.ca is not None and not raw._secure:
            # the library goes on in the clear where the server offers no TLS, and says nothing of it
            raw.close()
            raise self._no_tls()
        connection = Connection(raw, await raw.cursor(), self.name, born_s=time.monotonic())
        try:
            await connection.run_all(*_SESSION.split("; "))
        except BaseException:
            _hang_up(connection)
            raise
        return connection

    def _no_tls(self) -> MysqlError:
        return MysqlError(f"{self.name} offers no TLS, and its address asks for it (ca)", retriable=True)

    async def _tls_context(self) -> ssl.SSLContext | None:
        if self._dsn.ca is None:
            return None
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._dsn.ca)
        return self._tls


def _hang_up(connection: Connection) -> None:
    """Close without a word: the server rolls back what was under way, and nobody waits for it."""
    connection.raw.close()
