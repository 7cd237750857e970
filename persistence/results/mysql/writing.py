"""A batch's part in one shard: one transaction, in two round trips where every result is new.

    BEGIN, the shard's state (locked), results, progress, bests, what stands    COMMIT

go out as one message; the first statement that fails is the last that is run. Where a result is there already the
insertion fails as a whole, and the slower way is taken: what is there is read and locked, and the rule for copies
(`copies`) says what remains.

Every statement that locks is told its index: one that scanned a small table instead would wait for the rows of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from persistence.errors import StoreError
from persistence.mysql.errors import MysqlError
from persistence.mysql.literals import blob, instant, text
from persistence.mysql.pool import Connection
from persistence.results.bests import DAY_MS, BestRules, Board, PersonalBest, Place, board_of, places_of
from persistence.results.copies import Copy, Standing, settle
from persistence.results.mysql import bests, progress
from persistence.results.mysql.rows import COLUMNS, SELECTED, Origin, bare, read_copy, row_values
from persistence.results.mysql.state import LOCKED_STATE, ShardState, state_of
from persistence.results.port import Outcome, Written
from session.result import Damaged, Result

__all__ = ["Candidate", "Stale", "candidate", "find_origin", "write"]

log = structlog.get_logger(__name__)

_HOT: Final = "test_results"
_LATE: Final = "test_results_late"
_MOST_SQL: Final = 2**21
"""Characters sent at once, about: a server takes 16 MiB by default."""


class Stale(Exception):
    """The shard's state is not the one that was known; nothing has been written. Learn it, and write again."""


class Candidate(NamedTuple):
    """A result that is to be stored, and what can be said of it before any shard is asked."""

    result: Result
    board: Board | None
    origin: Origin
    row: str
    """Its row as SQL, but for the number of its origin."""
    day: tuple[int, int]
    """Its user, and the day on which it was started."""
    places: tuple[Place, ...]
    """Where it may be its user's best."""

    @classmethod
    def of(cls, result: Result, board: Board | None) -> Candidate:
        """Prepare a result that counts for this board. Raises what `row_values` raises."""
        return cls(
            result,
            board,
            Origin(result.node, result.scoring_version),
            row_values(result, ranked=board is not None),
            _day(result),
            _places(result, board),
        )


class _Told(NamedTuple):
    outcome: Outcome
    verdict: str
    places: Iterable[Place]


def candidate(result: Result, rules: BestRules) -> Candidate:
    """Prepare a result. Raises `StoreError`, not retriable, for one that no shard can hold."""
    try:
        return Candidate.of(result, board_of(result, rules))
    except Exception as error:  # whatever the codec dislikes in it, it is this result's fault and not the store's
        raise StoreError(f"result {result.session.hex()} cannot be stored: {error!r}", retriable=False) from error


async def write(
    connection: Connection,
    candidates: Sequence[Candidate],
    *,
    state: ShardState,
    origins: Mapping[Origin, int],
    rules: BestRules,
    max_conflicts: int,
) -> list[Written]:
    """Write these in one transaction; what became of each is in their order.

    `state` is what is known of the shard; raises `Stale` where it is another one by now. `origins` has the number of
    each candidate's. Raises `MysqlError`; whoever gets one, or anything else, must not use the connection again.
    """
    sessions = {one.result.session for one in candidates}
    late = any(one.result.created_at_ms < state.hot_since_ms for one in candidates)
    length = sum(len(one.row) for one in candidates)
    if len(sessions) == len(candidates) and not late and length < _MOST_SQL:
        try:
            return await _write_new(connection, candidates, state, origins)
        except MysqlError as error:
            if not error.duplicate:
                raise
            await connection.run("ROLLBACK")
    transaction = _Transaction(connection, state, origins, rules, max_conflicts)
    return await transaction.write(candidates)


async def find_origin(connection: Connection, origin: Origin) -> int:
    """The shard's number of an origin, which gets one where it has none."""
    wanted = (
        f"SELECT number FROM result_origins WHERE node = {text(origin.node)} "
        f"AND scoring_version = {text(origin.scoring_version)}"
    )
    rows = await connection.ask(wanted)
    if not rows:
        await connection.run(
            "INSERT INTO result_origins (node, scoring_version) VALUES "
            f"({text(origin.node)}, {text(origin.scoring_version)}) "
            "ON DUPLICATE KEY UPDATE number = number"  # another process may be at it, too
        )
        rows = await connection.ask(wanted)
    number: int = rows[0][0]
    return number


