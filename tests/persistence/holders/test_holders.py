"""The port of the holders' records, over every implementation: in this process, in Redis, in a Redis Cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from persistence.holders import Holders, Holding
from tests.persistence.implementations import HOLDERS

FLOOR = 1_790_000_000_000


def session(number: int) -> bytes:
    return bytes.fromhex("0190163d8694739b") + (0x8000000000000000 + number).to_bytes(8, "big")


@pytest.fixture(name="processes", params=HOLDERS)
async def _processes(request: pytest.FixtureRequest) -> AsyncIterator[list[Holders]]:
    """The same records, as two processes open them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened) for opened in HOLDERS[request.param](request.getfixturevalue, 2)]


@pytest.fixture(name="holders")
def _holders(processes: list[Holders]) -> Holders:
    return processes[0]


async def test_what_was_never_taken_has_no_record(holders: Holders) -> None:
    assert await holders.read([session(1), session(2)]) == [None, None]
    assert await holders.read([]) == []


async def test_each_is_told_whom_it_took_it_from(processes: list[Holders]) -> None:
    """And has a greater epoch, whatever its floor."""
    one, other = processes
    assert await one.take(session(1), "a", floor=FLOOR) == (FLOOR, "")
    assert await other.take(session(1), "b", floor=FLOOR - 5_000) == (FLOOR + 1, "a")
    assert await one.take(session(1), "b", floor=FLOOR + 9) == (FLOOR + 9, "b")
    assert await other.take(session(2), "c", floor=3) == (3, ""), "each session has its own record"
    records = await one.read([session(2), session(3), session(1)])
    assert records == [Holding(3, "c"), None, Holding(FLOOR + 9, "b")]


async def test_of_many_at_once_each_takes_it_from_another(processes: list[Holders]) -> None:
    """They are a chain, of rising epochs."""
    takes = [processes[at % 2].take(session(1), f"node-{at}", floor=FLOOR) for at in range(600)]
    answers = await asyncio.gather(*takes)
    nodes = {epoch: f"node-{at}" for at, (epoch, _) in enumerate(answers)}
    assert sorted(nodes) == list(range(FLOOR, FLOOR + 600))
    assert dict(answers) == {epoch: nodes.get(epoch - 1, "") for epoch in nodes}
    assert await processes[0].read([session(1)]) == [Holding(FLOOR + 599, nodes[FLOOR + 599])]
