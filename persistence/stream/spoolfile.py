"""The spool's file: its schema, what is read and written in it, and what becomes of one that was left or is damaged.

Everything in here blocks: it runs on the spool's thread. A folder holds `spool-0.db`, `spool-1.db`, ..., each with a
`.lock` beside it that its process holds. A process takes the first slot that nobody holds, with all that is in it, and
then moves what lies in other slots that nobody holds into its own file (in that order: new rows are durable here before
they are deleted there, so a crash in between shows them twice and never not at all).

A damaged file is renamed to `spool-N.damaged-<epoch ms>.db`, and to `spool-N.salvaged-...` once all that can still be
read of it is taken over: at this start, or at a later one that has room for it. It is never deleted.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from persistence.errors import StoreError
from persistence.folder import sync_folder
from persistence.lock import FileLock
from persistence.sqlite import is_damaged, migrate, open_file, placeholders, store_error

log = structlog.get_logger(__name__)

_SLOTS = 1_024  # processes on one folder; far above any machine's cores
_MOVED_AT_ONCE = 500
_SHRUNK_BYTES = 16 * 2**20
_LAST_SEQ = 2**63 - 1
_LARGEST_ROW_BYTES = 64 * 2**10
_SLOT = re.compile(r"spool-(\d{1,4})\.db")
_OWN = re.compile(r"(spool-\d{1,4})(\.damaged-\d+)?\.db$")
_PARTS = ("", "-wal", "-shm", "-journal")  # a SQLite database is up to this many files

# `crc` is of `packed`: SQLite itself notices broken pages, not broken content. `why` is null but for rows set aside.
SCHEMA = (
    (
        """CREATE TABLE spool (
            seq INTEGER PRIMARY KEY,
            accepted_ms INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            packed BLOB NOT NULL,
            why TEXT
        )""",
        "CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL)",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it lies in the file."""

    seq: int
    accepted_ms: int
    crc: int
    packed: bytes

    @property
    def sound(self) -> bool:
        """Whether the bytes are those that were written."""
        return zlib.crc32(self.packed) == self.crc


@dataclass(slots=True)
class Slot:
    """A locked slot: its open file and what was found while opening."""

    lock: FileLock
    path: Path
    connection: sqlite3.Connection
    adopted_rows: int = 0
    set_aside_files: int = 0


def open_slot(folder: Path, *, max_file_bytes: int, now_ms: int) -> Slot:
    """Take a slot of the folder, adopt what others left. Raises StoreError where no spool can be had."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock, path = _take_slot(folder)
    except OSError as error:
        raise StoreError(f"cannot use the spool folder {folder}: {error}", retriable=True) from error
    try:
        return _open_taken(lock, path, max_file_bytes, now_ms)
    except sqlite3.Error as error:
        lock.release()
        raise store_error(error, f"cannot open the spool {path}") from error
    except OSError as error:
        lock.release()
        raise StoreError(f"cannot open the spool {path}: {error}", retriable=True) from error
    except BaseException:
        lock.release()
        raise


def _open_taken(lock: FileLock, path: Path, max_file_bytes: int, now_ms: int) -> Slot:
    damaged = False
    try:
        connection = _open_checked(path)
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise
        damaged = True
        _set_aside(path, now_ms, str(error))
        connection = _open_checked(path)
    try:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages * page_bytes > _SHRUNK_BYTES and contents(connection) == (0, 0):
            connection.execute("VACUUM")  # after a long outage of the store: deleting rows alone gives no room back
        connection.execute(f"PRAGMA max_page_count = {max(16, max_file_bytes // page_bytes)}").fetchone()
        connection.execute("UPDATE spool SET why = NULL WHERE why IS NOT NULL")  # perhaps this version can read them
        slot = Slot(lock, path, connection, set_aside_files=int(damaged))
        _take_over_damaged(path.stem, slot)
        _adopt_others(slot, now_ms)
    except BaseException:
        connection.close()
        raise
    return slot


def _take_slot(folder: Path) -> tuple[FileLock, Path]:
    for number in range(_SLOTS):
        lock = FileLock.take(folder / f"spool-{number}.lock")
        if lock is not None:
            return lock, folder / f"spool-{number}.db"
    raise StoreError(f"all {_SLOTS} spools of {folder} are in use", retriable=False)


def _open_checked(path: Path) -> sqlite3.Connection:
    """Open a spool's file and look whether it is whole; sqlite3.DatabaseError with a damage code where it is not."""
    connection = open_file(path, exclusive=True)
    try:
        migrate(connection, path, SCHEMA)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise _damage(found)
    except BaseException:
        connection.close()
        raise
    return connection


