"""Racers as lean as the load needs them: rooms of five that open, fill, and race until nobody looks any more.

They type the text without an error, at a page's pace (a frame each 250 ms with the model's mix of keys, holds told),
so that the clusters done are the keys sent. What a frame of progress says is only taken apart where somebody wants to
know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, time
from typing import Any

import msgpack

from loadtest.bench.steady import PERIOD_MS, model_mix
from loadtest.checking import words_of
from loadtest.engine import Engine
from loadtest.line import BINARY, Address, Line, client_frame

__all__ = ["SEATS", "Racer", "Room", "gather"]

SEATS = 5

_WORDS = 150  # two minutes and more at the mix's pace
_HOLD_MS = 90
_PHASE_MS = PERIOD_MS * (5**0.5 - 1) / 2  # so racers of a room are spread over it, and rooms too
_ROOMS_PER_S = 25.0
_COME_S = 90.0
_LATER = frozenset(("away", "busy"))
_PROGRESS = b"\xadrace.progress"
_KIND_BY = 24  # bytes of a message in which its kind is said

_pack: Callable[[dict[str, Any]], bytes] = msgpack.Packer(autoreset=True).pack

Row = list[Any]
"""Of progress: `[lane, clusters done, wpm, wrong inserts]`."""


class Room:
    """The racers of one race, who find each other by it."""

    __slots__ = ("fault", "later", "race", "racers")

    def __init__(self) -> None:
        self.race: str | None = None
        self.racers: list[Racer] = []
        self.fault: str | None = None
        """Why it does not race."""
        self.later = 0
        """How often a racer was told to wait: Redis was away, or the node thought so."""

    @property
    def racing(self) -> bool:
        """Whether all type."""
        return all(racer.typing for racer in self.racers)

    def opened(self, race: str) -> None:
        """The first has opened it: let the others in."""
        self.race = race
        for racer in self.racers[1:]:
            racer.join()

    def came(self) -> None:
        """Begin once all are there: a race starts when those who are there are ready."""
        if all(racer.lane is not None for racer in self.racers):
            for racer in self.racers:
                racer.make_ready()


class Racer(Line):
    """One racer with one connection."""

    __slots__ = (
        "_address",
        "_asked",
        "_frame",
        "_gaps",
        "_greeted",
        "_last",
        "_next_ms",
        "_room",
        "_text",
        "frames",
        "lane",
        "n",
        "sent",
        "shown",
        "told",
    )

    def __init__(self, engine: Engine, number: int, room: Room, address: Address) -> None:
        super().__init__(engine, number)
        self._room = room
        self._address = address
        self._greeted = False
        self._asked: dict[str, Any] = {}
        self._text: list[str] = []
        self._gaps = model_mix().frames
        self._frame = number * 7919
        self._last = 0
        self._next_ms = 0.0
        self.lane: int | None = None
        self.n = 0
        """Keys sent, all of them right: clusters done."""
        self.frames = 0
        """Of keys, sent."""
        self.told = 0
        """Frames of progress that came."""
        self.sent: Callable[[Racer, int], None] | None = None
        """Called with itself and how far it is, after each frame of keys."""
        self.shown: Callable[[Racer, list[Row]], None] | None = None
        """Called with itself and what progress tells."""
        room.racers.append(self)

    @property
    def room(self) -> Room:
        """Where it races."""
        return self._room

    @property
    def address(self) -> Address:
        """Its node's."""
        return self._address

    @property
    def typing(self) -> bool:
        """Whether its race is under way."""
        return self.n > 0

    def come(self) -> None:
        """Connect."""
        self.connect(self._address, "typegate.v1.msgpack")

    def join(self) -> None:
        """Take a lane, if there is a race and a connection by now."""
        if self._greeted and self._room.race is not None:
            self._ask({"t": "race.join", "race": self._room.race})

    def make_ready(self) -> None:
        """Say so."""
        self._ask({"t": "race.ready"})

    def rest(self) -> None:
        """Type no more."""
        self._text = self._text[: self.n]

    # --- the line ---

    def opened(self) -> None:
        """Say who this is."""
        self._say({"t": "auth"})

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Count progress, heed the rest."""
        if _PROGRESS in bytes(payload[:_KIND_BY]):
            self.told += 1
            if self.shown is not None:
                self.shown(self, msgpack.unpackb(payload)["p"])
            return
        message = msgpack.unpackb(payload)
        match message["t"]:
            case "ready":
                self._greeted = True
                if self is self._room.racers[0]:
                    self._ask({"t": "race.create", "mode": "words", "count": _WORDS, "racers": SEATS})
                else:
                    self.join()
            case "race.state":
                self._take_state(message)
            case "started":
                self._begin(message)
            case "error" if message.get("retry") is not None and message["code"] in _LATER:
                self._room.later += 1  # it asks again then; a race that is under way goes on
                if not self._text:
                    self.wake_at(self._engine.now_ms + message["retry"] + 1)
            case "error" if self._room.later and message["code"] == "not_racing":
                pass  # ready again, since `away` was said of what was done, and the race has begun meanwhile
            case "error":
                self._room.fault = f"{message['code']}: {message['message']}"

    def lost(self, code: int, reason: str) -> None:
        """Nobody should hang up on a racer."""
        self._room.fault = f"closed {code} {reason}"

    def wake(self, now_ms: float) -> None:
        """Send the next frame; what was missed is left out, so that each keeps its place in the second."""
        if not self._text:
            if self._asked:
                self._say(self._asked)
            return
        gaps = self._gaps[self._frame % len(self._gaps)]
        keys = self._text[self.n : self.n + len(gaps)]
        if len(keys) < len(gaps):
            return  # the end of the text, or of the bench
        events: list[int | str] = []
        for gap, key in zip(gaps, keys, strict=True):
            events.append(gap)
            events.append(key)
        message: dict[str, Any] = {"t": "keys", "n": self.n, "e": events}
        if self._last:
            message["h"] = [part for event in range(self.n - self._last, self.n) for part in (event, _HOLD_MS)]
        self._write(client_frame(BINARY, _pack(message), self._number + self._frame))
        self.n += len(keys)
        self._last = len(keys)
        self._frame += 1
        self.frames += 1
        if self.sent is not None:
            self.sent(self, self.n)
        self._next_ms += PERIOD_MS
        while self._next_ms < now_ms:
            self._next_ms += PERIOD_MS
        self.wake_at(self._next_ms)

    # --- inside ---

    def _take_state(self, state: dict[str, Any]) -> None:
        if self.lane is not None or state.get("lane") is None:
            return
        self.lane = state["lane"]
        self._asked = {}  # it was done though it was answered with `away`: asked again it would be done twice
        if self._room.race is None:
            self._room.opened(state["race"])
        self._room.came()

    def _begin(self, message: dict[str, Any]) -> None:
        """The countdown: type from the start instant on, at a phase of its own."""
        self._text = [cluster for word in words_of(message) for cluster in word]
        start_ms = monotonic() * 1000 + message["start_ms"] - time() * 1000  # the race's clock is this machine's
        self._next_ms = start_ms + PERIOD_MS + self._number * _PHASE_MS % PERIOD_MS
        self.wake_at(self._next_ms)

    def _ask(self, message: dict[str, Any]) -> None:
        self._asked = message
        self._say(message)

    def _say(self, message: dict[str, Any]) -> None:
        self._write(client_frame(BINARY, _pack(message), self._number))


def gather(engine: Engine, rooms: Sequence[Room]) -> None:
    """Let all come, room after room, until all type. Raises RuntimeError where one room does not."""
    begun_ms = engine.now_ms
    for number, room in enumerate(rooms):
        engine.run(partial(_is_due, engine, begun_ms + 1000 * number / _ROOMS_PER_S), limit_s=_COME_S)
        for racer in room.racers:
            racer.come()
    if not engine.run(lambda: rooms[-1].racing and all(room.racing for room in rooms), limit_s=_COME_S):
        faults = [room.fault for room in rooms if room.fault is not None]
        still = sum(not room.racing for room in rooms)
        raise RuntimeError(f"{still} of {len(rooms)} rooms do not race; {faults[0] if faults else 'no fault told'}")


def _is_due(engine: Engine, due_ms: float) -> bool:
    return engine.now_ms >= due_ms
