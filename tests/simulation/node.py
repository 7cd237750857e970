"""Machines and the server that runs on each: the product's own classes, put together as `gateway.app` does."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from functools import cache, partial
from typing import Any, TypeVar

from config.bus import BusOptions
from config.gateway import AuthOptions, ConnectionOptions
from gateway.auth import Authenticator
from gateway.bus import Bus
from gateway.bus.lease import LeasedDirectory
from gateway.codec import CODECS, JSON
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.races import Rooms
from gateway.slices import Slices
from gateway.submissions import Submissions
from gateway.takeovers import Takeovers
from gateway.wheel import Wheel
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.stream import Drain, StoreSink
from persistence.stream.port import Sink, StreamOptions
from session.options import SessionLimits
from session.passages import Vocabulary
from session.receipt import KeyRing
from session.result import Result
from tests.simulation.disk import Disk, DiskSpool
from tests.simulation.library import library
from tests.simulation.network import GONE, Line
from tests.simulation.process import Process
from tests.simulation.races.rooms import open_rooms
from tests.simulation.redis import Redis, RedisHolders
from tests.simulation.stores import Rows, Topic, TopicSink
from tests.simulation.wire import Wire
from tests.simulation.world import EPOCH_S, World

T = TypeVar("T")

WHEEL_BUCKETS = 2
_RING = KeyRing([(1, bytes(32))])
AUTHENTICATOR = Authenticator(AuthOptions(), _RING)
"""Who gave returning visitors their tokens."""
_OPTIONS = ConnectionOptions(starts_per_s=50, starts_burst=100)
_LIMITS = SessionLimits(detached_ms=60_000)
_FLUSH_MS = 5_000


@cache
def _metrics() -> Metrics:
    """One for all worlds: nothing that is done depends on what was counted."""
    return Metrics(node="node")


@cache
def _vocabularies() -> OrderedDict[tuple[str, int], Vocabulary]:
    """One for all worlds: to make one is a tenth of a run, and nothing else is done meanwhile."""
    return OrderedDict()


class _Texts(Texts):
    """Texts of words that were looked through before."""

    def __init__(self) -> None:
        super().__init__(library(), limits=_LIMITS)
        self._vocabularies = _vocabularies()


class _Slices(Slices):
    """Jobs that take longer than they do, at random: so that what may happen meanwhile does."""

    def __init__(self, process: Process, chance: Callable[[], float]) -> None:
        looks = iter(range(1_000_000_000))
        # each look finds the slice's time over
        super().__init__(process.loop, clock=lambda: 0.01 * next(looks))
        self._chance = chance

    def run(
        self, job: Generator[None, None, T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> bool:
        lot = self._chance()
        return super().run(_slow(job, int(lot * 40)) if lot < 0.15 else job, done, failed)


def _slow(job: Generator[None, None, T], steps: int) -> Generator[None, None, T]:
    for _ in range(steps):
        yield
    return (yield from job)


class _Connection(Connection):
    """A connection whose place in a set is the same in every run."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class SimulatedHub(Hub):
    """The hub, with few turns of its wheel a second, and long jobs."""

    def __init__(self, process: Process, chance: Callable[[], float], **parts: Any) -> None:
        super().__init__(**parts)
        self.wheel = Wheel(process.loop, buckets=WHEEL_BUCKETS)
        self.slices = _Slices(process, chance)
        self.submissions = self.submitting(self.slices)
        self._made = 0

    def submitting(self, slices: Slices) -> Submissions:
        """What brings results to the spool."""
        return Submissions(self.spool, slices, self.metrics, node=self.node, clock=self.clock)

    def __hash__(self) -> int:
        return 0

    def connection(self, *, binary: bool) -> Connection:
        """The peer of a new WebSocket."""
        connection = _Connection(self, CODECS["typegate.v1.msgpack"] if binary else JSON)
        self._made += 1
        connection.number = self._made
        return connection


def _is_in(directory: LeasedDirectory, name: str) -> bool:
    return name in directory.nodes


