"""The spool: finished results on this process's own disk, durable before anybody is told that they are accepted.

Records of races lie among them, and go the same way (`session.race_record`).

How the work is shared: `submit` appends to a queue on the event loop; one thread packs what waits, up to `batch_rows`,
and commits it with one fsync. Batches size themselves: idle, a result is committed at once; under load the next batch
gathers while the last one commits, and a few ms longer: handing over to the thread and back costs more than a commit.
All counters belong to the event loop; the thread reports to it.

What was committed a moment ago is handed to the consumer as it was put; only what it has not come to in time (or what
an earlier process left) is read from the file again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import structlog

from persistence.errors import SpoolFull, StoreError
from persistence.folder import free_bytes
from persistence.sqlite import SqliteThreads, store_error, tell
from persistence.stream import spoolfile
from persistence.stream.spoolfile import Row, Slot
from session.identity import session_to_text
from session.race_record import RaceRecord, is_record
from session.result import Result
from session.settling import Finished, Settled
from session.settling import unpack as unpack_finished

log = structlog.get_logger(__name__)

_BATCH_BYTES = 2**20  # a commit longer than this would show in the next one's latency
_KEPT_ROWS = 1_024  # so many are handed on without being read again
_UNPACKED_AT_ONCE = 16  # about half a millisecond before the interpreter lock is offered to the event loop


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """What the spool may take, and how it answers a disk that fails."""

    max_rows: int = 200_000
    """Rows at which new tests are refused."""
    max_bytes: int = 512 * 2**20
    """Bytes of results at which new tests are refused."""
    reserve_rows: int = 30_000
    """Rows above `max_rows` kept for tests that were running already; beyond them results are refused."""
    reserve_bytes: int = 64 * 2**20
    """Bytes above `max_bytes` kept for tests that were running already."""
    max_file_bytes: int = 2**30
    """Size that the file itself never passes, whatever lies in it."""
    min_free_bytes: int = 64 * 2**20
    """Room on the volume under which new tests are refused."""
    gather_ms: int = 4
    """Rest after a commit, in which the next batch gathers; a result that comes later is committed at once."""
    batch_rows: int = 64
    """Most results in one commit: they are answered in one turn of the event loop."""
    patience_ms: int = 5_000
    """How long a result may wait while the disk refuses it, before that is told."""
    probe_ms: int = 1_000
    """Time between two looks at the disk, and between two tries while it refuses."""

    def __post_init__(self) -> None:
        for field in fields(self):
            least = (
                0
                if field.name in ("reserve_rows", "reserve_bytes", "min_free_bytes", "gather_ms", "patience_ms")
                else 1
            )
            if getattr(self, field.name) < least:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; {least} or more is allowed")
        if self.batch_rows > 1_000:
            raise ValueError(f"batch_rows is {self.batch_rows}; at most 1000 is allowed")


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """What an operator wants to know about a spool, at one moment."""

    rows: int
    """Results taken and not yet confirmed, those that wait for the disk and those set aside included."""
    bytes: int
    """Packed bytes of those that are on the disk."""
    oldest_age_ms: int
    """Age of the oldest that waits, those set aside left out; 0 when there is none."""
    refused_rows: int
    """Those that the store will never take; kept, and tried again at the next start."""
    adopted_rows: int
    """Found at start in spools that other processes had left behind, or in damaged ones."""
    set_aside_files: int
    """Damaged files found at start and renamed."""
    fault: str | None
    """What the disk last answered, while it refuses; None when all is well."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One row of the spool, in the order of acceptance."""

    seq: int
    record: Result | RaceRecord
    """A result is provisional while `settled` is there: the drain judges it before a sink sees it."""
    size_bytes: int
    """Of the row as it lies in the spool."""
    accepted_ms: int
    """When it became durable (epoch ms)."""
    settled: Settled | None = None
    """The test as it was settled, where it was not judged before it was spooled."""

    @property
    def result(self) -> Result:
        """The result, where it is one."""
        assert isinstance(self.record, Result), "a race's record is none"
        return self.record

    @property
    def order(self) -> int | str:
        """Rows that have this in common are handed on in their order: a user's results, a race's records."""
        return self.record.id if isinstance(self.record, RaceRecord) else self.record.user

    @property
    def name(self) -> str:
        """For logs."""
        return name_of(self.record)

    @classmethod
    def of(cls, seq: int, finished: Finished | RaceRecord, *, size_bytes: int, accepted_ms: int) -> Spooled:
        """A row of what was spooled."""
        if isinstance(finished, Settled):
            return cls(seq, finished.result, size_bytes, accepted_ms, finished)
        return cls(seq, finished, size_bytes, accepted_ms)


