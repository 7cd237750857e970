"""Races of one process: what it keeps, and for how long."""

from persistence.races import MemoryRaces, RacesOptions
from session.racing import Leave
from tests.persistence.races.conftest import doing, making, race_id


async def test_no_more_of_those_that_are_over_are_kept_than_there_may_be_races() -> None:
    """The first to be over are the first to go."""
    async with MemoryRaces(RacesOptions(most=2)) as races:
        for number in range(4):
            await races.change(race_id(number), making(race_id(number)))
            await races.change(race_id(number), doing(Leave(1)))
        assert [await races.read(race_id(number)) is not None for number in range(4)] == [False, False, True, True]


async def test_a_change_keeps_a_race_alive() -> None:
    now_ms = [0.0]
    async with MemoryRaces(RacesOptions(live_ms=100), epoch_ms=lambda: now_ms[0]) as races:
        for number in (1, 2):
            await races.change(race_id(number), making(race_id(number), public=True))
        now_ms[0] = 99
        await races.change(race_id(1), doing(Leave(7)))  # nothing of it
        now_ms[0] = 99.4
        assert await races.open("en", 2) == [race_id(1), race_id(2)]
        now_ms[0] = 100
        assert await races.open("en", 2) == []
