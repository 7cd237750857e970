"""The page, in Python: what client.js of `gateway/web` does, in its order, and what of app.js is needed.

Left out is what never touches a log: figures, views, accounts, tests begun without a server, a token that is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from tests.simulation.browser import Browser
from tests.simulation.link import Link, Tab
from tests.simulation.log import PREFIX, Log, Message, resume_of, send_log
from tests.simulation.settling import SETTLE_MS, Settling
from tests.simulation.world import Timer, cancel

FLUSH_MS: Final = 230
LEAST_RETRY_MS: Final = 250
EARLY_MS: Final = 60
TOKEN: Final = "typegate.token"
GUEST: Final = "typegate.guest"


class Watcher(Protocol):
    """The person before the page, and who takes notes."""

    def started(self, log: Log) -> None:
        """A new test is there to be typed."""

    def ended(self, log: Log) -> None:
        """The server ended it first."""

    def finished(self, log: Log) -> None:
        """The page says that the test is over."""

    def result(self, session: str, result: Message) -> None: ...

    def stored(self, session: str) -> None: ...

    def failed(self, error: Message, log: Log | None) -> None:
        """The test at hand cannot go on, or none could be started."""

    def refused(self, code: int) -> None:
        """The connection is closed for good."""

    def gave_up(self, session: str) -> None:
        """A log was given up by the page itself."""


class Page(Tab):
    """The page from its loading to its end (client.js, and of app.js what is needed)."""

    def __init__(self, browser: Browser, name: str, of_tab: dict[str, Any], watcher: Watcher) -> None:
        super().__init__(browser, name)
        self.of_tab = of_tab
        self._watcher = watcher
        self._ref = 0
        self.wanted: Message | None = None
        self.log: Log | None = None
        self.attached = False
        self._sent = 0
        self._finish_sent = False
        self.unsaved: dict[str, Log] = {}
        self.resuming = ""
        """The test that was last asked back over this connection: another one would take it away from this one."""
        self.locks: dict[str, Callable[[], None]] = {}
        self._flush_timer: Timer | None = None
        self._retry_timer: Timer | None = None
        self._flushed_at = float("-inf")
        self.user = ""
        self._own = of_tab.get(TOKEN) or browser.kept.get(TOKEN)
        self.link = Link(self, self, lambda: self._own)
        self._settling: Settling | None = None

    def begin(self, taken_up: Callable[[Log | None], None]) -> None:
        """Load: connect, and take up this tab's test."""
        self._settle_later()
        self.link.open()
        session = self.of_tab.get("current")
        log = Log.read(self.browser, session) if session else None
        if log is None or log.finished is not None or log.race is not None:
            taken_up(None)
            return

        def held(release: Callable[[], None] | None) -> None:
            if not self.alive:
                if release is not None:
                    release()
                return
            if release is None:
                taken_up(None)
                return
            self.locks[log.session] = release
            self.log = log
            if self.link.is_open:
                self._resume()
            taken_up(log)

        self.browser.hold(log.session, self, held)

    def end(self, *, crash: bool, silently: bool = False) -> None:
        """The page is gone: reloaded, closed, crashed; or its whole machine, of which the server hears nothing."""
        if not crash and self.log is not None:
            self.log.save(self.browser)
        self.alive = False
        self.link.vanish(silently=silently)
        if self._settling is not None:
            self._settling.vanish(silently=silently)
        self.browser.release_all(self)

    # -- what the person does -----------------------------------------------------------------------------------------

    def start(self, options: Message) -> None:
        self.abort()
        self.wanted = options
        if self.link.closed:
            self.link.revive()
        else:
            self._ask()

    def type(self, key: str) -> None:
        log = self.log
        assert log is not None
        log.add(key, self.browser.clock_ms())
        if log.n == 1 and log.race is None:
            self.remember(log)
        if self._flush_timer is None:
            wait = max(0.0, self._flushed_at + FLUSH_MS - self.browser.clock_ms())
            self._flush_timer = self.timer(wait, self._flush)

    def remember(self, log: Log) -> None:
        """It belongs to this tab from here on, also after a reload."""
        self.of_tab["current"] = log.session
        if self.user:
            self._keep_for_tab()
        self.browser.hold(log.session, self, partial(self._locked, log.session))

    def _locked(self, session: str, release: Callable[[], None] | None) -> None:
        if release is not None:
            if self.alive:
                self.locks[session] = release
            else:
                release()

    def finish(self) -> None:
        log = self.log
        if log is None or log.finished is not None:
            return
        log.finished = log.n
        log.dirty = True
        self.unsaved[log.session] = log
        self._watcher.finished(log)
        self._flush()

    def abort(self) -> None:
        if self.attached and self.log is not None and self.log.finished is None and self.log.n:
            self.link.send({"t": "abort"})
        self._leave()

    # -- within -------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        cancel(self._flush_timer)
        self._flush_timer = None
        log, self.log = self.log, None
        self.attached = False
        self.of_tab.pop("current", None)
        if log is not None and log.finished is None:
            if log.n:
                self._watcher.gave_up(log.session)
            self._drop(log.session)

    def _drop(self, session: str) -> None:
        self.browser.kept.pop(PREFIX + session, None)
        self._unlock(session)

    def _unlock(self, session: str) -> None:
        release = self.locks.pop(session, None)
        if release is not None:
            release()

    def _ask(self) -> None:
        cancel(self._retry_timer)
        if self.wanted is not None and self.link.is_open:
            self._ref += 1
            self.link.send({"t": "start", "ref": self._ref, **self.wanted})

    def _resume(self) -> None:
        log = self.log
        assert log is not None
        self._ref += 1
        log.started["ref"] = self._ref
        self.resuming = log.session
        self.link.send(resume_of(log) | {"ref": self._ref})

    def _flush(self) -> None:
        cancel(self._flush_timer)
        self._flush_timer = None
        self._flushed_at = self.browser.clock_ms()
        if self.log is None:
            return
        self.log.save(self.browser)
        if self.attached:
            if self.browser.resends and self.browser.chance.random() < 0.2:
                self._sent = max(0, self._sent - self.browser.resends)
            self._sent, self._finish_sent = send_log(self.link, self.log, self._sent, self._finish_sent)

    # -- what the link says (Listener) --------------------------------------------------------------------------------

    def opened(self) -> None:
        log = self.log
        if log is not None and not (log.finished is not None and log.session not in self.unsaved):
            self._resume()
        else:
            self._ask()

    def ready(self, message: Message) -> None:
        self.user = message["user"]
        self._keep_token(message["token"])
        self.settle()

    def _keep_token(self, given: str) -> None:
        """Another tab may have become a guest first (token.js)."""
        kept, shown, self._own = self.browser.kept, self._own, given
        still = kept.get(TOKEN) in (None, shown)
        if still:
            kept[TOKEN] = given
        if still or kept[GUEST]["user"] == self.user:
            kept[GUEST] = {"user": self.user, "token": given}
        self._keep_for_tab()

    def _keep_for_tab(self) -> None:
        """A guest that only this tab is stays so through its reloads."""
        if self._own is None or self._own == self.browser.kept[TOKEN]:
            self.of_tab.pop(TOKEN, None)
        else:
            self.of_tab[TOKEN] = self._own

    def token_of(self, user: str) -> str | None:
        """What the user of a log shows; None where it is not here."""
        guest = self.browser.kept[GUEST]
        return self._own if user in ("", self.user) else guest["token"] if guest["user"] == user else None

    def beat(self, message: Message) -> None:
        return

    def starts_at(self, started: Message) -> float:
        """When a test's time begins, by the page's clock."""
        return self.browser.clock_ms()

    def lost(self) -> None:
        self.attached = False
        self.resuming = ""
        if self.log is not None:
            self.log.save(self.browser)

    def refused(self, code: int) -> None:
        self.attached = False
        self._watcher.refused(code)

    def message(self, message: Message) -> None:
        kind = message["t"]
        if kind == "started":
            if message.get("ref", self._ref) == self._ref:
                self.log = Log(message, self.starts_at(message))
                self.log.user = self.user
                if self.user:
                    self.log.token = self._own or ""
                self.wanted = None
                left = self.resuming in self.unsaved  # asked back, and let go of for this one before its log was sent
                self.resuming = ""
                if left:
                    self.settle()
                self._attach(0)
                if self.log.race is not None:  # its time runs
                    self.remember(self.log)
                self._watcher.started(self.log)
        elif kind == "resumed":
            if self.log is not None and message["session"] == self.log.session:
                self._resumed(message["n"])
        elif kind == "tick":
            log = self.log
            if log is not None and self.attached:
                log.receipt = message["r"]
                log.dirty = True
                if self._flush_timer is None:
                    log.save(self.browser)
        elif kind == "result":
            session = message["session"]
            if self.log is not None and self.log.session == session and self.log.finished is None:
                self._watcher.ended(self.log)
            self._watcher.result(session, message)
        elif kind == "stored":
            self.stored(message["session"])
        elif kind == "error":
            self._error(message)

    def _attach(self, n: int) -> None:
        self.attached = True
        self._sent = n
        self._finish_sent = False

    def _resumed(self, n: int) -> None:
        assert self.log is not None
        if n > self.log.n:
            self._give_up({"code": "gone", "message": "the server knows more of this test than this page"})
            return
        self._attach(n)
        self._flush()

    def stored(self, session: str) -> None:
        self.unsaved.pop(session, None)
        self._drop(session)
        if self.of_tab.get("current") == session:
            del self.of_tab["current"]
        self._watcher.stored(session)

    def _error(self, error: Message) -> None:
        ref, retry = error.get("ref"), error.get("retry")
        mine = self.log.started.get("ref", self._ref) if self.log is not None else self._ref
        if ref is not None and ref != mine:
            return
        if error["code"] == "gap" and self.log is not None:
            self._attach(error["expected"])
            self._flush()
        elif error["code"] == "early" and self.log is not None:
            self._attach(0)
            self._flush_timer = self.timer(EARLY_MS, self._flush)
        elif error["code"] == "conflict":
            return
        elif retry is not None:
            cancel(self._retry_timer)
            self._retry_timer = self.timer(max(retry, LEAST_RETRY_MS), self._again)
        else:
            self._give_up(error)

    def _again(self) -> None:
        if not self.link.is_ready:
            return
        if self.wanted is not None:
            self._ask()
        elif self.log is not None and not self.attached:
            self._resume()
        elif self.log is not None:
            self._finish_sent = False
            self._flush()

    def _give_up(self, error: Message) -> None:
        log = self.log
        self.wanted = None
        if log is not None:
            self.unsaved.pop(log.session, None)
            if error["code"] != "foreign" or log.finished is None:
                self.browser.kept.pop(PREFIX + log.session, None)
            self._unlock(log.session)
            self._leave()
        self._watcher.failed(error, log)

    # -- kept logs (settle.js) ----------------------------------------------------------------------------------------

    def _settle_later(self) -> None:
        self.timer(SETTLE_MS, self._settle_later)
        if self.link.is_ready:
            self.settle()

    def settle(self) -> None:
        """Bring in what earlier visits, and earlier tests of this one, left unsaved."""
        if self._settling is None:
            self._settling = Settling(self)
            self._settling.next()

    def settled(self) -> None:
        """All was tried."""
        self._settling = None

    def settled_result(self, session: str, message: Message) -> None:
        """A kept log's result has come."""
        self._watcher.result(session, message)

    def left_behind(self, session: str) -> None:
        """An unfinished log that is nobody's."""
        self._watcher.gave_up(session)
        self.browser.kept.pop(PREFIX + session, None)
