"""A bucket's way to another shard, while traffic goes on.

    copying    told to every shard; from then on whoever writes a result of the bucket writes it to both. What was there
               before is copied user by user, and compared, until both have the same.
    switched   told to every shard; the target is read, both are written. Processes look every `refresh_ms`, and it is
               waited until all of them have.
    done       told to every shard; the source gets no more, and its rows are deleted.

Nobody is told by message: each writing transaction reads its shard's state (`state`), which names the last change, and
one that knew an older state begins again. Nothing is lost or doubled at any point, for a result may be written to a
shard twice and in any order; a move that was cut off is taken up by the same command.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from persistence.errors import StoreError
from persistence.mysql.dsn import Dsn
from persistence.mysql.migrating import locked
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool
from persistence.mysql.shards import Move, Phase, Routes
from persistence.race_records import mysql as races
from persistence.results.bests import BestRules, PersonalBest
from persistence.results.mysql import copying, names
from persistence.results.mysql.servers import Shard
from persistence.results.mysql.state import tell
from persistence.results.mysql.writing import Stale
from persistence.results.names import Called
from persistence.results.public import Visibility
from session.identity import BUCKETS, bucket_of_user

__all__ = ["Moved", "Mover"]

log = structlog.get_logger(__name__)

_LONGEST_MS: Final = 7 * 86_400_000
_USERS_AT_ONCE: Final = 10_000
_TRIES: Final = 50
_PAUSE_S: Final = 0.1

Progress = Callable[[str, int, int], None]
"""Told the step, the users done, and of how many."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move came to."""

    source: str
    target: str
    users: int
    results: int
    """Results that were compared, and were the same in both."""


