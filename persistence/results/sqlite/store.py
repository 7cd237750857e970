"""The embedded result store: one SQLite file, one writer thread, a few readers.

Writes come in batches (the stream gathers them), each one transaction and one fsync. What readers of this process and
of others (`typegate replay` beside a running server) see is the last commit.

`progress` is recomputed from the rows of its day in the same transaction, never added up, so that no repeat and no
replaced row can make it drift; nor can personal bests (`bests`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from persistence.errors import StoreError
from persistence.race_records.sqlite import SqliteRaceRecords
from persistence.results.bests import DAY_MS, BestRules, Board, Period, PersonalBest, Place, board_of, places_of
from persistence.results.copies import Copy, Standing, as_it_stands, settle
from persistence.results.cursor import Page, begin, begin_ms, check_limit, merged, page_of
from persistence.results.names import Called, check_names
from persistence.results.port import (
    MOST_GUESTS,
    Linked,
    Outcome,
    Progress,
    StoreFacts,
    Written,
    check_id,
    check_link,
)
from persistence.results.progress import together
from persistence.results.public import Visibility, check_owner
from persistence.results.sqlite import bests, public
from persistence.results.sqlite import names as called
from persistence.results.sqlite.schema import steps
from persistence.sqlite import (
    SqliteThreads,
    is_damaged,
    migrate,
    open_file,
    placeholders,
    store_error,
    transaction,
)
from session.result import Damaged, Result

T = TypeVar("T")

log = structlog.get_logger(__name__)

_INSERTED_AT_ONCE = 500  # times 12 columns stays under SQLite's 32,766 parameters
_UNPACKED_AT_ONCE = 16  # then the interpreter lock is offered to the event loop
_RANKED_AT_ONCE = 1_000
_COPIED_AT_ONCE = 100

_COLUMNS = "id, user_id, created_ms, mode, wpm, acc, duration_ms, verdict, conflicts, core_hash, packed, board"
_ROW = f"INSERT OR REPLACE INTO results ({_COLUMNS}) VALUES "

# Ids alone would do, but the created_ms in it says to who reads the file with other tools what the order is.
_PAGE = "WHERE user_id = ? AND (created_ms, id) < (?, ?) AND created_ms >= ? ORDER BY created_ms DESC, id DESC LIMIT ?"

_RECOMPUTE = """
    INSERT OR REPLACE INTO progress (user_id, day, mode, tests, duration_ms, wpm, best_wpm, acc)
    WITH touched (user_id, day) AS (VALUES {touched})
    SELECT touched.user_id, touched.day, mode, count(*),
           total(duration_ms) FILTER (WHERE verdict <> 'void'),
           coalesce(total(wpm * duration_ms) FILTER (WHERE verdict <> 'void')
                    / nullif(total(duration_ms) FILTER (WHERE verdict <> 'void'), 0), 0),
           coalesce(max(wpm) FILTER (WHERE verdict <> 'void'), 0),
           coalesce(total(acc * duration_ms) FILTER (WHERE verdict <> 'void')
                    / nullif(total(duration_ms) FILTER (WHERE verdict <> 'void'), 0), 0)
    FROM touched CROSS JOIN results
      ON results.user_id = touched.user_id
     AND results.created_ms >= touched.day * 86400000
     AND results.created_ms < (touched.day + 1) * 86400000
    GROUP BY touched.user_id, touched.day, mode
