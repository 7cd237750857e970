"""Who sits before a browser: types a few tests in tabs, reloads, goes away and comes back, and waits for "saved"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loadtest.checking import words_of
from loadtest.typist import Typist
from tests.simulation.browser import Browser
from tests.simulation.laws import Ledger
from tests.simulation.log import Log, Message
from tests.simulation.page import Page
from tests.simulation.world import Timer, cancel

_PAUSE_MS = 1_500.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A test that somebody wants to type."""

    start: Message
    """The fields of `start`."""
    zen: str = ""
    """What is typed where there is no text."""
    abort_after: int | None = None
    """After so many keys they begin the next one instead."""


class Person:
    """One tab and who types in it."""

    def __init__(self, browser: Browser, name: str, seed: int, wishes: list[Wish], ledger: Ledger) -> None:
        self.browser = browser
        self.name = name
        self.ledger = ledger
        self._typist = Typist(seed)
        self._wishes = wishes
        self._wished: Wish | None = None
        self._tests = 0
        self._of_tab: dict[str, Any] = {}
        self._events: list[Any] = []
        self._end_ms: float | None = None
        self._key: Timer | None = None
        self._stopped = False
        self.page: Page | None = None

    # -- pages --------------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or wanted in this tab."""
        page = self.page
        if page is None:
            return True
        waits = page.wanted is not None or (page.log is not None and page.log.finished is None)
        return not waits and not self._wishes and page.link.is_ready

    def open(self) -> None:
        """Open the tab, or load it anew."""
        if self.page is None:
            self.browser.world.note(self.name, "loads the page")
            self.page = self._new_page()
            self.page.begin(self._loaded)

    def _new_page(self) -> Page:
        return Page(self.browser, self.name, self._of_tab, self)

    def _loaded(self, log: Log | None) -> None:
        if log is None:
            self._next()
        else:
            self._type_on(log)

    def close(self, *, crash: bool = False, silently: bool = False) -> None:
        """The page is gone."""
        page, self.page = self.page, None
        if page is not None:
            self.browser.world.note(self.name, "crashes" if crash else "leaves the page")
            cancel(self._key)
            page.end(crash=crash, silently=silently)

    def reload(self, *, crash: bool = False) -> None:
        """F5; or a crash, and the tab restored."""
        if self.page is not None:
            self.close(crash=crash)
            self.open()

    def duplicate(self, name: str, seed: int) -> Person:
        """A second tab with what this one works on (a copied tab takes sessionStorage along)."""
        other = Person(self.browser, name, seed, [], self.ledger)
        other._of_tab = dict(self._of_tab)
        other._wished = self._wished
        return other

    # -- typing -------------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Ask for the next test, if another one is wanted."""
        page = self.page
        if page is not None and self._wishes and page.wanted is None:
            self._wished = self._wishes.pop(0)
            page.start(self._wished.start)

    def _later(self) -> None:
        page = self.page
        if page is not None:
            page.timer(_PAUSE_MS * self.browser.chance.random(), self._next)

    def started(self, log: Log) -> None:
        self.ledger.started(log.session, log.started)
        self._tests += 1
        self._type_on(log)

    def _type_on(self, log: Log) -> None:
        """Type the log's test from where it stands."""
        cancel(self._key)
        started = log.started
        seconds = started.get("seconds")
        if started["mode"] == "zen":
            text = self._wished.zen if self._wished is not None else "zen"
            typed: list[Any] = []
            for i, key in enumerate(text):
                typed += (90 + 7 * (i % 5), key)
            self._events = typed
        else:
            limit_ms = None if seconds is None else seconds * 1000
            self._events = self._typist.type(words_of(started), test=self._tests, limit_ms=limit_ms).events()
        self._end_ms = None if seconds is None else seconds * 1000.0
        self._key_later(log)

    def _key_later(self, log: Log) -> None:
        page = self.page
        assert page is not None
        at = 2 * log.n
        if at < len(self._events):
            due = log.started_at + log.last_ms + self._events[at]
            self._key = page.timer(max(due - self.browser.clock_ms(), 20), self._press, log)
        elif self._end_ms is None:
            page.finish()
            self._later()
        else:
            due = self._zero(log) + self._end_ms if log.n else 0
            self._key = page.timer(due - self.browser.clock_ms(), self._time_over, log)

    def _zero(self, log: Log) -> float:
        """When the time of a test that has been begun began."""
        return log.started_at + float(log.events[0])

    def _press(self, log: Log) -> None:
        page = self.page
        if page is None or page.log is not log or log.finished is not None:
            return
        if self._end_ms is not None and log.n and self.browser.clock_ms() - self._zero(log) >= self._end_ms:
            self._time_over(log)
            return
        wished = self._wished
        if wished is not None and wished.abort_after is not None and log.n >= wished.abort_after and self._wishes:
            self.ledger.aborted(log.session)
            self._next()
            return
        page.type(self._events[2 * log.n + 1])
        self._key_later(log)

    def _time_over(self, log: Log) -> None:
        page = self.page
        if page is not None and page.log is log:
            page.finish()
            self._later()

    # -- what the page says (Watcher) ---------------------------------------------------------------------------------

    def ended(self, log: Log) -> None:
        if self.page is not None:
            self.page.finish()
            self._later()

    def finished(self, log: Log) -> None:
        self.ledger.finished(log.session, log.started, log.events)

    def result(self, session: str, result: Message) -> None:
        self.ledger.result(self.name, session, result)

    def stored(self, session: str) -> None:
        self.ledger.stored(self.name, session)

    def failed(self, error: Message, log: Log | None) -> None:
        self.ledger.failed(self.name, error, log.session if log is not None else None)
        self._later()

    def refused(self, code: int) -> None:
        self.ledger.refused(self.name, code, locks=self.browser.has_locks)
        self.come_again()

    def come_again(self) -> None:
        """The page has said that it goes on elsewhere, or not at all: load it anew in a while."""
        cancel(self._key)
        self.browser.world.after(2 + 3 * self.browser.chance.random(), self._reload_refused, self.page)

    def _reload_refused(self, page: Page) -> None:
        """The page offers it: "this test goes on in another tab"."""
        if self.page is page:
            self.reload()

    def gave_up(self, session: str) -> None:
        self.ledger.gave_up(session)
