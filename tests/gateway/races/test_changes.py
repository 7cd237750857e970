"""Changes of a race on their way to the store, as far as one of them fails by a fault of ours."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.rooms import RoomOptions
from gateway.races.changes import MOST_REST_MS, NO_RACE, Changes, Step
from session.messages import Error
from session.race import Race
from session.race_options import RaceRules
from session.racing import Leave


class Broken:
    """What changes need around them, with a store of races that a fault of ours ends in; `now_s` is its clock."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.tried_s: list[float] = []
        self.well = False
        self.tasks: list[asyncio.Task[None]] = []
        self.faults = 0
        rooms = SimpleNamespace(hub=self, races=self, rules=RaceRules(), options=RoomOptions())
        rooms.thawed = rooms.froze = lambda *_: None
        self.changes = Changes(
            cast(Any, rooms),
            "0" * 13,
            known=lambda: None,
            changed=lambda before, race: None,
            vanished=lambda: None,
            froze=lambda: None,
        )
        self.loop = asyncio.get_running_loop()

    async def change(self, race: str, step: Step) -> Race | Error:
        self.tried_s.append(self.now_s)
        if self.well:
            return NO_RACE
        raise AssertionError("this cannot be")

    def clock(self) -> float:
        return self.now_s

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(work))

    async def beats(self, seconds: int) -> None:
        """Let so much time pass, in beats of a tenth of a second."""
        for _ in range(10 * seconds):
            self.now_s += 0.1
            self.changes.beat(self.now_s * 1000)
            self.changes.look()  # an instant of the race that is past
            await self.ended()

    async def ended(self) -> None:
        for answer in await asyncio.gather(*self.tasks, return_exceptions=True):
            self.faults += isinstance(answer, AssertionError)
        self.tasks.clear()


async def test_what_cannot_be_written_is_tried_more_and_more_seldom() -> None:
    """It may never succeed: ten tries and ten lines in the log each second would be no help."""
    broken = Broken()
    broken.changes.owe(("left", 7), Leave(7))
    await broken.beats(600)
    assert 10 < len(broken.tried_s) < 20
    waits = [later - earlier for earlier, later in zip(broken.tried_s, broken.tried_s[1:], strict=False)]
    assert waits[0] == pytest.approx(1, abs=0.2)
    assert waits[-1] == pytest.approx(MOST_REST_MS / 1000, abs=0.2)
    assert broken.faults == len(broken.tried_s)
    assert broken.changes.owing


async def test_who_asks_does_not_wait_for_that_and_once_it_works_all_goes_on() -> None:
    broken = Broken()
    broken.changes.owe(("left", 7), Leave(7))
    await broken.beats(20)
    tried = len(broken.tried_s)
    with pytest.raises(AssertionError, match="cannot be"):
        await broken.changes.see()
    assert len(broken.tried_s) == tried + 1
    await broken.ended()
    broken.well = True
    await broken.beats(61)
    assert not broken.changes.owing
    broken.changes.owe(("left", 7), Leave(7))
    await broken.ended()
    assert not broken.changes.owing, "nothing is waited for any more"
