"""The port of the result store: what any store of results promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from persistence.errors import StoreError
from persistence.race_records import RaceRecords
from persistence.results.bests import Board, Period, PersonalBest, Place
from persistence.results.cursor import Page
from persistence.results.names import Called
from persistence.results.public import Visibility
from session.identity import MAX_USER, bucket_of, bucket_of_user
from session.result import Result

MOST_GUESTS: Final = 20
"""Guests whose past one account may have: each is one more user to read for a page of its history."""


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


class Written(NamedTuple):
    """What writing one copy of a result came to, and what stands after the batch.

    All but `outcome` is what holds, not what changed: a copy that is delivered again is told the same as before, unless
    something else was written meanwhile. So whoever makes boards and caches follow it may repeat that harmlessly.
    """

    session: bytes
    outcome: Outcome
    verdict: str
    """The session's verdict that holds."""
    bests: Mapping[Place, PersonalBest | None]
    """For every place where this session is, was or, but for its verdict, would be a best: the user's best there; None
    where there is none any more. Empty for a test that has no board."""

    @property
    def set(self) -> tuple[PersonalBest, ...]:
        """The personal bests that are this session's."""
        return tuple(best for best in self.bests.values() if best is not None and best.session == self.session)


class Stored(NamedTuple):
    """A result as it was given, and what stands in the store."""

    result: Result
    written: Written
    doubted: bool = False
    """Whether its verdict became stricter on the way here, after its node had told it."""


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


class Linked(Enum):
    """What linking a guest to an account came to."""

    NEW = "new"
    SAME = "same"
    """It was this account's already."""
    TAKEN = "taken"
    """It is another account's, and stays that."""
    FULL = "full"
    """The account has `MOST_GUESTS` guests already."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store has done since it was opened."""

    written: int
    """Copies written, repeats included."""
    conflicts: int
    """Copies that met another core of the same session."""


def check_id(result: Result) -> None:
    """Refuse a result whose id does not name its user's bucket: it would be looked for in two places.

    Raises `StoreError`, not retriable.
    """
    user, session = result.user, result.session
    if not 1 <= abs(user) <= MAX_USER:
        raise StoreError(
            f"a result of user {user}; allowed are 1 to 2^53-1 and, for guests, -1 to -(2^53-1)", retriable=False
        )
    if len(session) != 16 or session[6] >> 4 != 7 or bucket_of(session) != bucket_of_user(user):
        raise StoreError(f"the id {session.hex()} was not made for user {user}", retriable=False)


def check_link(guest: int, account: int) -> None:
    """Refuse to link anybody but a guest to an account. Raises ValueError."""
    if not -MAX_USER <= guest <= -1 or not 1 <= account <= MAX_USER:
        raise ValueError(f"only a guest (-1 to -(2^53-1)) is linked to an account, and not {guest} to {account}")


