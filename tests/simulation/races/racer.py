"""Who races: opens a race, comes by its link or finds one, is ready or not, types, goes away, wants another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.browser import Browser
from tests.simulation.laws import Ledger
from tests.simulation.log import Log, Message
from tests.simulation.page import Page
from tests.simulation.person import Person
from tests.simulation.races.laws import RaceLedger
from tests.simulation.races.page import RacePage
from tests.simulation.world import Timer, cancel

INVITED_S: Final = 20.0
"""Whom nobody has sent a link by then waits for none."""
_LOOKS_S: Final = 0.3
_COUNTS_MS: Final = 100.0
_LEARNS_MS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Habits:
    """What one racer is like."""

    role: str
    """"host" opens the race, "guest" comes by its link, "stranger" looks for one, "onlooker" watches by the link."""
    options: Message
    """The fields of a host's `race.create`."""
    ready_s: float | None
    """How long after coming in one is ready; None: never."""
    start_s: float | None
    """How long after coming in a host begins without waiting; None: never."""
    leave_s: float | None
    """How long after coming in one leaves for good; None: never."""
    again: bool
    """Whether one wants another race after the first."""
    eager: bool
    """Whether one types, and sends it, before the start."""


class Racer(Person):
    """One tab and who races in it."""

    def __init__(
        self, browser: Browser, name: str, seed: int, habits: Habits, ledger: Ledger, races: RaceLedger
    ) -> None:
        super().__init__(browser, name, seed, [], ledger)
        self._habits = habits
        self._races = races
        self._timers: dict[str, Timer] = {}
        self._again = habits.again
        self._lobby = ""
        """The race in whose lobby one has last been."""
        self._asked_in_vain = False
        self.out = False
        """Whether one wants nothing of races any more: has left, or was told that there is none."""

    @property
    def eager(self) -> bool:
        return self._habits.eager

    @property
    def race_page(self) -> RacePage | None:
        page = self.page
        return page if isinstance(page, RacePage) else None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to wait for any more."""
        page = self.race_page
        if page is None:
            return True
        if not page.link.is_ready or (page.log is not None and page.log.finished is None) or page.room.wanted:
            return False
        return self.out or (is_final(page.room.state) and not self._again)

    def _new_page(self) -> Page:
        return RacePage(self.browser, self.name, self._of_tab, self)

    # -- coming in ----------------------------------------------------------------------------------------------------

    def _loaded(self, log: Log | None) -> None:
        page = self.race_page
        assert page is not None
        if log is not None:
            if log.finished is None:
                self._type_on(log)
        elif not self.out and not page.address:
            self._come(page)

    def _come(self, page: RacePage) -> None:
        """Nothing leads to a race yet: do what leads there."""
        if page is not self.page or page.address or self.out:
            return
        match self._habits.role:
            case "host":
                page.room.create(self._habits.options)
            case "stranger":
                page.room.find("en")
            case _ if self._races.link is not None:
                if self._habits.role == "onlooker":
                    page.of_tab["race"] = self._races.link
                    page.room.watch(self._races.link)
                else:
                    page.enter(self._races.link)
            case _ if self.browser.world.now > INVITED_S:
                self.out = True
            case _:
                self._after("come", _LOOKS_S, self._come, page)

    def _after(self, name: str, seconds: float, call: Any, *args: object) -> None:
        cancel(self._timers.get(name))
        page = self.page
        assert page is not None
        self._timers[name] = page.timer(seconds * 1000, call, *args)

    def close(self, *, crash: bool = False, silently: bool = False) -> None:
        for timer in self._timers.values():
            cancel(timer)
        self._lobby = ""
        super().close(crash=crash, silently=silently)

    # -- what the page shows ------------------------------------------------------------------------------------------

    def came_in(self, state: Message, before: Message | None) -> None:
        page, habits = self.race_page, self._habits
        assert page is not None
        self._races.heard(self.name, state)
        if habits.role == "host" and self._races.link is None:
            self._races.link = state["race"]
        if state["phase"] == "lobby" and page.room.own is not None:
            if self._lobby != state["race"]:
                self._lobby = state["race"]
                for name, seconds in (("ready", habits.ready_s), ("start", habits.start_s), ("leave", habits.leave_s)):
                    if seconds is not None:
                        self._after(name, seconds, self._act, name)
        elif is_final(state):
            self._want_another(page, state)

    def _act(self, what: str) -> None:
        page = self.race_page
        assert page is not None
        state = page.room.state
        match what:
            case "leave":
                self._leave(page)
            case "ready" | "start" if state is None or state["phase"] != "lobby" or page.room.own is None:
                pass
            case "ready":
                if page.room.own is not None and not page.room.own["ready"]:
                    page.room.ready()
                    self._after("ready", 1.5, self._act, "ready")
            case "start":
                page.room.start()
                self._after("start", 1.5, self._act, "start")
            case _:
                pass

    def _leave(self, page: RacePage) -> None:
        log = page.log
        if log is not None and log.finished is None:
            self.ledger.aborted(log.session)
        self.out = True
        cancel(self._key)
        page.leave()

    def _want_another(self, page: RacePage, state: Message) -> None:
        if not self._again:
            return
        self._again = False
        if page.room.own is not None and state.get("start_ms") is not None:
            self._races.asks_again(self.name, state["race"])
            page.room.again()

    def asked_in_vain(self) -> None:
        self._asked_in_vain = True

    def refused(self, code: int) -> None:
        # a server that hung may hear what was said before the racer went elsewhere, and take it for the newest
        self.ledger.refused(self.name, code, locks=not self._asked_in_vain)
        self.come_again()

    def shut_out(self, code: str) -> None:
        """The page says why; whose race is in another tab, or was in one before the reload, comes in here again."""
        self._races.shut_out(self.name, code)
        if code == "running":
            page = self.race_page
            assert page is not None
            self._after("come", 1 + 2 * self.browser.chance.random(), self._come_here, page)
        else:
            self.out = True

    def _come_here(self, page: RacePage) -> None:
        if page is self.page:
            self.reload()

    # -- typing -------------------------------------------------------------------------------------------------------

    def started(self, log: Log) -> None:
        self._races.begins(self.name, log)
        self.ledger.tests.pop(log.session, None)
        super().started(log)
        self.ledger.tests[log.session].honest = not self.eager

    def _key_later(self, log: Log) -> None:
        page = self.race_page
        assert page is not None
        if not log.n and not self.eager:
            wait = _LEARNS_MS
            if page.clock.is_set:
                start = page.clock.at(log.started["start_ms"])
                log.start_at(start)
                wait = start - self.browser.clock_ms()
            if wait > 0:
                self._key = page.timer(min(wait + 1, _COUNTS_MS), self._key_later, log)
                return
        super()._key_later(log)

    def _zero(self, log: Log) -> float:
        return log.started_at

    def ticked(self, log: Log) -> None:
        self._races.counted(self.name, log.started)

    def _next(self) -> None:
        return

    def finished(self, log: Log) -> None:
        self._races.finishes(log.session)
        super().finished(log)

    def result(self, session: str, result: Message) -> None:
        typed = self.ledger.tests.get(session)
        if typed is not None:
            self._races.counted(self.name, typed.started)
        super().result(session, result)

    def failed(self, error: Message, log: Log | None) -> None:
        cancel(self._key)
        if log is not None and error["code"] == "empty" and _nothing_counts(log):
            self.ledger.aborted(log.session)
            self.ledger.gave_up(log.session)
        super().failed(error, log)


def _nothing_counts(log: Log) -> bool:
    """Whether the first key came after the time was over."""
    seconds = log.started.get("seconds")
    return seconds is not None and bool(log.n) and log.events[0] >= seconds * 1000


def is_final(state: Message | None) -> bool:
    """Whether a race is over, and its places change no more."""
    return state is not None and state["phase"] == "settled" and not state["provisional"]
