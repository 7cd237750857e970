"""A batch of records and what is done with it, up to the offsets: decoded, re-scored, buried, stored, followed.

    records ─ decode ─ re-score ─┬─ store ─────────┬─ recent lists ─ boards ─ notices ─ analytics
                                 └─ dead letters ──┘

Races are stored with them, and nothing follows from those. Each step may be done again, alone or with all before it,
and comes to the same: that is what lets a worker die between any two of them. A record that can never be stored is a
*dead letter*; what cannot be stored just now puts its partition into *trouble*, and no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import structlog

from persistence.errors import StoreError
from persistence.results.port import ResultStore, Stored
from persistence.workers.effects import Effects
from persistence.workers.feed import Record
from persistence.workers.meter import Meter
from persistence.workers.rescore import Rescorer
from session.race_record import RaceRecord
from session.result import Result

__all__ = ["Batch", "DeadLetter", "DeadLetters", "Pipeline", "Undecodable"]

log = structlog.get_logger(__name__)

_DECODED_AT_ONCE = 32  # about a millisecond before others on the loop have their turn
_TRIES = 5
"""So often a fault that nobody foresaw is taken for one that passes; then for the record's own."""


class Undecodable(ValueError):
    """A record that is no result; the message says what is wrong with it.

    `reason` is one word for metrics and for whoever sorts dead letters.
    """

    def __init__(self, message: str, *, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class DeadLetter(NamedTuple):
    """A record that cannot be processed, and why."""

    record: Record
    reason: str
    """One word of a closed set."""
    error: str
    """A sentence."""


T = TypeVar("T")

Item: TypeAlias = tuple[Record, Result]


_Put: TypeAlias = Callable[[Sequence[tuple[Record, T]]], Awaitable[list[Stored]]]
"""Writes records' results, or races, to the store; what of them something follows from."""


class DeadLetters(Protocol):
    """Where records go that cannot be processed."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these; when it returns they are durable. Raises `StoreError`, retriable, where they are not."""
        ...


class Batch:
    """Records taken together, and what they are."""

    __slots__ = ("dead", "doubted", "ends", "items", "prepared", "races", "records", "starts", "stored", "tries")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.tries = 0
        """How often it was tried in vain."""
        self.prepared = False
        """Whether `items`, `races` and `dead` are made."""
        self.items: list[Item] = []
        self.races: list[tuple[Record, RaceRecord]] = []
        self.doubted: set[bytes] = set()
        """Sessions of results whose verdict became stricter when they were played again."""
        self.dead: list[DeadLetter] = []
        """Those not yet buried."""
        self.stored: list[Stored] = []
        self.starts: dict[int, int] = {}
        """The first offset of each partition."""
        self.ends: dict[int, int] = {}
        """The offset after the last one."""
        for record in records:
            self.starts.setdefault(record.partition, record.offset)
            self.ends[record.partition] = record.offset + 1

    def part(self, partitions: Iterable[int]) -> Batch:
        """What of it lies in these partitions."""
        wanted = frozenset(partitions)
        part = Batch([record for record in self.records if record.partition in wanted])
        part.tries = self.tries
        part.prepared = self.prepared
        part.items = [(record, result) for record, result in self.items if record.partition in wanted]
        part.doubted = set(self.doubted)
        part.races = [(record, race) for record, race in self.races if record.partition in wanted]
        part.dead = [letter for letter in self.dead if letter.record.partition in wanted]
        return part


class Pipeline:
    """The steps. They keep no state between batches, and may run for several batches at a time."""

    def __init__(
        self,
        *,
        decode: Callable[[Record], Result | RaceRecord],
        rescorer: Rescorer,
        store: ResultStore,
        dead_letters: DeadLetters,
        effects: Effects,
        meter: Meter,
    ) -> None:
        self._decode = decode
        self._rescorer = rescorer
        self._store = store
        self._dead_letters = dead_letters
        self._effects = effects
        self._meter = meter

    async def prepare(self, batch: Batch) -> None:
        """Decode the records and play again those whose turn it is. Raises `StoreError` where that cannot be now."""
        if batch.prepared:
            return
        began = time.perf_counter()
        batch.items.clear()
        batch.races.clear()
        batch.doubted.clear()
        batch.dead.clear()
        for i, record in enumerate(batch.records, 1):
            try:
                found = self._decode(record)
            except Undecodable as error:
                batch.dead.append(DeadLetter(record, error.reason, str(error)))
            else:
                if isinstance(found, RaceRecord):
                    batch.races.append((record, found))
                else:
                    batch.items.append((record, found))
            if i % _DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
        began = self._done("decode", began)
        chosen = [i for i, (_, result) in enumerate(batch.items) if self._rescorer.chooses(result)]
        checked = await self._rescorer.check([batch.items[i][1] for i in chosen])
        for i, now in zip(chosen, checked, strict=True):
            record, result = batch.items[i]
            batch.items[i] = (record, now)
            if now.verdict != result.verdict:
                batch.doubted.add(result.session)
        self._done("rescore", began)
        batch.prepared = True

    async def keep(self, batch: Batch) -> dict[int, Exception]:
        """Store results and races and bury the dead letters. What could not be done just now, by partition."""
        troubled: dict[int, Exception] = {}
        began = time.perf_counter()
        stored = await self._write(batch.items, self._put, batch, troubled) if batch.items else []
        batch.stored = [one._replace(doubted=True) if one.result.session in batch.doubted else one for one in stored]
        if batch.races:
            await self._write(batch.races, self._put_races, batch, troubled)
        began = self._done("store", began)
        if batch.dead:
            await self._bury(batch, troubled)
            self._done("dead letters", began)
        return troubled

    async def _put(self, items: Sequence[Item]) -> list[Stored]:
        written = await self._store.write([result for _, result in items])
        for (record, result), one in zip(items, written, strict=True):
            self._meter.stored(record, result, one)
        return [Stored(result, one) for (_, result), one in zip(items, written, strict=True)]

    async def _put_races(self, items: Sequence[tuple[Record, RaceRecord]]) -> list[Stored]:
        await self._store.races.write([race for _, race in items])
        for record, race in items:
            self._meter.raced(record, race)
        return []

    async def _write(
        self, items: Sequence[tuple[Record, T]], put: _Put[T], batch: Batch, troubled: dict[int, Exception]
    ) -> list[Stored]:
        """Write results; those that can never be written are found by halving, a shard's fault by partitions."""
        try:
            return await put(items)
        except StoreError as error:
            if error.retriable:
                return await self._write_apart(items, put, error, batch, troubled)
            return await self._write_less(items, put, "refused", error, batch, troubled)
        except Exception as error:
            if batch.tries < _TRIES:
                raise
            return await self._write_less(items, put, "fault", error, batch, troubled)

    async def _write_apart(
        self,
        items: Sequence[tuple[Record, T]],
        put: _Put[T],
        error: StoreError,
        batch: Batch,
        troubled: dict[int, Exception],
    ) -> list[Stored]:
        """Write each partition's results by themselves, so that one that must wait does not make the others wait."""
        parts: dict[int, list[tuple[Record, T]]] = {}
        for item in items:
            parts.setdefault(item[0].partition, []).append(item)
        if len(parts) == 1:
            troubled[items[0][0].partition] = error
            return []
        stored = await asyncio.gather(*(self._write(part, put, batch, troubled) for part in parts.values()))
        return [one for part in stored for one in part]

    async def _write_less(
        self,
        items: Sequence[tuple[Record, T]],
        put: _Put[T],
        reason: str,
        error: Exception,
        batch: Batch,
        troubled: dict[int, Exception],
    ) -> list[Stored]:
        """Write the halves, one after the other; of a single result the store has had its last word."""
        if len(items) == 1:
            batch.dead.append(DeadLetter(items[0][0], reason, str(error) or repr(error)))
            return []
        half = len(items) // 2
        return [
            *await self._write(items[:half], put, batch, troubled),
            *await self._write(items[half:], put, batch, troubled),
        ]

    async def _bury(self, batch: Batch, troubled: dict[int, Exception]) -> None:
        try:
            await self._dead_letters.bury(batch.dead)
        except StoreError as error:
            for letter in batch.dead:
                troubled.setdefault(letter.record.partition, error)
            return
        for letter in batch.dead:
            self._meter.dead(letter.reason)
            log.error(
                "a record cannot be processed; it is among the dead letters",
                partition=letter.record.partition,
                offset=letter.record.offset,
                reason=letter.reason,
                why=letter.error,
            )
        # what else of their partitions must be tried again is tried without them
        buried = {(letter.record.partition, letter.record.offset) for letter in batch.dead}
        batch.items = [item for item in batch.items if (item[0].partition, item[0].offset) not in buried]
        batch.races = [item for item in batch.races if (item[0].partition, item[0].offset) not in buried]
        batch.dead = []

    async def follow(self, batch: Batch) -> None:
        """Do all that follows from what is stored. Raises a retriable `StoreError` where it must come again."""
        if batch.stored:
            await self._effects.follow(batch.stored)

    async def ping_effects(self) -> None:
        """Raise `StoreError` where `follow` would fail just now."""
        await self._effects.ping()

    def _done(self, step: str, began: float) -> float:
        now = time.perf_counter()
        self._meter.step(step, now - began)
        return now
