"""What every keeper of races promises; `implementations.RACES` names them."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest

from persistence.races import Races
from session.messages import Error
from session.race import Race
from session.racing import Due, Join, Leave, Ready, Start
from session.state import Phase
from tests.persistence.races.conftest import NOBODY, OpenAll, doing, making, race_id, until

ONE, TWO, THREE = race_id(1), race_id(2), race_id(3)


async def made(races: Races, race: str, **how: object) -> Race:
    done = await races.change(race, making(race, **how))  # type: ignore[arg-type]  # by name
    assert isinstance(done, Race), done
    return done


async def did(races: Races, race: str, *what: object) -> Race:
    done: Race | Error = NOBODY
    for one in what:
        done = await races.change(race, doing(one))  # type: ignore[arg-type]  # all are inputs
        assert isinstance(done, Race), done
    assert isinstance(done, Race)
    return done


@pytest.mark.parametrize("race", [ONE, "", "0123456789abi", "x" * 5_000, "0123456789ab{"])
async def test_there_is_no_race_that_nobody_made(races: Races, race: str) -> None:
    """Whatever is asked for: what has not the form of an id is no race's either."""
    assert await races.read(race) is None
    assert await races.change(race, doing(Due())) is NOBODY
    assert races.facts().changes == 0


async def test_what_is_made_and_changed_is_read_back(open_races: OpenAll) -> None:
    """By any process."""
    async with open_races() as another, another() as races, another() as others:
        first = await made(races, ONE)
        assert (first.version, await others.read(ONE)) == (1, first)
        second = await did(others, ONE, Join(2, "Bob", "n2"))
        assert (second.version, await races.read(ONE)) == (2, second)
        assert [racer.user for racer in second.racers] == [1, 2]


async def test_an_error_and_no_change_write_nothing(races: Races) -> None:
    race = await made(races, ONE)
    refused = await races.change(ONE, doing(Start(1)))
    assert isinstance(refused, Error)
    same = await did(races, ONE, Ready(1, False))
    assert same == race
    assert await races.read(ONE) == race
    assert races.facts().changes == 1


async def test_a_step_that_raises_changes_nothing(races: Races) -> None:
    race = await made(races, ONE)

    def broken(before: Race | None, now_ms: int) -> Race:
        raise RuntimeError("a fault of the caller")

    with pytest.raises(RuntimeError, match="a fault of the caller"):
        await races.change(ONE, broken)
    assert await races.read(ONE) == race


async def test_of_many_changes_at_once_none_is_lost(open_races: OpenAll) -> None:
    """From four processes: a hundred people join, all in lanes of their own, and each change has its number."""
    async with open_races(tries=1_000) as another, AsyncExitStack() as stack:
        views = [await stack.enter_async_context(another()) for _ in range(4)]
        await made(views[0], ONE)
        done = await asyncio.gather(
            *(views[user % 4].change(ONE, doing(Join(user, "Ann", f"n{user % 4}"))) for user in range(2, 101))
        )
        versions = []
        for one in done:
            assert isinstance(one, Race), one
            versions.append(one.version)
        assert sorted(versions) == list(range(2, 101))
        race = await views[0].read(ONE)
        assert race is not None
        assert [racer.lane for racer in race.racers] == list(range(100))
        assert {racer.user for racer in race.racers} == set(range(1, 101))
        assert sum(view.facts().changes for view in {id(view): view for view in views}.values()) == 100


async def test_of_many_who_make_a_race_one_does(open_races: OpenAll) -> None:
    async with open_races(tries=1_000) as another, another() as races, another() as others:
        done = await asyncio.gather(
            *((races, others)[user % 2].change(ONE, making(ONE, user)) for user in range(1, 21))
        )
        assert sum(isinstance(one, Race) for one in done) == 1
        race = await races.read(ONE)
        assert race is not None
        assert (race.version, len(race.racers)) == (1, 1)


async def test_of_all_nodes_that_try_what_is_due_one_wins(open_races: OpenAll) -> None:
    """The others see that it is done."""
    async with open_races(tries=1_000) as another, another() as races, another() as others:
        await made(races, ONE)
        await did(races, ONE, Join(2, "Bob", "n1"))

        def due(before: Race | None, now_ms: int) -> Race | Error:
            return doing(Due())(before, now_ms + 3_600_000)

        done = await asyncio.gather(*((races, others)[number % 2].change(ONE, due) for number in range(10)))
        assert [one.version for one in done if isinstance(one, Race)] == [3] * 10
        race = await races.read(ONE)
        assert race is not None
        assert race.phase is Phase.SETTLED


