"""Somebody who takes back what they typed: goes on from an old receipt, from none, or with a log that is another one at
its beginning or since the receipt.

It speaks the protocol itself. What comes of its test is held to the law that no undo passes unnoticed: the result is
void, or its account (unseen, slack) tells of the time that was taken back. Where all servers were there to be asked,
and had Redis to ask through, it is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import orjson

from session.identity import session_from_text
from tests.simulation.browser import Browser
from tests.simulation.laws import digest_of
from tests.simulation.network import Socket
from tests.simulation.stores import Rows
from tests.simulation.world import Broken

_GAP_S = 0.12
_OTHER_MS = 7
_WORDS = 8


@dataclass(frozen=True, slots=True)
class Trick:
    """What a cheat does."""

    at_s: float
    """When it begins."""
    kind: str
    """"old receipt", "no receipt", "other log" or "fork"."""
    taken_back: int
    """Events that it types and takes back."""
    away_s: float
    """How long it is away before it comes back."""


class Cheat:
    """One connection after the other, and one test."""

    def __init__(self, browser: Browser, trick: Trick, rows: Rows) -> None:
        self._browser = browser
        self._trick = trick
        self._rows = rows
        self._world = browser.world
        self._socket: Socket | None = None
        self._token: str | None = None
        self._started: dict[str, Any] | None = None
        self._text = ""
        self._log: list[Any] = []
        self._last_s = 0.0
        self._receipt: tuple[int, str, float] | None = None
        """Of the moment to which it goes back: events, receipt, when they were typed."""
        self._seen_s = 0.0
        """How long after that moment the server had seen events that were then taken back."""
        self._back = False
        self._before: list[Any] = []
        """The log when it went back."""
        self.done = False
        self.stored_s = inf
        """When it was heard to be stored."""
        self._tries = 0
        self._world.at(trick.at_s, self._connect)

    @property
    def session(self) -> str | None:
        """Its test."""
        return None if self._started is None else str(self._started["session"])

    # -- connections -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._tries < 40:
            self._tries += 1
            self._browser.forget_node()
            self._socket = self._browser.connect(opened=self._opened, message=self._message, closed=self._closed)
        else:
            self.done = True

    def _opened(self) -> None:
        self._say({"t": "auth"} | ({"token": self._token} if self._token else {}))
        if self._started is None:
            self._say({"t": "start", "ref": 1, "mode": "words", "count": _WORDS})
        else:
            self._say(self._resume(self._started))

    def _resume(self, started: dict[str, Any]) -> dict[str, Any]:
        resume = {"t": "resume", "session": started["session"], "ticket": started["ticket"], "n": len(self._log) // 2}
        if self._receipt is not None and self._trick.kind != "no receipt":
            resume["receipt"] = self._receipt[1]
        return resume

    def _closed(self, code: int) -> None:
        self._socket = None
        if not self.done:
            if self._started is None or self._back:
                self._world.after(1 + 3 * self._browser.chance.random(), self._connect)
            else:  # before its trick was done: then there is none
                self.done = True

    def _say(self, message: dict[str, Any]) -> None:
        if self._socket is not None:
            self._world.note("cheat", "says", message["t"])
            self._socket.send(orjson.dumps(message))

    def _message(self, payload: bytes) -> None:
        message = orjson.loads(payload)
        self._world.note("cheat", "hears", f"{message['t']} {message.get('n', message.get('code', ''))}")
        match message["t"]:
            case "ready":
                self._token = message["token"]
            case "started":
                self._started = message
                self._text = message["text"]
                self._last_s = self._world.now
                self._world.after(_GAP_S, self._press)
            case "tick":
                self._ticked(message)
            case "resumed":
                self._send(message["n"])
                self._world.after(_GAP_S, self._press)
            case "stored":
                self.done = True
                self.stored_s = self._world.now
            case "error" if message["code"] == "gap":
                self._send(message["expected"])
            case "error" if message.get("retry") is None and message["code"] not in ("conflict", "draining"):
                self.done = True

    # -- typing -----------------------------------------------------------------------------------------------------

    def _press(self) -> None:
        """Type the next key of the text; at its end say so."""
        if self._socket is None or self.done:
            return
        n = len(self._log) // 2
        if n >= len(self._text):
            self._say({"t": "finish", "n": n})
            return
        self._log += (round((self._world.now - self._last_s) * 1000), self._text[n])
        self._last_s = self._world.now
        self._send(n)
        self._world.after(_GAP_S, self._press)

    def _send(self, n: int) -> None:
        self._say({"t": "keys", "n": n, "e": self._log[2 * n :]})

    def _ticked(self, tick: dict[str, Any]) -> None:
        if self._back:
            return
        n = tick["n"]
        if self._receipt is None:
            self._receipt = (n, tick["r"], self._world.now)
        elif n >= self._receipt[0] + self._trick.taken_back:
            self._go_back(n)

    def _go_back(self, n: int) -> None:
        """What was seen since the receipt was never typed, if one believes it."""
        assert self._receipt is not None
        assert self._socket is not None
        kept = self._receipt[0]
        self._back = True
        self._before = list(self._log)
        taken_back = self._log[2 * kept : 2 * n]
        self._seen_s = sum(taken_back[::2]) / 1000
        if self._trick.kind == "other log":
            self._log[0] += _OTHER_MS  # the receipt's digest is of another one
        elif self._trick.kind == "fork":
            self._log[2 * kept] += _OTHER_MS  # as long a log as was seen, and the receipt agrees
        else:
            del self._log[2 * kept :]
            # by its own clock the next key follows the last one that it stands by
            self._last_s += self._trick.away_s + 0.001
        self._socket.close()
        self._socket = None
        self._world.note("cheat", "takes back", f"{n - kept} events")
        self._world.after(self._trick.away_s, self._connect)

    # -- the law ----------------------------------------------------------------------------------------------------

    def judge(self, *, clocks_agree: bool, answered: bool) -> None:
        """Hold what became of it to the law. Raises `Broken`. `answered`: nobody can have failed to be asked."""
        if not self._back or self._started is None:
            return
        row = self._rows.row(session_from_text(self._started["session"]))
        if row is None or row.verdict == "void":
            return
        if row.log_digest == digest_of(self._started, self._before):
            return  # it was over already, and nothing was taken back
        if self._trick.kind == "other log":
            seen = [self._log[0] - _OTHER_MS, *self._log[1:]]
            if row.log_digest == digest_of(self._started, seen):
                return  # who had seen it did not ask for it again
            raise Broken("no undo passes unnoticed", f"a log that differs from what was seen is {row.verdict}")
        if answered:
            raise Broken("an undo is void where somebody saw it", f"{self._trick.kind}: it is {row.verdict}")
        if clocks_agree and row.unseen_ms + row.slack_ms < 1000 * self._seen_s - 300:
            raise Broken(
                "no undo passes unnoticed",
                f"{1000 * self._seen_s:.0f} ms were taken back, and the row tells of {row.unseen_ms} unseen and "
                f"{row.slack_ms} of slack",
            )
