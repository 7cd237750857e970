"""Which shard has a user's bucket: the map of the settings, and the moves that were made since. Pure.

Every shard keeps the map's fingerprint, so that a process with another map is refused, and the moves. A bucket moves
from one shard to another while traffic goes on:

    copying    all writes of the bucket go to both shards; the target is being filled; the source is read
    switched   all writes go to both still; the target is read
    done       the source is out of it

What makes it right is that a write may come twice and in any order (`results.copies`): rows that were there before the
move began are written to the target by the mover, later ones by whoever writes them, and both may meet there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from re import compile as pattern
from typing import Final

from session.identity import BUCKETS

__all__ = ["Move", "Phase", "Routes", "ShardMap", "buckets_text", "read_shard"]

_NAME = pattern(r"[a-z0-9][a-z0-9_-]{0,39}")
_RANGE = pattern(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_NAMED_MOST: Final = 8


def read_shard(text: str) -> tuple[str, str, str]:
    """Name, buckets and address of a shard's entry in the settings. Raises ValueError; never tells a password."""
    parts = text.split()
    if len(parts) != 3:
        raise ValueError(f"a shard is NAME BUCKETS ADDRESS, three words; there is an entry of {len(parts)}")
    name, buckets, address = parts
    if not _NAME.fullmatch(name):
        raise ValueError(f"a shard's name is 1 to 40 of a-z 0-9 - _, and not {name[:60]!r}")
    return name, buckets, address


@dataclass(frozen=True, slots=True)
class ShardMap:
    """The map of the settings."""

    names: tuple[str, ...]
    """The shards, those without buckets too."""
    owners: tuple[str, ...]
    """The shard of each bucket."""

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]]) -> ShardMap:
        """The map of names and their buckets (`0-99,4000`). Raises ValueError with every hole and overlap."""
        claims: list[list[str]] = [[] for _ in range(BUCKETS)]
        names: list[str] = []
        for name, text in entries:
            if name in names:
                raise ValueError(f"two shards are called {name!r}")
            names.append(name)
            for bucket in _buckets(name, text):
                if name in claims[bucket]:
                    raise ValueError(f"shard {name!r} has bucket {bucket} twice")
                claims[bucket].append(name)
        faults = []
        holes = [bucket for bucket, owners in enumerate(claims) if not owners]
        if holes:
            faults.append(f"buckets {buckets_text(holes)} have no shard")
        overlaps: dict[tuple[str, ...], list[int]] = {}
        for bucket, owners in enumerate(claims):
            if len(owners) > 1:
                overlaps.setdefault(tuple(owners), []).append(bucket)
        faults += [f"buckets {buckets_text(them)} are of {' and '.join(owners)}" for owners, them in overlaps.items()]
        if faults:
            raise ValueError(f"{'; '.join(faults)}; each of 0 to {BUCKETS - 1} has one shard")
        return cls(tuple(names), tuple(owners[0] for owners in claims))

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that two maps have in common only if all buckets have the same shards."""
        return blake2b(" ".join(self.owners).encode(), digest_size=16).digest()


class Phase(Enum):
    """How far a move is."""

    COPYING = "copying"
    SWITCHED = "switched"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Move:
    """A bucket's way to another shard. A bucket's last move is the one that counts."""

    bucket: int
    source: str
    target: str
    phase: Phase
    number: int
    """Counts all changes of all moves."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Where each bucket is written and read, by a map and the moves since."""

    shard_map: ShardMap
    moves: Mapping[int, Move]

    @classmethod
    def of(cls, shard_map: ShardMap, moves: Iterable[Move]) -> Routes:
        """The routes after these moves, of which several shards may tell: of each bucket the latest counts."""
        latest: dict[int, Move] = {}
        for move in moves:
            if move.bucket not in latest or latest[move.bucket].number < move.number:
                latest[move.bucket] = move
        return cls(shard_map, latest)

    @property
    def number(self) -> int:
        """The number of the last change that these routes know."""
        return max((move.number for move in self.moves.values()), default=0)

    def reader(self, bucket: int) -> str:
        """The shard that a bucket is read from."""
        move = self.moves.get(bucket)
        if move is None:
            return self.shard_map.owners[bucket]
        return move.source if move.phase is Phase.COPYING else move.target

    def writers(self, bucket: int) -> tuple[str, ...]:
        """The shards that a bucket is written to; the first is the one that is read."""
        move = self.moves.get(bucket)
        if move is None:
            return (self.shard_map.owners[bucket],)
        match move.phase:
            case Phase.COPYING:
                return (move.source, move.target)
            case Phase.SWITCHED:
                return (move.target, move.source)
            case Phase.DONE:
                return (move.target,)

    def buckets(self, shard: str) -> list[int]:
        """The buckets that are read from a shard."""
        return [bucket for bucket in range(BUCKETS) if self.reader(bucket) == shard]


def buckets_text(buckets: Sequence[int]) -> str:
    """Sorted buckets as the settings have them: `0-99,4000`; `-` for none. A long list is cut off."""
    runs: list[list[int]] = []
    for bucket in buckets:
        if runs and runs[-1][1] == bucket - 1:
            runs[-1][1] = bucket
        else:
            runs.append([bucket, bucket])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    more = len(parts) - _NAMED_MOST
    return ",".join(parts[:_NAMED_MOST]) + (f" and {more} more ranges" if more > 0 else "") or "-"


def _buckets(name: str, text: str) -> Iterable[int]:
    if text == "-":
        return
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        first = int(found[1]) if found else BUCKETS
        last = int(found[2] or found[1]) if found else BUCKETS
        if not first <= last < BUCKETS:
            raise ValueError(
                f"shard {name!r} has the buckets {part[:40]!r}; a range is FIRST-LAST within 0 to {BUCKETS - 1}"
            )
        yield from range(first, last + 1)
