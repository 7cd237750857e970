"""Stalls of the process, and whose results they excuse."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.stalls import STALL_MS, Stalls
from gateway.wheel import Wheel
from tests.gateway.clockwork import Clockwork
from tests.gateway.running import serving
from tests.gateway.typing_client import client


def turned(*instants_ms: float) -> Stalls:
    """After turns at these instants."""
    stalls = Stalls()
    for at_ms in instants_ms:
        stalls.turned(at_ms / 1000)
    return stalls


def every(start_ms: int, end_ms: int) -> list[float]:
    return list(range(start_ms, end_ms + 1, 25))


def test_what_is_read_in_time_has_not_waited() -> None:
    """Also before the first turn, and long after the last stall."""
    assert Stalls().waited_ms(5.0) == 0
    stalls = turned(*every(1_000, 2_000), *every(3_000, 4_000))
    assert [stalls.waited_ms(at_ms) for at_ms in (1_500, 1_990, 2_000, 3_026, 3_500, 4_000, 4_000 + STALL_MS)] == [
        0
    ] * 7


def test_what_is_read_in_a_stall_or_right_after_it_may_be_as_old_as_it() -> None:
    """Until the first turn that is in time again: by then all is read that had come."""
    stalls = turned(*every(1_000, 2_000), 3_000)
    assert [stalls.waited_ms(at_ms) for at_ms in (1_999, 2_300, 2_990, 3_000, 3_020)] == [0, 300, 990, 1_000, 1_020]
    stalls.turned(3.025)
    assert [stalls.waited_ms(at_ms) for at_ms in (2_990, 3_020, 3_025, 3_026)] == [990, 1_020, 1_025, 0]


def test_what_was_put_off_after_a_stall_was_there_in_it() -> None:
    """Until there is nothing more; but for no longer than the stall took, or floods would excuse everything."""
    stalls, behind = turned(*every(1_000, 2_000)), True
    stalls.behind = lambda: behind
    for at_ms in every(3_000, 3_500):
        stalls.turned(at_ms / 1000)
    assert stalls.waited_ms(3_510) == 1_510
    behind = False
    stalls.turned(3.525)
    assert (stalls.waited_ms(3_510), stalls.waited_ms(3_530)) == (1_510, 0)
    behind = True
    for at_ms in every(3_550, 3_600) + every(3_800, 5_000):
        stalls.turned(at_ms / 1000)
    assert [stalls.waited_ms(at_ms) for at_ms in (3_790, 3_990, 4_010)] == [190, 390, 0]


def test_a_stall_is_known_before_the_wheel_turns() -> None:
    """What was sent meanwhile is read first, and may be a test's end."""
    assert turned(*every(1_000, 2_000)).waited_ms(2_900) == 900


def test_what_a_stall_left_behind_may_be_read_in_the_next_one_but_no_later() -> None:
    """A process that is always late does not excuse everything."""
    stalls = turned(1_000, 1_500, 2_000, 2_500, 3_000)
    assert [stalls.waited_ms(at_ms) for at_ms in (1_400, 1_900, 2_400, 2_900)] == [400, 900, 900, 900]


def test_few_stalls_are_remembered() -> None:
    """The latest; what one cannot know is held against nobody less than before."""
    stalls = turned(*range(0, 400_000, 1_000))
    assert (stalls.waited_ms(1_500), stalls.waited_ms(398_500)) == (0, 1_500)


def test_the_wheel_tells_its_turns() -> None:
    """Those that are late as well."""
    clockwork, told = Clockwork(), list[float]()
    wheel = Wheel(clockwork.loop, turned=told.append)
    wheel.start()
    clockwork.advance(0.1)
    clockwork.now += 2
    clockwork.advance(0.05)
    assert told == pytest.approx([1000.025, 1000.05, 1000.075, 1000.1, 1002.1, 1002.1, 1002.125, 1002.15])


@pytest.mark.parametrize("hangs", [True, False])
async def test_nobody_is_reviewed_for_a_server_that_hung(tmp_path: Path, hangs: bool) -> None:
    """The last keys wait for over a second to be read. Whose own clock loses as much is reviewed all the same."""
    async with serving(tmp_path / "data") as (gateway, _), client(gateway.url) as typist:
        loop = asyncio.get_running_loop()
        soon = False
        while not soon:  # a machine that is busy just here would be the client's affair
            text = (await typist.start(mode="words", count=3))["text"]
            before_s = loop.time()
            await typist.keys(*text[:3], gap_ms=10)
            await typist.send("hb", c=1)
            await typist.receive("hb")
            soon = not hangs or loop.time() - before_s < 0.25
        if not hangs:
            await asyncio.sleep(1.2)
            while gateway.hub.stalls.waited_ms(loop.time() * 1000):  # and here the server's  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await typist.keys(*text[3:], gap_ms=10)
        if hangs:
            time.sleep(1.2)  # noqa: ASYNC251  # client and server are one process
        assert (await typist.receive("result"))["verdict"] == ("ok" if hangs else "review")