def name_of(finished: Finished | RaceRecord) -> str:
    """A test's session, or a race's id, for logs."""
    return f"race {finished.id}" if isinstance(finished, RaceRecord) else session_to_text(finished.session)


def unpack(packed: bytes) -> Finished | RaceRecord:
    """What lies in a row. Raises a ValueError (`Damaged`, `DamagedRace`)."""
    return RaceRecord.unpack(packed) if is_record(packed) else unpack_finished(packed)


Told: TypeAlias = Callable[[StoreError | None], None]
"""Called on the event loop with what became of a result: None, it is durable; else nothing was kept of it."""


class _Waiting:
    """A result on its way to the disk."""

    __slots__ = ("packed", "result", "since_ms", "told")

    def __init__(self, result: Finished | RaceRecord, told: Told, since_ms: float) -> None:
        self.result = result
        self.told = told
        self.since_ms = since_ms
        self.packed = b""


class Spool:
    """The durable queue of one process: `submit` results, `take` them in order, `drop` them once confirmed.

    Guarantee: when it is told that a result is durable, the result is on the disk (fsync) and survives the death of the
    process and of the machine; it is taken by this process's stream or by the next one's, until dropped. At least
    once: a crash between confirmation and drop shows the row again. Order: rows come in the order of `submit`.

    There is one consumer: `take` gives each row once, until `rewind`.
    """

    def __init__(
        self, folder: Path, options: SpoolOptions = SpoolOptions(), *, clock_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._folder = folder
        self._options = options
        self._clock_ms = clock_ms
        self._threads = SqliteThreads("spool", self._connect)
        self._slot: Slot | None = None
        self._identity: tuple[int, int] = (0, 0)  # device and inode of the file as it was opened
        # Between loop and thread; each operation used on them is atomic.
        self._waiting: deque[_Waiting] = deque()
        self._to_drop: deque[Sequence[Spooled]] = deque()
        self._commit_posted = False
        # The thread's own.
        self._seq = 0
        self._batch_rows = options.batch_rows  # smaller while a disk that is nearly full takes only so much at once
        # The loop's own; `_loop` is None while the spool takes nothing, `_home` is where the thread reports to.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._rested_s = 0.0  # no commit begins before this, by the loop's clock
        self._kept: deque[Spooled] = deque()  # the rows after `_taken_seq`, as far as they were kept
        self._arrived = asyncio.Event()
        self._durable_seq = 0
        self._taken_seq = 0
        self._rows = 0
        self._bytes = 0
        self._refused_rows = 0
        self._oldest_ms: int | None = None
        self._free_bytes = 0
        self._fault: str | None = None
        self._lost: str | None = None

    # -- opening and closing -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._home = asyncio.get_running_loop()
        await self._threads.open()
        rows, size, seq, oldest = await self._threads.run(
            lambda connection: (
                *spoolfile.contents(connection),
                spoolfile.last_seq(connection),
                spoolfile.oldest_ms(connection),
            )
        )
        self._rows, self._bytes, self._durable_seq, self._oldest_ms = rows, size, seq, oldest
        self._seq = seq
        self._loop = self._home
        if rows:
            log.info("results wait in the spool", rows=rows, bytes=size)
        self._look()
        return self

    def _connect(self) -> sqlite3.Connection:
        slot = spoolfile.open_slot(self._folder, max_file_bytes=self._options.max_file_bytes, now_ms=self._clock_ms())
        facts = os.stat(slot.path)
        self._slot, self._identity = slot, (facts.st_dev, facts.st_ino)
        self._free_bytes = self._free()
        if self._free_bytes < self._options.min_free_bytes:
            self._say_room(self._free_bytes)
        return slot.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, self._loop = self._loop, None  # from here on `put` raises
        for timer in (self._timer, self._gathering):
            if timer is not None:
                timer.cancel()
        if loop is None:
            return
        assert self._slot is not None
        await self.sync()
        await self._threads.run(self._drop_waiting)
        await self._threads.close()
        while self._waiting:
            item = self._waiting.popleft()
            _say(item, StoreError("the spool was closed before the disk took it", retriable=True))
        self._slot.lock.release()

    # -- putting -------------------------------------------------------------------------------------------------

    @property
    def accepting(self) -> bool:
        """False when new tests should be refused (`error busy`); results of running ones are still taken."""
        return self.refusal is None

    @property
    def refusal(self) -> str | None:
        """Why new tests should be refused, in a sentence; None while `accepting`."""
        options = self._options
        if self._lost is not None:
            return self._lost
        if self._fault is not None:
            return f"the spool cannot be written: {self._fault}"
        if self._rows >= options.max_rows:
            return f"{self._rows} results wait to be stored (limit {options.max_rows})"
        if self._bytes >= options.max_bytes:
            return f"{self._bytes >> 20} MiB of results wait to be stored (limit {options.max_bytes >> 20})"
        if self._free_bytes < options.min_free_bytes:
            return f"only {self._free_bytes >> 20} MiB are free on the spool's volume"
        return None

    def put(self, result: Finished | RaceRecord) -> asyncio.Future[None]:
        """Submit a result; the future is done when it is durable. Raises, and fails, with what `submit` says."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.submit(result, partial(_settle, future))
        return future

    def submit(self, result: Finished | RaceRecord, told: Told) -> None:
        """Take a result, or a race's record, and tell when it is durable. Cheap: the thread packs and writes.

        Raises `SpoolFull` at the hard limit, `StoreError` where the spool is closed or its file was taken away. Tells
        of a `StoreError` (`retriable`) where the disk refused for `patience_ms`: nothing was kept then, and the same
        result may be submitted again.
        """
        loop, options = self._loop, self._options
        if loop is None:
            raise StoreError("the spool is closed", retriable=False)
        if self._lost is not None:
            raise StoreError(self._lost, retriable=False)
        if self._rows >= options.max_rows + options.reserve_rows:
            raise SpoolFull(f"the spool holds {self._rows} results and takes no more")
        if self._bytes >= options.max_bytes + options.reserve_bytes:
            raise SpoolFull(f"the spool holds {self._bytes >> 20} MiB and takes no more")
        self._rows += 1
        self._waiting.append(_Waiting(result, told, time.monotonic() * 1000))
        # While the disk refuses, the timer tries; else a commit that was posted and has not begun takes this one along.
        if not self._commit_posted and self._fault is None:
            rest_s = self._rested_s - loop.time()
            if rest_s > 0:
                self._commit_posted = True
                self._gathering = loop.call_later(rest_s, self._post_commit)
            else:
                self._post_commit()

    def _commit(self, connection: sqlite3.Connection) -> None:
        """On the thread: make the next batch durable."""
        self._commit_posted = False  # before the queue is read: what is appended from now on posts its own commit
        batch: list[_Waiting] = []
        rows: list[Row] = []
        size = 0
        now_ms = self._clock_ms()
        while self._waiting and len(batch) < self._batch_rows and size < _BATCH_BYTES:
            item = self._waiting.popleft()
            if not item.packed:
                try:
                    item.packed = item.result.pack()
                except Exception as error:  # a result that cannot be packed must not hold up the others
                    log.exception("a result cannot be packed", result=name_of(item.result))
                    self._tell(
                        self._failed, [item], StoreError(f"a result cannot be packed: {error!r}", retriable=False)
                    )
                    continue
            batch.append(item)
            size += len(item.packed)
            rows.append(Row(self._seq + len(batch), now_ms, zlib.crc32(item.packed), item.packed))
        if not batch:
            return
        try:
            spoolfile.insert(connection, rows)
        except sqlite3.Error as error:
            self._waiting.extendleft(reversed(batch))
            if len(batch) > 1:
                self._batch_rows = len(batch) // 2
                self._post_commit()
            else:
                self._give_up_waiting(store_error(error, "the spool's disk refuses"))
            return
        self._seq = rows[-1].seq
        self._batch_rows = min(self._options.batch_rows, self._batch_rows * 2)
        self._tell(self._committed, batch, self._seq, size, now_ms)
        if self._waiting and not self._commit_posted:
            self._post_commit()

    def _post_commit(self) -> None:
        self._commit_posted = True
        self._threads.post(self._commit)

    def _give_up_waiting(self, error: StoreError) -> None:
        """On the thread: the disk refuses even one row; fail those that have waited long enough."""
        limit_ms = time.monotonic() * 1000 - self._options.patience_ms
        overdue: list[_Waiting] = []
        while self._waiting and self._waiting[0].since_ms <= limit_ms:  # oldest first; only this thread takes out
            overdue.append(self._waiting.popleft())
        self._tell(self._refused_by_disk, str(error))
        self._tell(self._failed, overdue, error)

    def _committed(self, batch: list[_Waiting], seq: int, size: int, now_ms: int) -> None:
        self._recovered()
        self._rested_s = self._home.time() + self._options.gather_ms / 1000
        self._bytes += size
        before = self._durable_seq
        self._durable_seq = seq
        if self._oldest_ms is None:
            self._oldest_ms = now_ms
        if len(self._kept) < _KEPT_ROWS and self._taken_seq + len(self._kept) == before:
            self._kept.extend(
                Spooled.of(number, item.result, size_bytes=len(item.packed), accepted_ms=now_ms)
                for number, item in enumerate(batch, seq - len(batch) + 1)
            )
        for item in batch:
            _say(item, None)
        self._arrived.set()

    def _failed(self, batch: list[_Waiting], error: StoreError) -> None:
        self._rows -= len(batch)
        for item in batch:
            _say(item, error)

    def _refused_by_disk(self, fault: str) -> None:
        if self._fault is None:
            log.error("the spool cannot be written; new tests are refused until it can", why=fault)
        self._fault = fault

    def _recovered(self) -> None:
        if self._fault is not None:
            log.warning("the spool can be written again", after=self._fault)
            self._fault = None
            if self._waiting and not self._commit_posted:  # put while there was a fault: nobody else commits it now
                self._post_commit()

    # -- taking and dropping -------------------------------------------------------------------------------------

    async def take(self, limit: int) -> list[Spooled]:
        """Wait for rows and give the next ones, oldest first. Unreadable ones are set aside, never given.

        It may give none (all were unreadable). Cancelled, it has given none.
        """
        while self._taken_seq >= self._durable_seq:
            self._arrived.clear()
            await self._arrived.wait()
        if self._kept:
            kept = [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]
            self._taken_seq = kept[-1].seq
            return kept
        after, upto = self._taken_seq, self._durable_seq
        rows, unreadable, place = await self._threads.run(lambda connection: self._read(connection, after, upto, limit))
        self._refused_rows += unreadable
        self._taken_seq = upto if place is None else place
        return rows

    def _read(
        self, connection: sqlite3.Connection, after: int, upto: int, limit: int
    ) -> tuple[list[Spooled], int, int | None]:
        """On the thread: the next rows, unpacked; how many were set aside; where to go on, None at the end.

        None beyond `upto`: the loop may not have heard of them yet, and would take them again.
        """
        good: list[Spooled] = []
        bad: list[tuple[int, str]] = []
        rows = spoolfile.read_rows(connection, after=after, upto=upto, limit=limit)
        for i, row in enumerate(rows, 1):
            try:
                if not row.sound:
                    raise ValueError("its bytes have changed on the disk")
                finished = unpack(row.packed)
                good.append(Spooled.of(row.seq, finished, size_bytes=len(row.packed), accepted_ms=row.accepted_ms))
            except Exception as error:  # whatever a foreign or broken row does to the codec, it holds up nobody
                bad.append((row.seq, f"unreadable: {error}"))
                log.error("a spooled result cannot be read; it was set aside in the spool", seq=row.seq, why=str(error))
            if i % _UNPACKED_AT_ONCE == 0:
                time.sleep(0)
        if bad:
            self._set_aside(connection, bad)
        return good, len(bad), rows[-1].seq if len(rows) == limit else None

    def _set_aside(self, connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> None:
        """On the thread: mark rows that nobody can take; they stay, but the oldest that waits is another one now.

        A disk that refuses the mark holds up nobody: what is behind them must go, for that makes room. They have been
        given out, so without a mark, too, they come again at the next start only.
        """
        try:
            spoolfile.set_aside_rows(connection, rows)
            oldest_ms = spoolfile.oldest_ms(connection)
        except sqlite3.Error as error:
            self._tell(self._refused_by_disk, str(store_error(error, "the spool's disk refuses")))
            return
        self._tell(self._dropped, 0, 0, oldest_ms)

    def rewind(self) -> None:
        """Give all rows again that were not dropped: for a consumer that begins."""
        self._taken_seq = 0
        self._kept.clear()

    @property
    def taken_seq(self) -> int:
        """All rows up to this one have been given out or set aside."""
        return self._taken_seq

    @property
    def durable_seq(self) -> int:
        """The last row that is durable."""
        return self._durable_seq

    async def sync(self) -> None:
        """Wait until all that was put is durable; where the disk refuses, return at once."""
        while self._waiting and self._fault is None:
            await self._threads.run(self._commit)
        await self._threads.run(lambda _: None)  # a batch that the thread had begun is reported by now

    def drop(self, rows: Sequence[Spooled]) -> None:
        """Forget confirmed rows, soon (a crash before that shows them again)."""
        if rows:
            self._to_drop.append(rows)
            self._threads.post(self._drop_waiting)

    def _drop_waiting(self, connection: sqlite3.Connection) -> None:
        """On the thread: delete what was dropped; what the disk refuses is tried again at the next look."""
        while self._to_drop:
            rows = self._to_drop.popleft()
            try:
                spoolfile.delete(connection, [row.seq for row in rows])
                oldest_ms = spoolfile.oldest_ms(connection)
            except sqlite3.Error as error:
                self._to_drop.appendleft(rows)
                self._tell(self._refused_by_disk, str(store_error(error, "the spool's disk refuses")))
                return
            self._tell(self._dropped, len(rows), sum(row.size_bytes for row in rows), oldest_ms)

    def _dropped(self, rows: int, size: int, oldest_ms: int | None) -> None:
        self._rows -= rows
        self._bytes -= size
        self._oldest_ms = oldest_ms

    async def refuse(self, row: Spooled, why: str) -> None:
        """Set a row aside that the store will never take: kept on disk, counted, tried again at the next start."""
        log.error("a result cannot be stored; it was set aside in the spool", result=row.name, why=why)
        await self._threads.run(lambda connection: self._set_aside(connection, [(row.seq, why)]))
        self._refused_rows += 1

    # -- looking after the disk ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Once every `probe_ms`: look at the disk, and try again what it refused."""
        if self._loop is None:
            return
        self._threads.post(self._tend)
        self._timer = self._loop.call_later(self._options.probe_ms / 1000, self._look)

    def _tend(self, connection: sqlite3.Connection) -> None:
        try:
            free = self._free()
            lost = self._file_lost()
        except OSError as error:
            free, lost = 0, f"the spool's folder is gone: {error}"
        self._tell(self._looked, free, lost)
        if self._to_drop:
            self._drop_waiting(connection)
        if self._fault is not None:
            if self._waiting:
                self._commit(connection)
                return
            try:
                spoolfile.probe(connection)
            except sqlite3.Error as error:
                self._tell(self._refused_by_disk, str(store_error(error, "the spool's disk refuses")))
            else:
                self._tell(self._recovered)

    def _looked(self, free: int, lost: str | None) -> None:
        least = self._options.min_free_bytes
        if (free < least) != (self._free_bytes < least):
            self._say_room(free)
        self._free_bytes = free
        if lost is not None and self._lost is None:
            log.error("results can be accepted no more", why=lost)
        elif lost is None and self._lost is not None:  # the same file: nothing went elsewhere meanwhile
            log.warning("the spool's file is back", after=self._lost)
        self._lost = lost

    def _say_room(self, free: int) -> None:
        mib, least_mib = free >> 20, self._options.min_free_bytes >> 20
        if free < self._options.min_free_bytes:
            log.error("the spool's volume is nearly full; new tests are refused", free_mib=mib, least_mib=least_mib)
        else:
            log.warning("there is room for the spool again", free_mib=mib)

    def _free(self) -> int:
        """Room on the volume."""
        return free_bytes(self._folder)

    def _file_lost(self) -> str | None:
        """A file that was deleted under us takes writes that nobody will ever see again."""
        assert self._slot is not None
        try:
            facts = os.stat(self._slot.path)
        except FileNotFoundError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) != self._identity:
            return f"the spool's file {self._slot.path} was removed or replaced while in use; restart the server"
        return None

    def facts(self) -> SpoolFacts:
        """Facts for metrics; cheap, no disk."""
        slot = self._slot
        return SpoolFacts(
            rows=self._rows,
            bytes=self._bytes,
            oldest_age_ms=0 if self._oldest_ms is None else max(0, self._clock_ms() - self._oldest_ms),
            refused_rows=self._refused_rows,
            adopted_rows=0 if slot is None else slot.adopted_rows,
            set_aside_files=0 if slot is None else slot.set_aside_files,
            fault=self._lost or self._fault,
        )

    async def ping(self) -> None:
        """Raise `StoreError` where new tests should be refused, or the thread does not answer."""
        lost = await self._threads.run(lambda _: self._file_lost())
        if lost or self.refusal:
            raise StoreError(lost or self.refusal or "", retriable=lost is None)

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        """From the thread: report to the event loop."""
        tell(self._home, callback, *args)


def _say(item: _Waiting, error: StoreError | None) -> None:
    try:
        item.told(error)
    except Exception:  # the listener's fault: others wait to hear of theirs
        log.exception("a listener to spooled results failed", result=name_of(item.result))


def _settle(future: asyncio.Future[None], error: StoreError | None) -> None:
    if future.done():  # its owner was cancelled: the result is kept all the same
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(StoreError(str(error), retriable=error.retriable))  # each its own, with its own traceback