class Server:
    """One life of a server's process."""

    hub_class: type[SimulatedHub] = SimulatedHub
    spool_class: type[DiskSpool] = DiskSpool
    sink_class: type[TopicSink] = TopicSink

    def __init__(self, machine: Machine, life: int) -> None:
        world = machine.world
        self.machine = machine
        self.name = machine.name
        chance = world.chance(f"{machine.name} life {life}")
        self.process = Process(world, self.name, chance=chance, clock_s=float(chance.randrange(10, 100_000)))
        self._chance = chance
        self._life = life
        self.lines: dict[Wire, Line] = {}
        self._is_ready = asyncio.Event()
        self.hub: SimulatedHub
        self.spool: DiskSpool
        self.stream: Drain
        self.rooms: Rooms | None = None
        """The rooms of races, where there are any in this world."""
        self._opened = AsyncExitStack()
        self.process.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._open()
        except (StoreError, sqlite3.Error) as fault:  # it exits, and whoever looks after it starts it again
            self.machine.world.note(self.name, "cannot start", str(fault))
            self.process.after_turn(self.machine.start_again)
        except Exception as bug:
            self.machine.world.failures.append(f"{self.name} cannot start: {bug!r}")

    async def _open(self) -> None:
        machine, process = self.machine, self.process
        enter = self._opened.enter_async_context
        texts = _Texts()
        carrier: Any = machine.redis.carrier(process, self.name)
        bus = await enter(Bus(carrier, BusOptions()))
        spool = self.spool = await enter(
            self.spool_class(machine.world, process, machine.disk, clock_ms=machine.epoch_ms)
        )
        store: Any = machine.rows
        hub = self.hub = self.hub_class(
            process,
            self._chance.random,
            loop=process.loop,
            node=self.name,
            options=_OPTIONS,
            limits=_LIMITS,
            ring=_RING,
            authenticator=Authenticator(AuthOptions(), _RING, chance=self._chance.getrandbits),
            texts=texts,
            spool=spool,
            store=store,
            metrics=_metrics(),
            frame_bytes=65_536,
            epoch_ms=machine.epoch_ms,
            random_bits=self._chance.getrandbits,
        )
        hub.start()
        self._opened.push_async_callback(hub.stop)
        knows = machine.knows
        directory: LeasedDirectory | None = None
        if machine.races:
            self.rooms, directory = await open_rooms(
                machine, self.process, hub, bus, run=f"{self._life:x}", enter=enter
            )
            self._opened.callback(self.rooms.stop)
            knows = partial(_is_in, directory)
        Takeovers(
            bus,
            hub,
            RedisHolders(machine.redis, self.name),
            node=self.name,
            present=knows,
            epoch_ms=machine.epoch_ms,
            answer_ms=BusOptions().answer_ms,
        )
        sink: Sink
        if machine.topic is None:
            sink = StoreSink(store)
        else:
            sink = self.sink_class(machine.topic, self.name, handed_on=partial(machine.point, "handed on"))
        self.stream = await enter(
            Drain(spool, sink, self._stored, StreamOptions(close_ms=_FLUSH_MS), chance=self._chance)
        )
        if self.rooms is not None and directory is not None:
            self.rooms.watch(await enter(directory))
        self._is_ready.set()

    def _stored(self, result: Result) -> None:
        self.hub.submissions.stored(result)
        self.machine.point("stored")

    # -- connections --------------------------------------------------------------------------------------------------

    @property
    def listens(self) -> bool:
        """Whether somebody may connect."""
        return self._is_ready.is_set() and not self.hub.draining

    def accept(self, line: Line, *, binary: bool) -> None:
        """A connection is in the queue of the listening socket."""
        self.process.call_soon(self._accept, line, binary)

    def _accept(self, line: Line, binary: bool) -> None:
        if not self.listens:
            line.to_browser.send(GONE)
            return
        wire = Wire(self.process, line)
        self.lines[wire] = line
        line.to_server.end = wire
        wire.begin(self.hub.connection(binary=binary))
        line.to_server.go_on()

    def hang_up(self, *, silently: bool) -> None:
        """The process is gone; whether the system says so to the clients."""
        for line in self.lines.values():
            line.to_server.end = None
            if not silently:
                line.to_browser.send(GONE)

    # -- stopping -----------------------------------------------------------------------------------------------------

    def stop(self, *, grace_s: float, gone: Callable[[], None]) -> None:
        """SIGTERM: drain, then close everything, in the order of `gateway.app`."""
        self.process.create_task(self._stop(grace_s, gone))

    async def _stop(self, grace_s: float, gone: Callable[[], None]) -> None:
        await self._is_ready.wait()
        await self.hub.drain(grace_s=grace_s)
        await self.stream.flush(timeout_ms=_FLUSH_MS)
        for wire in self.lines:  # what is left of them when the listener closes
            wire.end(1006, "")
        try:
            await self._opened.aclose()
        except Exception as bug:
            self.machine.world.failures.append(f"{self.name} cannot stop: {bug!r}")
        self.process.after_turn(gone)


