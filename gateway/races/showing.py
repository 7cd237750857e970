"""How a race is, told to everybody of it who is here: what changed no oftener than ten times a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.races.facts import RoomFacts
from gateway.races.place import Place
from gateway.races.shown import state_of
from gateway.said import Said
from session.race import Race

__all__ = ["PERIOD_S", "Showing"]

PERIOD_S = 0.1
"""How often what changed is told: state and progress each ten times a second at most."""


class Showing:
    """The state of one race. `everybody` gives all places, `title` that of the text once it is made."""

    def __init__(
        self, facts: RoomFacts, *, everybody: Callable[[], Sequence[Place]], title: Callable[[], str | None]
    ) -> None:
        self._facts = facts
        self._everybody = everybody
        self._title = title
        self._race: Race | None = None
        self._shown_ms = float("-inf")
        self._unshown = False
        self._behind: set[Place] = set()
        """Those who did not read when they were to be told how the race is."""

    def take(self, race: Race, now_ms: float) -> None:
        """This is how the race is: tell it now, or in a beat soon after what was told last."""
        self._race = race
        self._unshown = True
        if now_ms - self._shown_ms >= PERIOD_S * 1000:
            self._show(race, now_ms)

    def beat(self, now_ms: float) -> None:
        """Ten times a second."""
        race = self._race
        if race is None:
            return
        if self._unshown:
            if now_ms - self._shown_ms >= PERIOD_S * 990:
                self._show(race, now_ms)
        elif self._behind:
            said = self._said(race)
            for place in tuple(self._behind):
                self._tell(place, said)

    def greet(self, place: Place) -> None:
        """Tell it to somebody who comes, or asks again."""
        if self._race is not None:
            self._tell(place, self._said(self._race))

    def leave(self, place: Place) -> None:
        """Somebody who is gone."""
        self._behind.discard(place)

    def _show(self, race: Race, now_ms: float) -> None:
        self._unshown = False
        self._behind.clear()
        self._shown_ms = now_ms
        said = self._said(race)
        for place in self._everybody():
            self._tell(place, said)

    def _said(self, race: Race) -> Said:
        return Said(state_of(race, title=self._title()))

    def _tell(self, place: Place, said: Said) -> None:
        told = place.connection.hear(said, None if place.lane is None else {"lane": place.lane})
        self._facts.states += told
        if told:
            self._behind.discard(place)
        else:
            self._behind.add(place)
