"""Every implementation of a port, by name, each made on an empty folder: one suite runs over them all.

A driver joins by adding a line here; where it needs a server, its factory starts one.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

from persistence.cache import Cache, MemoryCache, MemoryCacheOptions
from persistence.results import ResultStore, SqliteResults

STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[ResultStore]]] = {
    "sqlite": lambda folder: SqliteResults(folder / "results.db"),
}

CACHES: dict[str, Callable[[MemoryCacheOptions, Callable[[], float]], AbstractAsyncContextManager[Cache]]] = {
    "memory": lambda options, clock_ms: MemoryCache(options, chance=Random(1), clock_ms=clock_ms),
}
