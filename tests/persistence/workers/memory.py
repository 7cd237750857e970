"""A log and its groups in memory: a small `Feed` with a real group behind it, as a broker keeps one.

Whoever joins or leaves makes everybody give up all partitions and take their new share (what Kafka calls eager), from
the offsets that were committed last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from persistence.errors import StoreError
from persistence.workers.feed import FeedFacts, Revoked


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class MemoryGroup:
    """One group: its members, and what they have committed."""

    members: list[MemoryFeed] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class MemoryLog:
    """A topic. While `away` nothing can be read, sent or committed."""

    def __init__(self, partitions: int, *, topic: str = "test-results") -> None:
        self.topic = topic
        self.partitions: list[list[MemoryRecord]] = [[] for _ in range(partitions)]
        self.groups: dict[str, MemoryGroup] = {}
        self.away = False
        self.changed = asyncio.Condition()

    async def append(
        self,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
        timestamp: int = 1_790_000_000_000,
    ) -> int:
        """Send a record; its offset."""
        records = self.partitions[partition]
        records.append(MemoryRecord(self.topic, partition, len(records), timestamp, key, value, headers))
        await self.tell()
        return len(records) - 1

    async def tell(self) -> None:
        """Wake whoever waits: something was appended, paused, committed."""
        async with self.changed:
            self.changed.notify_all()

    def committed(self, group: str = "workers") -> dict[int, int]:
        """The group's offsets."""
        return self.groups[group].committed

    async def until_committed(self, group: str = "workers") -> None:
        """Wait until the group has committed all there is."""
        async with self.changed:
            await self.changed.wait_for(
                lambda: all(
                    self.groups[group].committed.get(partition, 0) == len(records)
                    for partition, records in enumerate(self.partitions)
                )
            )


class MemoryFeed:
    """A `Feed` of a `MemoryLog`. `gather` turns of the loop are what it waits for more records."""

    def __init__(self, log: MemoryLog, *, group: str = "workers", gather: int = 2) -> None:
        self._log = log
        self._group = log.groups.setdefault(group, MemoryGroup())
        self._gather = gather
        self._revoked: Revoked | None = None
        self._places: dict[int, int] = {}
        self._paused: set[int] = set()
        self._rebalances = 0

    async def __aenter__(self) -> Self:
        await self._regroup(joining=self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._regroup(leaving=self)

    def die(self) -> None:
        """Be gone without a word, as a process that is killed; others notice when somebody regroups."""
        self._group.members.remove(self)
        self._places = {}

    async def regroup(self) -> None:
        """Share the partitions out anew."""
        await self._regroup()

    async def _regroup(self, *, joining: MemoryFeed | None = None, leaving: MemoryFeed | None = None) -> None:
        group = self._group
        async with group.changing:
            await asyncio.gather(*(member._give_up() for member in group.members))
            if joining is not None:
                group.members.append(joining)
            if leaving is not None:
                group.members.remove(leaving)
            for number, member in enumerate(group.members):
                mine = range(number, len(self._log.partitions), len(group.members))
                member._places = {partition: group.committed.get(partition, 0) for partition in mine}
                member._rebalances += 1
        await self._log.tell()

    async def _give_up(self) -> None:
        if self._revoked is not None:
            await self._revoked(tuple(self._places))
        self._places, self._paused = {}, set()

    def watch(self, revoked: Revoked) -> None:
        self._revoked = revoked

    async def take(self, most: int) -> Sequence[MemoryRecord]:
        async with self._log.changed:
            await self._log.changed.wait_for(self._ready)
        for _ in range(self._gather):
            await asyncio.sleep(0)
        taken: list[MemoryRecord] = []
        for partition in self._ready():
            place = self._places[partition]
            some = self._log.partitions[partition][place : place + most - len(taken)]
            taken += some
            self._places[partition] += len(some)
        return taken

    def _ready(self) -> Collection[int]:
        if self._log.away:
            return ()
        return [
            partition
            for partition, place in self._places.items()
            if partition not in self._paused and place < len(self._log.partitions[partition])
        ]

    def pause(self, partition: int) -> None:
        if partition in self._places:
            self._paused.add(partition)

    def resume(self, partition: int) -> None:
        self._paused.discard(partition)
        self._wake()

    def rewind(self, partition: int, offset: int) -> None:
        if partition in self._places:
            self._places[partition] = offset
            self._wake()

    def _wake(self) -> None:
        task = asyncio.get_running_loop().create_task(self._log.tell())
        task.add_done_callback(lambda _: None)

    async def commit(self, ends: Mapping[int, int]) -> None:
        if self._log.away:
            raise StoreError("the log is away", retriable=True)
        self._group.committed.update({partition: end for partition, end in ends.items() if partition in self._places})
        await self._log.tell()

    def facts(self) -> FeedFacts:
        return FeedFacts(
            held=frozenset(self._places),
            lag={partition: len(self._log.partitions[partition]) - place for partition, place in self._places.items()},
            rebalances=self._rebalances,
            fault="the log is away" if self._log.away else None,
        )

    async def ping(self) -> None:
        if self._log.away:
            raise StoreError("the log is away", retriable=True)
