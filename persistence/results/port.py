"""The port of the result store: what any store of results promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from persistence.results.cursor import Page
from session.result import Result


class Outcome(Enum):
    """What writing one copy of a result came to."""

    INSERTED = "inserted"
    """The first copy of its session."""
    REPEATED = "repeated"
    """This core is there already, with an attestation at least as good."""
    ATTESTED = "attested"
    """This core was there already; this copy's better attestation replaced the old one."""
    CONFLICT = "conflict"
    """Another core of the same session is there: one of both is the row, the other is kept among the conflicts."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A user's tests of one mode on one day (UTC). Void results count in `tests` alone."""

    day: int
    """Days since 1970-01-01."""
    mode: str
    tests: int
    duration_ms: int
    """Time typed."""
    wpm: float
    """Mean speed, weighted by time typed."""
    best_wpm: float
    acc: float
    """Mean accuracy in per cent, weighted by time typed."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store has done since it was opened."""

    written: int
    """Copies written, repeats included."""
    conflicts: int
    """Copies that met another core of the same session."""


class ResultStore(Protocol):
    """Finished results, one row a session.

    Guarantees:

    - **Durable.** When `write` returns, every copy given is committed (fsync) or was there already.
    - **Idempotent.** Whatever copies of a session come, in whatever order and however often, the same state remains:
      among copies of one core the best attestation; among several cores the copy with more events seen live is the row,
      the others are kept as conflicts (a bounded number of them) and the row's verdict is at least `review`.
    - **All or nothing.** A `write` that raises has changed nothing. `retriable` says whether trying again may help.
    - **Read your writes.** Reads that begin after `write` returned see it.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def write(self, results: Sequence[Result]) -> list[Outcome]:
        """Store a batch in one transaction; the outcomes are in its order. Raises `StoreError`."""
        ...

    async def by_id(self, session_id: bytes) -> Result | None:
        """The result of a session (16 bytes), with the verdict that holds; None where there is none."""
        ...

    async def by_user(self, user: int, *, limit: int = 10, cursor: str | None = None) -> Page:
        """A user's results, newest first (created_at, then id), `limit` 1 to 100. Raises `CursorError`."""
        ...

    async def conflicts(self, session_id: bytes) -> list[Result]:
        """The other copies of a session that lost against its row, best first."""
        ...

    async def progress(self, user: int, *, since_day: int, until_day: int) -> list[Progress]:
        """A user's progress by day and mode, oldest first; days since 1970-01-01, the last included."""
        ...

    def facts(self) -> StoreFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the store does not answer."""
        ...
