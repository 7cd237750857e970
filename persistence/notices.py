"""Good news for users: what a result that was just stored means to whoever typed it.

The port is here because whoever stores results has the news; how it gets to a browser or to another site is the affair
of whoever opened us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from persistence.results.bests import Board, Span
from persistence.results.port import Written
from session.messages import Event

__all__ = ["Notice", "Notices", "notice_of"]


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
        return Event(
            kind="best",
            session=self.session,
            board=str(self.board),
            wpm=self.wpm,
            spans=[span.value for span in self.spans],
            ranks={span.value: rank for span, rank in self.ranks.items()},
        ).to_wire()


class Notices(Protocol):
    """Brings notices to their users.

    Guarantees: a user's notices are brought in the order given. Each is brought at least once where it can be brought
    at all, and to whoever of the user's browsers is connected, to whichever node. Telling is quick: a receiver that
    hangs holds up nobody.
    """

    async def tell(self, notices: Sequence[Notice]) -> None:
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