async def _write_new(
    connection: Connection, candidates: Sequence[Candidate], state: ShardState, origins: Mapping[Origin, int]
) -> list[Written]:
    """Write results of which none is there: fails with a duplicate where one is."""
    users = bests.users_of({place for one in candidates for place in one.places})
    statements = [
        "BEGIN",
        LOCKED_STATE,
        _insert(_HOT, candidates, origins),
        *progress.recompute({one.day for one in candidates}, late=False),
        bests.better(_bests(candidates)),
        bests.standing(users),
    ]
    answers = await connection.run_all(*(statement for statement in statements if statement is not None))
    if state_of(answers[1], state.shard) != state:
        raise Stale
    await connection.run("COMMIT")
    told = [_Told(Outcome.INSERTED, one.result.verdict, one.places) for one in candidates]
    return _written(candidates, told, bests.standing_of(users, answers[-1] if users else ()))


@dataclass(slots=True)
class _Transaction:
    """The way for batches in which results are there already, come twice, or are late."""

    connection: Connection
    state: ShardState
    origins: Mapping[Origin, int]
    rules: BestRules
    max_conflicts: int
    touched: dict[str, set[tuple[int, int]]] = field(default_factory=lambda: {_HOT: set(), _LATE: set()})
    """Users' days of which progress is to be computed anew, by table."""

    async def write(self, candidates: Sequence[Candidate]) -> list[Written]:
        """Write them all."""
        connection = self.connection
        await connection.run("BEGIN")
        if state_of(await connection.ask(LOCKED_STATE), self.state.shard) != self.state:
            raise Stale
        where = await self._known(candidates)
        told = [_Told(Outcome.INSERTED, one.result.verdict, one.places) for one in candidates]
        fresh: dict[str, list[Candidate]] = {_HOT: [], _LATE: []}
        again: list[int] = []
        for i, one in enumerate(candidates):
            if one.result.session in where:
                again.append(i)
                continue
            table = where[one.result.session] = self._table(one.result)
            fresh[table].append(one)
            self.touched[table].add(one.day)
        for table, new in fresh.items():
            for part in _parts(new):
                await connection.run(_insert(table, part, self.origins))
        await self._run(bests.better(_bests([*fresh[_HOT], *fresh[_LATE]])))
        for i in again:
            told[i] = await self._merge(candidates[i], where)
        for table, days in self.touched.items():
            for statement in progress.recompute(days, late=table == _LATE):
                await connection.run(statement)
        users = bests.users_of({place for one in told for place in one.places})
        standing = bests.standing(users)
        rows = await connection.ask(standing) if standing is not None else ()
        await connection.run("COMMIT")
        return _written(candidates, told, bests.standing_of(users, rows))

    def _table(self, result: Result) -> str:
        return _LATE if result.created_at_ms < self.state.hot_since_ms else _HOT

    async def _run(self, statement: str | None) -> None:
        if statement is not None:
            await self.connection.run(statement)

    async def _known(self, candidates: Sequence[Candidate]) -> dict[bytes, str]:
        """In which table each session is that is there. One that is late may lie in both: then that one counts."""
        found: dict[bytes, str] = {}
        for part in _parts(candidates):
            sessions = {one.result.session for one in part}
            wanted = f"id IN ({', '.join(map(blob, sorted(sessions)))})"
            instants = [one.result.created_at_ms for one in part]
            between = f"created_at BETWEEN {instant(min(instants))} AND {instant(max(instants))}"
            for (session,) in await self.connection.ask(
                f"SELECT id FROM {_HOT} FORCE INDEX (PRIMARY) WHERE {wanted} AND {between} FOR UPDATE"
            ):
                found[session] = _HOT
            if min(instants) < self.state.hot_since_ms:
                for (session,) in await self.connection.ask(
                    f"SELECT id FROM {_LATE} FORCE INDEX (PRIMARY) WHERE {wanted} FOR UPDATE"
                ):
                    found[session] = _LATE
        return found

    async def _merge(self, candidate: Candidate, where: dict[bytes, str]) -> _Told:
        """Apply the rule for copies to a session that has a row already."""
        connection, result = self.connection, candidate.result
        session = blob(result.session)
        copies = await self._copies(result, where[result.session])
        before = Standing(copies[0], tuple(copies[1:]))
        copy = _copy_of(bare(result))
        standing = settle([*copies, copy], max_conflicts=self.max_conflicts)
        # a copy may, by forgery or fault, name another user or mode: either of them is concerned
        old, new = (Result.unpack(one.packed) for one in (before.row, standing.row))
        places = {place for one in (old, new, result) for place in _places(one, board_of(one, self.rules))}
        if standing != before:
            await connection.run(f"DELETE FROM result_conflicts WHERE id = {session}")
            if standing.conflicts:
                rows = ", ".join(
                    f"({session}, {place}, {blob(lost.core_hash)}, {blob(lost.packed)})"
                    for place, lost in enumerate(standing.conflicts)
                )
                await connection.run(f"INSERT INTO result_conflicts (id, place, core_hash, packed) VALUES {rows}")
            table = where[result.session] = self._table(new)
            ranked = board_of(new, self.rules) is not None
            values = row_values(new, ranked=ranked, verdict=standing.verdict, conflicts=len(standing.conflicts))
            origin = await find_origin(connection, Origin(new.node, new.scoring_version))
            await connection.run(f"REPLACE INTO {table} ({COLUMNS}) VALUES ({values},{origin})")
            for user, at in {_day(old), _day(new)}:
                await connection.run(progress.forget(user, at, late=table == _LATE))
                self.touched[table].add((user, at))
            for place in sorted(places, key=lambda place: place.period.span.value, reverse=True):  # weeks before all
                for statement in bests.rebuild(place, result.session, late=table == _LATE):
                    await connection.run(statement)
        if any(copy.core_hash == known.core_hash for known in copies):
            outcome = Outcome.REPEATED if standing == before else Outcome.ATTESTED
        else:
            log.warning("two results of one session disagree", session=result.session.hex(), copies=len(copies) + 1)
            outcome = Outcome.CONFLICT
        return _Told(outcome, standing.verdict, places)

    async def _copies(self, result: Result, table: str) -> list[Copy]:
        """What is kept of a session: the row, then its conflicts in their order."""
        rows = await self.connection.ask(
            f"SELECT {SELECTED} FROM {table} JOIN result_origins ON number = origin "
            f"WHERE id = {blob(result.session)} AND created_at = {instant(result.created_at_ms)} FOR UPDATE"
        )
        lost = await self.connection.ask(
            f"SELECT packed FROM result_conflicts WHERE id = {blob(result.session)} ORDER BY place"
        )
        try:
            return [_copy_of(read_copy(rows[0])), *(Copy.of(Result.unpack(packed), packed) for (packed,) in lost)]
        except Damaged as error:
            raise StoreError(
                f"the row of result {result.session.hex()} cannot be read: {error}", retriable=True
            ) from error


