"""A racer's client: race after race with the others of its table, and in each of them a typist like any other.

One of a table opens a race, the others join it by its id, all make ready; the text comes with the countdown, and time
begins at the start instant. Nobody waits for ever: who does not get in opens the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic, time
from typing import Any

from loadtest.checking import words_of
from loadtest.client import ClientOptions, Phase, Plan, TypingClient
from loadtest.engine import Engine
from loadtest.frames import Frames
from loadtest.meters import Meters

__all__ = ["SEATS", "RaceEnd", "RacingClient", "Table"]

SEATS = 5
"""Racers at a table."""

_LOOK_MS = 300.0  # how often who waits for the table's next race looks whether it is there
_SETTLED_MS = 30_000.0  # how long a racer waits for the others, to see the final table
_CLOSED = frozenset(("no_race", "race_full", "race_running", "race_over", "not_racing"))
_LATER = frozenset(("away", "busy", "full", "races_full", "draining"))


class Table:
    """Racers of one process who race each other."""

    __slots__ = ("finals", "opener", "race")

    def __init__(self) -> None:
        self.race: str | None = None
        """The race that one may join now."""
        self.opener: int | None = None
        """Who opens the next one, or has opened it."""
        self.finals: dict[str, list[dict[str, Any]]] = {}
        """How the last races ended, as the first of the racers was told."""


@dataclass(frozen=True, slots=True)
class RaceEnd:
    """How a race ended, as one of its racers was told last."""

    lane: int
    """The racer's own."""
    final: bool
    """Whether its places were final by then."""
    start_ms: float
    """When it began, in epoch ms."""
    racers: list[dict[str, Any]]
    """Its lanes as they are shown to everybody."""
    nodes: Mapping[str, float]
    """Which nodes told the racer of it once it had begun, and when each did so last, in epoch ms."""


