"""News for users: what a result that was just stored means to whoever typed it.

The port is here because whoever stores results has the news; how it gets to a browser or to another site is the affair
of whoever opened us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from persistence.results.bests import Board, Span
from persistence.results.port import Outcome, Stored, Written
from session import messages

__all__ = ["Doubt", "Notice", "Notices", "doubt_of", "notice_of"]


@dataclass(frozen=True, slots=True)
class Notice:
    """A result is its user's best on a board."""

    user: int
    session: bytes
    """The result's id; who is told twice knows it by this."""
    board: Board
    wpm: float
    spans: tuple[Span, ...]
    """Of which it is the best: the day, the week, all time; the shortest first."""
    ranks: Mapping[Span, int]
    """Its places among everybody's bests of these, 1 for the first, as far as they are known."""

    def to_wire(self) -> dict[str, Any]:
        """The `event` message as a map."""
        return messages.Event(
            kind="best",
            session=self.session,
            board=str(self.board),
            wpm=self.wpm,
            spans=[span.value for span in self.spans],
            ranks={span.value: rank for span, rank in self.ranks.items()},
        ).to_wire()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A result that does not count, or not yet, of which its user may have been told otherwise."""

    user: int
    session: bytes
    verdict: str
    """The one that holds: review or void."""

    def to_wire(self) -> dict[str, Any]:
        """The `stored` message as a map."""
        return messages.Stored(session=self.session, verdict=self.verdict).to_wire()


class Notices(Protocol):
    """Brings notices to their users.

    Guarantees: a user's notices are brought in the order given. Each is brought at least once where it can be brought
    at all, and to whoever of the user's browsers is connected, to whichever node. Telling is quick: a receiver that
    hangs holds up nobody.
    """

    async def tell(self, notices: Sequence[Notice | Doubt]) -> None:
        """Bring these. Raises a retriable `StoreError` where they cannot be brought now: tell them again."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where nothing can be brought just now."""
        ...


def notice_of(user: int, written: Written, ranks: Mapping[Span, int]) -> Notice | None:
    """The notice of a result that was stored; None where there is nothing to tell.

    A best of the day or the week alone is news only with a rank: the first test of every day would be one.
    """
    best = written.set
    if not best:
        return None
    found = {one.place.period.span for one in best}
    spans = tuple(span for span in Span if span in found)
    if Span.ALL not in spans and not ranks:
        return None
    return Notice(
        user=user,
        session=written.session,
        board=best[0].place.board,
        wpm=best[0].wpm,
        spans=spans,
        ranks={span: rank for span, rank in ranks.items() if span in spans},
    )


def doubt_of(stored: Stored) -> Doubt | None:
    """What is to be told of a result whose verdict is not the one that `stored` has told; None where there is nothing.

    Whoever typed it is where one copy of it was confirmed, with that copy's verdict. Whether it was this copy is not
    known here, so of a test with several it is told anew; the same verdict once more says nothing new.
    """
    result, written, doubted = stored
    if written.verdict == "ok" or (written.outcome is Outcome.INSERTED and not doubted):
        return None
    return Doubt(result.user, result.session, written.verdict)