def _copy_of(result: Result) -> Copy:
    return Copy.of(result, result.pack())


def _day(result: Result) -> tuple[int, int]:
    return result.user, result.created_at_ms // DAY_MS


def _places(result: Result, board: Board | None) -> tuple[Place, ...]:
    return () if board is None else places_of(result.user, board, result.created_at_ms)


def _bests(candidates: Iterable[Candidate]) -> Iterable[PersonalBest]:
    """What these are if they are any user's bests."""
    for one in candidates:
        if one.board is not None and one.result.verdict == "ok":
            summary = one.result.summary
            for place in one.places:
                yield PersonalBest(place, one.result.session, summary.wpm, summary.acc)


def _insert(table: str, candidates: Sequence[Candidate], origins: Mapping[Origin, int]) -> str:
    # in the order of keys, so that two transactions that share some do not wait for each other crosswise
    ordered = sorted(candidates, key=lambda one: one.result.session)
    return f"INSERT INTO {table} ({COLUMNS}) VALUES " + ",".join(
        [f"({one.row},{origins[one.origin]})" for one in ordered]
    )


def _parts(candidates: Sequence[Candidate]) -> Iterable[Sequence[Candidate]]:
    """Parts that a statement can hold."""
    start, length = 0, 0
    for i, one in enumerate(candidates):
        if length and (length + len(one.row) > _MOST_SQL or i - start >= 1_000):
            yield candidates[start:i]
            start, length = i, 0
        length += len(one.row)
    if start < len(candidates):
        yield candidates[start:]


def _written(candidates: Sequence[Candidate], told: Sequence[_Told], standing: Iterable[PersonalBest]) -> list[Written]:
    found = {best.place: best for best in standing}
    return [
        Written(one.result.session, outcome, verdict, {place: found.get(place) for place in places})
        for one, (outcome, verdict, places) in zip(candidates, told, strict=True)
    ]
