"""What a server has for races, put together as `gateway.app` does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from config.bus import BusOptions
from config.rooms import RoomOptions
from gateway.bus import Bus, Node
from gateway.bus.lease import LeasedDirectory
from gateway.names import Names
from gateway.races import Racing, Rooms
from gateway.races.ghosts import Ghosts
from gateway.races.place import Place
from gateway.races.showing import PERIOD_S
from gateway.races.speeds import Speeds
from gateway.wheel import Wheel
from persistence.races import RacesOptions, RedisRaces
from persistence.races.clock import RaceClock
from session.race_options import RaceRules
from tests.simulation.keys import Servers

if TYPE_CHECKING:
    from tests.simulation.node import Machine, SimulatedHub
    from tests.simulation.process import Process

RULES = RaceRules(
    lobby_ms=15_000,
    ready_ms=500,
    public_ms=3_000,
    joined_ms=1_000,
    away_ms=4_000,
    countdown_ms=1_500,
    timed_grace_ms=4_000,
    slowest_wpm=20,
    shortest_ms=12_000,
    closing_ms=4_000,
    closing_most_ms=8_000,
    verdicts_ms=3_000,
)
"""Everything sooner than in earnest, so that most faults come in the midst of something."""
ROOM_OPTIONS = RoomOptions(record_ms=2_000)
RACES_OPTIONS = RacesOptions()


class SimulatedPlace(Place):
    """A place whose place in a set is the same in every run."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(self.connection)


class _Nothing:
    """Nobody has guests, recent results, or anything public."""

    async def of(self, *_: object) -> list[Any]:
        return []

    async def holds(self, _: bytes) -> bool:
        return False


async def open_rooms(
    machine: Machine,
    process: Process,
    hub: SimulatedHub,
    bus: Bus,
    *,
    run: str,
    enter: Callable[[Any], Awaitable[Any]],
) -> tuple[Rooms, LeasedDirectory]:
    """The rooms, which keep time from now on, and who is there; the rooms are not told yet."""
    servers: Any = Servers(machine.redis, machine.name, settled=partial(machine.point, "settled"))
    chance = machine.world.chance(f"{run} races")
    races = RedisRaces(servers, RACES_OPTIONS, chance=chance)
    races._clock = RaceClock(
        servers,
        races._count,
        every_ms=RACES_OPTIONS.clock_ms,
        monotonic_ms=lambda: process.time() * 1000,
        epoch_ms=machine.epoch_ms,
    )
    await enter(races)
    rows: Any = machine.rows
    rooms = Rooms(hub, bus, races, rows.races, node=f"{machine.name}/{run}", rules=RULES, options=ROOM_OPTIONS)
    rooms.wheel = Wheel(process.loop, period_s=2 * PERIOD_S, buckets=1)
    nothing: Any = _Nothing()
    names = Names(rows, clock=process.time)
    hub.racing = Racing(rooms, Speeds(nothing, nothing), Ghosts(rows, nothing, nothing, names, hub.texts, rooms))
    hub.races_ms = rooms.now_ms
    rooms.start()
    node = Node(id=machine.name, run=run, version="0")
    return rooms, LeasedDirectory(servers, bus, node, BusOptions())
