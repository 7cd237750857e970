"""The result store on MySQL shards.

A user's rows are in one shard, that of the user's bucket; a batch is one transaction a shard, and the shards work at
once. So a batch that fails may be stored in part, but never half of a user's; written again it meets its own rows.
A guest's rows stay where they are when an account takes its past; the account's history is read from all their shards.

Pages of history are read from replicas where there are any: they may lack what was stored in the last moment. All else
is read from the primary, and from a replica only while that is away.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.mysql.errors import MysqlError
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection
from persistence.mysql.shards import Move, Routes
from persistence.race_records.mysql import MysqlRaceRecords
from persistence.results.bests import BestRules, Board, Period, PersonalBest
from persistence.results.cursor import Page, begin, begin_ms, check_limit, merged, page_of
from persistence.results.mysql import bests, links, progress, public, reading
from persistence.results.mysql import names as called
from persistence.results.mysql.played import played
from persistence.results.mysql.servers import Shard
from persistence.results.mysql.state import MapRefused, ShardState
from persistence.results.mysql.writing import Candidate, Stale, candidate
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
from session.identity import bucket_of, bucket_of_user, created_at_ms
from session.result import Damaged, Result

__all__ = ["MysqlResults"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

_TRIES: Final = 5
"""Times that a batch is parted again because buckets have just moved."""
_RANKED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the shards, as of one moment."""

    routes: Routes
    states: Mapping[str, ShardState]
    """Of those that were reached, and may be used."""
    moves: Mapping[str, Sequence[Move]]
    """By the shard that told of them."""


