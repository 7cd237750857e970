"""What a page runs in, and its connections, each kept up as connection.js of `gateway/web` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import orjson

from tests.simulation.browser import Browser
from tests.simulation.log import Message
from tests.simulation.network import Socket
from tests.simulation.world import Timer, cancel

_OF_RACES: Final = ("race", "version", "phase", "lane", "ready", "provisional", "next")
FINAL_CLOSES: Final = frozenset((4500, 4501, 4502, 4503, 4504, 4505))
BACK_OFF_MS: Final = (500, 20_000)
STEADY_MS: Final = 5_000
HANDSHAKE_MS: Final = 10_000


class Listener(Protocol):
    """What a link tells (connection.js)."""

    def opened(self) -> None: ...

    def ready(self, message: Message) -> None: ...

    def message(self, message: Message) -> None: ...

    def beat(self, message: Message) -> None: ...

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
        self._heard_at = self._sent_at = self._waiting_at = 0.0
        self._timers: dict[str, Timer] = {}

    @property
    def is_open(self) -> bool:
        """From when the page hears of it."""
        return self._is_open and self._socket is not None and self._socket.is_open

    @property
    def carries(self) -> bool:
        """Whether it is ready, and what is said over it arrives."""
        return self.is_ready and self._socket is not None and self._socket.carries

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
        if self._waiting_at <= self._heard_at:
            self._waiting_at = self._sent_at
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
        elif kind == "hb":
            self._listener.beat(message)
        else:
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
            and self._waiting_at > self._heard_at
            and now - self._waiting_at > silence / 4
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


def _short(message: Message) -> str:
    """A message in a few words."""
    kind = message["t"]
    if kind == "keys":
        return f"keys {message['n']}+{len(message['e']) // 2}"
    said = [kind]
    for name in ("session", "n", "ref", "code", "retry", "expected", "verdict", "mode", "after_ms", *_OF_RACES):
        if name in message:
            value = message[name]
            said.append(f"{name}={value[-6:] if name == 'session' else value}")
    return " ".join(said)
