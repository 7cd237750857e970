"""Where imported results go: the shards, and what is kept there of the import itself.

A chunk is one transaction a shard: rows, which old row each is, progress, bests, and a look at what has been written,
whose checksum must be that of what was meant. After all shards the home shard (the one that has the source's row of
`imports`) gets, in one transaction, the rows that were bad and how far it is. Whoever is killed between any two steps
does that chunk again: ids are made of the old rows, so it meets its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from zlib import crc32

from persistence.errors import StoreError
from persistence.importing.converting import Converted
from persistence.importing.source import SUMS, Sums, Table
from persistence.mysql.errors import MysqlError
from persistence.mysql.literals import blob, instant, text
from persistence.mysql.migrating import locked
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool
from persistence.mysql.shards import Move, Routes
from persistence.results.bests import DAY_MS, BestRules, Board, PersonalBest, Place, Span, places_of
from persistence.results.mysql import bests, progress
from persistence.results.mysql.rows import COLUMNS
from persistence.results.mysql.servers import Shard, origins_on
from persistence.results.mysql.state import LOCKED_STATE, ShardState, state_of
from persistence.results.mysql.writing import Candidate, Stale
from session.identity import bucket_of, created_at_ms

__all__ = ["Fault", "Import", "Known", "New", "Target", "Unlike"]

T = TypeVar("T")

_HOT: Final = "test_results"
_LATE: Final = "test_results_late"
_TRIES: Final = 5
_LONGEST_MS: Final = 7 * 86_400_000
_AT_ONCE: Final = 500
"""Rows in a statement: about half a MB."""
_KEPT_FAULTS: Final = 1_000_000
"""Bad rows that are kept of a source; what is beyond them is tried in each run."""
_REASON: Final = 600


class New(NamedTuple):
    """An old row that is to be written."""

    old_id: int
    seen: int
    converted: Converted


class Known(NamedTuple):
    """What an old row was imported as."""

    shard: str
    """That has this entry; its result may have moved on since."""
    id: bytes
    seen: int


class Unlike(NamedTuple):
    """An imported result that is not in the store, or not as it was written."""

    old_id: int
    id: bytes
    lost: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """An old row that could not be imported."""

    table: Table
    id: int
    seen: int
    reason: str
    excerpt: str
    imported: bool = False
    """An earlier form of it is imported."""


@dataclass(frozen=True, slots=True)
class Import:
    """How far an import is."""

    address: str
    rules: str
    done_to: int | None
    changed_to: str | None
    finished_at: str | None


@dataclass(slots=True)
class _Gone:
    """What a transaction has taken out."""

    days: dict[str, set[tuple[int, int]]] = field(default_factory=lambda: {_HOT: set(), _LATE: set()})
    """Users' days that have lost a row, by table."""
    places: list[tuple[Place, bytes, bool]] = field(default_factory=list)


