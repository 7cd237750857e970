"""Where results go: a topic that keeps what it has acknowledged, a worker that reads it, and the store with its rows.

The rule for several copies of a session is the product's own (`persistence.results.copies`). Everything may be away,
may be slow, and may have done what it did not answer for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from persistence.errors import StoreError
from persistence.results.copies import Copy, Standing, as_it_stands, settle
from persistence.stream.port import SinkFacts
from persistence.stream.spool import Spooled
from session.race_record import RaceRecord
from session.result import Result
from tests.simulation.world import World

_MAX_CONFLICTS = 8


class Rows:
    """The result store: one row a session, by the rule for copies."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.chance("store").random
        self._standing: dict[bytes, Standing] = {}
        self._copies: dict[bytes, Result] = {}
        self.away = False
        self.races = RaceRows(world, self._way)

    def settle(self, results: Sequence[Result]) -> None:
        """One transaction."""
        for result in results:
            packed = result.pack()
            self._copies.setdefault(packed, result)
            before = self._standing.get(result.session)
            known = () if before is None else (before.row, *before.conflicts)
            self._standing[result.session] = settle([*known, Copy.of(result, packed)], max_conflicts=_MAX_CONFLICTS)
            self._world.note("store", "row", result.session.hex()[-6:])

    def row(self, session: bytes) -> Result | None:
        """What stands of a session, with the verdict that holds."""
        standing = self._standing.get(session)
        if standing is None:
            return None
        return as_it_stands(self._copies[standing.row.packed], standing.verdict, len(standing.conflicts))

    def conflicts(self, session: bytes) -> list[Result]:
        """The copies that lost."""
        standing = self._standing.get(session)
        return [] if standing is None else [self._copies[copy.packed] for copy in standing.conflicts]

    def sessions(self) -> set[bytes]:
        """All that have a row."""
        return set(self._standing)

    # -- as a node sees it (`ResultStore`) ----------------------------------------------------------------------------

    async def by_id(self, session: bytes) -> Result | None:
        await self._way()
        return self.row(session)

    async def write(self, results: Sequence[Result]) -> list[Any]:
        """Used without a broker: may have written what it does not answer for."""
        await self._way()
        self.settle(results)
        await self._way()
        return [None] * len(results)

    async def _way(self) -> None:
        await asyncio.sleep(0.001 + 0.02 * self._random() ** 3)
        if self.away:
            await asyncio.sleep(0.2 * self._random())
            raise StoreError("the store is away", retriable=True)


class RaceRows:
    """The records of races (`RaceRecords`): one a race, of several that of the greatest version."""

    def __init__(self, world: World, way: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._way = way
        self.written: dict[str, list[RaceRecord]] = {}
        """All that came of each race, in their order."""

    def settle(self, records: Sequence[RaceRecord]) -> None:
        """One transaction."""
        for record in records:
            self.written.setdefault(record.id, []).append(record)
            self._world.note("store", "race", (record.id, record.race.version))

    def row(self, race: str) -> RaceRecord | None:
        """The one that stands."""
        return max(self.written.get(race, ()), key=lambda record: record.race.version, default=None)

    # -- as a node sees it --------------------------------------------------------------------------------------------

    async def of(self, race: str) -> RaceRecord | None:
        await self._way()
        return self.row(race)

    async def write(self, records: Sequence[RaceRecord]) -> None:
        """Used without a broker: may have written what it does not answer for."""
        await self._way()
        self.settle(records)
        await self._way()


class Topic:
    """Kafka's topic of results: a log. What it has acknowledged stays."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.random = world.chance("topic").random
        self.log: list[Result | RaceRecord] = []
        self.away = False
        self.deaf = 0.0
        """Share of the batches that it keeps and does not answer for."""
        self.kept: Callable[[], None] = lambda: None
        """Called when something has come."""

    def append(self, records: Sequence[Result | RaceRecord], node: str) -> None:
        """Keep these."""
        for record in records:
            if isinstance(record, RaceRecord):
                self.log.append(RaceRecord.unpack(record.pack()))
                self._world.note(node, "hands on", record.id)
            else:
                self.log.append(Result.unpack(record.pack()))
                self._world.note(node, "hands on", record.session.hex()[-6:])
        self.kept()

    def has(self, session: bytes) -> bool:
        """Whether a session's result has come."""
        return any(isinstance(record, Result) and record.session == session for record in self.log)


class TopicSink:
    """A `Sink` to the topic, of one node. `handed_on` is called when a batch is kept and not yet answered for."""

    def __init__(self, topic: Topic, node: str, *, handed_on: Callable[[], None]) -> None:
        self._topic = topic
        self._node = node
        self._handed_on = handed_on

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        topic = self._topic
        await asyncio.sleep(0.001 + 0.03 * topic.random() ** 3)
        if topic.away:
            await asyncio.sleep(0.5 * topic.random())
            raise StoreError("no broker answers", retriable=True)
        late = StoreError("not all brokers have answered", retriable=True)
        # some of a batch may not be kept, and then none of the later ones of its user
        kept: list[Result | RaceRecord] = []
        behind: set[int | str] = set()
        answers: list[StoreError | None] = []
        for row in rows:
            if row.order in behind or (topic.deaf and topic.random() < topic.deaf / 2):
                behind.add(row.order)
                answers.append(late)
            else:
                kept.append(row.record)
                answers.append(None)
        topic.append(kept, self._node)
        if kept:
            self._handed_on()
        await asyncio.sleep(0.001 + 0.03 * topic.random() ** 3)
        if topic.deaf and topic.random() < topic.deaf:
            await asyncio.sleep(topic.random())
            return [late] * len(rows)
        return answers

    def facts(self) -> SinkFacts:
        return SinkFacts("topic", None, 0)

    async def ping(self) -> None:
        return


class Worker:
    """Reads the topic and writes rows; killed anywhere, it begins again at what it had committed."""

    def __init__(self, world: World, topic: Topic, rows: Rows) -> None:
        self._world = world
        self._topic = topic
        self._rows = rows
        self._random = world.chance("worker").random
        self._committed = 0
        self._life = 0
        self._works = False
        topic.kept = self._look_soon

    @property
    def behind(self) -> int:
        """How many it has yet to read."""
        return len(self._topic.log) - self._committed

    def restart(self) -> None:
        """Kill it, and begin again."""
        self._life += 1
        self._works = False
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._works:
            self._works = True
            self._world.after(0.005 + 0.2 * self._random() ** 2, self._read, self._life)

    def _read(self, life: int) -> None:
        if life != self._life:
            return
        if self._rows.away:
            self._world.after(0.5, self._read, life)
            return
        upto = min(len(self._topic.log), self._committed + 4)
        read = self._topic.log[self._committed : upto]
        self._rows.settle([replace(record) for record in read if isinstance(record, Result)])
        self._rows.races.settle([record for record in read if isinstance(record, RaceRecord)])
        self._world.after(0.001 + 0.05 * self._random() ** 2, self._commit, life, upto)

    def _commit(self, life: int, upto: int) -> None:
        if life != self._life:
            return
        self._committed = upto
        self._works = False
        if self.behind:
            self._look_soon()
