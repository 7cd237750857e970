"""A browser as far as pages see one: what it keeps, its clocks, its locks, and the way to the server.

What is in `kept` (localStorage) survives reloads, crashes of tabs and the browser's end; `of_tab` (sessionStorage) is
the tab's, and survives its reloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.simulation.network import GONE, Line, Network, Quality, Socket
from tests.simulation.node import Machine
from tests.simulation.world import EPOCH_S, Timer, World, cancel

_LOCK_PATIENCE_S = 0.4
_STICKY = 0.6  # share of the connections that the balancer's cookie brings to the same node, where it is up


class Browser:
    """One browser on one machine, behind one network."""

    def __init__(
        self,
        world: World,
        name: str,
        network: Network,
        machines: Sequence[Machine],
        *,
        quality: Quality,
        offset_s: float,
        rate: float,
        locks: bool,
        resends: int = 0,
    ) -> None:
        self.world = world
        self.name = name
        self.chance = world.chance(f"browser {name}")
        self.quality = quality
        self.offset_s = offset_s
        """How far its wall clock is from the right time."""
        self.rate = rate
        """How many of its seconds pass in one of the world's."""
        self.has_locks = locks
        """Whether its pages can hold locks (they are on https)."""
        self.resends = resends
        """Events that its pages send again at times."""
        self.kept: dict[str, Any] = {}
        self.sockets: set[Socket] = set()
        self._network = network
        self._machines = machines
        self._sticky: Machine | None = None
        self._locks: dict[str, object] = {}
        self._waiting: list[tuple[str, object, Callable[[Callable[[], None] | None], None], Timer]] = []

    # -- clocks -------------------------------------------------------------------------------------------------------

    def clock_ms(self) -> float:
        """A clock that never goes back."""
        return self.world.now * 1000 * self.rate

    def wall_ms(self) -> float:
        """The wall clock, which may be set."""
        return (EPOCH_S + self.world.now * self.rate + self.offset_s) * 1000

    # -- the way to the server ----------------------------------------------------------------------------------------

    def connect(
        self, *, opened: Callable[[], None], message: Callable[[bytes], None], closed: Callable[[int], None]
    ) -> Socket:
        """Open a WebSocket, as the balancer leads it: mostly to where the last one went, else to any that is up."""
        up = [machine for machine in self._machines if machine.listens] or list(self._machines)
        machine = self._sticky
        if machine not in up or self.chance.random() > _STICKY:
            machine = self.chance.choice(up)
        self._sticky = machine
        line = Line(self._network, self.name, machine, self.quality)
        socket = Socket(line, opened=opened, message=message, closed=closed)
        self.sockets.add(socket)
        self.world.note(self.name, "connects to", machine.name)
        line.to_server.end = _Knocking(line, machine)
        line.to_server.send(("knock", None))
        return socket

    # -- locks --------------------------------------------------------------------------------------------------------

    def forget_node(self) -> None:
        """Drop the balancer's cookie."""
        self._sticky = None

    def hold(self, name: str, holder: object, granted: Callable[[Callable[[], None] | None], None]) -> None:
        """Ask for a lock: `granted` gets what lets go of it, or None where it is held by another for too long."""
        if not self.has_locks:
            self.world.after(0.001, granted, lambda: None)
        elif name not in self._locks:
            self._locks[name] = holder
            self.world.after(0.001, granted, partial(self._release, name, holder))
        else:
            timer = self.world.after(_LOCK_PATIENCE_S, self._in_vain, name, holder, granted)
            self._waiting.append((name, holder, granted, timer))

    def _in_vain(self, name: str, holder: object, granted: Callable[[None], None]) -> None:
        self._waiting = [one for one in self._waiting if one[2] is not granted]
        granted(None)

    def _release(self, name: str, holder: object) -> None:
        if self._locks.get(name) is holder:
            del self._locks[name]
            for i, (wanted, other, granted, timer) in enumerate(self._waiting):
                if wanted == name:
                    del self._waiting[i]
                    cancel(timer)
                    self.hold(name, other, granted)
                    break

    def release_all(self, holder: object) -> None:
        """A page is gone, and its locks with it."""
        for name in [name for name, by in self._locks.items() if by is holder]:
            self._release(name, holder)


class _Knocking:
    """The listening side of a new line: what the machine's system does, and then its server."""

    def __init__(self, line: Line, machine: Machine) -> None:
        self._line = line
        self._machine = machine

    def arrived(self, item: tuple[str, Any]) -> None:
        server = self._machine.server
        if item[0] != "knock":
            return
        if server is None or not server.listens:
            self._line.to_browser.send(GONE)
        else:
            server.accept(self._line, binary=False)
