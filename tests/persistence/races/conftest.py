"""Races to be kept, and what is done to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from persistence.races import Races, RacesOptions, Step
from session.identity import mint_race
from session.messages import Error
from session.race import Race
from session.race_options import RaceOptions, RaceRules
from session.racing import Change, Join, change, opened
from tests.persistence.implementations import RACES, OpenRaces
from tests.session.races import QUOTE, TEXT

__all__ = ["NOBODY", "RULES", "OpenAll", "doing", "making", "race_id", "until"]

RULES = RaceRules()
NOBODY = Error("no_race", "there is no such race")

OpenAll = Callable[..., AbstractAsyncContextManager[OpenRaces]]


@pytest.fixture(params=RACES, name="open_races")
def _open_races(request: pytest.FixtureRequest) -> OpenAll:
    """Opens empty races by options; what it gives opens one process's view of them after the other."""

    @asynccontextmanager
    async def open_(**options: int) -> AsyncIterator[OpenRaces]:
        async with RACES[request.param](RacesOptions(**options), request.getfixturevalue) as opened:
            yield opened

    return open_


@pytest.fixture(name="races")
async def _races(open_races: OpenAll) -> AsyncIterator[Races]:
    async with open_races() as another, another() as races:
        yield races


def race_id(number: int) -> str:
    return mint_race(number)


def making(
    race: str, user: int = 1, *, public: bool = False, band: int = 2, most: int = 100, language: str = "en"
) -> Step:
    """Make a race with one racer, if it is not there."""

    def step(before: Race | None, now_ms: int) -> Race | Error:
        if before is not None:
            return Error("race_full", "it is there")
        text = replace(TEXT, language=language)
        options = RaceOptions(QUOTE, public=public, most=most)
        new = opened(race, options, text, salt=1, band=band, now_ms=now_ms)
        return change(new, Join(user, f"U{user}", "n1"), now_ms=now_ms, rules=RULES)

    return step


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until something holds."""
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.005)


def doing(what: Change) -> Step:
    """An input to a race that is there."""
    return lambda before, now_ms: NOBODY if before is None else change(before, what, now_ms=now_ms, rules=RULES)
