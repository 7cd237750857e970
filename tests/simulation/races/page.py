"""The page of races, in Python: what race.js of `gateway/web` does, in its order, but for what is seen of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from tests.simulation.browser import Browser
from tests.simulation.log import Log, Message
from tests.simulation.page import Page, Watcher
from tests.simulation.races.clock import RaceClock
from tests.simulation.races.room import Room

REJOIN_MS: Final = 5_000
ADDRESS: Final = "race"
"""Which race's page a tab is on; it is the address, so a reload does not change it."""


class RaceWatcher(Watcher, Protocol):
    """The racer before the page."""

    @property
    def eager(self) -> bool:
        """Whether keys are typed, and sent, before the start: no page of ours does."""

    def ticked(self, log: Log) -> None:
        """The server has counted some of its keys."""

    def asked_in_vain(self) -> None:
        """The connection was lost before the server had answered."""

    def came_in(self, state: Message, before: Message | None) -> None:
        """This is how the race is; `before`: how it was, where it is no other race than then."""

    def shut_out(self, code: str) -> None:
        """There is no race here for the racer, any more."""


class RacePage(Page):
    """From its loading to its end."""

    def __init__(self, browser: Browser, name: str, of_tab: dict[str, Any], watcher: RaceWatcher) -> None:
        super().__init__(browser, name, of_tab, watcher)
        self._racer = watcher
        self.clock = RaceClock(self)
        self.room = Room(self, self.link.send, self)
        self._rejoined_ms = float("-inf")

    @property
    def address(self) -> str:
        """The race of its address; empty: it is on the way in."""
        return str(self.of_tab.get(ADDRESS, ""))

    def begin(self, taken_up: Callable[[Log | None], None]) -> None:
        """Load: take up this tab's test of this race, connect, and go where the address leads."""
        session = self.of_tab.get("current")
        log = Log.read(self.browser, session) if session else None
        if log is None or log.race != self.address:
            self._open(taken_up, None)
        else:
            self.browser.hold(log.session, self, partial(self._held, log, taken_up))

    def _held(self, log: Log, taken_up: Callable[[Log | None], None], release: Callable[[], None] | None) -> None:
        if not self.alive:
            if release is not None:
                release()
        elif release is None:
            self._open(taken_up, None)
        else:
            self.locks[log.session] = release
            if log.finished is not None:
                self.unsaved[log.session] = log
            self._open(taken_up, log)

    def _open(self, taken_up: Callable[[Log | None], None], log: Log | None) -> None:
        self.log = log
        self.link.open()
        self.route()
        taken_up(log)

    def route(self) -> None:
        """Go where the address leads."""
        race = self.address
        if not race or (race == self.room.id and self.room.state is not None):
            return
        if self.log is not None and self.log.race == race:
            self.room.id = race  # what is typed leads back to it
        else:
            self.room.join(race)

    def enter(self, race: str) -> None:
        """Go to the page of a race; to none."""
        self.of_tab[ADDRESS] = race
        self.route()

    def leave(self) -> None:
        """Leave the race, or look on no longer."""
        self._give_up_race()
        self.room.leave()
        self.enter("")

    def _give_up_race(self) -> None:
        if self.log is not None and self.log.finished is None:
            self.abort()

    def settle(self) -> None:
        """What earlier visits left is brought in by the page of tests."""

    # -- what the link says -------------------------------------------------------------------------------------------

    def opened(self) -> None:
        log = self.log
        self.room.opened(resuming=log is not None and (log.finished is None or log.session in self.unsaved))
        super().opened()

    def ready(self, message: Message) -> None:
        super().ready(message)
        self.clock.connected()

    def lost(self) -> None:
        if self.room.wanted is not None:
            self._racer.asked_in_vain()
        super().lost()

    def beat(self, message: Message) -> None:
        self.clock.heard(message)

    def message(self, message: Message) -> None:
        if message["t"] == "started" and message["race"] != self.room.id:  # it was left meanwhile
            self.link.send({"t": "abort"})
        elif not self.room.heard(message):
            super().message(message)
            if message["t"] == "tick" and self.log is not None and message["n"]:
                self._racer.ticked(self.log)

    def starts_at(self, started: Message) -> float:
        return self.browser.clock_ms() if self._racer.eager else self.clock.at(started["start_ms"])

    def stored(self, session: str) -> None:
        self.room.catch_up()
        super().stored(session)

    # -- what the room says -------------------------------------------------------------------------------------------

    def race_state(self, state: Message, before: Message | None) -> None:
        if before is None:
            if self.log is not None and self.log.race != state["race"]:
                if self.log.finished is None:
                    self.abort()
                self.log = None
            self.of_tab[ADDRESS] = state["race"]
        self._racer.came_in(state, before)

    def race_refused(self, error: Message, lost: bool) -> None:
        code, room = error["code"], self.room
        if error.get("retry") is not None:
            return
        lobby = room.state is not None and room.state["phase"] == "lobby"
        if code == "not_racing" and lobby and room.own and self.browser.clock_ms() - self._rejoined_ms > REJOIN_MS:
            self._rejoined_ms = self.browser.clock_ms()
            room.join(room.id)
        elif lost and code in ("race_running", "race_over") and not room.watching:
            room.watch(room.id)
        elif lost:
            self._give_up_race()
            room.forget()
            self._racer.shut_out(code)
