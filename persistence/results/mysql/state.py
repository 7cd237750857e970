"""What a shard says of itself: which it is, by which map, what has moved, and since when its results are hot.

Every writing transaction reads it and holds a shared lock on it to its end. So whoever changes it (a move of a bucket,
the dropping of a partition) waits for the transactions that know the old state, and those that begin later see the new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from persistence.errors import StoreError
from persistence.mysql.literals import blob, day, day_number, text
from persistence.mysql.pool import Connection
from persistence.mysql.shards import Move, Phase, ShardMap
from persistence.results.bests import DAY_MS

__all__ = ["LOCKED_STATE", "MapRefused", "ShardState", "claim", "learn", "state_of", "tell"]

_STATE: Final = "SELECT shard, fingerprint, moved, hot_since FROM shard_state"
LOCKED_STATE: Final = f"{_STATE} LOCK IN SHARE MODE"
_MOVES: Final = "SELECT bucket, source, target, phase, number FROM bucket_moves"
# of the session's READ COMMITTED every statement would have a moment of its own
_ONE_MOMENT: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
)


class MapRefused(StoreError):
    """A shard was filled by another map of buckets than that of the settings, or is another shard than they say.

    Retriable, for nothing is wrong with what was to be written: it waits until the settings are mended.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retriable=True)


@dataclass(frozen=True, slots=True)
class ShardState:
    """The state of a shard."""

    shard: str
    fingerprint: bytes
    moved: int
    """Number of the last change of a move that it has been told of."""
    hot_since: int
    """Day since 1970-01-01; results of earlier ones go to `test_results_late`."""

    @property
    def hot_since_ms(self) -> int:
        """The same in epoch ms."""
        return self.hot_since * DAY_MS

    def check(self, name: str, shard_map: ShardMap) -> None:
        """Raise `MapRefused` where it is another shard, or of another map."""
        if self.shard != name:
            raise MapRefused(f"the database that the settings call shard {name!r} is shard {self.shard!r}")
        if self.fingerprint != shard_map.fingerprint:
            raise MapRefused(
                f"shard {name!r} was filled by another map of buckets than these settings have; give every process the "
                "same mysql.shards, and move buckets by `typegate shards move`"
            )


def state_of(rows: Sequence[Sequence[Any]], name: str) -> ShardState:
    """The state that was read. Raises `MapRefused` for a database that was never made a shard."""
    if not rows:
        raise MapRefused(f"the database of shard {name!r} is no shard yet; run `typegate migrate up`")
    shard, fingerprint, moved, hot_since = rows[0]
    return ShardState(shard, fingerprint, moved, day_number(hot_since))


async def learn(connection: Connection, name: str) -> tuple[ShardState, list[Move]]:
    """Read a shard's state and the moves that it knows, as of one moment."""
    _, _, state, moves, _ = await connection.run_all(*_ONE_MOMENT, _STATE, _MOVES, "COMMIT")
    return state_of(state, name), [
        Move(bucket, source, target, Phase(phase), number) for bucket, source, target, phase, number in moves
    ]


async def claim(connection: Connection, name: str, shard_map: ShardMap, *, hot_since: int) -> None:
    """Make a database this shard where it is none yet; afterwards it is this one, or `MapRefused` is raised."""
    await connection.run(
        "INSERT INTO shard_state (one, shard, fingerprint, moved, hot_since) VALUES "
        f"(1, {text(name)}, {blob(shard_map.fingerprint)}, 0, {day(hot_since)}) ON DUPLICATE KEY UPDATE one = one"
    )
    state_of(await connection.ask(_STATE), name).check(name, shard_map)


async def tell(connection: Connection, move: Move) -> None:
    """Let a shard know of a move; run it in a transaction. After its commit, none that knew less is under way."""
    await connection.run(f"UPDATE shard_state SET moved = {move.number}")
    await connection.run(
        "REPLACE INTO bucket_moves (bucket, source, target, phase, number) VALUES "
        f"({move.bucket}, {text(move.source)}, {text(move.target)}, '{move.phase.value}', {move.number})"
    )
