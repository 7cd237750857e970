"""Logs that earlier visits left unsaved are brought in, as settle.js of `gateway/web` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.link import Link
from tests.simulation.log import PREFIX, Log, Message, resume_of, send_log
from tests.simulation.world import Timer, cancel

if TYPE_CHECKING:
    from tests.simulation.page import Page

PATIENCE_MS: Final = 30_000
LEFT_MS: Final = 120_000
SETTLE_MS: Final = 60_000


class Settling:
    """One round over the logs that the browser keeps, each on a short connection of its own."""

    def __init__(self, page: Page) -> None:
        self._page = page
        browser = page.browser
        kept = [(kept["at"], name[len(PREFIX) :]) for name, kept in browser.kept.items() if name.startswith(PREFIX)]
        self._sessions = [session for _, session in sorted(kept, reverse=True)]
        self._link: Link | None = None
        self._log: Log | None = None
        self._release: Callable[[], None] = lambda: None
        self._sent = 0
        self._finish_sent = False
        self._timer: Timer | None = None

    def vanish(self, *, silently: bool) -> None:
        if self._link is not None:
            self._link.vanish(silently=silently)

    def next(self) -> None:
        page = self._page
        browser = page.browser
        while self._sessions:
            session = self._sessions.pop()
            log = Log.read(browser, session)
            if log is None or session == page.resuming or (page.log is not None and page.log.session == session):
                continue
            if log.finished is not None and self._shown(log) is None:
                continue
            if session in page.locks:
                self._held(log, lambda: None)
            else:
                browser.hold(session, page, partial(page.call, self._held, log))
            return
        page.settled()

    def _shown(self, log: Log) -> str | None:
        """As whom it is sent; None: its user is not here, and a tab that has it may be open still."""
        page = self._page
        shown = page.token_of(log.user)
        if shown is None and page.browser.wall_ms() - page.browser.kept[PREFIX + log.session]["at"] > LEFT_MS:
            return log.token or None
        return shown

    def _held(self, log: Log, release: Callable[[], None] | None) -> None:
        page = self._page
        fresh = Log.read(page.browser, log.session)
        if release is None or fresh is None:
            if release is not None:
                release()
            self.next()
            return
        self._release = release
        if fresh.finished is None:
            if page.browser.wall_ms() - page.browser.kept[PREFIX + log.session]["at"] > LEFT_MS:
                page.left_behind(log.session)
            release()
            self.next()
            return
        self._log = fresh
        shown = self._shown(fresh)
        self._link = Link(page, self, lambda: shown)
        self._timer = page.timer(PATIENCE_MS, self._done)
        self._link.open()

    def _done(self) -> None:
        cancel(self._timer)
        if self._link is not None:
            self._link.close()
            self._link = self._log = None
            self._release()
            self.next()

    def opened(self) -> None:
        assert self._link is not None
        assert self._log is not None
        self._link.send(resume_of(self._log))

    def ready(self, message: Message) -> None:
        return

    def beat(self, message: Message) -> None:
        return

    def lost(self) -> None:
        self._done()

    def refused(self, code: int) -> None:
        self._done()

    def message(self, message: Message) -> None:
        log, link = self._log, self._link
        if log is None or link is None:
            return
        kind, code = message["t"], message.get("code")
        if kind == "resumed" and message["n"] <= log.n:
            self._sent, self._finish_sent = send_log(link, log, message["n"], finish_sent=False)
        elif kind == "result":
            self._page.settled_result(log.session, message)
        elif kind == "stored":
            self._page.stored(log.session)
            self._done()
        elif kind == "error" and code == "gap":
            self._sent, self._finish_sent = send_log(link, log, message["expected"], self._finish_sent)
        elif (kind == "error" and code != "conflict") or kind == "resumed":
            if kind == "error" and message.get("retry") is None and code != "foreign":
                self._page.left_behind(log.session)
            self._done()
