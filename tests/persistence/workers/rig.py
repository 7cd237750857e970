"""A worker on a log in memory with a real store, and switches for what it stands on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.notices import Doubt, Notice
from persistence.race_records.sqlite import SqliteRaceRecords
from persistence.results import SqliteResults, Written
from persistence.results.bests import Span
from persistence.workers.batch import DeadLetter, Pipeline, Undecodable
from persistence.workers.effects import Effects
from persistence.workers.feed import Record
from persistence.workers.meter import Meter
from persistence.workers.rescore import RescoreOptions, Rescorer
from persistence.workers.worker import Worker, WorkerOptions
from session.options import SessionLimits
from session.race import DamagedRace
from session.race_record import RaceRecord, is_record
from session.result import Damaged, Result
from tests.persistence.workers.memory import MemoryFeed, MemoryLog

PARTITIONS = 4
OPTIONS = WorkerOptions(batch_rows=20, backoff_min_ms=1, backoff_max_ms=5, patience_ms=60_000)


def partition_of(user: int) -> int:
    """Where a user's results go."""
    return user % PARTITIONS


def unpacked(record: Record) -> Result | RaceRecord:
    """The decoder of these tests: a record's value is a packed result, or a race's record."""
    value = record.value or b""
    try:
        return RaceRecord.unpack(value) if is_record(value) else Result.unpack(value)
    except (Damaged, DamagedRace) as error:
        raise Undecodable(str(error)) from None


class TestedRaces(SqliteRaceRecords):
    """Races of which some are refused, for a while or for ever."""

    away: Collection[str] = ()
    """Those that cannot be stored now."""
    refused: Collection[str] = ()

    async def write(self, records: Sequence[RaceRecord]) -> None:
        if any(one.id in self.refused for one in records):
            raise StoreError("a race cannot be stored", retriable=False)
        if any(one.id in self.away for one in records):
            raise StoreError("a shard is away", retriable=True)
        await super().write(records)


class TestedStore(SqliteResults):
    """A store that refuses users, for a while or for ever, and can be made to wait."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.races: TestedRaces = TestedRaces(self._writer, self._readers)
        self.away: Callable[[Result], bool] = lambda result: False
        """Results that cannot be stored now."""
        self.refused: Callable[[Result], bool] = lambda result: False
        """Results that can never be stored."""
        self.raises: Exception | None = None
        """What a bug raises."""
        self.gate = asyncio.Event()
        """Closed, a write waits at it."""
        self.gate.set()
        self.waiting = asyncio.Event()
        """Whether a write waits."""
        self.writes = 0

    async def write(self, results: Sequence[Result]) -> list[Written]:
        self.writes += 1
        if not self.gate.is_set():
            self.waiting.set()
            await self.gate.wait()
        if self.raises is not None:
            raise self.raises
        if any(map(self.refused, results)):
            raise StoreError("a result cannot be stored", retriable=False)
        if any(map(self.away, results)):
            raise StoreError("a shard is away", retriable=True)
        return await super().write(results)


class Graves:
    """Dead letters, remembered."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.away = False

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        if self.away:
            raise StoreError("the dead letters' topic is away", retriable=True)
        self.letters += letters


class Places:
    """Leaderboards that remember what they were told, and give everybody the first place."""

    def __init__(self) -> None:
        self.away = False
        self.told: Counter[bytes] = Counter()
        self.raises: Exception | None = None

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        if self.raises is not None:
            raise self.raises
        await self.ping()
        self.told.update(one.session for one in written)
        return [{Span.DAY: 1}] * len(written)

    async def ping(self) -> None:
        if self.away:
            raise StoreError("Redis is away", retriable=True)


class Told:
    """Notices, remembered."""

    def __init__(self) -> None:
        self.doubts: list[Doubt] = []

    async def tell(self, notices: Sequence[Notice | Doubt]) -> None:
        self.doubts += [one for one in notices if isinstance(one, Doubt)]

    async def ping(self) -> None:
        """It is there."""


class Counting(Meter):
    """A meter that counts."""

    def __init__(self) -> None:
        self.steps: Counter[str] = Counter()
        self.batches: list[int] = []
        self.rescorings: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.races: Counter[str] = Counter()
        self.troubles: Counter[int] = Counter()
        self.sessions: set[bytes] = set()
        """Those that were stored."""
        self._told = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that is told here makes the condition true."""
        async with asyncio.timeout(120):
            while not condition():
                self._told.clear()
                await self._told.wait()

    def batch(self, records: int) -> None:
        self.batches.append(records)

    def step(self, name: str, seconds: float) -> None:
        self.steps[name] += 1

    def stored(self, record: Record, result: Result, written: Written) -> None:
        self.outcomes[written.outcome.value] += 1
        self.sessions.add(result.session)
        self._told.set()

    def raced(self, record: Record, race: RaceRecord) -> None:
        self.races[race.id] += 1
        self._told.set()

    def rescored(self, outcome: str) -> None:
        self.rescorings[outcome] += 1

    def troubled(self, partition: int, fault: str) -> None:
        self.troubles[partition] += 1
        self._told.set()


@dataclass
class Rig:
    """What a test works with."""

    log: MemoryLog
    store: TestedStore
    texts: Texts
    graves: Graves = field(default_factory=Graves)
    places: Places = field(default_factory=Places)
    told: Told = field(default_factory=Told)
    meter: Counting = field(default_factory=Counting)
    refreshed: int = 0
    catalogue_away: bool = False

    async def send(self, results: Collection[Result]) -> None:
        """Send results to the log, each user's to one partition."""
        for result in results:
            await self.log.append(partition_of(result.user), result.pack())

    @asynccontextmanager
    async def working(
        self, options: WorkerOptions = OPTIONS, rescore: RescoreOptions | None = None
    ) -> AsyncIterator[tuple[Worker, MemoryFeed]]:
        """One worker, until the context is left."""

        async def refresh() -> None:
            self.refreshed += 1
            if self.catalogue_away:
                raise StoreError("the content database is away", retriable=True)

        feed = MemoryFeed(self.log)
        rescorer = Rescorer(self.texts, rescore or RescoreOptions(), refresh=refresh, meter=self.meter)
        pipeline = Pipeline(
            decode=unpacked,
            rescorer=rescorer,
            store=self.store,
            dead_letters=self.graves,
            effects=Effects(self.meter, boards=self.places, notices=self.told),
            meter=self.meter,
        )
        worker = Worker(feed, pipeline, options, meter=self.meter, chance=Random(1))
        async with feed, worker:
            yield worker, feed

    async def done(self) -> None:
        """Wait until all that was sent is committed."""
        async with asyncio.timeout(120):
            await self.log.until_committed()

    async def sessions(self, user: int) -> list[bytes]:
        """A user's rows, newest first."""
        return [result.session for result in (await self.store.by_user(user, limit=100)).results]

    async def holds(self, results: Collection[Result]) -> None:
        """Fail unless each of these is in the store as it was sent, and nothing else is."""
        for result in results:
            found = await self.store.by_id(result.session)
            assert found is not None
            assert found.pack() == result.pack()
        for user in {result.user for result in results}:
            assert sorted(await self.sessions(user)) == sorted(r.session for r in results if r.user == user)


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    """Everything but the worker."""
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(TestedStore(folder / "results.db"))
        catalogue = await opened.enter_async_context(EmbeddedCatalogue(None))
        yield Rig(MemoryLog(PARTITIONS), store, Texts(catalogue, limits=SessionLimits()))