class Mover:
    """Moves buckets between shards, one at a time in the whole installation."""

    def __init__(self, options: MysqlOptions, rules: BestRules) -> None:
        self._options = options
        self._rules = rules
        self._shards: dict[str, Shard] = {}

    async def __aenter__(self) -> Self:
        shard_map = self._options.shard_map()
        servers = self._options.servers()
        for name in shard_map.names:
            self._shards[name] = Shard(
                name,
                # copying and deleting take longer than any transaction of the traffic's
                replace(self._options, write_ms=600_000, read_ms=600_000),
                servers=servers,
                shard_map=shard_map,
                rules=self._rules,
                chance=random.Random(),
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shard in self._shards.values():
            await shard.close()

    async def routes(self) -> Routes:
        """Where each bucket is by now. Raises `StoreError` where a shard is away, or of another map."""
        moves: list[Move] = []
        for shard in self._shards.values():
            _, known = await shard.learn()
            moves += known
        return Routes.of(self._options.shard_map(), moves)

    async def move(self, bucket: int, target: str, *, progress: Progress = lambda step, done, total: None) -> Moved:
        """Move a bucket to a shard, or take up a move that was cut off.

        Raises `StoreError`; run again, it goes on where it was.
        """
        if not 0 <= bucket < BUCKETS:
            raise StoreError(f"there is no bucket {bucket}; there are 0 to {BUCKETS - 1}", retriable=False)
        if target not in self._shards:
            raise StoreError(f"there is no shard {target!r}; there are {', '.join(self._shards)}", retriable=False)

        # a connection of its own: the lock ends with it
        lock = Pool(self._primary(min(self._shards)), self._options)
        try:
            async with lock.connection(_LONGEST_MS) as connection, locked(connection, "moves", wait_s=0):
                return await self._move(bucket, target, progress)
        finally:
            await lock.close()

    def _primary(self, shard: str) -> Dsn:
        (dsn,) = (one.dsn for one in self._options.servers() if one.shard == shard and not one.replica)
        return dsn

    async def _move(self, bucket: int, target: str, progress: Progress) -> Moved:
        routes = await self.routes()
        now, reader = routes.moves.get(bucket), routes.reader(bucket)
        if now is None or now.phase is Phase.DONE:
            if reader != target:
                now = await self._tell(Move(bucket, reader, target, Phase.COPYING, 0))
            elif now is not None:  # it may have been cut off while it deleted
                return Moved(now.source, target, await self._delete(now, progress), 0)
            else:
                raise StoreError(f"bucket {bucket} is in shard {target!r} already", retriable=False)
        elif target not in (now.source, now.target):
            raise StoreError(
                f"bucket {bucket} is on its way from {now.source!r} to {now.target!r}; let it arrive, or move it back, "
                "before it goes elsewhere",
                retriable=False,
            )
        elif target == now.source:
            # back: where nobody has read the other shard yet, all is here
            phase = Phase.DONE if now.phase is Phase.COPYING else Phase.COPYING
            now = await self._tell(Move(bucket, now.target, now.source, phase, 0))
        results = 0
        if now.phase is Phase.COPYING:
            results = await self._copy(now, progress)
            now = await self._tell(replace(now, phase=Phase.SWITCHED))
        if now.phase is Phase.SWITCHED:
            await asyncio.sleep(2 * self._options.refresh_ms / 1000)
            now = await self._tell(replace(now, phase=Phase.DONE))
        return Moved(now.source, now.target, await self._delete(now, progress), results)

    async def _tell(self, move: Move) -> Move:
        """Let every shard know of a move's next phase, those that it concerns first."""
        routes = await self.routes()
        move = replace(move, number=routes.number + 1)
        others = [name for name in self._shards if name not in (move.source, move.target)]
        for name in (move.source, move.target, *others):

            async def job(connection: Connection) -> None:
                await connection.run("BEGIN")
                await tell(connection, move)
                await connection.run("COMMIT")

            await self._shards[name].write(job)
        log.info("a bucket moves", bucket=move.bucket, source=move.source, target=move.target, phase=move.phase.value)
        return move

    async def _users(self, shard: str, bucket: int) -> list[int]:
        """The users of a bucket that have anything in a shard."""
        found: list[int] = []
        last = -(1 << 63)
        while True:
            page = await self._shards[shard].write(partial(copying.users, after=last, limit=_USERS_AT_ONCE))
            found += [user for user in page if bucket_of_user(user) == bucket]
            if len(page) < _USERS_AT_ONCE:
                return found
            last = page[-1]

    async def _copy(self, move: Move, progress: Progress) -> int:
        """Copy and compare, until both shards have the same of every user; how many results that are."""
        users = await self._users(move.source, move.bucket)
        for done, user in enumerate(users):
            progress("copying", done, len(users))
            await self._copy_user(move, user)
        await self._copy_races(move)
        results = 0
        for done, user in enumerate(users):
            progress("comparing", done, len(users))
            results += await self._compare(move, user)
        progress("comparing", len(users), len(users))
        return results

    async def _copy_user(self, move: Move, user: int) -> None:
        source, target = self._shards[move.source], self._shards[move.target]

        async def copy(
            connection: Connection,
        ) -> tuple[list[str], list[PersonalBest], list[str], list[Visibility], list[Called]]:
            async for page in copying.pages(connection, user, self._rules):
                while True:
                    state, _ = await target.learn()
                    try:
                        await target.store(page, state)
                        break
                    except Stale:
                        pass  # whatever has changed, this bucket belongs there
            return (
                await copying.progress_without_rows(connection, user),
                await copying.bests_without_rows(connection, user),
                await copying.links(connection, user),
                await copying.words(connection, user),
                await names.of_user(connection, user),
            )

        kept = await source.write(copy)
        await target.write(lambda connection: copying.adopt(connection, *kept))

    async def _copy_races(self, move: Move) -> None:
        """Copy the bucket's races, and wait until both shards have the same."""
        source, target = self._shards[move.source], self._shards[move.target]

        async def copy(connection: Connection) -> None:
            async for page in races.records(connection, move.bucket):
                while True:
                    state, _ = await target.learn()
                    try:
                        await target.change(lambda there: races.write(there, page), state)  # noqa: B023  # awaited here
                        break
                    except Stale:
                        pass  # whatever has changed, this bucket belongs there

        digest = partial(races.digest, bucket=move.bucket)
        for _ in range(_TRIES):
            await source.write(copy)
            here, there = await asyncio.gather(source.write(digest), target.write(digest))
            if here == there:
                return
            await asyncio.sleep(_PAUSE_S)  # a write of this moment is in one before it is in the other
        raise StoreError(
            f"the races of bucket {move.bucket} are not the same in shards {move.source!r} and {move.target!r} after "
            f"{_TRIES} looks: {here} and {there}; the bucket stays where it is",
            retriable=True,
        )

    async def _compare(self, move: Move, user: int) -> int:
        """Wait until both shards have the same of a user; how many results. What differs is copied again."""
        digest = partial(copying.digest, user=user)
        for _ in range(_TRIES):
            here, there = await asyncio.gather(
                self._shards[move.source].write(digest), self._shards[move.target].write(digest)
            )
            if here == there:
                results: int = here[0]
                return results
            # a write of this moment is in one before it is in the other
            await asyncio.sleep(_PAUSE_S)
            await self._copy_user(move, user)
        raise StoreError(
            f"user {user} is not the same in shards {move.source!r} and {move.target!r} after {_TRIES} looks: "
            f"{here} and {there}; the bucket stays where it is",
            retriable=True,
        )

    async def _delete(self, move: Move, progress: Progress) -> int:
        """Delete the bucket's rows from the shard that they have left; of how many users."""
        routes = await self.routes()
        assert move.source not in routes.writers(move.bucket), "nobody writes there any more"
        await self._shards[move.source].write(lambda connection: races.delete(connection, move.bucket))
        users = await self._users(move.source, move.bucket)
        for done, user in enumerate(users):
            progress("deleting", done, len(users))

            async def job(connection: Connection) -> None:
                await connection.run("BEGIN")
                for statement in copying.delete(user):  # noqa: B023  # it is run before the next user's turn
                    await connection.run(statement)
                await connection.run("COMMIT")

            await self._shards[move.source].write(job)
        progress("deleting", len(users), len(users))
        return len(users)
