"""The page, in Python: what client.js, connection.js, log.js and settle.js of `gateway/web` do, in their order.

Left out is what never touches a log: figures, views, accounts, tests begun without a server, a token that is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import orjson

from tests.simulation.browser import Browser
from tests.simulation.network import Socket
from tests.simulation.world import Timer, cancel

FLUSH_MS: Final = 230
FRAME_EVENTS: Final = 350
LEAST_RETRY_MS: Final = 250
FINAL_CLOSES: Final = frozenset((4500, 4501, 4502, 4503, 4504, 4505))
BACK_OFF_MS: Final = (500, 20_000)
STEADY_MS: Final = 5_000
HANDSHAKE_MS: Final = 10_000
PATIENCE_MS: Final = 30_000
LEFT_MS: Final = 120_000
SETTLE_MS: Final = 60_000
PREFIX: Final = "typegate.log."
TOKEN: Final = "typegate.token"
GUEST: Final = "typegate.guest"

Message = dict[str, Any]


class Log:
    """One test's log, as log.js keeps it."""

    def __init__(self, started: Message, started_at: float) -> None:
        self.started = started
        self.started_at = started_at
        self.user = ""
        self.events: list[Any] = []
        self.last_ms = 0
        self.receipt: str | None = None
        self.finished: int | None = None
        self.dirty = True

    @property
    def session(self) -> str:
        return str(self.started["session"])

    @property
    def n(self) -> int:
        return len(self.events) // 2

    def add(self, key: str, at: float) -> None:
        ms = max(self.last_ms, round(at - self.started_at))
        self.events += (ms - self.last_ms, key)
        self.last_ms = ms
        self.dirty = True

    def save(self, browser: Browser) -> None:
        if self.dirty and self.n:
            browser.kept[PREFIX + self.session] = {
                "started": self.started,
                "started_wall_ms": browser.wall_ms() - browser.clock_ms() + self.started_at,
                "user": self.user,
                "receipt": self.receipt,
                "finished": self.finished,
                "events": list(self.events),
                "at": browser.wall_ms(),
            }
            self.dirty = False

    @classmethod
    def read(cls, browser: Browser, session: str) -> Log | None:
        kept = browser.kept.get(PREFIX + session)
        if kept is None:
            return None
        log = cls(kept["started"], kept["started_wall_ms"] - (browser.wall_ms() - browser.clock_ms()))
        log.user, log.receipt, log.finished = kept["user"], kept["receipt"], kept["finished"]
        log.events = list(kept["events"])
        log.last_ms = sum(log.events[::2])
        log.started_at = min(log.started_at, browser.clock_ms() - log.last_ms)
        log.dirty = False
        return log


class Listener(Protocol):
    """What a link tells (connection.js)."""

    def opened(self) -> None: ...

    def ready(self, message: Message) -> None: ...

    def message(self, message: Message) -> None: ...

    def lost(self) -> None: ...

    def refused(self, code: int) -> None: ...


class Tab:
    """What a page runs in: timers and what comes for it wait while it hangs, and end with it."""

    def __init__(self, browser: Browser, name: str) -> None:
        self.browser = browser
        self.name = name
        self.alive = True
        self.hangs = False
        self._waiting: list[Callable[[], None]] = []

    def call(self, work: Callable[..., None], *args: object) -> None:
        """Run this as soon as the page may."""
        if self.hangs:
            self._waiting.append(partial(self.call, work, *args))
        elif self.alive:
            work(*args)

    def timer(self, ms: float, work: Callable[..., None], *args: object) -> Timer:
        """In so many of the page's milliseconds."""
        return self.browser.world.after(max(ms, 0) / 1000 / self.browser.rate, self.call, work, *args)

    def go_on(self) -> None:
        """It hangs no more."""
        self.hangs = False
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


