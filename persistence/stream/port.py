"""The ports of a result's way on: the stream that empties the spool, and the sink that it hands the results to.

There is one stream (`drain.Drain`) and a sink for each place that confirms results (`store.StoreSink`, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol, Self

from persistence.errors import StoreError
from persistence.stream.spool import Spooled


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
    held: int
    """Results that the far side could not take just now, and those that wait behind them for their users' order."""
    wait_ms: float
    """The wait before the next try, while the far side refuses; 0 when all is well."""


class Stream(Protocol):
    """Carries results from the spool to the place that confirms them, and reports each one stored.

    Guarantees:

    - **At least once.** A spooled result is handed on until it is confirmed; only then is it dropped from the spool.
      After a crash it may be handed on again, so the far side must meet its own row.
    - **In order per user.** A user's results are handed on in the order in which they were spooled.
    - **`on_stored` never lies.** It is called on the event loop with a result after the far side has confirmed that it
      is durable there, at least once per result, also for those of an earlier process.
    - **It never gives up and never blocks.** While the far side is away the spool grows, within its limits; one result
      that can never be taken is set aside and does not hold up the others; one that cannot be taken now holds up no
      more than its user's, up to a batch of them.

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


@dataclass(frozen=True, slots=True)
class SinkFacts:
    """The state of a sink."""

    place: str
    """Where it brings results, in a word or two for logs and operators."""
    fault: str | None
    """Why it cannot bring any just now, as far as it knows; None when all is well."""
    reopened: int
    """How often it has had to begin its connection anew."""


class Sink(Protocol):
    """Brings batches of results to the place that confirms them.

    Guarantees:

    - **Confirmed is durable.** A result is confirmed when the far side keeps it, by what that side calls durable.
    - **Its own row again.** A result that is handed on twice is there once, or told apart by its id where it is read.
    - **In order per user.** A user's results are brought in the order given. Where one of them cannot be taken now, the
      later ones of its user in the batch are not brought either: they get the same answer.
    - **In bounded time, off the loop.** What is not confirmed by then is answered as retriable and will come again; it
      may be on its way all the same, and the sink may go on waiting for it then instead of sending it twice.

    Opened before the drain and closed after it. Opening does not need the far side: a gateway boots without it.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        """Bring a batch, oldest first; the answer for each in its order.

        None: confirmed. A `StoreError` that is `retriable`: not now. One that is not: never, set it aside. Raises
        `StoreError` (or what a bug raises) where the whole batch failed: all of it comes again.
        """
        ...

    def facts(self) -> SinkFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the far side does not answer."""
        ...
