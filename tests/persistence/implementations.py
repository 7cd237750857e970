"""Every implementation of a port, by name, each made on an empty folder: one suite runs over them all.

A driver joins by adding a line here; where it needs a server, its factory starts one.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from persistence.cache import Cache, MemoryCache, MemoryCacheOptions
from persistence.results import ResultStore, SqliteResults
from persistence.stream import Sink, StoreSink
from session.result import Result

STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[ResultStore]]] = {
    "sqlite": lambda folder: SqliteResults(folder / "results.db"),
}

CACHES: dict[str, Callable[[MemoryCacheOptions, Callable[[], float]], AbstractAsyncContextManager[Cache]]] = {
    "memory": lambda options, clock_ms: MemoryCache(options, chance=Random(1), clock_ms=clock_ms),
}


class FarSide(Protocol):
    """Where a sink brings results, as a test sees it."""

    sink: Sink

    async def arrived(self, user: int) -> list[Result]:
        """What has been brought there of a user, each session once, in the order in which it first came."""
        ...


class _Store:
    """The far side of the embedded sink; a store keeps no order of arrival, but samples are numbered in theirs."""

    def __init__(self, store: ResultStore) -> None:
        self.sink: Sink = StoreSink(store)
        self._store = store

    async def arrived(self, user: int) -> list[Result]:
        return list(reversed((await self._store.by_user(user, limit=100)).results))


@asynccontextmanager
async def _store_sink(folder: Path) -> AsyncIterator[FarSide]:
    async with SqliteResults(folder / "results.db") as store:
        far = _Store(store)
        async with far.sink:
            yield far


SINKS: dict[str, Callable[[Path], AbstractAsyncContextManager[FarSide]]] = {"store": _store_sink}
