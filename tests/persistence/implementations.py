"""Every implementation of a port, by name, each made on an empty folder: one suite runs over them all.

A driver joins by adding a line here; where it needs a server, its factory starts one.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

from persistence.boards import Boards, BoardsOptions, MemoryBoards, RedisBoards
from persistence.cache import Cache, CacheOptions, MemoryCache, RedisCache
from persistence.catalogue import Catalogue, CatalogueOptions, EmbeddedCatalogue
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.holders import Holders, MemoryHolders, RedisHolders
from persistence.kafka.options import KafkaOptions
from persistence.races import MemoryRaces, Races, RacesOptions, RedisRaces
from persistence.redis import RedisOptions, RedisServers
from persistence.results import ResultStore, SqliteResults
from persistence.results.mysql import MysqlResults
from persistence.stream import Sink, StoreSink
from persistence.stream.kafka import KafkaSink
from persistence.stream.record import read
from session.race_record import RaceRecord
from session.result import Result
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.mysql_shards import MysqlShards, patient
from tests.persistence.samples import T0_MS, texts

Fixture = Callable[[str], Any]
"""The value of a fixture, by name: pytest's `request.getfixturevalue`."""


@asynccontextmanager
async def _mysql_results(shards: MysqlShards) -> AsyncIterator[ResultStore]:
    shards.clear()
    async with MysqlResults(shards.options, texts=texts(), clock_ms=lambda: T0_MS) as store:
        yield store


STORES: dict[str, Callable[[Path, Fixture], AbstractAsyncContextManager[ResultStore]]] = {
    "sqlite": lambda folder, _: SqliteResults(folder / "results.db"),
    "mysql": lambda _, fixture: _mysql_results(fixture("mysql_shards")),
}
"""Empty ones: of MySQL there is one set of databases, so one store at a time."""


class CatalogueData(NamedTuple):
    """Where a catalogue's data is; other processes may open it too."""

    path: Path | None
    database: str

    def open(self, options: CatalogueOptions | None = None) -> Catalogue:
        """A catalogue on it, to be entered."""
        if self.path is not None:
            return EmbeddedCatalogue(self.path, options)
        return MysqlCatalogue(patient(content=self.database), options)


CATALOGUES: dict[str, Callable[[Path, Fixture], CatalogueData]] = {
    "sqlite": lambda folder, _: CatalogueData(folder / "catalogue", ""),
    "mysql": lambda _, fixture: CatalogueData(None, fixture("content_database")),
}
"""Empty ones, but for what is built in."""


@asynccontextmanager
async def _redis_cache(
    where: RedisOptions, options: CacheOptions, clock_ms: Callable[[], float]
) -> AsyncIterator[Cache]:
    async with (
        RedisServers(replace(where, prefix=f"{uuid.uuid4().hex}:")) as servers,
        RedisCache(servers, options, chance=Random(1), clock_ms=clock_ms) as cache,
    ):
        yield cache


CACHES: dict[str, Callable[[CacheOptions, Callable[[], float], Fixture], AbstractAsyncContextManager[Cache]]] = {
    "memory": lambda options, clock_ms, _: MemoryCache(options, chance=Random(1), clock_ms=clock_ms),
    "redis": lambda options, clock_ms, fixture: _redis_cache(fixture("redis_single"), options, clock_ms),
    "redis-cluster": lambda options, clock_ms, fixture: _redis_cache(fixture("redis_cluster"), options, clock_ms),
}


@asynccontextmanager
async def _redis_boards(where: RedisOptions, store: ResultStore, options: BoardsOptions) -> AsyncIterator[Boards]:
    async with (
        RedisServers(replace(where, prefix=f"{uuid.uuid4().hex}:")) as servers,
        RedisBoards(servers, store, options) as boards,
    ):
        yield boards


BOARDS: dict[str, Callable[[ResultStore, BoardsOptions, Fixture], AbstractAsyncContextManager[Boards]]] = {
    "memory": lambda store, options, _: MemoryBoards(store, options),
    "redis": lambda store, options, fixture: _redis_boards(fixture("redis_single"), store, options),
    "redis-cluster": lambda store, options, fixture: _redis_boards(fixture("redis_cluster"), store, options),
}


