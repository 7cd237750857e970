"""How far racers are: taken from their tests ten times a second, and told where it changed.

Nobody who types says so: what a test has come to is looked up when it is time to tell. A row is `[lane, clusters done,
wpm, wrong inserts]`; what is done is the place in the text, however it was typed so far.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from scoring.text import Word
from session.machine import TypingSession

if TYPE_CHECKING:
    from gateway.races.place import Place

__all__ = ["Course", "Progress", "Row", "row_of", "rows_of", "rows_since"]

Row = list[Any]
"""`[lane, clusters done, wpm, wrong inserts]`."""

MOST_LANES = 100


class Course:
    """Where each word of a text begins, counted in clusters; a cyclic text begins again after its last."""

    __slots__ = ("_begins", "_words")

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = len(words)
        begins = array("L", [0])
        at = 0
        for word in words:
            at += len(word)
            begins.append(at)
        self._begins = begins

    @property
    def clusters(self) -> int:
        """Clusters of the whole text."""
        return self._begins[-1]

    def done(self, word: int, cluster: int) -> int:
        """Clusters done by who has so many of that word, counted on through repeats; what is too many counts not."""
        rounds, word = divmod(word, self._words)
        begins = self._begins
        return rounds * begins[-1] + min(begins[word] + cluster, begins[word + 1])


class Progress:
    """The rows of a race as far as this node knows them, and which of them are still to be told here."""

    __slots__ = ("_news", "_rows")

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._news: dict[int, Row] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """These are how it is now."""
        for row in rows:
            lane = row[0]
            if self._rows.get(lane) != row:
                self._rows[lane] = self._news[lane] = row

    @property
    def changed(self) -> bool:
        """Whether there are rows that changed since `news` was last asked for."""
        return bool(self._news)

    def news(self) -> list[Row]:
        """Rows that changed since this was last asked."""
        news = list(self._news.values())
        self._news.clear()
        return news

    def all(self) -> list[Row]:
        """Every row, for who comes later."""
        return list(self._rows.values())


def row_of(place: Place, session: TypingSession, course: Course) -> Row:
    """How far a racer's test is by now."""
    place.n = session.n
    wpm, _, _, word, cluster, err = session.figures()
    return [place.lane, course.done(word, cluster), wpm, err]


def rows_since(places: Iterable[Place], course: Course) -> list[Row]:
    """Rows of those in whose tests something was typed since this was last asked."""
    rows: list[Row] = []
    for place in places:
        session = place.connection.session
        if session is not None and session.n != place.n and session.id == place.session:
            rows.append(row_of(place, session, course))
    return rows


def rows_of(message: Any) -> Iterator[Row]:
    """The rows that another node tells. Raises ValueError for what is none, TypeError for what is not even a list."""
    for row in message:
        match row:
            case [int(lane), int(done), int() | float() as wpm, int(err), *_] if 0 <= lane < MOST_LANES:
                yield [lane, done, wpm, err]
            case _:
                raise ValueError(f"no row of progress: {row!r:.80}")
