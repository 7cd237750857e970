"""The port of what a worker reads: its share of a topic's partitions, and the offsets up to which all is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

__all__ = ["Feed", "FeedFacts", "FeedOptions", "Record", "Revoked"]

Revoked = Callable[[Collection[int]], Awaitable[None]]
"""Is told of partitions that are about to be given up, and may take its time to finish what it does with them."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How results are read from Kafka."""

    group: str = "typegate-worker"
    """The group whose members share the partitions out among them."""
    gather_ms: int = 50
    """How long a batch gathers after its first result."""
    session_ms: int = 10_000
    """A worker that has not been heard of for so long is taken for dead, and its partitions are given to others."""
    rebalance_ms: int = 30_000
    """How long the others wait at a rebalance for a worker to finish its batch."""
    commit_ms: int = 5_000
    """How long a commit may take; the next one says it again."""
    fetch_bytes: int = 8 * 2**20
    """Most bytes in one answer of a broker."""
    partition_bytes: int = 256 * 2**10
    """Most bytes fetched ahead of each partition."""

    def __post_init__(self) -> None:
        if not self.group:
            raise ValueError("group is empty; give the group a name")
        for name, least, most in (
            ("gather_ms", 0, 10_000),
            ("session_ms", 1_000, 1_800_000),
            ("rebalance_ms", 1_000, 1_800_000),
            ("commit_ms", 100, 600_000),
            ("fetch_bytes", 2**16, 2**30),
            ("partition_bytes", 2**16, 2**30),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")


class Record(Protocol):
    """One record as the log keeps it: nothing of it has been checked."""

    @property
    def topic(self) -> str:
        """Where it lies."""
        ...

    @property
    def partition(self) -> int:
        """Its partition of the topic."""
        ...

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """When it was sent, by its sender's clock (epoch ms)."""
        ...

    @property
    def key(self) -> bytes | None:
        """What decided upon its partition."""
        ...

    @property
    def value(self) -> bytes | None:
        """What it says."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """What is said about it."""
        ...


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """The state of a feed."""

    held: frozenset[int]
    """Partitions that are this worker's now."""
    lag: Mapping[int, int]
    """Records of each of them that have not been given yet, as far as it is known."""
    rebalances: int
    """How often partitions were shared out anew since it was opened."""
    fault: str | None
    """Why it can give nothing just now; None when all is well."""


class Feed(Protocol):
    """One member of the group of workers among whom the partitions of a topic are shared out.

    Guarantees:

    - **At least once, in order.** The records of a partition are given in order, from the offset on that any member of
      the group committed last. What was given and not committed when the partition is given up, or its holder dies, is
      given again to whoever holds it next.
    - **Nothing behind one's back.** Before partitions are given up `revoked` is called with them and awaited, for as
      long as the group allows; what it commits counts. Afterwards nothing of them is given any more, what was fetched
      ahead included.
    - **It never gives up.** While the log is away it waits, and gives again when that is back; `facts` says so. Opening
      does not need the log.
    - **Bounded.** What is fetched ahead is bounded in bytes.

    Closing leaves the group, so that others need not wait for this one's death to be noticed.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def watch(self, revoked: Revoked) -> None:
        """Say who is to be told before partitions are given up; before it is opened."""
        ...

    async def take(self, most: int) -> Sequence[Record]:
        """Wait for records and give some, at most `most`, those that come within a short time after the first included.

        Of one partition they are in order. Cancelled, it has given none.
        """
        ...

    def pause(self, partition: int) -> None:
        """Give nothing of a partition until it is resumed; others go on. Nothing where it is not held."""
        ...

    def resume(self, partition: int) -> None:
        """Give a paused partition's records again, from where it was paused on. Nothing where it is not held."""
        ...

    def rewind(self, partition: int, offset: int) -> None:
        """Give a partition's records from this offset on, once more. Nothing where it is not held."""
        ...

    async def commit(self, ends: Mapping[int, int]) -> None:
        """Say of each partition up to where, the offset not included, all is done.

        Partitions that are not held any more are left out: whoever has them now will read them from where they stood.
        Raises a retriable `StoreError` where it could not be said now; saying it later, with more, is as good.
        """
        ...

    def facts(self) -> FeedFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the log does not answer."""
        ...
