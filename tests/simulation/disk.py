"""A disk that outlives its process, and the spool's thread that writes to it.

A piece of work on the thread takes its time, and happens at one instant: before it nothing of it is on the disk, after
it all, whether or not the process lives to hear of it. So at any instant it is known what is durable: what was
committed. Power that fails loses no more than a killed process does, for a commit is an fsync.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from persistence.errors import StoreError
from persistence.sqlite import Job, SqliteThreads, store_error
from persistence.stream import Spool, SpoolOptions
from persistence.stream.spool import unpack
from persistence.stream.spoolfile import SCHEMA, Slot
from session.race_record import RaceRecord
from session.settling import Finished
from tests.simulation.process import Process
from tests.simulation.world import World

T = TypeVar("T")

_NOWHERE = Path("/nowhere/spool-0.db")
_PLENTY = 1 << 40
_WRITES = ("INSERT", "DELETE", "UPDATE")

SPOOL_OPTIONS = SpoolOptions(probe_ms=2_000, patience_ms=3_000)


class _Connection(sqlite3.Connection):
    """A connection to a file on a disk that may refuse writes."""

    refuses = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self.refuses and sql.startswith(_WRITES):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR"
            raise error
        return super().execute(sql, parameters)


class Disk:
    """What a machine keeps."""

    def __init__(self, world: World, name: str) -> None:
        self.chance = world.chance(f"disk {name}")
        self.name = name
        self.slow = 1.0
        """How many times as long as mostly everything takes."""
        self.opened = 0
        self.committed: Callable[[], None] = lambda: None
        """Called after each commit of results, in which the process may be killed."""
        self.lost: set[bytes] = set()
        """Sessions whose results were on a disk that is gone."""
        self._file: _Connection
        self._make()

    def replace(self) -> None:
        """A new disk: what was on the old one is lost."""
        self.lost |= self.sessions()
        self._make()

    def _make(self) -> None:
        self._file = sqlite3.connect(":memory:", isolation_level=None, factory=_Connection, check_same_thread=False)
        for statement in SCHEMA[0]:
            assert isinstance(statement, str)
            self._file.execute(statement)

    @property
    def connection(self) -> sqlite3.Connection:
        return self._file

    def refuse(self, refuses: bool) -> None:
        """Whether writes fail."""
        self._file.refuses = refuses

    def sessions(self) -> set[bytes]:
        """The sessions whose results are on it."""
        return {record.session for record in self._records() if not isinstance(record, RaceRecord)}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on it, results and records of races."""
        return not self._records()

    def _records(self) -> list[Finished | RaceRecord]:
        rows = sqlite3.Connection.execute(self._file, "SELECT packed FROM spool").fetchall()
        return [unpack(packed) for (packed,) in rows]

    def takes_s(self) -> float:
        """How long the next piece of work takes."""
        return self.slow * (0.0002 + 0.004 * self.chance.random() ** 4)


class DiskThread:
    """The one thread of a `SqliteThreads`, as far as a spool uses it."""

    def __init__(self, world: World, process: Process, disk: Disk, connect: Callable[[], sqlite3.Connection]) -> None:
        self._world = world
        self._process = process
        self._disk = disk
        self._connect = connect
        self._connection: sqlite3.Connection
        self._jobs: deque[Job[object]] = deque()
        self._works = False

    async def open(self) -> None:
        self._connection = self._connect()

    async def close(self) -> None:
        await self.run(lambda _: None)

    def post(self, job: Job[object]) -> None:
        self._jobs.append(job)
        self._next()

    async def run(self, job: Job[T]) -> T:
        loop = self._process
        answer: asyncio.Future[T] = loop.create_future()

        def answered(connection: sqlite3.Connection) -> None:
            try:
                value = job(connection)
            except sqlite3.Error as error:
                loop.call_soon(_fail, answer, store_error(error, "spool"))
            except StoreError as error:
                loop.call_soon(_fail, answer, error)
            else:
                loop.call_soon(_succeed, answer, value)

        self.post(answered)
        return await answer

    def _next(self) -> None:
        if self._jobs and not self._works:
            self._works = True
            self._world.after(self._disk.takes_s(), self._process.thread, self._work)

    def _work(self) -> None:
        if self._process.alive:
            self._works = False
            self._jobs.popleft()(self._connection)
            self._next()


class DiskSpool(Spool):
    """The spool of a process, on a disk of this world."""

    def __init__(self, world: World, process: Process, disk: Disk, *, clock_ms: Callable[[], int]) -> None:
        super().__init__(_NOWHERE.parent, SPOOL_OPTIONS, clock_ms=clock_ms)
        thread: Any = DiskThread(world, process, disk, self._connect)
        self._threads: SqliteThreads = thread
        self._disk = disk

    def _connect(self) -> sqlite3.Connection:
        lock: Any = _NoLock()
        connection = self._disk.connection
        connection.execute("UPDATE spool SET why = NULL WHERE why IS NOT NULL")  # as a start does
        self._slot = Slot(lock, _NOWHERE, connection)
        self._free_bytes = _PLENTY
        return connection

    def _commit(self, connection: sqlite3.Connection) -> None:
        before = self._seq
        super()._commit(connection)
        if self._seq > before:
            self._disk.committed()

    def _free(self) -> int:
        return _PLENTY

    def _file_lost(self) -> str | None:
        return None


class _NoLock:
    def release(self) -> None:
        return


def _succeed(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