class MysqlResults:
    """A `ResultStore` on MySQL shards.

    `rules` judge which results count as personal bests, once and for all, when they are stored. `texts` are needed to
    make the series of a result again; without them it has none. `wrote(shard, seconds)` is told how long each
    transaction took, failed ones too. `clock_ms` is the wall clock.

    Opened, it knows every shard that could be reached; one that is away is learnt of later. Settings whose map of
    buckets is not that of the shards are refused.
    """

    def __init__(
        self,
        options: MysqlOptions,
        rules: BestRules | None = None,
        *,
        texts: Texts | None = None,
        wrote: Callable[[str, float], None] | None = None,
        clock_ms: Callable[[], float] = lambda: time.time() * 1000,
        chance: random.Random | None = None,
    ) -> None:
        self._options = options
        self._rules = rules or BestRules()
        self._texts = texts
        self._wrote = wrote
        self._clock_ms = clock_ms
        self._chance = chance or random.Random()
        self._shard_map = options.shard_map()
        self._known = _Known(Routes.of(self._shard_map, ()), {}, {})
        self._shards: dict[str, Shard] = {}
        self._task: asyncio.Task[None] | None = None
        self._written = self._conflicts = 0
        self.races = MysqlRaceRecords(self)

    async def __aenter__(self) -> Self:
        servers = self._options.servers()
        for name in self._shard_map.names:
            self._shards[name] = Shard(
                name,
                self._options,
                servers=servers,
                shard_map=self._shard_map,
                rules=self._rules,
                chance=self._chance,
            )
        try:
            await self._learn(refused=True)
        except BaseException:
            await self._close()
            raise
        self._task = asyncio.get_running_loop().create_task(self._refreshing(), name="shards")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._close()

    async def _close(self) -> None:
        for shard in self._shards.values():
            await shard.close()

    # -- which shard ---------------------------------------------------------------------------------------------

    async def _learn(self, *, refused: bool = False) -> None:
        """Learn of all shards what they know; of one that is away, what it knew before is kept.

        Raises `StoreError` for what these settings must not be used with, where `refused`; else it is logged, and
        raised by whatever comes to it.
        """
        states, moves = dict(self._known.states), dict(self._known.moves)
        found = await asyncio.gather(*(shard.learn() for shard in self._shards.values()), return_exceptions=True)
        faults: list[StoreError] = []
        for shard, learnt in zip(self._shards.values(), found, strict=True):
            if isinstance(learnt, MysqlError):
                log.warning("a shard is away", shard=shard.name, why=str(learnt))
            elif isinstance(learnt, StoreError):
                faults.append(learnt)
                states.pop(shard.name, None)
            elif isinstance(learnt, BaseException):
                raise learnt
            else:
                states[shard.name], moves[shard.name] = learnt
        routes = Routes.of(self._shard_map, [move for some in moves.values() for move in some])
        faults += [_unknown(move.target) for move in routes.moves.values() if move.target not in self._shards]
        self._known = _Known(routes, states, moves)
        for fault in faults[:1]:
            if refused:
                raise fault
            log.error("the shards cannot be used by these settings", why=str(fault))

    async def _refreshing(self) -> None:
        while True:
            await asyncio.sleep(self._options.refresh_ms / 1000)
            try:
                await self._learn()
            except Exception:  # a fault of ours must not end the task: moves would go unseen
                log.exception("the shards' state was not read")

    def _shard(self, name: str) -> Shard:
        shard = self._shards.get(name)
        if shard is None:
            raise _unknown(name)
        return shard

    def _reader(self, bucket: int) -> Shard:
        return self._shard(self._known.routes.reader(bucket))

    def _by_shard(self, users: Iterable[int]) -> list[tuple[Shard, list[int]]]:
        """These users by the shard that they are read from."""
        parts: dict[str, list[int]] = {}
        for user in users:
            parts.setdefault(self._known.routes.reader(bucket_of_user(user)), []).append(user)
        return [(self._shard(name), part) for name, part in parts.items()]

    # -- writing -------------------------------------------------------------------------------------------------

    async def write(self, results: Sequence[Result]) -> list[Written]:
        """Store a batch, one transaction a shard; what became of each is in its order."""
        if not results:
            return []
        for result in results:
            check_id(result)
        candidates = [candidate(result, self._rules) for result in results]
        written: list[Written | None] = [None] * len(results)
        todo = list(range(len(results)))
        for _ in range(_TRIES):
            todo = await self._write(candidates, todo, written)
            if not todo:
                break
            await self._learn()  # what is left met a shard that knows more than we do
        else:
            raise StoreError("buckets are being moved; the results are written when that is over", retriable=True)
        done = [one for one in written if one is not None]
        self._written += len(done)
        self._conflicts += sum(one.outcome is Outcome.CONFLICT for one in done)
        return done

    async def _write(
        self, candidates: Sequence[Candidate], todo: Sequence[int], written: list[Written | None]
    ) -> list[int]:
        """Write these, the shards at once; which of them met a shard whose state was not known."""
        # parted, and written, by what was known at one moment: a shard whose state is another one refuses its part
        known = self._known
        parts: dict[str, list[int]] = {}
        for i in todo:
            for name in known.routes.writers(bucket_of(candidates[i].result.session)):
                parts.setdefault(name, []).append(i)
        answers = await asyncio.gather(
            *(
                self._write_part(self._shard(name), [candidates[i] for i in part], known.states.get(name))
                for name, part in parts.items()
            ),
            return_exceptions=True,
        )
        stale: set[int] = set()
        faults: list[BaseException] = []
        for (name, part), answer in zip(parts.items(), answers, strict=True):
            if isinstance(answer, Stale):
                stale.update(part)
            elif isinstance(answer, BaseException):
                faults.append(answer)
            else:
                for i, one in zip(part, answer, strict=True):
                    # of a bucket that moves, the shard that is read has the word, and its first word
                    if written[i] is None and known.routes.reader(bucket_of(one.session)) == name:
                        written[i] = one
        if faults:
            # one that may pass first: what is at fault in a batch is found when nothing else is in the way
            raise min(faults, key=lambda fault: not (isinstance(fault, StoreError) and fault.retriable))
        return sorted(stale)

    async def _write_part(
        self, shard: Shard, candidates: Sequence[Candidate], state: ShardState | None
    ) -> list[Written]:
        """Write a shard's part, and tell how long it took."""
        if state is None:
            await shard.learn()  # raises what is wrong with it
            raise Stale
        began = time.perf_counter()
        try:
            return await shard.store(candidates, state)
        finally:
            if self._wrote is not None:
                self._wrote(shard.name, time.perf_counter() - began)

    # -- guests' pasts -------------------------------------------------------------------------------------------

    async def link(self, guest: int, account: int, *, at_ms: int | None = None) -> Linked:
        """Let a guest's past be an account's: first in the guest's shard, then in the account's."""
        check_link(guest, account)
        listed = await self.guests_of(account)
        known = guest in listed
        if not known and len(listed) >= MOST_GUESTS:
            return Linked.FULL
        since_ms = int(self._clock_ms()) if at_ms is None else at_ms
        for _ in range(_TRIES):
            try:
                if await self._win(guest, account, since_ms) != account:
                    return Linked.TAKEN
                job = partial(links.put_in_list, guest=guest, account=account, at_ms=since_ms)
                # one that is known, too: of two shards of a bucket that moves it may have come to one alone
                for name in self._known.routes.writers(bucket_of_user(account)):
                    await self._change(name, job)
                return Linked.SAME if known else Linked.NEW
            except Stale:
                await self._learn()
        raise StoreError("buckets are being moved; claim again when that is over", retriable=True)

    async def _win(self, guest: int, account: int, at_ms: int) -> int:
        """The account that has a guest, decided by the shard that is read. Raises `Stale`."""
        reader, *others = self._known.routes.writers(bucket_of_user(guest))
        owner = await self._change(reader, partial(links.win, guest=guest, account=account, at_ms=at_ms))
        for name in others:
            await self._change(name, partial(links.put_owner, guest=guest, account=owner, at_ms=at_ms))
        return owner

    async def _change(self, name: str, job: Callable[[Connection], Awaitable[T]], known: _Known | None = None) -> T:
        """Run a job in a transaction of a shard whose state is the one that is known. Raises `Stale`."""
        shard, state = self._shard(name), (known or self._known).states.get(name)
        if state is None:
            await shard.learn()  # raises what is wrong with it
            raise Stale
        return await shard.change(job, state)

    async def guests_of(self, account: int, *, behind: Callable[[], None] | None = None) -> tuple[int, ...]:
        """The guests whose past is this account's."""
        job = partial(links.guests, account=account)
        return await self._read(self._reader(bucket_of_user(account)), job, behind=behind)

    async def account_of(self, guest: int) -> int | None:
        """The account whose a guest's past is."""
        return await self._read(self._reader(bucket_of_user(guest)), partial(links.account, guest=guest))

    # -- what is public ------------------------------------------------------------------------------------------

    async def publish(self, session_id: bytes, user: int) -> bool:
        """Let a result be public."""
        check_owner(session_id, user)
        return await self._say(session_id, partial(public.publish, session=session_id, user=user)) is not None

    async def unpublish(self, session_id: bytes) -> None:
        """Let a result be its owner's alone."""
        await self._say(session_id, partial(public.unpublish, session=session_id))

    async def _say(
        self, session: bytes, job: Callable[[Connection], Awaitable[Visibility | None]]
    ) -> Visibility | None:
        """Change what is said of a result in the shard that is read; then any other is told what holds."""
        for _ in range(_TRIES):
            try:
                known = self._known
                reader, *others = known.routes.writers(bucket_of(session))
                word = await self._change(reader, job, known)
                if word is not None:
                    for name in others:
                        await self._change(name, partial(public.put, words=[word]), known)
                return word
            except Stale:
                await self._learn()
        raise StoreError("buckets are being moved; try again when that is over", retriable=True)

    async def is_public(self, session_id: bytes) -> bool:
        """Whether a result is public."""
        return await self._read(self._reader(bucket_of(session_id)), partial(public.is_public, session=session_id))

    async def public_of(self, user: int, *, behind: Callable[[], None] | None = None) -> Sequence[bytes]:
        """A user's results that are public."""
        job = partial(public.sessions, user=user)
        return await self._read(self._reader(bucket_of_user(user)), job, behind=behind)

    async def take_words(self, words: Sequence[Visibility]) -> None:
        """Take over what another store was told of who may see results."""
        for one in words:
            check_owner(one.session, one.user)
        await self.write_rows([(bucket_of(one.session), one) for one in words], public.put)

    # -- names ---------------------------------------------------------------------------------------------------

    async def name_users(self, names: Mapping[int, str]) -> None:
        """Let accounts be called so from now on: as the shard that is read has it, then in any other."""
        check_names(names)
        for _ in range(_TRIES):
            try:
                known = self._known
                parts: dict[tuple[str, ...], dict[int, str]] = {}
                for user, name in names.items():
                    parts.setdefault(known.routes.writers(bucket_of_user(user)), {})[user] = name
                for (reader, *others), part in parts.items():
                    words = await self._change(reader, partial(called.call, said=part), known)
                    for other in others:
                        await self._change(other, partial(called.put, words=words), known)
                return
            except Stale:
                await self._learn()
        raise StoreError("buckets are being moved; try again when that is over", retriable=True)

    async def names_of(self, users: Collection[int]) -> dict[int, str]:
        """What those of these accounts are called who have a name."""
        found = await asyncio.gather(
            *(self._read(shard, partial(called.names, users=part)) for shard, part in self._by_shard(users))
        )
        return {user: name for part in found for user, name in part.items()}

    async def take_names(self, words: Sequence[Called]) -> None:
        """Take over what another store was told of names."""
        check_names({one.user: one.name for one in words})
        await self.write_rows([(bucket_of_user(one.user), one) for one in words], called.put)

    # -- rows of buckets, whatever they are ------------------------------------------------------------------------

    async def write_rows(
        self, rows: Sequence[tuple[int, T]], write: Callable[[Connection, Sequence[T]], Awaitable[None]]
    ) -> None:
        """Write rows, each with its bucket: one transaction a shard, the shards at once. It may be done twice."""
        for _ in range(_TRIES):
            known = self._known
            parts: dict[str, list[T]] = {}
            for bucket, row in rows:
                for name in known.routes.writers(bucket):
                    parts.setdefault(name, []).append(row)
            jobs = [self._change(name, _writing(write, part), known) for name, part in parts.items()]
            answers = await asyncio.gather(*jobs, return_exceptions=True)
            faults = [answer for answer in answers if isinstance(answer, BaseException)]
            if not faults:
                return
            others = [fault for fault in faults if not isinstance(fault, Stale)]
            if others:
                raise min(others, key=lambda fault: not (isinstance(fault, StoreError) and fault.retriable))
            await self._learn()
        raise StoreError("buckets are being moved; the rows are written when that is over", retriable=True)

    async def read_bucket(self, bucket: int, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Read in the shard of a bucket."""
        return await self._read(self._reader(bucket), job)

    async def read_all(self, job: Callable[[Connection], Awaitable[T]]) -> list[T]:
        """Read in every shard, from replicas where there are any."""
        return await asyncio.gather(*(self._read(shard, job, history=True) for shard in self._shards.values()))

    # -- reading -------------------------------------------------------------------------------------------------

    async def by_id(self, session_id: bytes) -> Result | None:
        """The result of a session, or None."""
        if created_at_ms(session_id) > reading.LAST_MS:
            return None
        shard = self._reader(bucket_of(session_id))
        found = await self._read(shard, partial(reading.result, session=session_id))
        return None if found is None else (await self._played([found]))[0]

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
        before, since = begin(cursor, until_ms), begin_ms(since_ms)
        if since > reading.LAST_MS:
            return Page((), None)
        history = created_at_ms(before) < self._clock_ms() - self._options.history_ms
        behind: list[Shard] = []

        async def read(shard: Shard, users: Sequence[int]) -> list[Result]:
            state = self._known.states.get(shard.name)
            page = partial(
                reading.page,
                before=before,
                since_ms=since,
                limit=limit + 1,  # one more tells whether there is a next page
                hot_since_ms=None if state is None else state.hot_since_ms,
            )

            async def job(connection: Connection) -> list[Result]:
                return merged([await page(connection, user=one) for one in users], limit + 1)

            return await self._read(shard, job, history=history, behind=partial(behind.append, shard))

        found = await asyncio.gather(*(read(shard, them) for shard, them in self._by_shard((user, *guests))))
        page = page_of(merged(found, limit + 1), limit)
        return Page(tuple(await self._played(page.results)), page.cursor, bool(behind))

    async def conflicts(self, session_id: bytes) -> list[Result]:
        """The copies of a session that lost."""
        shard = self._reader(bucket_of(session_id))
        return await self._played(await self._read(shard, partial(reading.conflicts, session=session_id)))

    async def progress(
        self, user: int, *, guests: Sequence[int] = (), since_day: int, until_day: int
    ) -> list[Progress]:
        """A user's progress by day and mode."""
        since_day, until_day = max(0, since_day), min(until_day, reading.LAST_DAY)
        if since_day > until_day:
            return []

        async def read(shard: Shard, users: Sequence[int]) -> list[Progress]:
            async def job(connection: Connection) -> list[Progress]:
                answers = await connection.run_all(*(progress.of_user(one, since_day, until_day) for one in users))
                return [progress.progress_of(row) for row in chain.from_iterable(answers)]

            return await self._read(shard, job)

        found = await asyncio.gather(*(read(shard, them) for shard, them in self._by_shard((user, *guests))))
        return together(chain.from_iterable(found))

    async def bests(self, user: int, *, day: int) -> list[PersonalBest]:
        """A user's bests of this day, of its week and of all time."""

        async def job(connection: Connection) -> list[PersonalBest]:
            return [bests.best_of(row) for row in await connection.ask(bests.of_user(user, day))]

        return await self._read(self._reader(bucket_of_user(user)), job)

    async def ranking(
        self, board: Board, period: Period, *, behind: Callable[[], None] | None = None
    ) -> AsyncIterator[PersonalBest]:
        """Every user's best on a board in a period, the best first: the shards' rankings merged."""
        rankings = [self._ranking(shard, board, period, behind) for shard in self._shards.values()]
        heads = {ranking: first for ranking in rankings if (first := await anext(ranking, None)) is not None}
        while heads:
            ranking = max(heads, key=lambda one: heads[one].order)
            yield heads.pop(ranking)
            following = await anext(ranking, None)
            if following is not None:
                heads[ranking] = following

    async def _ranking(
        self, shard: Shard, board: Board, period: Period, behind: Callable[[], None] | None
    ) -> AsyncIterator[PersonalBest]:
        last: PersonalBest | None = None
        while True:

            async def job(connection: Connection) -> list[PersonalBest]:
                rows = await connection.ask(bests.ranking_page(board, period, last, _RANKED_AT_ONCE))  # noqa: B023
                return [bests.best_of(row) for row in rows]

            page = await self._read(shard, job, behind=behind)
            for best in page:
                # while a bucket moves, its users are in two shards
                if self._reader(bucket_of_user(best.place.user)) is shard:
                    yield best
            if len(page) < _RANKED_AT_ONCE:
                return
            last = page[-1]

    async def speeds(self, board: Board, period: Period) -> dict[int, int]:
        """How many users have their best at each whole speed. While a bucket moves, its users may count twice."""

        async def job(connection: Connection) -> Sequence[tuple[int, int]]:
            return [(int(speed), int(users)) for speed, users in await connection.ask(bests.speeds(board, period))]

        counted: dict[int, int] = {}
        for counts in await asyncio.gather(*(self._read(shard, job, history=True) for shard in self._shards.values())):
            for speed, users in counts:
                counted[speed] = counted.get(speed, 0) + users
        return counted

    async def _read(
        self,
        shard: Shard,
        job: Callable[[Connection], Awaitable[T]],
        *,
        history: bool = False,
        behind: Callable[[], None] | None = None,
    ) -> T:
        try:
            return await shard.read(job, history=history, behind=behind)
        except Damaged as error:
            raise StoreError(f"a stored result cannot be read: {error}", retriable=False) from error

    async def _played(self, results: Sequence[Result]) -> list[Result]:
        return list(results) if self._texts is None else await played(results, self._texts)

    def facts(self) -> StoreFacts:
        """Facts for metrics."""
        return StoreFacts(self._written, self._conflicts)

    async def check_replicas(self) -> None:
        """Raise `StoreError` where a replica does not answer, or is not one of the shard that the settings say."""
        await asyncio.gather(*(shard.check_replicas() for shard in self._shards.values()))

    async def ping(self) -> None:
        """Raise `StoreError` where a shard's primary does not answer."""
        await asyncio.gather(*(shard.ping() for shard in self._shards.values()))


def _writing(
    write: Callable[[Connection, Sequence[T]], Awaitable[None]], rows: Sequence[T]
) -> Callable[[Connection], Awaitable[None]]:
    return lambda connection: write(connection, rows)


def _unknown(shard: str) -> MapRefused:
    return MapRefused(f"buckets have moved to shard {shard!r}, which mysql.shards does not have")
