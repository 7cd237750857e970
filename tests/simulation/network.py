"""Connections between browsers and nodes: messages in order within one, in no order among several.

A `Line` is one WebSocket as TCP carries it, message by message. Either way delays vary, and what waits is delivered in
order. A cut holds everything back: when it ends, what waits arrives, or the connection is reset at both ends. A line
may go dead without a word (a machine without power, a NAT that forgot): both ends find out by themselves, or never.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.node import Machine

Item = tuple[str, Any]
"""What goes along a line: "text", "binary", "ping" or "pong" with its payload, "close" with code and reason, "end"."""

GONE: Item = ("end", None)
"""The other end's process is gone, or has reset the connection."""


class End(Protocol):
    """One end of a line."""

    def arrived(self, item: Item) -> None:
        """The next of what the other end sent, or `GONE`."""


@dataclass(slots=True)
class Quality:
    """How the network between one browser and all machines is, at the moment."""

    delay_s: float = 0.02
    """A typical delay; each is between a half of it and twice as much."""


class Network:
    """Who can reach whom."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance("network")
        self.cuts: set[tuple[str, str]] = set()
        """Pairs of browser and machine between which nothing arrives."""
        self.lines: list[Line] = []

    def cut(self, browser: str, machine: str) -> None:
        """Hold back everything between these two."""
        self.cuts.add((browser, machine))

    def mend(self, browser: str, machine: str, *, reset: bool) -> None:
        """Let everything through again; or else (`reset`) what waited is lost, and the connections with it."""
        if (browser, machine) not in self.cuts:
            return
        self.cuts.discard((browser, machine))
        for line in [line for line in self.lines if (line.browser, line.machine.name) == (browser, machine)]:
            if reset and line.held_back:
                line.reset()
            else:
                line.go_on()


class _Way:
    """One direction of a line."""

    __slots__ = ("_last", "_line", "end", "waiting")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._last = 0.0
        self.end: End | None = None
        self.waiting: deque[Item] = deque()
        """What has come to the place where it is held back."""

    def send(self, item: Item) -> None:
        line = self._line
        world = line.network.world
        delay_s = line.quality.delay_s
        self._last = max(self._last + 1e-6, world.now + delay_s * (0.5 + 1.5 * line.network.chance.random()))
        world.at(self._last, self._arrive, item)

    def _arrive(self, item: Item) -> None:
        self.waiting.append(item)
        self.go_on()

    def go_on(self) -> None:
        while self.waiting and not self._line.is_held:
            item = self.waiting.popleft()
            if self.end is not None:
                self.end.arrived(item)


class Line:
    """One connection."""

    def __init__(self, network: Network, browser: str, machine: Machine, quality: Quality) -> None:
        self.network = network
        self.browser = browser
        self.machine = machine
        self.quality = quality
        self.dead = False
        """Nothing arrives any more, and nobody says so."""
        self.to_server = _Way(self)
        self.to_browser = _Way(self)
        network.lines.append(self)

    @property
    def is_held(self) -> bool:
        """Whether what is on its way has to wait."""
        return self.dead or (self.browser, self.machine.name) in self.network.cuts

    @property
    def held_back(self) -> bool:
        """Whether anything waits."""
        return bool(self.to_server.waiting or self.to_browser.waiting)

    def go_on(self) -> None:
        """Deliver what waited."""
        self.to_server.go_on()
        self.to_browser.go_on()

    def reset(self) -> None:
        """Both ends learn that it is over; what was on its way is lost."""
        for way in (self.to_server, self.to_browser):
            way.waiting.clear()
            if not self.dead and way.end is not None:
                way.end.arrived(GONE)
        self.forget()

    def die(self) -> None:
        """From now on nothing arrives, either way, without a word."""
        self.dead = True

    def forget(self) -> None:
        """Both ends are done with it."""
        self.to_server.end = self.to_browser.end = None
        if self in self.network.lines:
            self.network.lines.remove(self)


class Socket:
    """The browser's end: a WebSocket as a page has it. The browser itself answers pings, whatever the page does.

    `opened()`, `message(payload)` and `closed(code)` are called; after `closed`, or once it was let go, nothing.
    """

    def __init__(
        self,
        line: Line,
        *,
        opened: Callable[[], None],
        message: Callable[[bytes], None],
        closed: Callable[[int], None],
    ) -> None:
        self._line = line
        self._opened = opened
        self._message = message
        self._closed: Callable[[int], None] | None = closed
        self.is_open = False
        line.to_browser.end = self

    @property
    def carries(self) -> bool:
        """Whether what either end says reaches the other."""
        return self.is_open and not self._line.is_held and self._line.to_server.end is not None

    def send(self, payload: bytes, *, binary: bool = False) -> None:
        self._line.to_server.send(("binary" if binary else "text", payload))

    def close(self, code: int = 1000) -> None:
        """Close it; nobody waits for the answer."""
        if self.is_open:
            self._line.to_server.send(("close", (code, "")))
        else:
            self._line.to_server.send(GONE)
        self._let_go()

    def vanish(self, *, silently: bool) -> None:
        """The browser is gone; whether its system says so to the other end."""
        if silently:
            self._line.die()
        else:
            self._line.to_server.send(GONE)
        self._let_go()

    def _let_go(self) -> None:
        self.is_open = False
        self._closed = None
        self._line.to_browser.end = None

    def arrived(self, item: Item) -> None:
        kind, value = item
        if kind == "ping":
            self._line.to_server.send(("pong", value))
        elif kind == "opened":
            self.is_open = True
            self._opened()
        elif kind in ("text", "binary"):
            self._message(value)
        elif kind == "close":
            self._line.to_server.send(("close", value))
            self._end(value[0])
        elif kind == "end":
            self._end(1006)

    def _end(self, code: int) -> None:
        closed = self._closed
        self._let_go()
        if closed is not None:
            closed(code)


def delays(chance: random.Random) -> Quality:
    """A network as people have them."""
    return Quality(delay_s=chance.choice((0.002, 0.02, 0.06, 0.2, 0.6)))
