"""Loaders of values, one a key, in this process: whoever asks for a key meanwhile waits for the one that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from persistence.cache.port import Load

__all__ = ["Loaders", "Loading"]

log = structlog.get_logger(__name__)


class Loading:
    """A loader that runs; `spoiled` once its key was pushed to or dropped meanwhile: what it brings may be old."""

    __slots__ = ("spoiled", "task")

    def __init__(self) -> None:
        self.spoiled = False
        self.task: asyncio.Task[bytes | None]


Job = Callable[[Loading], Awaitable[bytes | None]]
"""Loads a value and keeps it, unless that was spoiled."""


class Loaders:
    """The loaders that run, at most `most`. Only the event loop touches them, so no step needs a lock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: dict[str, Loading] = {}

    async def value(self, key: str, load: Load, job: Job) -> bytes | None:
        """What the key's loader brings: the one that runs, or `job`, begun now. Raises what that raises.

        `load` is called instead, and nothing kept, where too many run, or the one that runs was spoiled: what it brings
        may be older than a change that this caller already knows of.
        """
        loading = self._running.get(key)
        if loading is None or loading.spoiled:
            if loading is not None or len(self._running) >= self._most:
                return await load()
            loading = self._begin(key, job)
        # Shielded: a caller that goes away must not take the value from the others who wait for it.
        return await asyncio.shield(loading.task)

    def refresh(self, key: str, job: Job) -> None:
        """Have a value loaded that nobody waits for, where there is no loader of its key yet, and room for one."""
        if key not in self._running and len(self._running) < self._most:
            self._begin(key, job)

    def spoil(self, key: str) -> None:
        """The key was pushed to or dropped: what is being loaded is not to be kept."""
        loading = self._running.get(key)
        if loading is not None:
            loading.spoiled = True

    async def close(self) -> None:
        """End them all."""
        tasks = [loading.task for loading in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: str, job: Job) -> Loading:
        loading = Loading()
        loading.task = asyncio.get_running_loop().create_task(self._run(key, job, loading))
        loading.task.add_done_callback(_seen)
        self._running[key] = loading
        return loading

    async def _run(self, key: str, job: Job, loading: Loading) -> bytes | None:
        try:
            return await job(loading)
        finally:
            del self._running[key]


def _seen(task: asyncio.Task[bytes | None]) -> None:
    """Look at the outcome of a loader for which nobody may be waiting any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a value could not be loaded", why=str(error))