"""


@dataclass(frozen=True, slots=True)
class SqliteResultsOptions:
    """Size of the embedded store's parts."""

    readers: int = 2
    """Threads that answer reads."""
    max_waiting: int = 1_000
    """Reads that may wait for a thread; beyond them a read fails at once as retriable."""
    max_conflicts: int = 8
    """Losing copies kept of one session; the worst go first."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; 1 or more is allowed")


class SqliteResults:
    """A `ResultStore` in a SQLite file (WAL, synchronous=FULL).

    `rules` judge which results count as personal bests, once and for all, when they are stored.
    `wrote(seconds)` is told on the event loop how long each batch took, from being given to its end: waiting for the
    file and the commit are in it, and so are batches that failed, for a slow failure is what an operator looks for.
    """

    def __init__(
        self,
        path: Path,
        options: SqliteResultsOptions = SqliteResultsOptions(),
        rules: BestRules | None = None,
        *,
        wrote: Callable[[float], None] | None = None,
    ) -> None:
        self._path = path
        self._options = options
        self._rules = rules or BestRules()
        self._wrote = wrote
        self._writer = SqliteThreads("results-writer", self._open_writer)
        self._readers = SqliteThreads(
            "results-reader",
            partial(open_file, path, query_only=True),
            threads=options.readers,
            max_waiting=options.max_waiting,
        )
        self.races = SqliteRaceRecords(self._writer, self._readers)
        self._facts = StoreFacts(written=0, conflicts=0)

    def _open_writer(self) -> sqlite3.Connection:
        connection = open_file(self._path)
        try:
            migrate(connection, self._path, steps(self._rules))
            # Reads a page of each table: a damaged or foreign file is refused now, not at the first result.
            for table in ("results", "result_conflicts", "progress", "personal_bests"):
                connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    async def __aenter__(self) -> Self:
        try:
            await self._writer.open()
            await self._readers.open()
        except (sqlite3.Error, OSError) as error:
            await self._writer.close()
            raise _cannot_open(self._path, error) from error
        except BaseException:
            await self._writer.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._readers.close()
        await self._writer.close()  # last: it folds the write-ahead log into the file

    # -- writing -------------------------------------------------------------------------------------------------

    async def write(self, results: Sequence[Result]) -> list[Written]:
        """Store a batch in one transaction; what became of each is in its order."""
        if not results:
            return []
        for result in results:
            check_id(result)
        started = time.perf_counter()
        try:
            written = await self._writer.run(lambda connection: self._write(connection, results))
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreError(f"a result cannot be stored: {error}", retriable=False) from error
        finally:
            if self._wrote is not None:
                self._wrote(time.perf_counter() - started)
        self._facts = StoreFacts(
            written=self._facts.written + len(results),
            conflicts=self._facts.conflicts + sum(one.outcome is Outcome.CONFLICT for one in written),
        )
        return written

    def _write(self, connection: sqlite3.Connection, results: Sequence[Result]) -> list[Written]:
        packed = [_pack(result) for result in results]  # before the transaction: others may be waiting for the file
        outcomes: list[tuple[Outcome, str, tuple[Place, ...]]] = []
        with transaction(connection):
            known = _known(connection, [result.session for result in results])
            fresh: list[tuple[object, ...]] = []
            candidates: list[PersonalBest] = []
            again: list[int] = []
            touched: set[tuple[int, int]] = set()
            for i, result in enumerate(results):
                places = self._places(result)
                outcomes.append((Outcome.INSERTED, result.verdict, places))
                if result.session in known:
                    again.append(i)
                    continue
                known.add(result.session)
                fresh.append(_row(result, packed[i], places))
                touched.add((result.user, result.created_at_ms // DAY_MS))
                if result.verdict == "ok":
                    summary = result.summary
                    candidates += [PersonalBest(place, result.session, summary.wpm, summary.acc) for place in places]
            for start in range(0, len(fresh), _INSERTED_AT_ONCE):
                _insert(connection, fresh[start : start + _INSERTED_AT_ONCE])
            bests.better(connection, candidates)
            for i in again:
                outcomes[i] = self._merge(connection, results[i], packed[i], touched)
            _recompute(connection, touched)
            standing = bests.standing(connection, {place for _, _, places in outcomes for place in places})
        return [
            Written(result.session, outcome, verdict, {place: standing.get(place) for place in places})
            for result, (outcome, verdict, places) in zip(results, outcomes, strict=True)
        ]

    def _places(self, result: Result) -> tuple[Place, ...]:
        board = board_of(result, self._rules)
        return () if board is None else places_of(result.user, board, result.created_at_ms)

    def _merge(
        self, connection: sqlite3.Connection, result: Result, packed: bytes, touched: set[tuple[int, int]]
    ) -> tuple[Outcome, str, tuple[Place, ...]]:
        """Apply the rule for copies to a session that has a row already: outcome, verdict, places concerned."""
        copies = _copies(connection, result.session)
        before = Standing(copies[0], tuple(copies[1:]))
        copy = Copy.of(result, packed)
        standing = settle([*copies, copy], max_conflicts=self._options.max_conflicts)
        # a copy may, by forgery or fault, name another user or mode: either of them is concerned
        rows = [Result.unpack(one.packed) for one in (before.row, standing.row)]
        places = {place for one in (*rows, result) for place in self._places(one)}
        if standing != before:
            row = rows[1]
            connection.execute("DELETE FROM result_conflicts WHERE id = ?", (result.session,))
            if standing.conflicts:
                connection.execute(
                    "INSERT INTO result_conflicts (id, place, core_hash, packed) VALUES "
                    + placeholders(len(standing.conflicts), 4),
                    [
                        value
                        for place, lost in enumerate(standing.conflicts)
                        for value in (result.session, place, lost.core_hash, lost.packed)
                    ],
                )
            _insert(connection, [_row(row, standing.row.packed, self._places(row), standing)])
            day = row.created_at_ms // DAY_MS
            for user in {one.user for one in rows}:
                connection.execute("DELETE FROM progress WHERE user_id = ? AND day = ?", (user, day))
                touched.add((user, day))
            for user, board in {(place.user, place.board) for place in places}:
                bests.rebuild(connection, user, board, row.created_at_ms)
        if any(copy.core_hash == known.core_hash for known in copies):
            outcome = Outcome.REPEATED if standing == before else Outcome.ATTESTED
        else:
            log.warning("two results of one session disagree", session=result.session.hex(), copies=len(copies) + 1)
            outcome = Outcome.CONFLICT
        return outcome, standing.verdict, tuple(places)

    # -- reading -------------------------------------------------------------------------------------------------

    async def by_id(self, session_id: bytes) -> Result | None:
        """The result of a session, or None."""
        found = await self._read(
            lambda connection: _results(connection, "WHERE id = ?", (session_id,)),
        )
        return found[0] if found else None

    async def by_user(
        self,
        user: int,
        *,
        guests: Sequence[int] = (),
        limit: int = 10,
        cursor: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Page:
        """A user's results, newest first."""
        check_limit(limit)
        before = begin(cursor, until_ms)
        # one more than the page has tells whether there is a next one
        bounds = (int.from_bytes(before[:6], "big"), before, begin_ms(since_ms), limit + 1)
        found = await self._read(
            lambda connection: [_results(connection, _PAGE, (one, *bounds)) for one in (user, *guests)]
        )
        return page_of(merged(found, limit + 1), limit)

    async def conflicts(self, session_id: bytes) -> list[Result]:
        """The copies of a session that lost."""
        return await self._read(
            lambda connection: [
                Result.unpack(packed)
                for (packed,) in connection.execute(
                    "SELECT packed FROM result_conflicts WHERE id = ? ORDER BY place", (session_id,)
                ).fetchall()
            ]
        )

    async def progress(
        self, user: int, *, guests: Sequence[int] = (), since_day: int, until_day: int
    ) -> list[Progress]:
        """A user's progress by day and mode."""
        rows = await self._read(
            lambda connection: [
                Progress(*values)
                for one in (user, *guests)
                for values in connection.execute(
                    "SELECT day, mode, tests, duration_ms, wpm, best_wpm, acc FROM progress "
                    "WHERE user_id = ? AND day BETWEEN ? AND ?",
                    (one, since_day, until_day),
                ).fetchall()
            ]
        )
        return together(rows)

    async def bests(self, user: int, *, day: int) -> list[PersonalBest]:
        """A user's bests of this day, of its week and of all time."""
        return await self._read(lambda connection: bests.of_user(connection, user, day))

    async def ranking(
        self, board: Board, period: Period, *, behind: Callable[[], None] | None = None
    ) -> AsyncIterator[PersonalBest]:
        """Every user's best on a board in a period, the best first."""
        last: PersonalBest | None = None
        while True:
            page = await self._read(partial(bests.page, board=board, period=period, after=last, limit=_RANKED_AT_ONCE))
            for best in page:
                yield best
            if len(page) < _RANKED_AT_ONCE:
                return
            last = page[-1]

    async def speeds(self, board: Board, period: Period) -> dict[int, int]:
        """How many users have their best at each whole speed."""
        return await self._read(lambda connection: bests.speeds(connection, board, period))

    # -- guests' pasts -------------------------------------------------------------------------------------------

    async def link(self, guest: int, account: int, *, at_ms: int | None = None) -> Linked:
        """Let a guest's past be an account's."""
        check_link(guest, account)
        since_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
        return await self._writer.run(partial(_link, guest=guest, account=account, at_ms=since_ms))

    async def guests_of(self, account: int, *, behind: Callable[[], None] | None = None) -> tuple[int, ...]:
        """The guests whose past is this account's."""
        return await self._read(partial(_guests_of, account=account))

    async def account_of(self, guest: int) -> int | None:
        """The account whose a guest's past is."""
        return await self._read(partial(_account_of, guest=guest))

    # -- what is public ------------------------------------------------------------------------------------------

    async def publish(self, session_id: bytes, user: int) -> bool:
        """Let a result be public."""
        check_owner(session_id, user)
        return await self._writer.run(partial(public.publish, session=session_id, user=user))

    async def unpublish(self, session_id: bytes) -> None:
        """Let a result be its owner's alone."""
        await self._writer.run(partial(public.unpublish, session=session_id))

    async def is_public(self, session_id: bytes) -> bool:
        """Whether a result is public."""
        return await self._read(partial(public.is_public, session=session_id))

    async def public_of(self, user: int, *, behind: Callable[[], None] | None = None) -> Sequence[bytes]:
        """A user's results that are public."""
        return await self._read(partial(public.sessions, user=user))

    async def take_words(self, words: Sequence[Visibility]) -> None:
        """Take over what another store was told of who may see results."""
        for one in words:
            check_owner(one.session, one.user)
        await self._writer.run(partial(public.put, words=words))

    # -- names ---------------------------------------------------------------------------------------------------

    async def name_users(self, names: Mapping[int, str]) -> None:
        """Let accounts be called so from now on."""
        check_names(names)
        await self._writer.run(partial(called.call, said=names))

    async def names_of(self, users: Collection[int]) -> dict[int, str]:
        """What those of these accounts are called who have a name."""
        return await self._read(partial(called.names, users=tuple(users)))

    async def take_names(self, words: Sequence[Called]) -> None:
        """Take over what another store was told of names."""
        check_names({one.user: one.name for one in words})
        await self._writer.run(partial(called.put, words=words))

    # -- all of it, for who takes it elsewhere -------------------------------------------------------------------

    async def count(self) -> int:
        """How many results there are."""
        return await self._read(
            lambda connection: int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
        )

    async def copies(self) -> AsyncIterator[tuple[list[Result], list[bytes]]]:
        """Every copy of every result, those that lost too, by id, in pages; and the ids of rows that cannot be read.

        Written to another store they come to the same: which copy is a session's row depends on the copies alone.
        """
        after = b""
        while True:
            page = await self._read(partial(_page_of_copies, after=after))
            if not page:
                return
            after = page[-1][0]
            yield await asyncio.to_thread(_unpacked, page)

    async def words(self) -> AsyncIterator[list[Visibility]]:
        """What was said of who may see which result, by id, in pages."""
        last = b""
        while page := await self._read(partial(public.after, session=last, limit=_COPIED_AT_ONCE)):
            last = page[-1].session
            yield page

    async def names(self) -> AsyncIterator[list[Called]]:
        """What accounts are called, by id, in pages."""
        last = 0
        while page := await self._read(partial(called.after, user=last, limit=_COPIED_AT_ONCE)):
            last = page[-1].user
            yield page

    async def links(self) -> list[tuple[int, int, int]]:
        """Guests, the accounts whose past theirs is, and since when (ms since 1970), in the order of that."""
        return await self._read(
            lambda connection: connection.execute(
                "SELECT guest_id, account_id, claimed_ms FROM guest_links ORDER BY claimed_ms, guest_id"
            ).fetchall()
        )

    async def _read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._readers.run(job)
        except Damaged as error:
            raise StoreError(f"a stored result cannot be read: {error}", retriable=False) from error

    def facts(self) -> StoreFacts:
        """Facts for metrics."""
        return self._facts

    async def ping(self) -> None:
        """Raise `StoreError` where the file cannot be read or locked for writing."""
        await self._readers.run(lambda connection: connection.execute("SELECT 1 FROM results LIMIT 1").fetchone())
        await self._writer.run(lambda connection: connection.execute("SELECT 1 FROM results LIMIT 1").fetchone())


