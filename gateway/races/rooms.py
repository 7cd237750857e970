"""All rooms of this node: who is in which, and what they share.

A room is opened for the first connection of a race that is here, and closes when nobody is there any more. Rooms keep
time on a wheel of their own, ten times a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from config.rooms import RoomOptions
from gateway.bus import Bus, Directory, Node
from gateway.limits import Credits
from gateway.races.catching_up import CatchingUp
from gateway.races.courier import Courier
from gateway.races.facts import RoomFacts
from gateway.races.room import Room
from gateway.races.showing import PERIOD_S
from gateway.said import Said
from gateway.wheel import Wheel
from persistence.errors import StoreError
from persistence.race_records import RaceRecords
from persistence.races import Races
from session.identity import is_race
from session.messages import Error
from session.passages import Material
from session.race import Race
from session.race_options import RaceRules

if TYPE_CHECKING:
    from gateway.hub import Hub

__all__ = ["Rooms"]

BUCKETS = 5
"""Every 20 ms a fifth of the rooms is visited; what they tell another node is one message, or few."""

_STRIDE = 4
"""Rooms visited between two looks at the clock: one with five racers takes some 60 µs."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Rooms:
    """One a process. `node` names it among all processes, and this run of it."""

    def __init__(
        self,
        hub: Hub,
        bus: Bus,
        races: Races,
        records: RaceRecords,
        *,
        node: str,
        rules: RaceRules,
        options: RoomOptions | None = None,
    ) -> None:
        self.hub = hub
        self.bus = bus
        self.races = races
        self.records = records
        self.node = node
        self.rules = rules
        self.options = options or RoomOptions()
        self.facts = RoomFacts()
        self.courier = Courier(
            bus, hub.loop, self.facts, node=node, heard=self._heard, missed=self._missed, misheard=self.misheard
        )
        self.catching_up = CatchingUp(hub.spawn)
        self.wheel = Wheel(hub.loop, period_s=PERIOD_S, buckets=BUCKETS, stride=_STRIDE, late_s=PERIOD_S / 2)
        self.opened = Credits(rate_per_s=self.options.per_s, burst=self.options.burst)
        """How many more races each user may open, or be found."""
        self.alone: Callable[[Room], Coroutine[Any, Any, None]] | None = None
        """Called each second with a room whose only racer was found no other."""
        self.courses: Callable[[Race], Coroutine[Any, Any, list[Said]]] | None = None
        """What is said of a race's ghosts."""
        self._rooms: dict[str, Room] = {}
        self.deserted: set[Room] = set()
        """Those that were spare when they last looked: so that who is refused a room costs no look at all of them."""
        self._directory: Directory | None = None
        self._away = False

    def start(self) -> None:
        """Begin to keep time."""
        self.wheel.start()

    def stop(self) -> None:
        """Keep no time any more."""
        self.wheel.stop()
        for room in list(self._rooms.values()):
            room.close()
        self.courier.close()

    def __len__(self) -> int:
        return len(self._rooms)

    def now_ms(self) -> int:
        """The races' clock, which all nodes share."""
        return self.races.now_ms()

    # --- rooms ---

    def open(self, race: str) -> Room | Error:
        """The room of a race, which may be opened for it; whether there is such a race turns out there."""
        room = self._rooms.get(race)
        if room is not None:
            return room
        if not is_race(race):
            return Error("no_race", "a race's id has 13 characters, of 0 to 9 and a to z without i, l, o and u")
        if len(self._rooms) >= self.options.most and not self._make_room():
            return Error("races_full", "this server has no room for another race", 5_000)
        room = self._rooms[race] = Room(self, race)
        self.wheel.join(room)
        return room

    def _make_room(self) -> bool:
        """Close a room in which nobody is any more, if there is one."""
        while self.deserted:
            room = self.deserted.pop()
            if room.spare:
                room.close()
                return True
        return False

    def rooms(self) -> list[Room]:
        """Those that are open now."""
        return list(self._rooms.values())

    def forget(self, room: Room) -> None:
        """The room has closed."""
        del self._rooms[room.id]
        self.deserted.discard(room)
        self.catching_up.drop(room)
        self.wheel.leave(room)

    def making(self, race: Race) -> Generator[None, None, Material | Error]:
        """Make the race's text, in slices."""
        return self.hub.texts.again(race.ticket(), text=None, ref=None)

    async def sliced(self, job: Generator[None, None, T]) -> T:
        """What a job comes to that runs in the process's slices. Raises what it raises."""
        done: asyncio.Future[T] = self.hub.loop.create_future()
        self.hub.slices.run(job, done.set_result, done.set_exception)
        return await done

    # --- the store, which may be away ---

    def away(self) -> Error:
        """What is answered while it is."""
        retry_ms = self.options.retry_ms
        return Error("away", "what the servers share is away; races stand still until it is back", retry_ms)

    def froze(self, fault: StoreError) -> None:
        """A room found the store away."""
        self.facts.frozen += 1
        if not self._away:
            self._away = True
            _log.warning("races stand still: what the servers share is away", why=str(fault))

    def thawed(self) -> None:
        """A room was answered again."""
        if self._away:
            self._away = False
            _log.info("races go on")

    def misheard(self, race: str, why: Exception) -> None:
        """What another node said made no sense."""
        self.facts.misheard += 1
        if self.facts.misheard & (self.facts.misheard - 1) == 0:  # the first, and then ever more seldom
            _log.warning("another node says what makes no sense", race=race, why=str(why), times=self.facts.misheard)

    # --- other nodes ---

    def _heard(self, race: str, node: str, rows: Any, answer: bool) -> None:
        room = self._rooms.get(race)
        if room is not None:  # it may have closed a moment ago
            room.heard_progress(node, rows, answer)

    def _missed(self) -> None:
        for room in list(self._rooms.values()):
            room.missed_progress()

    def watch(self, directory: Directory) -> None:
        """From now on it is known which nodes are there."""
        self._directory = directory
        directory.watch(self._moved)

    def _moved(self, node: Node, came: bool) -> None:
        if not came:
            name = name_of(node)
            for room in list(self._rooms.values()):
                room.gone(name)

    def there(self, name: str) -> bool:
        """Whether a node is there, as far as is known."""
        if name == self.node or self._directory is None:
            return True
        node = self._directory.nodes.get(name.rpartition("/")[0])
        return node is not None and name_of(node) == name

    # --- figures ---

    def phases(self) -> Mapping[str, int]:
        """Rooms by their race's phase."""
        return Counter(room.race.phase.value if room.race is not None else "unknown" for room in self._rooms.values())

    def people(self) -> Mapping[str, int]:
        """Connections in rooms: racers and watchers."""
        rooms = self._rooms.values()
        return {
            "racers": sum(len(room.places) for room in rooms),
            "watchers": sum(len(room.watchers) for room in rooms),
        }

    def frozen(self) -> int:
        """Rooms that stand still now."""
        return sum(room.frozen for room in self._rooms.values())


def name_of(node: Node) -> str:
    """What races call a node: started anew it is another."""
    return f"{node.id}/{node.run}"
