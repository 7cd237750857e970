"""What rooms tell other nodes: together, to whom it is for, in messages of bounded size; and waiting in order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from config.bus import BusOptions
from gateway.bus import Bus, Exchange
from gateway.races.courier import MOST_ROOMS, MOST_ROWS, Courier, channel_of
from gateway.races.facts import RoomFacts
from gateway.races.progress import Row


class Node:
    """A node's courier, and what came to it."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.facts = RoomFacts()
        self.heard: list[tuple[str, str, Any]] = []
        self.answers = 0
        self.misheard: list[str] = []
        self.missed = asyncio.Event()
        self.messages: list[Any] = []
        self.courier = Courier(
            bus,
            asyncio.get_running_loop(),
            self.facts,
            node=name,
            heard=self._heard,
            missed=self.missed.set,
            misheard=lambda race, why: self.misheard.append(race),
        )
        bus.subscribe(channel_of(name), self.messages.append)

    def _heard(self, race: str, node: str, rows: Any, answer: bool) -> None:
        if rows == ["nonsense"]:
            raise ValueError("nonsense")
        self.heard.append((race, node, rows))
        self.answers += answer


class Late:
    """A room's progress, as far as waiting needs it."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def overdue(self, until_ms: float) -> None:
        self.over.set()


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.001)


@pytest.fixture(name="trio")
async def _trio() -> AsyncIterator[list[Node]]:
    exchange = Exchange()
    async with Bus(exchange.carrier()) as one, Bus(exchange.carrier()) as two, Bus(exchange.carrier()) as three:
        nodes = [Node(bus, name) for bus, name in zip((one, two, three), ("a/1", "b/1", "c/1"), strict=True)]
        for node in nodes:
            await node.missed.wait()
        yield nodes
        for node in nodes:
            node.courier.close()


async def test_the_rooms_of_a_turn_go_in_one_message(trio: list[Node]) -> None:
    """To each node its own; nobody hears what is for others, or what it said itself."""
    a, b, c = trio
    rows: list[Row] = [[0, 5, 60.0, 0]]
    for race in ("x", "y", "z"):
        a.courier.tell("b/1", race, rows)
    a.courier.tell("c/1", "y", [], answer=True)
    await until(lambda: b.heard and c.heard)
    assert b.heard == [("x", "a/1", rows), ("y", "a/1", rows), ("z", "a/1", rows)]
    assert c.heard == [("y", "a/1", [])]
    assert (b.answers, c.answers) == (0, 1)
    assert (len(a.messages), len(b.messages), len(c.messages)) == (0, 1, 1)
    assert a.facts.posted == 2


async def test_no_message_has_many_rooms_or_rows(trio: list[Node]) -> None:
    """What is more goes in another one, and all of it comes, in order."""
    a, b, _ = trio
    for number in range(2 * MOST_ROOMS + 1):
        a.courier.tell("b/1", f"x{number}", [[0, number, 60.0, 0]])
    await until(lambda: len(b.heard) == 2 * MOST_ROOMS + 1)
    assert [rows[0][1] for _, _, rows in b.heard] == list(range(2 * MOST_ROOMS + 1))
    assert [len(letter) for _, _, letter in b.messages] == [MOST_ROOMS, MOST_ROOMS, 1]
    crowd: list[Row] = [[lane, 1, 60.0, 0] for lane in range(100)]
    for number in range(MOST_ROWS // 100 + 1):
        a.courier.tell("b/1", f"y{number}", crowd)
    await until(lambda: len(b.messages) == 5)
    assert [len(letter) for _, _, letter in b.messages[3:]] == [MOST_ROWS // 100, 1]


async def test_a_bus_of_short_messages_brings_it_in_several() -> None:
    """What is too long for one goes in halves, in order."""
    exchange = Exchange()
    async with Bus(exchange.carrier(), BusOptions(message_bytes=1_024)) as one, Bus(exchange.carrier()) as two:
        a, b = Node(one, "a/1"), Node(two, "b/1")
        await asyncio.gather(a.missed.wait(), b.missed.wait())
        crowd: list[Row] = [[lane, 1_000, 60.5, 0] for lane in range(40)]
        for race in ("x", "y", "z"):
            a.courier.tell("b/1", race, crowd)
        await until(lambda: len(b.heard) == 3)
        assert [race for race, _, _ in b.heard] == ["x", "y", "z"]
        assert len(b.messages) == a.facts.posted == 3
        for node in (a, b):
            node.courier.close()


@pytest.mark.parametrize("message", [7, ["p"], ["p", "b/1", 7], ["x", "b/1", []], ["p", 7, []]])
async def test_nonsense_is_counted(trio: list[Node], message: Any) -> None:
    """And what comes after it is heard."""
    a, b, _ = trio
    b.bus.post(channel_of("a/1"), message)
    b.courier.tell("a/1", "x", [])
    await until(lambda: a.heard)
    assert len(a.misheard) == 1


async def test_nonsense_of_one_race_costs_no_other(trio: list[Node]) -> None:
    """A message's other rooms hear theirs; what a newer node says more is passed over."""
    a, b, _ = trio
    b.bus.post(channel_of("a/1"), ["p", "b/1", [["x", ["nonsense"], False], 7, ["y", [], True, "more"]], "more"])
    await until(lambda: a.heard)
    assert a.heard == [("y", "b/1", [])]
    assert a.misheard == ["x", "?"]


async def test_it_is_told_of_a_gap() -> None:
    """Who was not heard for a while is asked for all of it: rooms are told that they may have missed something."""
    exchange = Exchange()
    carrier = exchange.carrier()
    async with Bus(carrier) as bus:
        node = Node(bus, "a/1")
        await node.missed.wait()
        node.missed.clear()
        bus.listening(channel_of("a/1"))
        await node.missed.wait()
        node.courier.close()


async def test_who_waits_long_enough_is_served_in_order(trio: list[Node]) -> None:
    """Each at its instant; once closed, nobody any more."""
    courier = trio[0].courier
    now_ms = asyncio.get_running_loop().time() * 1000
    first, second, third = (Late() for _ in range(3))
    for late, after_ms in ((first, 0), (second, 1), (third, 3_600_000)):
        courier.wait(cast(Any, late), now_ms + after_ms)
    await asyncio.gather(first.over.wait(), second.over.wait())
    assert not third.over.is_set()