class Target:
    """The shards, as an import sees them."""

    def __init__(self, options: MysqlOptions, rules: BestRules, source: str, *, lock_wait_s: int = 5) -> None:
        # a chunk may wait for a disk longer than any transaction of the traffic's
        self._options = replace(options, write_ms=600_000, read_ms=600_000)
        self._rules = rules
        self._lock_wait_s = lock_wait_s  # the server may yet have to notice that one was killed
        self._source = source
        self._of = f"source = {text(source)}"
        self._shards: dict[str, Shard] = {}
        self._states: dict[str, ShardState] = {}
        self._routes: Routes
        self._home: Shard

    async def __aenter__(self) -> Self:
        """Learn of every shard. Raises `StoreError` where one is away, or not up to date."""
        shard_map = self._options.shard_map()
        servers = self._options.servers()
        for name in shard_map.names:
            self._shards[name] = Shard(
                name,
                self._options,
                servers=servers,
                shard_map=shard_map,
                rules=self._rules,
                chance=random.Random(),
            )
        try:
            await self._learn()
            self._home = await self._find_home()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for shard in self._shards.values():
            await shard.close()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one that imports this source. Raises `StoreError`, retriable, where another process is at it."""
        (dsn,) = (one.dsn for one in self._options.servers() if one.shard == self._home.name and not one.replica)
        pool = Pool(dsn, self._options)  # a connection of its own: the lock ends with it
        try:
            async with pool.connection(_LONGEST_MS) as connection:
                await connection.run(f"SET SESSION wait_timeout = {_LONGEST_MS // 1000}")
                async with locked(connection, f"import {self._source}"[:40], wait_s=self._lock_wait_s):
                    yield
        finally:
            await pool.close()

    # -- how far it is -------------------------------------------------------------------------------------------

    async def state(self) -> Import | None:
        """How far the import is; None for one that was never begun."""
        rows = await self._home.write(
            lambda connection: connection.ask(
                f"SELECT address, rules, done_to, changed_to, finished_at FROM imports WHERE {self._of}"
            )
        )
        return Import(*rows[0]) if rows else None

    async def begin(self, address: str, rules: str) -> None:
        """Begin it, or go on by other rules from the first row."""
        values = f"{text(self._source)}, {text(address)}, {text(rules)}"
        await self._home.write(
            lambda connection: connection.run(
                f"INSERT INTO imports (source, address, rules) VALUES ({values}) ON DUPLICATE KEY UPDATE "
                "done_to = IF(rules = VALUES(rules), done_to, NULL), address = VALUES(address), rules = VALUES(rules)"
            )
        )

    async def finish(self, changed_to: str | None) -> None:
        """A run has come to its end. `changed_to`: what was the latest change when it began."""
        changed = "" if changed_to is None else f", changed_to = {text(changed_to)}"
        now = instant(time.time_ns() // 1_000_000)
        await self._home.write(
            lambda connection: connection.run(f"UPDATE imports SET finished_at = {now}{changed} WHERE {self._of}")
        )

    async def advance(
        self, *, faults: Sequence[Fault] = (), mended: Collection[int] = (), table: Table, done_to: int | None = None
    ) -> None:
        """Keep what was bad, forget what is so no longer, and how far it is: in one transaction."""

        async def job(connection: Connection) -> None:
            await connection.run("BEGIN")
            for part in _parts(sorted(mended)):
                await connection.run(
                    f"DELETE FROM import_faults WHERE {self._of} AND of_table = '{table}' AND old_id IN ({_list(part)})"
                )
            if faults:
                ((kept,),) = await connection.ask(f"SELECT COUNT(*) FROM import_faults WHERE {self._of}")
                for some in _parts(faults[: max(0, _KEPT_FAULTS - kept)]):
                    rows = ", ".join(self._fault(one) for one in some)
                    await connection.run(
                        f"REPLACE INTO import_faults (source, of_table, old_id, seen, imported, reason, excerpt) "
                        f"VALUES {rows}"
                    )
            if done_to is not None:
                await connection.run(f"UPDATE imports SET done_to = {done_to} WHERE {self._of}")
            await connection.run("COMMIT")

        await self._home.write(job)

    async def faults(self, table: Table, *, above: int | None, limit: int) -> list[Fault]:
        """The next bad rows of a table, in the order of their ids."""
        beyond = "" if above is None else f" AND old_id > {above}"
        rows = await self._home.write(
            lambda connection: connection.ask(
                "SELECT old_id, seen, reason, excerpt, imported FROM import_faults "
                f"WHERE {self._of} AND of_table = '{table}'{beyond} ORDER BY old_id LIMIT {limit}"
            )
        )
        return [
            Fault(table, old_id, seen, reason, excerpt, bool(imported))
            for old_id, seen, reason, excerpt, imported in rows
        ]

    async def count_faults(self, table: Table) -> int:
        """How many bad rows of a table are kept."""
        ((count,),) = await self._home.write(
            lambda connection: connection.ask(
                f"SELECT COUNT(*) FROM import_faults WHERE {self._of} AND of_table = '{table}'"
            )
        )
        return int(count)

    def _fault(self, fault: Fault) -> str:
        return (
            f"({text(self._source)}, '{fault.table}', {fault.id}, {fault.seen}, {int(fault.imported)}, "
            f"{text(fault.reason[:_REASON])}, {text(fault.excerpt[:_REASON])})"
        )

    # -- writing -------------------------------------------------------------------------------------------------

    async def known(self, old_ids: Sequence[int]) -> dict[int, list[Known]]:
        """What these rows were imported as: one entry each, but for one whose change of place was cut off."""
        found: dict[int, list[Known]] = {}
        for shard, rows in (await self._ask_all(self._entries(f"old_id IN ({_list(old_ids)})"))).items():
            for old_id, id_, seen in rows:
                found.setdefault(old_id, []).append(Known(shard, id_, seen))
        return found

    def _entries(self, where: str) -> str:
        return f"SELECT old_id, id, seen FROM imported_results WHERE {self._of} AND {where}"

    async def write(self, rows: Sequence[New], known: Mapping[int, Sequence[Known]]) -> None:
        """Write these, in place of what they were imported as before. Done twice it does no harm."""
        earlier = {one.id for row in rows for one in known.get(row.old_id, ())}
        new = {row.converted.result.session for row in rows}
        for _ in range(_TRIES):
            try:
                await self._remove(earlier - new)
                await self._write(rows, earlier & new)
                break
            except Stale:
                await self._learn()  # a bucket has moved, or a partition has gone
        else:
            raise StoreError("buckets are being moved; import when that is over", retriable=True)
        # an entry of a row whose user is now in another shard
        readers = {row.old_id: self._routes.reader(bucket_of(row.converted.result.session)) for row in rows}
        left: dict[str, list[int]] = {}
        for old_id, reader in readers.items():
            for one in known.get(old_id, ()):
                if one.shard != reader:
                    left.setdefault(one.shard, []).append(old_id)
        for name, ids in left.items():
            await self._run(name, f"DELETE FROM imported_results WHERE {self._of} AND old_id IN ({_list(ids)})")

    async def see(self, seen: Mapping[int, int], known: Mapping[int, Sequence[Known]]) -> None:
        """Note other checksums of old rows whose results stay as they are."""
        for old_id, checksum in seen.items():
            for one in known.get(old_id, ()):
                await self._run(
                    one.shard,
                    f"UPDATE imported_results SET seen = {checksum} WHERE {self._of} AND old_id = {old_id}",
                )

    async def _write(self, rows: Sequence[New], there: Collection[bytes]) -> None:
        parts: dict[str, list[tuple[New, Candidate]]] = {}
        routes = self._routes
        for row in rows:
            one = (row, Candidate.of(*row.converted))
            for name in routes.writers(bucket_of(row.converted.result.session)):
                parts.setdefault(name, []).append(one)
        await _all(self._write_part(name, part, there) for name, part in parts.items())

    async def _write_part(self, name: str, part: Sequence[tuple[New, Candidate]], there: Collection[bytes]) -> None:
        replaced = {row.converted.result.session for row, _ in part} & set(there)

        async def job(connection: Connection) -> None:
            origins = await origins_on(connection, {one.origin for _, one in part})
            state = await self._begin(connection, name)
            gone = await _take_out(connection, replaced)
            placed: dict[str, list[tuple[New, Candidate]]] = {_HOT: [], _LATE: []}
            for one in part:
                late = created_at_ms(one[1].result.session) < state.hot_since_ms
                placed[_LATE if late else _HOT].append(one)
            entries: list[str] = []
            filled: dict[str, set[tuple[int, int]]] = {}
            for table, some in placed.items():
                # in the order of keys, as every transaction writes
                some.sort(key=lambda one: one[1].result.session)
                stored = {row.old_id: _checksum(one) for row, one in some}
                for rows in _parts(some):
                    values = ",".join(f"({one.row},{origins[one.origin]})" for _, one in rows)
                    await connection.run(f"INSERT INTO {table} ({COLUMNS}) VALUES {values}")
                    await _look(connection, table, [one.result.session for _, one in rows], stored, rows)
                filled[table] = {one.day for _, one in some}
                source = text(self._source)
                entries += [
                    f"({source}, {row.old_id}, {blob(one.result.session)}, {row.seen}, {stored[row.old_id]})"
                    for row, one in some
                    if self._routes.reader(bucket_of(one.result.session)) == name
                ]
            for these in _parts(sorted(entries)):
                await connection.run(
                    f"INSERT INTO imported_results (source, old_id, id, seen, `stored`) VALUES {', '.join(these)} "
                    "ON DUPLICATE KEY UPDATE id = VALUES(id), seen = VALUES(seen), `stored` = VALUES(`stored`)"
                )
            await _follow(connection, gone, filled)
            better = bests.better(_bests(one for _, one in part))
            if better is not None:
                await connection.run(better)
            await connection.run("COMMIT")

        try:
            await self._transaction(name, job)
        except MysqlError as error:
            if not error.duplicate or len(replaced) == len(part):
                raise
            # rows of an import whose entries were deleted, or of a chunk that was cut off
            replaced |= {row.converted.result.session for row, _ in part}
            await self._transaction(name, job)

    async def _remove(self, ids: Collection[bytes]) -> None:
        """Take results out, wherever they are."""
        parts: dict[str, list[bytes]] = {}
        for id_ in ids:
            for name in self._routes.writers(bucket_of(id_)):
                parts.setdefault(name, []).append(id_)
        for name, some in parts.items():

            async def job(connection: Connection) -> None:
                await self._begin(connection, name)  # noqa: B023  # it is run before the next one's turn
                await _follow(connection, await _take_out(connection, some))  # noqa: B023
                await connection.run("COMMIT")

            await self._transaction(name, job)

    async def _begin(self, connection: Connection, name: str) -> ShardState:
        await connection.run("BEGIN")
        state = state_of(await connection.ask(LOCKED_STATE), name)
        if state != self._states[name]:
            raise Stale
        return state

    async def _transaction(self, name: str, job: Callable[[Connection], Awaitable[None]]) -> None:
        for tries in range(_TRIES):
            try:
                return await self._shards[name].write(job)
            except MysqlError as error:
                if not error.passing or tries + 1 == _TRIES:
                    raise
            await asyncio.sleep(random.random() * 0.05 * 2**tries)

    # -- verifying -----------------------------------------------------------------------------------------------

    async def sums(self, above: int | None, to: int) -> Sums:
        """Sums of the old rows in a range that are imported, or known to be bad."""
        total = Sums()
        select = f"SELECT {SUMS} FROM"
        where = f"{self._of} AND {_range(above, to)}"
        for (row,) in (await self._ask_all(f"{select} imported_results WHERE {where}")).values():
            total += Sums.of(row)
        (row,) = await self._home.write(
            lambda connection: connection.ask(
                f"{select} import_faults WHERE {where} AND of_table = 'test_results' AND NOT imported"
            )
        )
        return total + Sums.of(row)

    async def last_of(self, above: int | None, to: int, *, limit: int) -> int:
        """The last id of a range's beginning of which every shard has at most so many rows; `to` where that is all."""
        answers = await self._ask_all(
            "SELECT COUNT(*), MAX(old_id) FROM (SELECT old_id FROM imported_results "
            f"WHERE {self._of} AND {_range(above, to)} ORDER BY old_id LIMIT {limit}) AS some"
        )
        return min((last for ((count, last),) in answers.values() if count == limit), default=to)

    async def entries(self, above: int | None, to: int) -> dict[int, list[int]]:
        """The checksums that each old row of a range is known by."""
        found: dict[int, list[int]] = {}
        for rows in (await self._ask_all(self._entries(_range(above, to)))).values():
            for old_id, _, seen in rows:
                found.setdefault(old_id, []).append(seen)
        faults = await self._home.write(
            lambda connection: connection.ask(
                f"SELECT old_id, seen FROM import_faults WHERE {self._of} AND {_range(above, to)} "
                "AND of_table = 'test_results' AND NOT imported"
            )
        )
        for old_id, seen in faults:
            found.setdefault(old_id, []).append(seen)
        return found

    async def unlike(self, above: int | None, to: int) -> list[Unlike]:
        """The results of a range that are not in the store as they were written."""
        found: list[Unlike] = []
        sums = ", ".join(f"IF({alias}.id IS NULL, NULL, {_row_sum(f'{alias}.')})" for alias in ("hot", "late"))
        sql = (
            f"SELECT its.old_id, its.id, its.stored, COALESCE({sums}) AS now FROM imported_results AS its "
            "LEFT JOIN test_results AS hot ON hot.id = its.id LEFT JOIN test_results_late AS late ON late.id = its.id "
            f"WHERE its.{self._of} AND {_range(above, to)} HAVING now IS NULL OR now <> its.stored"
        )
        elsewhere: dict[str, dict[bytes, tuple[int, int]]] = {}
        for name, rows in (await self._ask_all(sql)).items():
            for old_id, id_, stored, now in rows:
                reader = self._routes.reader(bucket_of(id_))
                if reader == name:
                    found.append(Unlike(old_id, id_, now is None))
                else:  # its bucket has moved since
                    elsewhere.setdefault(reader, {})[id_] = old_id, stored
        for name, wanted in elsewhere.items():
            for some in _parts(sorted(wanted)):
                there: dict[bytes, int] = {}
                for table in (_HOT, _LATE):
                    there.update(
                        await self._ask(
                            name, f"SELECT id, {_row_sum()} FROM {table} WHERE id IN ({', '.join(map(blob, some))})"
                        )
                    )
                for id_ in some:
                    old_id, stored = wanted[id_]
                    if there.get(id_) != stored:
                        found.append(Unlike(old_id, id_, id_ not in there))
        return found

    async def forget(self, old_ids: Sequence[int]) -> None:
        """Forget what these rows were imported as, so that they are imported anew."""
        for name in self._shards:
            await self._run(
                name, f"UPDATE imported_results SET seen = 0 WHERE {self._of} AND old_id IN ({_list(old_ids)})"
            )

    # -- shards --------------------------------------------------------------------------------------------------

    async def _learn(self) -> None:
        moves: list[Move] = []
        for name, shard in self._shards.items():
            try:
                self._states[name], known = await shard.learn()
            except StoreError as error:
                raise StoreError(f"shard {name!r}: {error}", retriable=error.retriable) from error
            moves += known
        self._routes = Routes.of(self._options.shard_map(), moves)

    async def _find_home(self) -> Shard:
        """The shard that has the source's row; the first one by name where none has."""
        for name, rows in (await self._ask_all(f"SELECT 1 FROM imports WHERE {self._of}")).items():
            if rows:
                return self._shards[name]
        return self._shards[min(self._shards)]

    async def _ask(self, name: str, statement: str) -> Sequence[tuple[Any, ...]]:
        return await self._shards[name].write(lambda connection: connection.ask(statement))

    async def _run(self, name: str, statement: str) -> None:
        await self._shards[name].write(lambda connection: connection.run(statement))

    async def _ask_all(self, statement: str) -> dict[str, Sequence[tuple[Any, ...]]]:
        return dict(zip(self._shards, await _all(self._ask(name, statement) for name in self._shards), strict=True))


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    """Do these at once, to their ends; the first fault is raised then."""
    answers = await asyncio.gather(*work, return_exceptions=True)
    faults = [one for one in answers if isinstance(one, BaseException)]
    if faults:
        raise min(faults, key=lambda fault: not isinstance(fault, Stale))
    return answers  # type: ignore[return-value]  # none of them is a fault