class Machine:
    """A node's machine: its disk, its clock, and the server's process, if it runs."""

    server_class: type[Server] = Server

    def __init__(
        self, world: World, name: str, *, redis: Redis, rows: Rows, topic: Topic | None, offset_s: float
    ) -> None:
        self.world = world
        self.name = name
        self.redis = redis
        self.rows = rows
        self.topic = topic
        self.offset_s = offset_s
        """How far its clock is from the right time."""
        self.disk = Disk(world, name)
        self.disk.committed = partial(self.point, "committed")
        self.server: Server | None = None
        self.kill_at: list[tuple[str, int]] = []
        """Where in its work the server is to be killed: the point, and how many times it is passed before."""
        self.knows: Callable[[str], bool] = lambda _: True
        """Whether another one is in the directory."""
        self.seen_s = 0.0
        """When its lease was last renewed, where it runs no more or hangs."""
        self.races = False
        """Whether its servers have races."""
        self._lives = 0

    @property
    def renews(self) -> bool:
        """Whether it renews its lease now."""
        return self.server is not None and not self.server.process.hangs

    def epoch_ms(self) -> int:
        """What its clock shows."""
        return int((EPOCH_S + self.offset_s + self.world.now) * 1000)

    @property
    def listens(self) -> bool:
        """Whether a server here takes connections."""
        return self.server is not None and self.server.listens

    @property
    def up(self) -> bool:
        """Whether a server runs here."""
        return self.server is not None

    def start(self) -> None:
        """Start the server, where none runs."""
        if self.server is None:
            self._lives += 1
            self.world.note(self.name, "starts")
            self.server = self.server_class(self, self._lives)

    def start_again(self) -> None:
        """The server could not start; it is started again after a while."""
        self.kill()
        self.world.after(1.0, self.start)

    def kill(self, *, silently: bool = False) -> None:
        """kill -9, or the power is gone (`silently`: clients hear nothing)."""
        server, self.server = self.server, None
        if server is not None:
            self.world.note(self.name, "loses power" if silently else "is killed")
            if not server.process.hangs:
                self.seen_s = self.world.now
            server.process.kill()
            server.hang_up(silently=silently)

    def stop(self, *, grace_s: float) -> None:
        """SIGTERM."""
        server = self.server
        if server is not None:
            self.world.note(self.name, "is told to stop")
            server.stop(grace_s=grace_s, gone=partial(self._stopped, server))

    def _stopped(self, server: Server) -> None:
        if self.server is server:
            self.world.note(self.name, "has stopped")
            self.server = None
            server.process.kill()
            server.hang_up(silently=False)

    def point(self, name: str) -> None:
        """The server has come to a point at which it may be killed."""
        for i, (where, times) in enumerate(self.kill_at):
            if where == name:
                if times == 0:
                    del self.kill_at[i]
                    self._kill_after_this()
                else:
                    self.kill_at[i] = (where, times - 1)
                break

    def _kill_after_this(self) -> None:
        server = self.server
        if server is not None:
            server.process.hang()  # nothing of it happens after this
            self.world.after(0, self._kill_if, server)

    def _kill_if(self, server: Server) -> None:
        if self.server is server:
            self.kill()
