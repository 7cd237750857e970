"""The embedded stream: drains the spool into the result store of the same process."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import TracebackType
from typing import Self

from persistence.cache.recent import RecentResults
from persistence.results.port import ResultStore
from persistence.stream.port import StreamFacts, StreamOptions
from persistence.stream.spool import Spool


class InProcessStream:
    """A `Stream` without a broker: spool, store, `on_stored`, drop, in batches."""

    def __init__(
        self,
        spool: Spool,
        store: ResultStore,
        on_stored: Callable[[bytes], None],
        options: StreamOptions = StreamOptions(),
        *,
        recent: RecentResults | None = None,
        chance: random.Random | None = None,
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def flush(self, *, timeout_ms: int) -> bool:
        """Wait until all that is spooled now is stored; False where that took too long."""
        ...

    def facts(self) -> StreamFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the drain has stopped or the store refuses."""
        ...