def _link(connection: sqlite3.Connection, *, guest: int, account: int, at_ms: int) -> Linked:
    with transaction(connection):
        owner = connection.execute("SELECT account_id FROM guest_links WHERE guest_id = ?", (guest,)).fetchone()
        if owner is not None:
            return Linked.SAME if owner == (account,) else Linked.TAKEN
        if len(_guests_of(connection, account=account)) >= MOST_GUESTS:
            return Linked.FULL
        connection.execute(
            "INSERT INTO guest_links (guest_id, account_id, claimed_ms) VALUES (?, ?, ?)",
            (guest, account, at_ms),
        )
    return Linked.NEW


def _account_of(connection: sqlite3.Connection, *, guest: int) -> int | None:
    owner = connection.execute("SELECT account_id FROM guest_links WHERE guest_id = ?", (guest,)).fetchone()
    return None if owner is None else int(owner[0])


def _guests_of(connection: sqlite3.Connection, *, account: int) -> tuple[int, ...]:
    rows = connection.execute(
        "SELECT guest_id FROM guest_links WHERE account_id = ? ORDER BY claimed_ms, guest_id", (account,)
    )
    return tuple(guest for (guest,) in rows.fetchall())


def _cannot_open(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    if isinstance(error, OSError):
        return StoreError(f"cannot open {path}: {error.strerror}", retriable=True)
    if is_damaged(error):
        return StoreError(
            f"{path} is damaged ({error}): restore it from a backup, or move it away to begin anew "
            "(results not yet stored are safe in the spool)",
            retriable=False,
        )
    return store_error(error, f"cannot open {path}")


def _known(connection: sqlite3.Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Which of these sessions have a row: for nearly all batches none."""
    known: set[bytes] = set()
    for start in range(0, len(ids), _INSERTED_AT_ONCE):
        part = ids[start : start + _INSERTED_AT_ONCE]
        known.update(
            found
            for (found,) in connection.execute(
                f"SELECT id FROM results WHERE id IN ({','.join('?' * len(part))})", part
            )
        )
    return known


def _pack(result: Result) -> bytes:
    try:
        return result.pack()
    except Exception as error:  # whatever the codec dislikes in it, it is this result's fault and not the store's
        raise StoreError(f"a result cannot be packed: {error!r}", retriable=False) from error


def _row(
    result: Result, packed: bytes, places: tuple[Place, ...], standing: Standing | None = None
) -> tuple[object, ...]:
    """A result as the columns of its row."""
    summary = result.summary
    return (
        result.session,
        result.user,
        result.created_at_ms,
        result.mode,
        summary.wpm,
        summary.acc,
        summary.duration_ms,
        result.verdict if standing is None else standing.verdict,
        0 if standing is None else len(standing.conflicts),
        result.core_hash,
        packed,
        str(places[0].board) if places else None,
    )


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    connection.execute(_ROW + placeholders(len(rows), len(rows[0])), [value for row in rows for value in row])


def _recompute(connection: sqlite3.Connection, touched: set[tuple[int, int]]) -> None:
    """Compute the progress of these users' days anew from their rows."""
    pairs = sorted(touched)
    for start in range(0, len(pairs), _INSERTED_AT_ONCE):
        part = pairs[start : start + _INSERTED_AT_ONCE]
        connection.execute(
            _RECOMPUTE.format(touched=placeholders(len(part), 2)), [value for pair in part for value in pair]
        )


def _copies(connection: sqlite3.Connection, session: bytes) -> list[Copy]:
    """What is kept of a session: the row, then its conflicts in their order."""
    packed = connection.execute("SELECT packed FROM results WHERE id = ?", (session,)).fetchall()
    packed += connection.execute(
        "SELECT packed FROM result_conflicts WHERE id = ? ORDER BY place", (session,)
    ).fetchall()
    return [Copy.of(Result.unpack(blob), blob) for (blob,) in packed]


def _page_of_copies(connection: sqlite3.Connection, *, after: bytes) -> list[tuple[bytes, bytes]]:
    """The copies of the sessions that follow an id: id and packed, by id."""
    rows = connection.execute(
        "SELECT id, packed, conflicts FROM results WHERE id > ? ORDER BY id LIMIT ?", (after, _COPIED_AT_ONCE)
    ).fetchall()
    page: list[tuple[bytes, bytes]] = []
    for session, packed, conflicts in rows:
        page.append((session, packed))
        if conflicts:
            page += connection.execute("SELECT id, packed FROM result_conflicts WHERE id = ?", (session,)).fetchall()
    return page


def _unpacked(page: Sequence[tuple[bytes, bytes]]) -> tuple[list[Result], list[bytes]]:
    found: list[Result] = []
    damaged: list[bytes] = []
    for session, packed in page:
        try:
            found.append(Result.unpack(packed))
        except Damaged:
            damaged.append(session)
    return found, damaged


def _results(connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> list[Result]:
    """Results as they stand: the winning copy with the verdict that holds."""
    found: list[Result] = []
    for packed, verdict, conflicts in connection.execute(
        f"SELECT packed, verdict, conflicts FROM results {condition}", parameters
    ).fetchall():
        found.append(as_it_stands(Result.unpack(packed), verdict, conflicts))
        if len(found) % _UNPACKED_AT_ONCE == 0:
            time.sleep(0)
    return found