@asynccontextmanager
async def _redis_holders(where: RedisOptions) -> AsyncIterator[Holders]:
    async with RedisServers(where) as servers, RedisHolders(servers) as holders:
        yield holders


def _processes(where: RedisOptions, count: int) -> list[AbstractAsyncContextManager[Holders]]:
    ours = replace(where, prefix=f"{uuid.uuid4().hex}:")
    return [_redis_holders(ours) for _ in range(count)]


HOLDERS: dict[str, Callable[[Fixture, int], list[AbstractAsyncContextManager[Holders]]]] = {
    "memory": lambda _, count: [nullcontext(MemoryHolders())] * count,
    "redis": lambda fixture, count: _processes(fixture("redis_single"), count),
    "redis-cluster": lambda fixture, count: _processes(fixture("redis_cluster"), count),
}
"""The same records, as so many processes open them; those in memory are one process's."""


@asynccontextmanager
async def _memory_races(options: RacesOptions) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[Races]]]:
    async with MemoryRaces(options) as races:

        @asynccontextmanager
        async def opened() -> AsyncIterator[Races]:
            yield races

        yield opened


@asynccontextmanager
async def _redis_races(
    where: RedisOptions, options: RacesOptions
) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[Races]]]:
    where = replace(where, prefix=f"{uuid.uuid4().hex}:")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Races]:
        async with RedisServers(where) as servers, RedisRaces(servers, options) as races:
            yield races

    yield opened


OpenRaces = Callable[[], AbstractAsyncContextManager[Races]]
"""Another process's view of the same races."""

RACES: dict[str, Callable[[RacesOptions, Fixture], AbstractAsyncContextManager[OpenRaces]]] = {
    "memory": lambda options, _: _memory_races(options),
    "redis": lambda options, fixture: _redis_races(fixture("redis_single"), options),
    "redis-cluster": lambda options, fixture: _redis_races(fixture("redis_cluster"), options),
}


class FarSide(Protocol):
    """Where a sink brings results, as a test sees it."""

    sink: Sink

    async def arrived(self, user: int) -> list[Result]:
        """What has been brought there of a user, each session once, in the order in which it first came."""
        ...

    async def races(self) -> dict[str, RaceRecord]:
        """The races that have been brought there, by id."""
        ...


class _Store:
    """The far side of the embedded sink; a store keeps no order of arrival, but samples are numbered in theirs."""

    def __init__(self, store: ResultStore) -> None:
        self.sink: Sink = StoreSink(store)
        self._store = store

    async def arrived(self, user: int) -> list[Result]:
        return list(reversed((await self._store.by_user(user, limit=100)).results))

    async def races(self) -> dict[str, RaceRecord]:
        return {one.id: one for one in (await self._store.races.by_user(7, limit=100)).races}


@asynccontextmanager
async def _store_sink(folder: Path, _: Fixture) -> AsyncIterator[FarSide]:
    async with SqliteResults(folder / "results.db") as store:
        far = _Store(store)
        async with far.sink:
            yield far


class _Topic:
    """The far side of the sink to Kafka."""

    def __init__(self, sink: Sink, options: KafkaOptions) -> None:
        self.sink = sink
        self._options = options

    async def arrived(self, user: int) -> list[Result]:
        results = [found for found in await self._all() if isinstance(found, Result)]
        return list({result.session: result for result in results if result.user == user}.values())

    async def races(self) -> dict[str, RaceRecord]:
        return {found.id: found for found in await self._all() if isinstance(found, RaceRecord)}

    async def _all(self) -> list[Result | RaceRecord]:
        records = await read_all(self._options.servers, self._options.results_topic)
        return [read(record.key, record.value, record.headers) for record in records]


@asynccontextmanager
async def _kafka_sink(_: Path, fixture: Fixture) -> AsyncIterator[FarSide]:
    options = KafkaOptions(
        servers=tuple(fixture("kafka_servers")), results_topic=fixture("fresh_name")("results"), answer_ms=30_000
    )
    await make_topic(options.servers, options.results_topic, partitions=5)
    async with KafkaSink(options, node="here") as sink:
        yield _Topic(sink, options)


SINKS: dict[str, Callable[[Path, Fixture], AbstractAsyncContextManager[FarSide]]] = {
    "store": _store_sink,
    "kafka": _kafka_sink,
}