class RacingClient(TypingClient):
    """One racer with one connection. `count`: words of a race."""

    __slots__ = ("_count", "_node", "_race", "_table", "_told_by", "ends")

    def __init__(
        self,
        engine: Engine,
        number: int,
        plan: Plan,
        *,
        options: ClientOptions,
        meters: Meters,
        table: Table,
        count: int,
    ) -> None:
        super().__init__(engine, number, plan, options=options, meters=meters)
        self._table = table
        self._count = count
        self._race: str | None = None
        """The race whose end it has not seen."""
        self._node = ""
        """The one that it is connected to, or was last."""
        self._told_by: dict[str, dict[str, float]] = {}
        """Of the last races: `RaceEnd.nodes`."""
        self.ends: dict[str, RaceEnd] = {}
        """How its races ended, where figures are kept: those that had begun."""

    def stop(self) -> None:
        """Join no further race; the one that has begun is typed to its end, and that of the others waited for."""
        self._stopping = True
        if self._started is None and not (self.phase is Phase.RESTING and self._race is not None):
            self._say({"t": "race.leave"})
            self._leave()

    def wake(self, now_ms: float) -> None:
        """Ask again for the lane in the lobby, if that is what it waits for; else as any typist."""
        if self.phase is Phase.STARTING and self._started is None and self._race is not None:
            self.due_ms = inf
            self._send_start()
            return
        super().wake(now_ms)

    def _leave(self) -> None:
        if self._table.opener == self._number:
            self._table.opener = None
            self._table.race = None
        super()._leave()

    def _begin_test(self) -> None:
        """Join the table's race, open it, or wait for who does."""
        if self._stopping:
            self._leave()
            return
        self._clear()
        self._race = None
        table = self._table
        if table.race is not None:
            self._start = {"t": "race.join", "race": table.race}
        elif table.opener in (None, self._number):
            table.opener = self._number
            self._start = {"t": "race.create", "mode": "words", "count": self._count, "racers": SEATS}
        else:
            self.phase = Phase.RESTING
            self.wake_at(self._engine.now_ms + _LOOK_MS)
            return
        self._send_start()

    def _send_start(self) -> None:
        self.phase = Phase.STARTING
        self._started_ms = monotonic() * 1000
        self._say(dict(self._start or {}))

    def _other(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "hello":
            self._node = message["node"]
        elif kind == "race.state" and message.get("lane") is not None:
            self._take_state(message)

    def _take_state(self, state: dict[str, Any]) -> None:
        race, table = state["race"], self._table
        settled = state["phase"] == "settled" and state.get("start_ms") is not None
        final = state["phase"] == "settled" and state.get("provisional") is False
        if state.get("start_ms") is not None:
            self._note_node(race)
        if settled:
            self._keep(state, final=final)
        if final:
            self._compare(race, state["racers"])
        if self._started is not None:
            if final and race == self._race:
                self._race = None
            return
        if state["phase"] == "lobby":
            if self.phase is not Phase.STARTING:
                return
            self._race = race
            self._start = {"t": "race.join", "race": race}  # where to come back to
            if table.opener == self._number:
                table.race = race
            if not next(row for row in state["racers"] if row["lane"] == state["lane"])["ready"]:
                self._say({"t": "race.ready"})
            return
        self._begun(race)
        if final and race == self._race:
            self._race = None
            self._start = None
            self.phase = Phase.RESTING
            self.wake_at(self._engine.now_ms + self._plan.pause_ms(self._test))

    def _begun(self, race: str | None) -> None:
        """Nobody can join this one any more."""
        table = self._table
        if race == table.race:
            table.race = table.opener = None

    def _note_node(self, race: str) -> None:
        told_by = self._told_by
        told_by.setdefault(race, {})[self._node] = time() * 1000
        if len(told_by) > SEATS:
            del told_by[next(iter(told_by))]

    def _keep(self, state: dict[str, Any], *, final: bool) -> None:
        race = state["race"]
        if self._options.keep and (final or race not in self.ends or not self.ends[race].final):
            self.ends[race] = RaceEnd(
                state["lane"], final, state["start_ms"], _for_all(state["racers"]), self._told_by[race]
            )

    def _compare(self, race: str, racers: list[dict[str, Any]]) -> None:
        """All racers of a race are told the same in the end."""
        table = _for_all(racers)
        finals = self._table.finals
        if finals.setdefault(race, table) != table:
            self._meters.errors["another table"] += 1
            self._meters.note(f"race {race} ended as {table}, and as {finals[race]}")
        if len(finals) > SEATS:
            finals.pop(next(iter(finals)))

    def _take_text(self, message: dict[str, Any]) -> None:
        """The countdown: type from the start instant on."""
        if self._started is not None or "race" not in message or self.phase is not Phase.STARTING:
            return
        meters = self._meters
        meters.started += 1
        self._begun(message["race"])
        now_ms = monotonic() * 1000
        start_ms = now_ms + message["start_ms"] - time() * 1000  # the race's clock is this machine's
        self._started = message
        self.live_ms = max(now_ms, start_ms)
        self._words = words_of(message)
        typed = self._plan.type(self._words, test=self._test, limit_ms=None)
        self._frames = Frames(typed, self._options.flush_ms)
        self.phase = Phase.TYPING
        self._first_ms = start_ms + typed.gaps[0]
        self._end_ms = inf
        self.wake_at(max(self._engine.now_ms, self._first_ms))

    def _go_on(self) -> None:
        """Stay until it is stored: the race goes on, too."""

    def _rest(self) -> None:
        """Wait for the others, to be told how the race ended, and a while longer."""
        if self._started is None or self._race is None:
            super()._rest()
            return
        self._clear()
        self.phase = Phase.RESTING
        self.wake_at(self._engine.now_ms + _SETTLED_MS)

    def _stored(self, message: dict[str, Any]) -> None:
        before = self._meters.stored
        super()._stored(message)
        self._meters.raced += self._meters.stored - before

    def _error(self, message: dict[str, Any]) -> None:
        code = message["code"]
        if self._started is not None:
            if code in _LATER or code in _CLOSED:  # the race stands still or goes on without us; the test goes on
                self._meters.errors[code] += 1
                return
        elif code in _LATER and self._race is not None and self.phase is Phase.STARTING:
            self._meters.errors[code] += 1  # the lobby stands still: it has its lane there, and says again what it said
            self.wake_at(self._engine.now_ms + (message.get("retry") or _LOOK_MS) + 1)
            return
        elif code in _CLOSED or code in _LATER:
            self._meters.errors[code] += 1
            if code in _CLOSED:
                self._begun(self._race or (self._start or {}).get("race"))
            if self._table.opener == self._number and self._table.race is None:
                self._table.opener = None
            self._race = self._start = None
            self.phase = Phase.RESTING
            self.wake_at(self._engine.now_ms + (message.get("retry") or _LOOK_MS) + 1)
            return
        super()._error(message)


def _for_all(racers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table as everybody is shown it: without what only the racer itself is told."""
    return [{name: value for name, value in row.items() if name != "session"} for row in racers]
