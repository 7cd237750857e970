"""The embedded result store: one SQLite file, one writer thread, a few readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from persistence.results.cursor import Page
from persistence.results.port import Outcome, Progress, StoreFacts
from session.result import Result


@dataclass(frozen=True, slots=True)
class SqliteResultsOptions:
    """Size of the embedded store's parts."""

    readers: int = 2
    """Threads that answer reads."""
    max_waiting: int = 1_000
    """Reads that may wait for a thread; beyond them a read fails at once as retriable."""
    max_conflicts: int = 8
    """Losing copies kept of one session; the worst go first."""


class SqliteResults:
    """A `ResultStore` in a SQLite file (WAL, synchronous=FULL)."""

    def __init__(self, path: Path, options: SqliteResultsOptions = SqliteResultsOptions()) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def write(self, results: Sequence[Result]) -> list[Outcome]:
        """Store a batch in one transaction; the outcomes are in its order."""
        ...

    async def by_id(self, session_id: bytes) -> Result | None:
        """The result of a session, or None."""
        ...

    async def by_user(self, user: int, *, limit: int = 10, cursor: str | None = None) -> Page:
        """A user's results, newest first."""
        ...

    async def conflicts(self, session_id: bytes) -> list[Result]:
        """The copies of a session that lost."""
        ...

    async def progress(self, user: int, *, since_day: int, until_day: int) -> list[Progress]:
        """A user's progress by day and mode."""
        ...

    def facts(self) -> StoreFacts:
        """Facts for metrics."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the file cannot be read or written."""
        ...