async def _take_out(connection: Connection, ids: Collection[bytes]) -> _Gone:
    """Delete results; what must follow from that."""
    gone = _Gone()
    for some in _parts(sorted(ids)):
        instants = [created_at_ms(one) for one in some]
        where = (
            f"id IN ({', '.join(map(blob, some))}) "
            f"AND created_at BETWEEN {instant(min(instants))} AND {instant(max(instants))}"
        )
        for table in (_HOT, _LATE):
            late = table == _LATE
            for id_, user, mode, extent, language, ranked in await connection.ask(
                f"SELECT id, user_id, type, extent, language, ranked FROM {table} FORCE INDEX (PRIMARY) "
                f"WHERE {where} FOR UPDATE"
            ):
                gone.days[table].add((user, created_at_ms(id_) // DAY_MS))
                if ranked:
                    board = Board(mode, extent, language)
                    gone.places += [(place, id_, late) for place in places_of(user, board, created_at_ms(id_))]
            await connection.run(f"DELETE old FROM {table} AS old FORCE INDEX (PRIMARY) WHERE {where}")
        await connection.run(f"DELETE FROM result_conflicts WHERE id IN ({', '.join(map(blob, some))})")
    return gone


async def _follow(
    connection: Connection, gone: _Gone, filled: Mapping[str, Collection[tuple[int, int]]] = MappingProxyType({})
) -> None:
    """Compute progress anew of days that have lost rows or got some, and the bests that are no longer there."""
    for table, days in gone.days.items():
        late = table == _LATE
        for user, day in sorted(days):
            await connection.run(progress.forget(user, day, late=late))
        for some in _parts(progress.recompute(days.union(filled.get(table, ())), late=late), 20):
            await connection.run_all(*some)
    # weeks before all time, which is made of them
    for place, id_, late in sorted(gone.places, key=lambda one: one[0].period.span is Span.ALL):
        for statement in bests.rebuild(place, id_, late=late):
            await connection.run(statement)


async def _look(
    connection: Connection,
    table: str,
    ids: Sequence[bytes],
    stored: Mapping[int, int],
    rows: Sequence[tuple[New, Candidate]],
) -> None:
    """See that these rows are there as they were meant. Raises `StoreError` where they are not."""
    instants = [created_at_ms(one) for one in ids]
    (found,) = await connection.ask(
        f"SELECT {SUMS} FROM (SELECT {_row_sum()} AS seen "
        f"FROM {table} FORCE INDEX (PRIMARY) WHERE id IN ({', '.join(map(blob, ids))}) "
        f"AND created_at BETWEEN {instant(min(instants))} AND {instant(max(instants))}) AS mine"
    )
    meant = Sums()
    for row, _ in rows:
        meant += Sums(1, stored[row.old_id], stored[row.old_id])
    if Sums.of(found) != meant:
        raise StoreError(
            f"{table} does not have old rows {rows[0][0].old_id} to {rows[-1][0].old_id} as they were written "
            f"({found[0]} of {len(rows)}); nothing of them is kept",
            retriable=False,
        )


def _row_sum(alias: str = "") -> str:
    """SQL of a row's checksum; `_checksum` is the same of what is to be a row."""
    columns = ", ".join(
        column.format(alias)
        for column in (
            *("HEX({}id)", "{}created_at", "{}user_id", "COALESCE({}test_id, 0)", "{}type", "COALESCE({}extent, 0)"),
            *("{}language", "{}wpm", "{}raw_wpm", "{}accuracy", "{}errors", "{}duration_ms", "{}verdict", "{}ranked"),
        )
    )
    return f"CRC32(CONCAT_WS('|', {columns}))"


def _checksum(one: Candidate) -> int:
    result = one.result
    summary = result.summary
    extent = result.seconds if result.count is None else result.count
    columns = (
        f"{result.session.hex().upper()}|{instant(result.created_at_ms)[1:-1]}|{result.user}|{result.test or 0}|"
        f"{result.mode}|{extent or 0}|{result.language}|{summary.wpm:.2f}|{summary.raw:.2f}|{summary.acc:.2f}|"
        f"{summary.inserts.wrong}|{summary.duration_ms}|{result.verdict}|{int(one.board is not None)}"
    )
    return crc32(columns.encode())


def _bests(candidates: Iterable[Candidate]) -> Iterable[PersonalBest]:
    for one in candidates:
        for place in one.places if one.result.verdict == "ok" else ():
            yield PersonalBest(place, one.result.session, one.result.summary.wpm, one.result.summary.acc)


def _range(above: int | None, to: int) -> str:
    return f"old_id <= {to}" if above is None else f"old_id > {above} AND old_id <= {to}"


def _list(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))


def _parts(values: Sequence[T], at_once: int = _AT_ONCE) -> Iterable[Sequence[T]]:
    for start in range(0, len(values), at_once):
        yield values[start : start + at_once]