def _damage(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def _set_aside(path: Path, now_ms: int, why: str) -> None:
    """Rename a damaged file, and say so."""
    aside = path.with_name(f"{path.stem}.damaged-{now_ms}.db")
    _rename(path, aside)
    log.error("a spool file is damaged; it was set aside", file=str(path), kept_as=str(aside), why=why)


def _rename(path: Path, to: Path) -> None:
    """Rename a database with its companions."""
    for part in _PARTS:
        try:
            path.with_name(path.name + part).rename(to.with_name(to.name + part))
        except FileNotFoundError:
            continue
    sync_folder(path.parent)


def _take_over_damaged(stem: str, slot: Slot) -> bool:
    """Take over what can be read of a slot's damaged files; whether none is left to a later start."""
    all_done = True
    for path in sorted(slot.path.parent.glob(f"{stem}.damaged-*.db")):
        try:
            rows = _salvage(path, slot.connection)
        except (sqlite3.Error, OSError) as error:
            all_done = False
            log.error(
                "a damaged spool could not be read now; it waits for the next start", file=str(path), why=str(error)
            )
            continue
        kept = path.with_name(path.name.replace(".damaged-", ".salvaged-"))
        _rename(path, kept)
        slot.adopted_rows += rows
        log.error(
            "what can be read of a damaged spool was taken over; keep it until you know that no result is missing",
            kept_as=str(kept),
            rows=rows,
        )
    return all_done


def _salvage(damaged: Path, into: sqlite3.Connection) -> int:
    """Take over what can be read of a damaged file: rows from its beginning and from its end up to the broken part.

    It reads a copy, so that the damaged file stays as it was found.
    """
    copy = damaged.with_name(damaged.name + ".copy")
    taken: dict[int, Row] = {}
    try:
        for part in _PARTS[:2]:
            source = damaged.with_name(damaged.name + part)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + part))
        connection = sqlite3.connect(copy, isolation_level=None)
        try:
            for order in ("ASC", "DESC"):
                try:
                    for values in connection.execute(
                        f"SELECT seq, accepted_ms, crc, packed FROM spool ORDER BY seq {order}"
                    ):
                        if all(map(isinstance, values, (int, int, int, bytes))):
                            row = Row(*values)
                            if row.sound:
                                taken[row.seq] = row
                except sqlite3.Error:
                    continue  # as far as it goes: that is what salvaging means
        finally:
            connection.close()
    finally:
        for part in _PARTS:
            copy.with_name(copy.name + part).unlink(missing_ok=True)
    rows = [taken[seq] for seq in sorted(taken)]
    seq = last_seq(into)
    for start in range(0, len(rows), _MOVED_AT_ONCE):
        seq = _append(into, seq, rows[start : start + _MOVED_AT_ONCE])
    return len(rows)


def _adopt_others(slot: Slot, now_ms: int) -> None:
    """Move the rows of all slots that nobody holds into ours."""
    folder = slot.path.parent
    others = {found[1] for path in folder.glob("spool-*.db") if (found := _OWN.match(path.name))} - {slot.path.stem}
    for stem in sorted(others):
        path = folder / f"{stem}.db"
        lock = FileLock.take(path.with_suffix(".lock"))
        if lock is None:
            continue
        try:
            if path.exists():
                slot.adopted_rows += _adopt(path, slot, now_ms)
            all_done = _take_over_damaged(stem, slot)
        except (sqlite3.Error, OSError, StoreError) as error:
            # Ours is in order, so the process can work; the other file is whole and waits for the next start.
            log.error("a spool left by another process could not be adopted; it stays", file=str(path), why=str(error))
            lock.release()
        else:
            lock.release(remove=all_done)


def _adopt(path: Path, slot: Slot, now_ms: int) -> int:
    try:
        source = _open_checked(path)
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise
        slot.set_aside_files += 1
        _set_aside(path, now_ms, str(error))
        return 0
    moved = 0
    try:
        seq = last_seq(slot.connection)
        while rows := read_rows(source, after=-1, limit=_MOVED_AT_ONCE, set_aside_too=True):
            seq = _append(slot.connection, seq, rows)
            delete(source, [row.seq for row in rows])
            moved += len(rows)
    finally:
        source.close()
    for part in _PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)
    log.info("adopted a spool left by another process", file=str(path), rows=moved)
    return moved