class ResultStore(Protocol):
    """Finished results, one row a session.

    Guarantees:

    - **Durable.** When `write` returns, every copy given is committed (fsync) or was there already.
    - **Idempotent.** Whatever copies of a session come, in whatever order and however often, the same state remains:
      among copies of one core the best attestation; among several cores the copy with more events seen live is the row,
      the others are kept as conflicts (a bounded number of them) and the row's verdict is at least `review`.
    - **Bests agree with the rows.** A user's best in a place (`bests`) is the best `ok` result that counts for it,
      whatever came and in whatever order: a copy that takes a best's verdict away puts the next best in its place.
    - **All or nothing.** A `write` that raises has stored of each user all of the batch or nothing; written again it
      does no harm. `retriable` says whether trying again may help.
    - **Read your writes.** Reads that begin after `write` or `link` returned see it.
    - **A result is public by its owner's word alone.** Whatever copies of it come, before and after, change nothing.
    - **A guest has one account.** Rows keep their user for ever, so a guest's results are nobody's bests, linked or
      not. A link that was cut off halfway is completed by the same call again; until then it opens nothing, and the
      guest is no other account's.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def races(self) -> RaceRecords:
        """Races that are over, which lie in the same place."""
        ...

    async def write(self, results: Sequence[Result]) -> list[Written]:
        """Store a batch, a user's results in one transaction; what became of each is in its order. Raises `StoreError`.

        A result whose id does not name its user's bucket can be found under neither: it is refused (not retriable).
        """
        ...

    async def by_id(self, session_id: bytes) -> Result | None:
        """The result of a session (16 bytes), with the verdict that holds; None where there is none."""
        ...

    async def by_user(
        self,
        user: int,
        *,
        guests: Sequence[int] = (),
        limit: int = 10,
        cursor: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Page:
        """A user's results, newest first (created_at, then id), `limit` 1 to 100. Raises `CursorError`.

        With those of `guests`, whose past the user has, in one list. Only those started at `since_ms` or later, and
        before `until_ms` (epoch ms), where these are given.
        """
        ...

    async def conflicts(self, session_id: bytes) -> list[Result]:
        """The other copies of a session that lost against its row, best first."""
        ...

    async def progress(
        self, user: int, *, guests: Sequence[int] = (), since_day: int, until_day: int
    ) -> list[Progress]:
        """A user's progress by day and mode, oldest first; days since 1970-01-01, the last included.

        That of `guests`, whose past the user has, is counted in.
        """
        ...

    async def bests(self, user: int, *, day: int) -> list[PersonalBest]:
        """A user's bests of this day (days since 1970-01-01), of its week and of all time, by board."""
        ...

    def ranking(
        self, board: Board, period: Period, *, behind: Callable[[], None] | None = None
    ) -> AsyncIterator[PersonalBest]:
        """Every user's best on a board in a period, the best first; read in pages, so that one may stop anywhere.

        What is written meanwhile may or may not be in it; nobody comes twice unless their best changes meanwhile.
        `behind` as of `guests_of`.
        """
        ...

    async def speeds(self, board: Board, period: Period) -> dict[int, int]:
        """How many users have their best on a board in a period at each whole speed (wpm, rounded down)."""
        ...

    async def link(self, guest: int, account: int, *, at_ms: int | None = None) -> Linked:
        """Let a guest's past, and what it still types, be an account's, for good; since now, or since `at_ms`."""
        ...

    async def guests_of(self, account: int, *, behind: Callable[[], None] | None = None) -> tuple[int, ...]:
        """The guests whose past is this account's, in the order in which they became that.

        `behind` is called where a server answered that may lack what was said in the last moment: keep it not.
        """
        ...

    async def account_of(self, guest: int) -> int | None:
        """The account whose a guest's past is; None where it is nobody's."""
        ...

    async def publish(self, session_id: bytes, user: int) -> bool:
        """Let a result of this user be public; False where the user has `MOST_PUBLIC` others that are.

        Whether there is such a result, and whether it is the user's, is for the caller to know, and for whoever shows
        it that it is not void. Raises ValueError for a session that cannot be the user's.
        """
        ...

    async def unpublish(self, session_id: bytes) -> None:
        """Let a result be its owner's alone, whatever it was."""
        ...

    async def is_public(self, session_id: bytes) -> bool:
        """Whether a result is public."""
        ...

    async def public_of(self, user: int, *, behind: Callable[[], None] | None = None) -> Sequence[bytes]:
        """The sessions (16 bytes) of a user's results that are public, the oldest first; `behind` as of `guests_of`."""
        ...

    async def take_words(self, words: Sequence[Visibility]) -> None:
        """Take over what another store was told of who may see results, where this one was not told later."""
        ...

    async def name_users(self, names: Mapping[int, str]) -> None:
        """Let these accounts be called so from now on; "": by no name. Raises ValueError for what no store can hold."""
        ...

    async def names_of(self, users: Collection[int]) -> dict[int, str]:
        """What those of these accounts are called who have a name; at most `MOST_NAMED` at once."""
        ...

    async def take_names(self, words: Sequence[Called]) -> None:
        """Take over what another store was told of names, where this one was not told later."""
        ...

    def facts(self) -> StoreFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where the store does not answer."""
        ...
