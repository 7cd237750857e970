"""Rooms that may have missed something, all in the same moment, as when Redis comes back."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from gateway.races.catching_up import AT_ONCE, CatchingUp
from gateway.races.room import Room
from persistence.races import MemoryRaces, Step
from session.identity import mint_race
from session.messages import Error
from session.race import Race
from tests.gateway.races.racers import node
from tests.gateway.running import PATIENCE_S


class Behind:
    """Reads until it is told that it has; notes when it begins."""

    def __init__(self, begun: list["Behind"]) -> None:
        self.begun = begun
        self.read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def catch_up(self) -> None:
        self.begun.append(self)
        await self.read


class Tasks:
    """Owns tasks, and keeps what they fail with to itself, as a hub does."""

    def __init__(self) -> None:
        self.all: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.all.append(asyncio.get_running_loop().create_task(work))

    async def settle(self, count: int) -> None:
        """Wait until the first of them, so many, have ended, and those that follow have begun."""
        await asyncio.wait(self.all[:count])
        await asyncio.sleep(0)


async def test_a_few_read_at_a_time_in_the_order_in_which_they_came() -> None:
    """The next one begins when one has read, or failed; who comes twice before its turn has one."""
    begun: list[Behind] = []
    tasks = Tasks()
    catching_up = CatchingUp(tasks.spawn)
    rooms = [Behind(begun) for _ in range(3 * AT_ONCE)]
    for room in (*rooms, rooms[-1], rooms[AT_ONCE]):
        catching_up.add(room)
    await asyncio.sleep(0)
    assert begun == rooms[:AT_ONCE]
    rooms[0].read.set_exception(RuntimeError("a bug"))
    rooms[1].read.cancel()
    await tasks.settle(2)
    assert begun == rooms[: AT_ONCE + 2]
    assert len(catching_up) == 2 * AT_ONCE - 2
    catching_up.drop(rooms[-2])
    catching_up.drop(rooms[0])  # it reads no more
    for done, room in enumerate(rooms[2:-2], 3):
        room.read.set_result(None)
        await tasks.settle(done)
        assert len(begun) == min(AT_ONCE + done, len(rooms) - 1)
    assert begun == [*rooms[:-2], rooms[-1]]
    catching_up.add(rooms[2])
    await asyncio.sleep(0)
    assert begun[-1] is rooms[2], "it may have missed something again"
    rooms[-1].read.set_result(None)
    results = await asyncio.gather(*tasks.all, return_exceptions=True)
    assert sum(result is not None for result in results) == 2


class CountedRaces(MemoryRaces):
    """Races that are asked for one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = self.most = 0
        self.asked: set[str] = set()
        self.news = asyncio.Condition()

    async def change(self, race: str, step: Step) -> Race | Error:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        async with self.news:
            self.asked.add(race)
            self.news.notify_all()
        return await super().change(race, step)


async def test_all_rooms_of_a_node_read_again_when_the_bus_may_have_lost_something(tmp_path: Path) -> None:
    async with node(tmp_path) as gateway:
        assert gateway.hub.racing is not None
        rooms = gateway.hub.racing.rooms
        some = []
        for number in range(5 * AT_ONCE):
            room = rooms.open(mint_race(number))
            assert isinstance(room, Room)
            room.coming = 1
            await room.catch_up()
            some.append(room)
        rooms.races = races = CountedRaces()
        for room in some:
            rooms.bus.listening(f"race:{room.id}")
        async with asyncio.timeout(PATIENCE_S), races.news:
            await races.news.wait_for(lambda: races.asked == {room.id for room in some})
        assert races.most <= AT_ONCE