class Link:
    """One connection, kept up (connection.js)."""

    def __init__(self, tab: Tab, listener: Listener, token: Callable[[], str | None]) -> None:
        self._tab = tab
        self._token = token
        self._browser = tab.browser
        self._listener = listener
        self._socket: Socket | None = None
        self._is_open = False
        self.is_ready = False
        self.closed = False
        self._attempt = 0
        self._shown: str | None = None
        self._heartbeat_ms = 20_000.0
        self._heard_at = self._sent_at = 0.0
        self._timers: dict[str, Timer] = {}

    @property
    def is_open(self) -> bool:
        """From when the page hears of it."""
        return self._is_open and self._socket is not None and self._socket.is_open

    def revive(self) -> None:
        self.closed = False
        self.open()

    def open(self) -> None:
        self._clear("retry")
        tab = self._tab

        def opened() -> None:
            if socket is self._socket:
                self._is_open = True
                self._shown = self._token()
                self.send({"t": "auth"} | ({"token": self._shown} if self._shown else {}))
                self._listener.opened()

        socket = self._browser.connect(
            opened=lambda: tab.call(opened),
            message=lambda payload: tab.call(self._received, socket, payload),
            closed=lambda code: tab.call(self._dropped, socket, code),
        )
        self._socket = socket
        self._timers["deadline"] = tab.timer(HANDSHAKE_MS, self._dropped, socket, 0)

    def close(self) -> None:
        self.closed = True
        self._forget(1000)
        self._clear("retry")

    def send(self, message: Message) -> bool:
        if self._socket is None or not self.is_open:
            return False
        self._browser.world.note(self._tab.name, "says", _short(message))
        self._socket.send(orjson.dumps(message))
        self._sent_at = self._browser.clock_ms()
        return True

    def _received(self, socket: Socket, payload: bytes) -> None:
        if socket is not self._socket:
            return
        self._heard_at = self._browser.clock_ms()
        message = orjson.loads(payload)
        self._browser.world.note(self._tab.name, "hears", _short(message))
        kind = message["t"]
        if kind == "hello":
            self._heartbeat_ms = message["hb_ms"]
        elif kind == "ready":
            self._clear("deadline")
            self.is_ready = True
            self._timers["steady"] = self._tab.timer(STEADY_MS, self._steady)
            self._beat_later()
            self._listener.ready(message)
        elif kind == "reconnect":
            self._clear("drain")
            self._timers["drain"] = self._tab.timer(message["after_ms"], self._dropped, socket, 4001)
        elif kind != "hb":
            self._listener.message(message)

    def _steady(self) -> None:
        self._attempt = 0

    def _beat_later(self) -> None:
        self._timers["heartbeat"] = self._tab.timer(self._heartbeat_ms / 2, self._beat)

    def _beat(self) -> None:
        now = self._browser.clock_ms()
        silence = self._heartbeat_ms
        self._beat_later()
        if (
            now - self._heard_at > 2.5 * silence
            and self._sent_at > self._heard_at
            and now - self._sent_at > silence / 4
        ):
            if self._socket is not None:
                self._dropped(self._socket, 4003)
        elif now - min(self._sent_at, self._heard_at) > silence / 2:
            self.send({"t": "hb", "c": round(now)})

    def _dropped(self, socket: Socket, code: int) -> None:
        if socket is not self._socket:
            return
        self._browser.world.note(self._tab.name, "is dropped", code)
        self._forget(code)
        if self.closed:
            return
        if code in FINAL_CLOSES:
            self.close()
            self._listener.refused(code)
            return
        first, most = BACK_OFF_MS
        wait = self._browser.chance.random() * min(most, first * 2**self._attempt)
        self._attempt += 1
        self._timers["retry"] = self._tab.timer(wait, self.open)
        self._listener.lost()

    def _forget(self, code: int) -> None:
        socket, self._socket = self._socket, None
        self._is_open = self.is_ready = False
        for name in ("deadline", "drain", "steady", "heartbeat"):
            self._clear(name)
        if socket is not None:
            self._browser.sockets.discard(socket)
            socket.close(code if code >= 3000 else 1000)

    def vanish(self, *, silently: bool) -> None:
        """The tab is gone."""
        socket, self._socket = self._socket, None
        if socket is not None:
            self._browser.sockets.discard(socket)
            socket.vanish(silently=silently)

    def _clear(self, name: str) -> None:
        cancel(self._timers.pop(name, None))


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
        self.locks: dict[str, Callable[[], None]] = {}
        self._flush_timer: Timer | None = None
        self._retry_timer: Timer | None = None
        self._flushed_at = float("-inf")
        self.user = ""
        self._own = browser.kept.get(TOKEN)
        self.link = Link(self, self, lambda: self._own)
        self._settling: Settling | None = None

    def begin(self, taken_up: Callable[[Log | None], None]) -> None:
        """Load: connect, and take up this tab's test."""
        self._settle_later()
        self.link.open()
        session = self.of_tab.get("current")
        log = Log.read(self.browser, session) if session else None
        if log is None or log.finished is not None:
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
        if log.n == 1:
            self.of_tab["current"] = log.session
            self.browser.hold(log.session, self, partial(self._locked, log.session))
        if self._flush_timer is None:
            wait = max(0.0, self._flushed_at + FLUSH_MS - self.browser.clock_ms())
            self._flush_timer = self.timer(wait, self._flush)

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

    def token_of(self, user: str) -> str | None:
        """What the user of a log shows; None where it is not here."""
        guest = self.browser.kept[GUEST]
        return self._own if user in ("", self.user) else guest["token"] if guest["user"] == user else None

    def lost(self) -> None:
        self.attached = False
        if self.log is not None:
            self.log.save(self.browser)

    def refused(self, code: int) -> None:
        self.attached = False
        self._watcher.refused(code)

    def message(self, message: Message) -> None:
        kind = message["t"]
        if kind == "started":
            if message.get("ref", self._ref) == self._ref:
                self.log = Log(message, self.browser.clock_ms())
                self.log.user = self.user
                self.wanted = None
                self._attach(0)
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
            if log is None or (page.log is not None and page.log.session == session):
                continue
            if log.finished is not None and page.token_of(log.user) is None:
                continue
            if session in page.locks:
                self._held(log, lambda: None)
            else:
                browser.hold(session, page, partial(page.call, self._held, log))
            return
        page.settled()

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
        self._link = Link(page, self, partial(page.token_of, fresh.user))
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


