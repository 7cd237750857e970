"""What belongs to a test that is over: frames that come late, and results that come late, disturb nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client


@pytest.fixture(name="typist")
async def _typist(tmp_path: Path) -> AsyncIterator[TypingClient]:
    async with serving(tmp_path) as (gateway, _), client(gateway.url) as typist:
        yield typist


async def answers(typist: TypingClient) -> list[dict[str, Any]]:
    """What was said since the last call, up to the answer to a heartbeat; `stored` and ticks left out."""
    since = len(typist.seen)
    await typist.send("hb", c=1)
    await typist.receive("hb")
    return [message for message in typist.seen[since:-1] if message["t"] not in ("stored", "tick")]


@pytest.mark.parametrize("ref", [3, 2, None], ids=["of the last test", "of one before", "of none"])
async def test_late_keys_are_dropped_silently(typist: TypingClient, ref: int | None) -> None:
    await typist.start(ref=3)
    await typist.type_all()
    await typist.send("keys", n=0, e=[0, "x"], **({} if ref is None else {"ref": ref}))
    assert await answers(typist) == []


async def test_keys_of_a_test_to_come_are_a_breach(typist: TypingClient) -> None:
    await typist.start(ref=3)
    await typist.type_all()
    await typist.send("keys", n=0, e=[0, "x"], ref=4)
    assert (await typist.closed()).code == 4500


async def test_late_frames_leave_the_running_test_alone(typist: TypingClient) -> None:
    """`keys` and `finish` that name the test before count for nothing in the one that runs."""
    await typist.start(ref=1)
    await typist.keys("x")
    started = await typist.start(ref=2)
    await typist.send("keys", n=1, e=[100, "y"], ref=1)
    await typist.send("finish", n=1, ref=1)
    assert await answers(typist) == []
    result = await typist.type_all()
    assert (result["session"], result["ref"]) == (started["session"], 2)
    assert result["chars"] == [len(started["text"]), 0, 0, 0]


async def test_finish_again_is_never_answered_by_the_test_before(typist: TypingClient) -> None:
    """The first result comes while the second test is typed; it stays the first test's."""
    first = await typist.start(ref=1)
    await typist.keys(*first["text"])  # its last key ends it: the result is on its way
    second = await typist.start(ref=2)
    assert (await typist.receive("result"))["session"] == first["session"]
    await typist.keys(*second["text"][:-1])
    n = len(second["text"])
    await typist.send("keys", n=n - 1, e=[100, second["text"][-1]])
    for _ in range(3):
        await typist.send("finish", n=n)
    results = [message for message in await answers(typist) if message["t"] == "result"]
    results.append(await typist.receive("result") if not results else results[0])
    assert {result["session"] for result in results} == {second["session"]}