def _append(connection: sqlite3.Connection, seq: int, rows: Sequence[Row]) -> int:
    """Append rows with the numbers after `seq`; the last number used."""
    moved = [Row(seq + i, row.accepted_ms, row.crc, row.packed) for i, row in enumerate(rows, 1)]
    insert(connection, moved)
    return moved[-1].seq if moved else seq


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a spool folder, as it was found."""

    path: Path
    holder: str | None = None
    """Who works on it; nothing else is known of it then."""
    rows: int = 0
    """Results that wait."""
    bytes: int = 0
    """Their packed bytes."""
    oldest_ms: int | None = None
    """When the oldest of them was accepted."""
    set_aside: Mapping[str, int] = field(default_factory=dict)
    """Results that were refused, by why; they are tried again at the next start."""
    fault: str | None = None
    """Why it cannot be read."""


def survey(folder: Path) -> list[Found]:
    """What lies in the files of a spool folder. Nothing is changed but what SQLite itself recovers after a crash."""
    found = []
    for path in sorted(folder.glob("spool-*.db")):
        if not _SLOT.fullmatch(path.name):
            salvaged = ".salvaged-" in path.name
            fault = "all that can be read of it was taken over" if salvaged else "the next start takes over what it can"
            found.append(Found(path, fault=f"damaged; {fault}"))
            continue
        lock = FileLock.look(path.with_suffix(".lock"))
        if lock is None:
            found.append(Found(path, holder=FileLock.holder(path.with_suffix(".lock"))))
            continue
        try:
            found.append(_look(path))
        finally:
            lock.release()
    return found


def _look(path: Path) -> Found:
    try:
        connection = open_file(path, exclusive=True)
        try:
            rows, size, oldest = connection.execute(
                "SELECT count(*), sum(length(packed)), min(accepted_ms) FROM spool WHERE why IS NULL"
            ).fetchone()
            aside = connection.execute("SELECT why, count(*) FROM spool WHERE why IS NOT NULL GROUP BY why").fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, StoreError) as error:
        return Found(path, fault=f"it cannot be read: {error}")
    return Found(path, None, rows, size or 0, oldest, dict(aside))


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Append rows in one statement, which is one transaction: when it returns they are on the disk."""
    parameters: list[object] = []
    for row in rows:
        parameters += (row.seq, row.accepted_ms, row.crc, row.packed)
    connection.execute(
        f"INSERT INTO spool (seq, accepted_ms, crc, packed) VALUES {placeholders(len(rows), 4)}", parameters
    )


def read_rows(
    connection: sqlite3.Connection, *, after: int, limit: int, upto: int = _LAST_SEQ, set_aside_too: bool = False
) -> list[Row]:
    """The next rows after a number, up to another, in order."""
    condition = "" if set_aside_too else "AND why IS NULL "
    found = connection.execute(
        f"SELECT seq, accepted_ms, crc, packed FROM spool WHERE seq > ? AND seq <= ? {condition}ORDER BY seq LIMIT ?",
        (after, upto, limit),
    ).fetchall()
    return [Row(*values) for values in found]


def delete(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Delete rows without waiting for the disk: one that comes back after a power cut is handed on once more."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute(f"DELETE FROM spool WHERE seq IN ({','.join('?' * len(seqs))})", seqs)
    finally:
        connection.execute("PRAGMA synchronous = FULL")


def set_aside_rows(connection: sqlite3.Connection, why: Sequence[tuple[int, str]]) -> None:
    """Mark rows (number, reason) as never to be given out by this process."""
    connection.executemany("UPDATE spool SET why = ? WHERE seq = ?", [(reason, seq) for seq, reason in why])


def probe(connection: sqlite3.Connection) -> None:
    """Learn whether the disk takes writes again: write as much as the largest result durably, and take it back."""
    connection.execute("INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))", (_LARGEST_ROW_BYTES,))
    connection.execute("DELETE FROM probe")


def last_seq(connection: sqlite3.Connection) -> int:
    """The highest number in the file, 0 when it is empty."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM spool").fetchone()
    return int(seq)


def oldest_ms(connection: sqlite3.Connection) -> int | None:
    """When the oldest row that still waits was accepted; None when there is none."""
    found = connection.execute("SELECT accepted_ms FROM spool WHERE why IS NULL ORDER BY seq LIMIT 1").fetchone()
    return None if found is None else int(found[0])


def contents(connection: sqlite3.Connection) -> tuple[int, int]:
    """Rows and packed bytes in the file."""
    rows, size = connection.execute("SELECT count(*), coalesce(sum(length(packed)), 0) FROM spool").fetchone()
    return int(rows), int(size)
