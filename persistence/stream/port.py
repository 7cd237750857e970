"""The port of the stream: what carries spooled results on may promise no less than this."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Pace of a stream."""

    batch_rows: int = 128
    """Most results handed on at once."""
    gather_ms: int = 10
    """Rest after a batch that was not full, in which the next one gathers; a result that comes later goes at once."""
    backoff_min_ms: int = 50
    """First wait after a failure; doubles, with full jitter."""
    backoff_max_ms: int = 5_000
    """Longest wait between two tries."""
    close_ms: int = 5_000
    """Time that closing may take to hand on what is left; the rest stays spooled."""

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name == "gather_ms" else 1
            if getattr(self, field.name) < least:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; {least} or more is allowed")
        if self.batch_rows > 10_000:
            raise ValueError(f"batch_rows is {self.batch_rows}; at most 10000 is allowed")


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a stream has done since it was opened."""

    stored: int
    """Results confirmed and dropped from the spool."""
    refused: int
    """Results that the far side will never take; set aside in the spool."""
    failures: int
    """Tries that failed and were, or will be, made again."""
    fault: str | None
    """What the far side last answered, while it refuses; None when all is well."""


class Stream(Protocol):
    """Carries results from the spool to the place that confirms them, and reports each one stored.

    Guarantees:

    - **At least once.** A spooled result is handed on until it is confirmed; only then is it dropped from the spool.
      After a crash it may be handed on again, so the far side must meet its own row.
    - **In order per user.** A user's results are handed on in the order in which they were spooled.
    - **`on_stored` never lies.** It is called on the event loop with the session's id after the far side has confirmed
      that the result is durable there, at least once per result, also for those of an earlier process.
    - **It never gives up and never blocks.** While the far side is away the spool grows, within its limits; one result
      that can never be taken is set aside and does not hold up the others.

    Opened after the spool and closed before it; closing hands on what is left, in bounded time.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def flush(self, *, timeout_ms: int) -> bool:
        """Wait until all that is spooled now is confirmed; False where that took too long."""
        ...

    def facts(self) -> StreamFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the stream has stopped or the far side refuses."""
        ...
