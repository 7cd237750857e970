"""What begins with a race's countdown: a test for every racer who is here, and the courses of the ghosts.

countdown ─┬─> the text, made in slices ─> a test for each racer who is here, or comes later
           └─> the ghosts, played once ──> told to everybody who is here, or comes later
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from gateway.races.place import Place
from gateway.races.progress import Course
from gateway.said import Said
from persistence.errors import StoreError
from session.machine import TypingSession
from session.messages import Error
from session.passages import Material
from session.race import Race
from session.state import Phase

if TYPE_CHECKING:
    from gateway.races.rooms import Rooms

__all__ = ["RACING", "Beginning"]

RACING = frozenset({Phase.COUNTDOWN, Phase.RUNNING, Phase.CLOSING})
"""The phases from the countdown to the end."""

_log = structlog.get_logger(__name__)


class Beginning:
    """That of one race. `places`: its racers who are here, by lane; `everybody` gives these and who looks on."""

    def __init__(
        self, rooms: Rooms, race: str, *, places: Mapping[int, Place], everybody: Callable[[], Sequence[Place]]
    ) -> None:
        self._rooms = rooms
        self._hub = rooms.hub
        self._id = race
        self._places = places
        self._everybody = everybody
        self._race: Race | None = None
        self._material: Material | None = None
        self.course: Course | None = None
        """Where the text's words are; None before there is a text."""
        self._making = False
        self._ghosts: list[Said] | None = None
        """The courses of ghosts, once they have been played; None before the countdown."""
        self._closed = False

    @property
    def title(self) -> str | None:
        """The text's, once there is one."""
        return None if self._material is None else self._material.title

    def take(self, race: Race) -> None:
        """This is how the race is."""
        self._race = race
        self.begin()

    def begin(self) -> None:
        """From the countdown on: a test for every racer who is here and has none."""
        race = self._race
        if race is None or race.phase not in RACING:
            return
        if self._ghosts is None:
            self._ghosts = []
            if len(race.people) < len(race.racers):
                self._hub.spawn(self._play_ghosts(race))
        if self._material is not None:
            for place in list(self._places.values()):
                if _lacks_test(race, place):
                    self._begin_at(race, place, self._material)
        elif self._places and not self._making:
            self._making = True
            self._hub.slices.run(self._rooms.making(race), self._made, self._unmade)

    def greet(self, place: Place) -> None:
        """Tell the ghosts' courses to somebody who comes."""
        for said in self._ghosts or ():
            place.connection.hear(said)

    def close(self) -> None:
        """Play no ghosts any more."""
        self._closed = True

    # --- ghosts ---

    async def _play_ghosts(self, race: Race) -> None:
        """Let ghosts be played, and tell it to those who are here; the store is asked again while it is away."""
        assert self._rooms.courses is not None
        while not self._closed and self._race is not None and self._race.phase in RACING:
            try:
                self._ghosts = await self._rooms.courses(race)
            except StoreError:
                await asyncio.sleep(self._rooms.options.retry_ms / 1000)
                continue
            for place in self._everybody():
                self.greet(place)
            return

    # --- tests ---

    def _made(self, material: Material | Error) -> None:
        self._making = False
        if isinstance(material, Error):
            for place in list(self._places.values()):
                place.connection.hear(Said(material.to_wire()))
            return
        self._material = material
        self.course = Course(material.words)
        self.begin()

    def _unmade(self, fault: Exception) -> None:
        self._making = False
        _log.error("a race's text could not be made", race=self._id, exc_info=fault)

    def _begin_at(self, race: Race, place: Place, material: Material) -> None:
        hub, connection = self._hub, place.connection
        assert place.lane is not None
        racer = race.lane(place.lane)
        assert racer is not None
        assert racer.session is not None, "from the countdown on it has one"
        copy, account = hub.copy_of(racer.session), hub.takeovers.accounts.of(racer.session)
        if place.claim is not None and account is None:  # somebody has taken it since
            place.supersede()
            return
        hub.release(racer.session)  # who joins again begins again
        session = TypingSession.begin(
            race.test_of(racer),
            material,
            session=racer.session,
            user=racer.user,
            seed=race.text.seed,
            ref=None,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=hub.clock() * 1000,
            epoch_ms=hub.epoch_ms(),
            race_ms=self._rooms.now_ms(),
            node=hub.node,
            seat=race.seat_of(racer),
            epoch=max((had.epoch for had in (copy, account) if had is not None), default=0),
        )
        if place.claim is not None:
            hub.takeovers.began(place.claim)
            place.claim = None
        else:
            hub.takeovers.accounts.forget(session.id)
        place.session = session.id
        place.n = 0
        connection.take_up(session, material)


def _lacks_test(race: Race, place: Place) -> bool:
    assert place.lane is not None
    racer = race.lane(place.lane)
    return place.session is None and racer is not None and racer.racing
