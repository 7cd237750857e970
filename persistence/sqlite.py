"""SQLite as this project uses it: how a file is opened, checked and migrated, and the threads that talk to it.

Rule: no SQLite call ever runs on the event loop. A job is a function of a connection; it runs on one of the threads of
a `SqliteThreads`, each with a connection of its own. Jobs are written with few statements of many rows, for every
statement gives up the interpreter lock and must win it back from a busy event loop (up to 5 ms each time).
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from persistence.errors import StoreError

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
Step = str | Callable[[sqlite3.Connection], None]
"""Part of a migration: a statement, or what no statement can say."""

APPLICATION_ID = 0x54595047  # "TYPG", in the header of every file of ours: `file results.db` and `open_file` know them

log = structlog.get_logger(__name__)

# Primary result codes that blame the row itself: the same statement can never succeed. All others (room, I/O, locks,
# damage, permissions) are the file's or the machine's, and an operator can mend them.
_ROW_AT_FAULT = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code of an error; -1 where Python's module raised it without asking SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the error says that the file's content is broken, or not SQLite's at all."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def store_error(error: sqlite3.Error, what: str) -> StoreError:
    """The error to raise for what SQLite answered while we did `what`."""
    name = getattr(error, "sqlite_errorname", None)
    detail = f"{error} ({name})" if name else str(error)
    # Without a code Python's module refused the parameters: a type or a size that SQLite has not.
    return StoreError(f"{what}: {detail}", retriable=name is not None and primary_code(error) not in _ROW_AT_FAULT)


def open_file(path: Path, *, exclusive: bool = False, query_only: bool = False) -> sqlite3.Connection:
    """Open (or make, 0600) a database file: WAL, every commit on the disk before it returns, autocommit.

    `exclusive` keeps other connections out and the index of the WAL in our memory; `query_only` refuses writes.
    Raises sqlite3.Error; StoreError for a database that is not ours.
    """
    if not query_only:
        # SQLite would make it with the umask's mode; its -wal and -shm files take this one's.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        if exclusive:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA trusted_schema = OFF")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{path}: this volume does not do write-ahead logging (got {mode!r})", retriable=False)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[Step]]) -> None:
    """Bring the schema up to `len(steps)` (kept in user_version): steps[i], part by part, lead from i to i + 1.

    One transaction for all. Raises StoreError for a file of another application or of a newer Typegate: such a file is
    left exactly as it was.
    """
    with transaction(connection):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (tables or application):
            raise StoreError(f"{path} is a database of another application; move it away", retriable=False)
        if version > len(steps):
            raise StoreError(
                f"{path} was made by a newer Typegate (schema {version}; this one knows up to {len(steps)}); "
                "run that one, or restore the copy you made before upgrading",
                retriable=False,
            )
        for parts in steps[version:]:
            for part in parts:
                if isinstance(part, str):
                    connection.execute(part)
                else:
                    part(connection)
        if version < len(steps):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(steps)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and the write lock from the start, so that what is read in it still holds when it commits."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself where the disk was full or failed
            connection.execute("ROLLBACK")
        raise


def placeholders(rows: int, columns: int) -> str:
    """`(?,?),(?,?)`: one statement for many rows (see the rule above)."""
    row = "(" + ",".join("?" * columns) + ")"
    return ",".join([row] * rows)


class SqliteThreads:
    """Threads that run jobs, each with its own connection; with one thread, jobs run in the order given.

    `open` starts them (and raises what opening the file raised), `close` lets the jobs given before it end. Jobs that
    wait are limited: beyond `max_waiting`, `run` raises StoreError (retriable) at once.
    """

    def __init__(
        self, name: str, connect: Callable[[], sqlite3.Connection], *, threads: int = 1, max_waiting: int = 10_000
    ) -> None:
        self._name = name
        self._connect = connect
        self._max_waiting = max_waiting
        self._jobs: queue.SimpleQueue[Callable[[sqlite3.Connection], None] | None] = queue.SimpleQueue()
        self._threads = [
            # Daemons, so that a crash in the main thread ends the process; SQLite survives being cut off anywhere.
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True)
            for i in range(threads)
        ]
        self._connections: list[sqlite3.Connection] = []
        self._open = False

    async def open(self) -> None:
        """Open the connections and start the threads."""
        try:
            while len(self._connections) < len(self._threads):
                self._connections.append(await asyncio.to_thread(self._connect))
        except BaseException:
            while self._connections:
                self._connections.pop().close()
            raise
        self._open = True
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Run what was given before, then close the connections. Calling it again does nothing."""
        if not self._open:
            return
        self._open = False
        for _ in self._threads:
            self._jobs.put(None)
        # Shielded: whoever cancels the closing must not leave a thread behind with the file open.
        await asyncio.shield(asyncio.to_thread(self._join))

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def post(self, job: Job[object]) -> None:
        """Run a job without waiting for it; it must not raise (an error in it is logged)."""
        self._jobs.put(job)  # type: ignore[arg-type]  # what it returns is dropped

    async def run(self, job: Job[T]) -> T:
        """Run a job and give what it returns, or raise what it raises; sqlite3.Error as StoreError."""
        if not self._open:
            raise StoreError(f"{self._name} is closed", retriable=False)
        if self._jobs.qsize() >= self._max_waiting:
            raise StoreError(f"{self._name}: {self._max_waiting} requests are waiting already", retriable=True)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def answered(connection: sqlite3.Connection) -> None:
            try:
                value = job(connection)
            except sqlite3.Error as error:
                tell(loop, _fail, answer, store_error(error, self._name))
            except BaseException as error:
                tell(loop, _fail, answer, error)
            else:
                tell(loop, _succeed, answer, value)

        self._jobs.put(answered)
        return await answer

    def _work(self) -> None:
        connection = self._connections.pop()
        while (job := self._jobs.get()) is not None:
            try:
                job(connection)
            except Exception:
                log.exception("a posted job failed", thread=self._name)
        connection.close()


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    """Call back on the loop from a thread; a loop that has gone has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass


def _succeed(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():  # whoever asked may have been cancelled
        answer.set_result(value)


def _fail(answer: asyncio.Future[T], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
