"""The port of the leaderboards: everybody's best on a board in a period, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol, Self

from persistence.results.bests import DAY_MS, Board, Period, PersonalBest, Span
from persistence.results.port import Outcome, Written

Progressed = Callable[[int], None]
"""Is told how many entries a filling has read so far."""


@dataclass(frozen=True, slots=True)
class BoardsOptions:
    """Leaderboards: how long they are, and how often they are read from the store."""

    top: int = 100_000
    """Entries of a board, 230 bytes each in Redis; who is slower than the last of them has a percentile only."""
    kept: int = 64
    """Boards that a process without Redis keeps in memory; the least lately used goes first."""
    refill_s: int = 21_600
    """How often a board in Redis is read anew from the store, so that whatever went wrong ends."""
    floor_ms: int = 5_000
    """How long workers go by a board's last place as they know it, and do not tell Redis of slower tests."""
    speeds_s: int = 600
    """How often it is counted for percentiles how many type at which speed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name == "floor_ms" else 1
            if not least <= getattr(self, field.name) <= 10_000_000:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; {least} to 10000000 is allowed")


@dataclass(frozen=True, slots=True)
class Ranked:
    """An entry and its place."""

    rank: int
    """1 for the first."""
    best: PersonalBest


@dataclass(frozen=True, slots=True)
class BoardPage:
    """Some entries of a board, in order."""

    entries: tuple[Ranked, ...]
    size: int | None
    """How many entries the board has; None where only the store could be asked."""


@dataclass(frozen=True, slots=True)
class BoardsFacts:
    """What boards have done since they were opened."""

    submitted: int
    """Bests brought to a board; those below its last place are none."""
    reads: int
    fallbacks: int
    """Of the reads those that the store answered."""
    fillings: int
    """Boards read from the store."""
    failures: int
    """Fillings that failed."""


class Boards(Protocol):
    """Leaderboards in front of the result store.

    Guarantees:

    - **They agree with the store.** A board has the best `top` of all users' bests (`ResultStore.ranking`), in the same
      order. What a `write` of the store told is on the board when `submit` with it has returned, or when the filling
      that runs has ended.
    - **Idempotent, in any order.** `submit` may be repeated. Only a better best takes the place of another; but where a
      session turned out not to count, what is left to its user takes its place.
    - **Complete or not used.** A board that may lack something (it was never filled, the server of it was started anew
      or another took its place) is filled from the store, and answers come from the store meanwhile. What is shared is
      not filled from a server of the store that may be behind.
    - **Bounded.** `top` entries a board; days and weeks are kept for as long again as they last.
    - **Never in the way of reading.** While boards cannot be asked the store is, down to the thousandth place; what
      lies deeper, and `submit`, raise a retriable `StoreError`.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        """Take note of what the store told; for each result its rank where it is now its user's best, as far as known.

        Raises a retriable `StoreError` where not all could be done: submit all again.
        """
        ...

    async def page(self, board: Board, period: Period, *, offset: int, count: int) -> BoardPage:
        """`count` entries after the first `offset`."""
        ...

    async def around(self, board: Board, period: Period, user: int, *, count: int) -> BoardPage:
        """`count` entries with the user's about in the middle; none where the user is not on the board."""
        ...

    async def rank(self, board: Board, period: Period, user: int) -> Ranked | None:
        """The user's entry; None where the user is not on the board."""
        ...

    async def remove(self, user: int) -> None:
        """Take a user from every board; after the store has forgotten the user's results, or they come back.

        Raises a retriable `StoreError` where a board could not be asked: remove again.
        """
        ...

    async def rebuild(self, board: Board, period: Period, *, progressed: Progressed | None = None) -> int:
        """Read a board from the store now; how many entries it has. Raises `StoreError`."""
        ...

    def facts(self) -> BoardsFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where boards cannot be asked."""
        ...


def kept_until_ms(period: Period) -> int | None:
    """Until when a board of this period is kept (epoch ms): as long again as it lasts; None: for ever."""
    if period.span is Span.ALL:
        return None
    start_ms, end_ms = period.bounds_ms
    return 2 * end_ms - start_ms


def is_kept(period: Period, now_ms: float) -> bool:
    """Whether there is a board of this period now."""
    until_ms = kept_until_ms(period)
    return until_ms is None or period.bounds_ms[0] - DAY_MS <= now_ms < until_ms


def is_news(one: Written, best: PersonalBest | None) -> bool:
    """Whether a board need hear of a place that a result touched.

    Not where the result counts and another is its user's best: that one was told when it was written.
    """
    return best is None or best.session == one.session or one.verdict != "ok" or one.outcome in _CHANGED


_CHANGED = frozenset((Outcome.ATTESTED, Outcome.CONFLICT))
"""What may take from a result that it counts."""