# --- open lobbies ---


async def test_strangers_are_led_to_public_lobbies_of_their_speed(races: Races) -> None:
    for number, band in enumerate((5, 2, 0, 3, 1)):
        await made(races, race_id(number), public=True, band=band)
    await made(races, race_id(7), public=False, band=2)
    await made(races, race_id(8), public=True, band=2, language="de")
    assert await races.open("en", 2) == [race_id(number) for number in (1, 4, 3, 2, 0)]
    assert await races.open("en", 5) == [race_id(number) for number in (0, 3, 1, 4, 2)]
    assert await races.open("de", 0) == [race_id(8)]
    assert await races.open("fr", 0) == []


async def test_a_lobby_is_open_while_there_is_room_in_it(races: Races) -> None:
    await made(races, ONE, public=True, most=2)
    await did(races, ONE, Join(2, "Bob", "n1"))
    assert await races.open("en", 2) == []
    await did(races, ONE, Leave(1))
    assert await races.open("en", 2) == [ONE]
    await did(races, ONE, Leave(2))
    assert await races.open("en", 2) == []
    await made(races, TWO, public=True)
    await did(races, TWO, Join(2, "Bob", "n1"), Start(1))
    assert await races.open("en", 2) == []


async def test_of_too_many_lobbies_the_oldest_are_not_found(open_races: OpenAll) -> None:
    async with open_races(open_most=3) as another, another() as races:
        ids = [race_id(number) for number in range(6)]
        for race in ids:
            begun_ms = races.now_ms()
            await made(races, race, public=True)
            await until(partial(later, races, begun_ms))  # they are told apart by the millisecond
        assert sorted(await races.open("en", 2)) == sorted(ids[3:])


# --- limits ---


async def test_there_are_no_more_races_than_there_may_be(open_races: OpenAll) -> None:
    """Those that are over do not count; those that are there go on."""
    async with open_races(most=2) as another, another() as races, another() as others:
        await made(races, ONE)
        await made(others, TWO)
        refused = await races.change(THREE, making(THREE))
        assert isinstance(refused, Error)
        assert refused.code == "races_full"
        assert refused.retry
        assert await races.read(THREE) is None
        await did(races, ONE, Join(2, "Bob", "n1"))
        await did(races, TWO, Leave(1))
        await made(races, THREE)


async def later(races: Races, than_ms: int) -> bool:
    return races.now_ms() > than_ms


async def gone(races: Races, race: str) -> bool:
    return await races.read(race) is None


async def closed(races: Races) -> bool:
    return not await races.open("en", 2)


async def makes(races: Races, race: str) -> bool:
    return isinstance(await races.change(race, making(race)), Race)


async def test_a_race_that_nobody_changes_is_forgotten(open_races: OpenAll) -> None:
    """With its place among the open ones, and among those that there may be."""
    async with open_races(most=1, live_ms=100) as another, another() as races:
        await made(races, ONE, public=True)
        await until(partial(gone, races, ONE))
        await until(partial(closed, races))
        await until(partial(makes, races, TWO))


async def test_a_race_that_is_over_is_kept_for_its_own_time(open_races: OpenAll) -> None:
    async with open_races(live_ms=3_600_000, settled_ms=100) as another, another() as races:
        await made(races, ONE)
        await made(races, TWO)
        await did(races, ONE, Leave(1))
        await until(partial(gone, races, ONE))
        assert await races.read(TWO) is not None


# --- the clock ---


async def test_steps_are_given_the_race_s_clock(races: Races) -> None:
    given: list[int] = []

    def step(before: Race | None, now_ms: int) -> Race | Error:
        given.append(now_ms)
        return NOBODY

    await races.change(ONE, step)
    before_ms = races.now_ms()
    await races.change(ONE, step)
    assert before_ms <= given[-1] <= races.now_ms()


async def test_it_says_that_it_is_there(races: Races) -> None:
    await races.ping()
    assert races.facts().failures == 0
