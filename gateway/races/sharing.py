"""A race's progress between nodes: ours to those that want it, theirs to ours, ten times a second.

    we pull and post ──┐            ┌── hear it, pull and post at once
                       ├── 20 ms ───┤
    send all of it     ┘            └── send all of it

So all nodes of a race fall into step with whichever is first, and what one tells has reached everybody within some 25
ms, in one frame with everybody else's. Where no other node wants any, nothing is posted and all is sent at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.bus import Bus
from gateway.races.facts import RoomFacts
from gateway.races.place import Place
from gateway.races.progress import Progress, Row, rows_of
from gateway.said import Said
from session.race_messages import RaceProgress

__all__ = ["Sharing"]

RESTS_MS = 80
"""A node whose own turn comes so long after its last post posts again."""

FOLLOWS_MS = 45
"""A node that has posted so long ago does so again when it hears another: less than half of the time between two turns,
so that of two nodes, however their turns lie, one always follows the other, and then leaves its own turn out."""

INTEREST_MS = 15_000
"""For so long another node is told progress after it asked; it asks again three times as often."""

MOST_NODES = 1_000
"""Other nodes that are told; a cluster has some dozens."""


class Sharing:
    """The progress of one race. `pull` gives the rows of those who race here that changed, `everybody` all places."""

    def __init__(
        self,
        bus: Bus,
        channel: str,
        facts: RoomFacts,
        *,
        race: str,
        node: str,
        pull: Callable[[], list[Row]],
        everybody: Callable[[], Iterable[Place]],
    ) -> None:
        self._bus = bus
        self._channel = channel
        self._facts = facts
        self._race = race
        self._node = node
        self._pull = pull
        self._everybody = everybody
        self._progress = Progress()
        self._last: list[Row] = []
        """The last rows of tests that have ended, to be told with the next post."""
        self._behind: set[Place] = set()
        """Those who have missed something, or have seen nothing yet."""
        self._interest: dict[str, float] = {}
        """Other nodes, and until when they are told."""
        self._posted_ms = self._asked_ms = float("-inf")
        self.waiting = False
        """Whether others' progress is waited for; then `send`."""

    @property
    def rows(self) -> list[Row]:
        """All that is known."""
        return self._progress.all()

    @property
    def wanted_by(self) -> frozenset[str]:
        """Other nodes that want to be told, or wanted to a moment ago."""
        return frozenset(self._interest)

    def come(self, place: Place) -> None:
        """Somebody who has seen nothing yet."""
        self._behind.add(place)

    def leave(self, place: Place) -> None:
        """Somebody who is gone."""
        self._behind.discard(place)

    def take(self, row: Row) -> None:
        """This is how far one of ours came."""
        self._last.append(row)

    @property
    def owing(self) -> bool:
        """Whether something is to be posted even when the race is over."""
        return bool(self._last)

    def post(self, now_ms: float, *, rest_ms: float = RESTS_MS) -> None:
        """Tell ours, unless that was done just now. Then either `waiting`, or all has been sent."""
        if now_ms - self._posted_ms < rest_ms:
            return
        self._posted_ms = now_ms
        rows = self._last + self._pull()
        self._last = []
        self._progress.take(rows)
        if not self._others(now_ms):
            self.send()
            return
        if rows:
            self._bus.post(self._channel, ["p", self._node, rows])
            self._facts.posted += 1
        self.waiting = True

    def send(self) -> None:
        """Send what changed to everybody here, and all of it to who has missed something."""
        self.waiting = False
        news = self._progress.news()
        if news:
            said = self._said(news)
            for place in self._everybody():
                if place in self._behind:
                    continue
                if place.connection.hear(said):
                    self._facts.progress += 1
                else:
                    self._behind.add(place)
        if self._behind and (rows := self._progress.all()):
            said = self._said(rows)
            told = {place for place in self._behind if place.connection.hear(said)}
            self._behind -= told
            self._facts.progress += len(told)

    def _said(self, rows: list[Row]) -> Said:
        return Said({"t": RaceProgress.T, "race": self._race, "p": rows})

    # --- other nodes ---

    def ask(self, now_ms: float, *, new: bool = False) -> None:
        """Want to be told, as long as this is said again; `new`: we know nothing yet."""
        if new or now_ms - self._asked_ms >= INTEREST_MS / 3:
            self._asked_ms = now_ms
            self._bus.post(self._channel, ["here", self._node, new])

    def heard(self, message: Any, now_ms: float) -> None:
        """Take what another node says. Raises ValueError or TypeError for what makes no sense."""
        match message:
            case ["p", str(node), list(rows), *_]:
                if node != self._node:
                    self._progress.take(rows_of(rows))
                    self.post(now_ms, rest_ms=FOLLOWS_MS)
            case ["here", str(node), bool(new), *_]:
                if node != self._node:
                    self._wanted(node, new, now_ms)
            case _:
                raise ValueError(f"nothing that is said of races: {message!r:.80}")

    def _wanted(self, node: str, new: bool, now_ms: float) -> None:
        known = node in self._interest
        if known or len(self._interest) < MOST_NODES:
            self._interest[node] = now_ms + INTEREST_MS
        if new:  # it knows nothing, not even of us
            lanes = {place.lane for place in self._everybody()}
            if rows := [row for row in self._progress.all() if row[0] in lanes]:
                self._bus.post(self._channel, ["p", self._node, rows])
        if new or not known:
            self._asked_ms = float("-inf")
            self.ask(now_ms)

    def _others(self, now_ms: float) -> bool:
        """Whether another node wants to be told."""
        for node, until_ms in list(self._interest.items()):
            if until_ms < now_ms:
                del self._interest[node]
        return bool(self._interest)
