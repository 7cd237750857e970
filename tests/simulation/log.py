"""One test's log, as log.js of `gateway/web` keeps it, and how it is sent and asked back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.simulation.browser import Browser

if TYPE_CHECKING:
    from tests.simulation.link import Link

FRAME_EVENTS: Final = 350
PREFIX: Final = "typegate.log."

Message = dict[str, Any]


class Log:
    """One test's log, as log.js keeps it."""

    def __init__(self, started: Message, started_at: float) -> None:
        self.started = started
        self.started_at = started_at
        self.user = ""
        self.token = ""
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

    @property
    def race(self) -> str | None:
        """The race that it is a test of."""
        race: str | None = self.started.get("race")
        return race

    def start_at(self, at: float) -> None:
        """It starts at another instant than was thought."""
        if self.n == 0:
            self.started_at = at
            self.dirty = True

    def add(self, key: str, at: float) -> None:
        ms = max(self.last_ms, round(at - self.started_at))
        self.events += (ms - self.last_ms, key)
        self.last_ms = ms
        self.dirty = True

    def save(self, browser: Browser) -> None:
        if self.dirty and (self.n or self.race is not None):
            browser.kept[PREFIX + self.session] = {
                "started": self.started,
                "started_wall_ms": browser.wall_ms() - browser.clock_ms() + self.started_at,
                "user": self.user,
                "token": self.token,
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
        log.user, log.token = kept["user"], kept["token"]
        log.receipt, log.finished = kept["receipt"], kept["finished"]
        log.events = list(kept["events"])
        log.last_ms = sum(log.events[::2])
        if log.n or log.race is None:  # a race's start may lie ahead
            log.started_at = min(log.started_at, browser.clock_ms() - log.last_ms)
        log.dirty = False
        return log


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
