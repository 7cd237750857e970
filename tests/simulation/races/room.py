"""The race at hand, as a page has it (room.js): asks for one, comes back to it, and keeps its newest state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from tests.simulation.link import Tab
from tests.simulation.log import Message
from tests.simulation.world import Timer, cancel

CODES: Final = frozenset(
    (
        *("no_race", "race_full", "race_over", "race_running", "not_racing", "not_host", "name", "options"),
        *("races_full", "away", "busy", "unknown_language", "unknown_test"),
    )
)
WITHOUT: Final = frozenset(("no_race", "race_full", "race_over", "race_running"))
LEAST_RETRY_MS: Final = 250


class RoomListener(Protocol):
    """The page around it."""

    def race_state(self, state: Message, before: Message | None) -> None: ...

    def race_refused(self, error: Message, lost: bool) -> None:
        """`lost`: there is no race here."""


class Room:
    """One a page. `send` says something to the server, if there is a connection."""

    def __init__(self, tab: Tab, send: Callable[[Message], bool], listener: RoomListener) -> None:
        self._tab = tab
        self._send = send
        self._listener = listener
        self.id = ""
        self.state: Message | None = None
        self.wanted: Message | None = None
        """What was asked for and not yet answered."""
        self.watching = False
        self.behind = False
        """Whether nothing was heard of the race since the connection is there."""
        self._retry: Timer | None = None

    @property
    def own(self) -> dict[str, Any] | None:
        """One's own lane."""
        state = self.state
        if state is None or "lane" not in state:
            return None
        return next((racer for racer in state["racers"] if racer["lane"] == state["lane"]), None)

    # -- what the page does -------------------------------------------------------------------------------------------

    def create(self, options: Message) -> None:
        self._ask({"t": "race.create", **options})

    def find(self, language: str) -> None:
        self._ask({"t": "race.join", "language": language})

    def join(self, race: str) -> None:
        self.id = race
        self._ask({"t": "race.join", "race": race})

    def catch_up(self) -> None:
        """The test is over and kept: comes back to a race of which nothing was heard meanwhile."""
        if self.behind and self.id:
            self.opened(resuming=False)

    def watch(self, race: str) -> None:
        self.id = race
        self.watching = True
        self._ask({"t": "watch", "race": race})

    def again(self) -> None:
        self._ask({"t": "race.again"})

    def ready(self) -> None:
        self._send({"t": "race.ready", "ready": True})

    def start(self) -> None:
        self._send({"t": "race.start"})

    def leave(self) -> None:
        if self.id and self.state is not None:
            self._send({"t": "unwatch" if self.watching else "race.leave"})
        self.forget()

    def forget(self) -> None:
        cancel(self._retry)
        self.id, self.state, self.wanted, self.watching = "", None, None, False

    # -- what comes ---------------------------------------------------------------------------------------------------

    def _ask(self, message: Message) -> None:
        self.wanted = message
        cancel(self._retry)
        self._send(message)

    def opened(self, *, resuming: bool) -> None:
        """There is a connection."""
        self.behind = resuming
        if resuming:
            return
        wanted = self.wanted
        back: Message = {"t": "watch" if self.watching else "race.join", "race": self.id}
        if wanted is None:
            if self.id:
                self._ask(back)
        else:
            if wanted["t"] == "race.again" and self.id:
                self._send(back)
            self._send(wanted)

    def heard(self, message: Message) -> bool:
        """Whether it was about a race."""
        match message["t"]:
            case "race.state":
                self._on_state(message)
            case "race.progress" | "race.ghost":
                pass
            case "error":
                return self._on_error(message)
            case _:
                return False
        return True

    def _on_state(self, state: Message) -> None:
        wanted = self.wanted or {}
        kind, race, known = wanted.get("t"), wanted.get("race"), self.state
        led = known is not None and known["phase"] == "lobby" and state["phase"] == "lobby" and "lane" in state
        asked = led or kind in ("race.create", "race.again") or (kind == "race.join" and not race)
        if state["race"] != self.id and not (asked and (known is None or state["race"] != known["race"])):
            return
        if known is not None and state["race"] == known["race"] and state["version"] < known["version"]:
            return
        if kind != "race.again" or state["race"] != self.id:
            self.wanted = None
        if self.behind and self.wanted is not None and kind == "race.again":
            self._send(self.wanted)
        self.behind = False
        before = known if known is not None and known["race"] == state["race"] else None
        self.id = state["race"]
        self.watching = "lane" not in state
        self.state = state
        self._listener.race_state(state, before)

    def _on_error(self, error: Message) -> bool:
        code, retry = error["code"], error.get("retry")
        if code == "full" and self.wanted is not None:  # said of tests, too
            cancel(self._retry)
            self._retry = self._tab.timer(max(retry or 0, LEAST_RETRY_MS), self._again)
            return False
        if code == "away" and error.get("ref") is not None:  # it is the test that has to wait
            return False
        elsewhere = code == "running" and self.id != "" and error.get("ref") is None
        if not elsewhere and code not in CODES:
            return False
        if retry is not None and self.wanted is not None:
            cancel(self._retry)
            self._retry = self._tab.timer(max(retry, LEAST_RETRY_MS), self._again)
            self._listener.race_refused(error, False)
            return True
        lost = elsewhere or (code in WITHOUT and (self.state is None or self.state["phase"] == "lobby"))
        self.wanted = None
        self._listener.race_refused(error, lost or (code == "no_race" and self.id != ""))
        return True

    def _again(self) -> None:
        if self.wanted is not None:
            self._send(self.wanted)