def resume_of(log: Log) -> Message:
    """What takes a log up again."""
    started = log.started
    message: Message = {"t": "resume", "session": log.session, "ticket": started["ticket"], "n": log.n}
    if log.receipt is not None:
        message["receipt"] = log.receipt
    if started["mode"] == "text":
        message["text"] = started["text"]
    return message


def send_log(link: Link, log: Log, sent: int, finish_sent: bool) -> tuple[int, bool]:
    """Send a log's unsent events, and `finish` where it has ended; how far that came."""
    while sent < log.n:
        until = min(log.n, sent + FRAME_EVENTS)
        if not link.send({"t": "keys", "n": sent, "e": log.events[2 * sent : 2 * until]}):
            return sent, finish_sent
        sent = until
    if log.finished is not None and not finish_sent:
        finish_sent = link.send({"t": "finish", "n": log.finished})
    return sent, finish_sent


def _short(message: Message) -> str:
    """A message in a few words."""
    kind = message["t"]
    if kind == "keys":
        return f"keys {message['n']}+{len(message['e']) // 2}"
    said = [kind]
    for name in ("session", "n", "ref", "code", "retry", "expected", "verdict", "mode", "after_ms"):
        if name in message:
            value = message[name]
            said.append(f"{name}={value[-6:] if name == 'session' else value}")
    return " ".join(said)
