"""A race's progress between nodes: ours to those that want it, theirs to ours, ten times a second.

    our turn: we pull and tell ──┐             ┌── hear it, pull and tell at once
                                 ├─ all heard ─┤
    send all of it               ┘             └── send all of it

So all nodes of a race fall into step with whichever is first, and what one tells goes on as soon as every other one has
told its own, in one frame with everybody else's. Who says nothing is waited for a while only. Where no other node wants
any, nothing is told and all is sent at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.bus import Bus
from gateway.races.courier import Courier
from gateway.races.facts import RoomFacts
from gateway.races.place import Place
from gateway.races.progress import Progress, Row, rows_of
from gateway.said import Said
from session.race_messages import RaceProgress

__all__ = ["Sharing"]

SETTLE_MS = 40
"""From telling other nodes our progress to telling it to those who are here, where the others' has not come."""

RESTS_MS = 80
"""A node that has followed another tells again in a turn of its own that comes so long after."""

LEAST_MS = 40
"""Its own turns come every 100 ms, but one that was late may come so soon before the next; what is less is none."""

FOLLOWS_MS = 45
"""A node that has told others so long ago does so again when it hears another: less than half of the time between two
turns, so that of two nodes, however their turns lie, one always follows the other, and then leaves its own turn out."""

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
        courier: Courier,
        facts: RoomFacts,
        *,
        race: str,
        pull: Callable[[], list[Row]],
        everybody: Callable[[], Sequence[Place]],
    ) -> None:
        self._bus = bus
        self._channel = channel
        self._courier = courier
        self._facts = facts
        self._race = race
        self._node = courier.node
        self.nodes: frozenset[str] = frozenset()
        """Other nodes whose racers are in the race: those that may have something to tell."""
        self._pull = pull
        self._everybody = everybody
        self._progress = Progress()
        self._last: list[Row] = []
        """The last rows of tests that have ended, to be told with the next turn."""
        self._behind: set[Place] = set()
        """Those who have missed something, or have seen nothing yet."""
        self._interest: dict[str, float] = {}
        """Other nodes, and until when they are told."""
        self._turned_ms = self._told_ms = self._asked_ms = float("-inf")
        """Our last turn; when we last told others something in one; when we last asked."""
        self._followed = False
        """Whether our last turn was another node's, that we followed."""
        self._awaited: frozenset[str] = frozenset()
        """Nodes that have not told theirs since we told ours; while there are any, nothing is sent here."""
        self._until_ms = 0.0
        """How long they are waited for."""

    @property
    def rows(self) -> list[Row]:
        """All that is known."""
        return self._progress.all()

    @property
    def wanted_by(self) -> frozenset[str]:
        """Other nodes that want to be told, or wanted to a moment ago."""
        return frozenset(self._interest)

    @property
    def waiting(self) -> bool:
        """Whether others' progress is waited for."""
        return bool(self._awaited)

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
        """Whether something is to be told even when the race is over: a last row of ours, or one that came late."""
        return bool(self._last) or self._progress.changed

    def turn(self, now_ms: float) -> None:
        """Our turn: tell ours, unless that was done just now. Then either `waiting`, or all has been sent."""
        if now_ms - self._turned_ms >= (RESTS_MS if self._followed else LEAST_MS):
            self._followed = False
            self._tell(now_ms)

    def _tell(self, now_ms: float, *, heard: str = "") -> None:
        """Tell ours; `heard`: the node that we follow, whose own has come."""
        self._turned_ms = now_ms
        rows = self._pull()
        if self._last:
            rows[:0] = self._last
            self._last = []
        self._progress.take(rows)
        if self._interest and (rows or heard):  # who follows tells even that there is nothing, for it is waited for
            self._told_ms = now_ms  # a turn in which there was nothing keeps nobody from following the next one
            for node in self._others(now_ms):
                self._courier.tell(node, self._race, rows, answer=node == heard)
            self._awaited = self.nodes.intersection(self._interest) - {heard}
            if self._awaited:
                self._until_ms = now_ms + SETTLE_MS
                self._courier.wait(self, self._until_ms)
                return
        self.send()

    def overdue(self, until_ms: float) -> None:
        """Who was to be waited for until then, and is still, is waited for no more."""
        if self._awaited and until_ms == self._until_ms:
            self.send()

    def send(self) -> None:
        """Send what changed to everybody here, and all of it to who has missed something."""
        if self._awaited:
            self._awaited = frozenset()
        news = self._progress.news()
        behind = self._behind
        if news:
            said = self._said(news)
            for place in self._everybody():
                if place in behind:
                    continue
                if place.connection.hear(said):
                    self._facts.progress += 1
                else:
                    behind.add(place)
        if behind and (rows := self._progress.all()):
            said = self._said(rows)
            told = {place for place in behind if place.connection.hear(said)}
            behind -= told
            self._facts.progress += len(told)

    def _said(self, rows: list[Row]) -> Said:
        return Said({"t": RaceProgress.T, "race": self._race, "p": rows})

    # --- other nodes ---

    def ask(self, now_ms: float, *, new: bool = False, again: bool = False) -> None:
        """Want to be told, as long as this is said again and others have racers; `new`: we know nothing yet.

        `again`: in any case, since somebody asks who may not know of us.
        """
        if new or again or (self.nodes and now_ms - self._asked_ms >= INTEREST_MS / 3):
            self._asked_ms = now_ms
            self._bus.post(self._channel, ["here", self._node, new])

    def heard(self, node: str, rows: Any, answer: bool, now_ms: float) -> None:
        """Take what another node tells. Raises ValueError or TypeError for what makes no sense.

        Nobody follows an answer, however late: else two nodes that are slow to hear each other would answer for ever,
        and the oftener the slower they get.
        """
        self._progress.take(rows_of(rows))
        if self._awaited:
            self._await_no_more(node)
        elif not answer and now_ms - self._told_ms >= FOLLOWS_MS:
            self._followed = True
            self._tell(now_ms, heard=node)

    def hear(self, message: Any, now_ms: float) -> None:
        """Take what another node says on the race's channel. Raises ValueError for what makes no sense."""
        match message:
            case ["here", str(node), bool(new), *_]:
                self._wanted(node, new, now_ms)
            case ["gone", str(node), *_]:
                self.gone(node)
            case _:
                raise ValueError(f"nothing that is said of races: {message!r:.80}")

    def close(self) -> None:
        """Nobody of the race is here any more: who tells us so far need not."""
        if self._interest:
            self._bus.post(self._channel, ["gone", self._node])
        self._awaited = frozenset()

    def _wanted(self, node: str, new: bool, now_ms: float) -> None:
        """A node wants to be told; `new`: it knows nothing yet, not even of us."""
        if node == self._node:
            return
        known = node in self._interest
        if known or len(self._interest) < MOST_NODES:
            self._interest[node] = now_ms + INTEREST_MS
        if new or not known:
            lanes = {place.lane for place in self._everybody()}
            if rows := [row for row in self._progress.all() if row[0] in lanes]:
                self._courier.tell(node, self._race, rows, answer=True)
            self.ask(now_ms, again=True)

    def gone(self, node: str) -> None:
        """Nobody of the race is at another node any more: it is told nothing, and not waited for."""
        self._interest.pop(node, None)
        self._await_no_more(node)

    def _await_no_more(self, node: str) -> None:
        if node in self._awaited:
            self._awaited -= {node}
            if not self._awaited:
                self.send()

    def _others(self, now_ms: float) -> list[str]:
        """Other nodes that want to be told."""
        if min(self._interest.values()) < now_ms:
            self._interest = {node: until_ms for node, until_ms in self._interest.items() if until_ms >= now_ms}
        return list(self._interest)
