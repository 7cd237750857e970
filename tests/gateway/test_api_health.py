"""What a process says of its parts."""

import asyncio
import time

import pytest

from gateway.api import health as module
from gateway.api.health import Health


async def test_a_process_that_was_held_up_itself_blames_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts have answered meanwhile; one that has not is late all the same."""
    monkeypatch.setattr(module, "PING_S", 0.2)
    never = asyncio.Event()

    async def well() -> None:
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  # the whole process stands still for longer than a part has
        for _ in range(3):
            await asyncio.sleep(0)

    async def hangs() -> None:
        await never.wait()

    parts = await Health({"well": well, "hangs": hangs}).parts()
    assert parts == {"well": "ok", "hangs": "no answer within 0.2 s"}


async def test_one_of_several_processes_tells_of_a_part_that_hangs_before_its_server_gives_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a database that hangs would take every process, and the whole server, for not ready."""
    assert module.PART_S < module.READY_S < module.PING_S
    monkeypatch.setattr(module, "PART_S", 0.1)
    never = asyncio.Event()

    async def hangs() -> None:
        await never.wait()

    health = Health({"store": hangs}, behind=("store",), one_of_several=True)
    assert await health.state() == ("degraded", {"server": "ok", "store": "no answer within 0.1 s"})


async def test_who_asks_at_once_shares_an_answer_and_a_fault_is_told() -> None:
    """Each part by itself, in the words of its fault; one that ran out of time by its own count is late."""
    asked = 0

    async def broken() -> None:
        nonlocal asked
        asked += 1
        raise OSError("no such disk")

    async def late() -> None:
        raise TimeoutError

    health = Health({"disk": broken, "far side": late}, behind=("far side",))
    said = await asyncio.gather(*(health.parts() for _ in range(5)))
    assert said == [{"disk": "no such disk", "far side": "no answer within 2 s"}] * 5
    assert asked == 1
    assert (await health.state())[0] == "not ready"
