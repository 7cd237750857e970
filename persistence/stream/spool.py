"""The spool: finished results on this process's own disk, durable before anybody is told that they are accepted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from persistence.errors import StoreError
from session.result import Result


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """What the spool may take, and how it answers a disk that fails."""

    max_rows: int = 200_000
    """Rows at which new tests are refused."""
    max_bytes: int = 512 * 2**20
    """Bytes of results at which new tests are refused."""
    reserve_rows: int = 30_000
    """Rows above `max_rows` kept for tests that were running already; beyond them `put` raises `SpoolFull`."""
    reserve_bytes: int = 64 * 2**20
    """Bytes above `max_bytes` kept for tests that were running already."""
    min_free_bytes: int = 64 * 2**20
    """Room on the volume under which new tests are refused."""
    batch_rows: int = 64
    """Most results in one commit: they are answered in one turn of the event loop."""
    patience_ms: int = 5_000
    """How long a result may wait while the disk refuses it, before its future fails."""
    probe_ms: int = 1_000
    """Time between two tries while the disk refuses."""


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """What an operator wants to know about a spool, at one moment."""

    rows: int
    """Results accepted and not yet confirmed, set-aside ones included."""
    bytes: int
    """Their packed bytes."""
    oldest_age_ms: int
    """Age of the oldest of them; 0 when there is none."""
    refused_rows: int
    """Those that the store will never take; kept, and tried again at the next start."""
    adopted_rows: int
    """Found at start in spools that other processes had left behind."""
    set_aside_files: int
    """Damaged files found at start and renamed."""
    fault: str | None
    """What the disk last answered, while it refuses; None when all is well."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """One row of the spool, in the order of acceptance."""

    seq: int
    result: Result
    size_bytes: int


class Spool:
    """The durable queue of one process: `put` results, `take` them in order, `drop` them once confirmed.

    Guarantee: when the future of `put` is done, the result is on the disk (fsync) and survives the death of the
    process and of the machine; it is taken by this process's stream or by the next one's, until dropped. At least
    once: a crash between confirmation and drop shows the row again. Order: rows come in the order of `put`.
    """

    def __init__(
        self, folder: Path, options: SpoolOptions = SpoolOptions(), *, clock_ms: Callable[[], int] = wall_clock_ms
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def accepting(self) -> bool:
        """False when new tests should be refused (`error busy`); results of running ones are still taken."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why new tests should be refused, in a sentence; None while `accepting`."""
        ...

    def put(self, result: Result) -> asyncio.Future[None]:
        """Take a result; the future is done when it is durable. Cheap: packing and disk are the spool thread's.

        Raises `SpoolFull` at the hard limit. The future fails with `StoreError` (`retriable`) where the disk refused
        for `patience_ms`: the result was not kept.
        """
        ...

    async def take(self, *, after: int, limit: int) -> list[Spooled]:
        """The next rows with `seq` over `after`, oldest first. Unreadable ones are set aside, never given."""
        ...

    def drop(self, rows: Sequence[Spooled]) -> None:
        """Forget confirmed rows, soon (a crash before that shows them again)."""
        ...

    async def refuse(self, row: Spooled, why: str) -> None:
        """Set a row aside that the store will never take: kept on disk, counted, tried again at the next start."""
        ...

    async def arrival(self, *, after: int) -> None:
        """Wait until there is a row with `seq` over `after`."""
        ...

    def facts(self) -> SpoolFacts:
        """Facts for metrics; cheap, no disk."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the spool cannot take results."""
        raise StoreError("", retriable=True)
