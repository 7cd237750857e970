"""One process's share of a swarm: its typists come, type for a while, and wait for their last results.

A swarm of several processes has one of these in each; what they counted travels back and is added up. All read the
same monotonic clock, so that one instant to begin at is all that they agree upon.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random

from loadtest.client import ClientOptions, TypingClient
from loadtest.crowd import PEOPLE, Crowd
from loadtest.engine import Engine
from loadtest.line import Address
from loadtest.meters import Meters, Times
from loadtest.mixes import MIXES, MixPlan
from loadtest.racer import SEATS, RacingClient, Table

__all__ = ["Outcome", "Share", "SwarmOptions", "Window", "help_swarm"]

MOST_TYPISTS = 60_000
MOST_PROCESSES = 64
LONGEST_S = 3_600
SETTLE_S = 120.0
"""How long, after the time is over, tests under way may take to their `stored`."""


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """One run."""

    typists: int = 1_000
    seconds: float = 30.0
    """Of typing, after the ramp."""
    ramp_s: float = 0.0
    """Over which typists come; 0: two thousand a second."""
    seed: int = 1
    mix: str = "mix"
    racers: int = 0
    """Of the typists, how many race each other instead, five at a table."""
    race_words: int = 20
    """Words of a race."""
    rest_ms: float = 2_000.0
    """Mean pause between two tests."""
    kill_every_s: float | None = None
    """The run's own server is killed (SIGKILL) and started again this often."""
    drop_per_s: float = 0.0
    """Connections that are lost, each second."""
    settle: bool = True
    """Whether tests under way are waited for at the end."""
    processes: int = 1
    """Among which the typists are shared out: one types some 20,000 on a core, more help where there are more cores."""
    cores: tuple[int, ...] = ()
    """Where these processes run, one after the other; none: anywhere."""
    client: ClientOptions = field(default_factory=ClientOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.typists <= MOST_TYPISTS:
            raise ValueError(f"typists is {self.typists}; allowed are 1 to {MOST_TYPISTS}")
        if not 0 < self.seconds <= LONGEST_S or not 0 <= self.ramp_s <= LONGEST_S:
            raise ValueError(f"seconds and ramp are at most {LONGEST_S}, and seconds more than 0")
        if not 0 <= self.racers <= self.typists or not 1 <= self.race_words <= 200:
            raise ValueError("racers are some of the typists, and a race has 1 to 200 words")
        if self.mix not in MIXES:
            raise ValueError(f"mode is {self.mix!r}; allowed are {', '.join(MIXES)}")
        if self.kill_every_s is not None and self.kill_every_s < 1:
            raise ValueError("kill-every is at least 1 second")
        if self.rest_ms < 0 or self.drop_per_s < 0:
            raise ValueError("rest and drop are 0 or more")
        if not 1 <= self.processes <= min(MOST_PROCESSES, self.typists):
            raise ValueError(
                f"processes is {self.processes}; allowed are 1 to {MOST_PROCESSES}, a typist each at least"
            )

    @property
    def ramp_ms(self) -> float:
        """Over which they come."""
        return self.ramp_s * 1000 or self.typists / 2

    @property
    def total_ms(self) -> float:
        """From the first connection to the end of the typing."""
        return self.ramp_ms + self.seconds * 1000


@dataclass(slots=True)
class Window:
    """What a share did in its steady part, after the ramp."""

    seconds: float
    frames: int
    events: int
    frames_in: int
    cpu_s: float
    """The process's own."""
    connections: int
    typing: int
    times: dict[str, Times]
    lateness: Times
    """How late the process itself was."""


@dataclass(slots=True)
class Outcome:
    """What a share did in all."""

    meters: Meters
    sessions: list[str]
    """Those that some client saw stored."""
    cut_short: int
    """Clients that still typed when the wait for the last results was over."""
    unfinished: int
    """Clients whose last result did not come."""


class Share:
    """The typists of one process: of all numbers those that leave `place` when divided by the number of processes."""

    def __init__(self, options: SwarmOptions, address: Address, place: int = 0) -> None:
        if options.cores:
            os.sched_setaffinity(0, {options.cores[place % len(options.cores)]})
        self.options = options
        self.meters = Meters()
        self.engine = Engine()
        crowd = Crowd(options.seed, min(PEOPLE, options.typists))
        self._numbers = range(place, options.typists, options.processes)
        for number in self._numbers[:PEOPLE]:
            crowd.person(number)  # now, not amid the run
        tables = [Table() for _ in self._numbers[::SEATS]]
        self.clients = [
            self._client(number, crowd, tables[place // SEATS]) for place, number in enumerate(self._numbers)
        ]
        self._address = address
        self._chance = Random(f"swarm {options.seed} {place}")
        self._drop_every_ms = 1000 * options.processes / options.drop_per_s if options.drop_per_s else 0.0
        self._drop_ms = 0.0
        self._before = (0.0, 0, 0, 0, 0.0)
        self._look_ms = 0.0

    def _client(self, number: int, crowd: Crowd, table: Table) -> TypingClient:
        options = self.options
        plan = MixPlan(crowd, number, mix=options.mix, seed=options.seed, rest_ms=options.rest_ms)
        if number >= options.racers:
            return TypingClient(self.engine, number, plan, options=options.client, meters=self.meters)
        return RacingClient(
            self.engine,
            number,
            plan,
            options=options.client,
            meters=self.meters,
            table=table,
            count=options.race_words,
        )

    def begin(self, begun_ms: float) -> None:
        """Come one after the other, from this instant on."""
        each_ms = self.options.ramp_ms / self.options.typists
        for number, client in zip(self._numbers, self.clients, strict=True):
            client.begin(self._address, due_ms=begun_ms + number * each_ms)
        gc.collect()
        gc.freeze()

    def turn(self, until_ms: float, progress: Callable[[float], None] | None = None) -> None:
        """Type until this instant of the clock."""
        engine = self.engine
        shown_ms = engine.now_ms
        while engine.now_ms < until_ms:
            engine.turn()
            self._look()
            if progress is not None and engine.now_ms - shown_ms > 200:
                shown_ms = engine.now_ms
                progress(shown_ms)

    def _look(self) -> None:
        """Once a second, let every client see whether it still has a connection."""
        if self.engine.now_ms >= self._look_ms:
            self._look_ms = self.engine.now_ms + 1_000
            for client in self.clients:
                client.look()

    def steady(self) -> None:
        """Begin to count for the window: the ramp is over."""
        meters = self.meters
        meters.clear_times()
        self.engine.lateness.clear()
        self._drop_ms = self.engine.now_ms + self._drop_every_ms
        self._before = (self.engine.now_ms, meters.frames_out, meters.events, meters.frames_in, _own_cpu_s())

    def turn_steady(self, until_ms: float) -> None:
        """The same as `turn`, and connections are lost as the options want it."""
        if not self._drop_every_ms:
            self.turn(until_ms)
            return
        while self.engine.now_ms < until_ms:
            self.turn(min(until_ms, self._drop_ms))
            if self.engine.now_ms >= self._drop_ms:
                self._drop_ms += self._drop_every_ms
                self._chance.choice(self.clients).drop()

    def window(self) -> Window:
        """What was counted since `steady`."""
        begun_ms, frames, events, frames_in, cpu_s = self._before
        meters = self.meters
        return Window(
            seconds=(self.engine.now_ms - begun_ms) / 1000,
            frames=meters.frames_out - frames,
            events=meters.events - events,
            frames_in=meters.frames_in - frames_in,
            cpu_s=_own_cpu_s() - cpu_s,
            connections=len(self.engine),
            typing=sum(client.typing for client in self.clients),
            times={name: times.copy() for name, times in meters.times().items()},
            lateness=self.engine.lateness.copy(),
        )

    def settle(
        self, within_s: float = SETTLE_S, *, typed: bool = False, given_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Start no further test, and wait for the last results: from now on, or (`typed`) from the last key on that
        anybody has to type."""
        for client in self.clients:
            client.stop()
        until_ms = self.engine.now_ms + 1_000 * within_s
        left = self.clients
        while (left := [client for client in left if not client.done]) and not given_up():
            if typed:  # whoever was about to start has begun a whole test since
                until_ms = max(until_ms, max(client.typed_ms for client in left) + 1_000 * within_s)
            if self.engine.now_ms >= until_ms:
                return
            self.turn(min(until_ms, self.engine.now_ms + 50))

    def outcome(self) -> Outcome:
        """What was done in all."""
        return Outcome(
            self.meters,
            [session for client in self.clients for session in client.sessions],
            cut_short=sum(client.typing for client in self.clients),
            unfinished=sum(not (client.done or client.typing) for client in self.clients),
        )

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self.clients:
            client.abandon()
        self.engine.close()


def help_swarm(swarm: Connection, options: SwarmOptions, address: Address, place: int) -> None:
    """Be one more process of a swarm: say `True`, take the instant to begin at, give a Window, and an Outcome."""
    share = Share(options, address, place)
    try:
        swarm.send(True)
        begun_ms = swarm.recv()
        share.begin(begun_ms)
        share.turn(begun_ms + options.ramp_ms)
        share.steady()
        share.turn_steady(begun_ms + options.total_ms)
        swarm.send(share.window())
        if options.settle:
            share.settle()
        swarm.send(share.outcome())
    except (EOFError, BrokenPipeError):
        pass  # the swarm is gone
    finally:
        share.close()
        swarm.close()


def _own_cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system
