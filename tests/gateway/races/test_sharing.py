"""Progress between two nodes: in step, in one frame, all of it to whoever has missed some, nothing to who is gone."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest

from gateway.bus import Bus, Exchange
from gateway.codec import JSON
from gateway.races.facts import RoomFacts
from gateway.races.place import Place
from gateway.races.progress import Row
from gateway.races.sharing import INTEREST_MS, RESTS_MS, Sharing
from gateway.said import Said

CHANNEL = "race:x"


class Listener:
    """A connection, as far as progress needs one: what it heard, unless it does not read just now."""

    def __init__(self) -> None:
        self.frames: list[list[Row]] = []
        self.reads = True

    def hear(self, said: Said, more: Any = None) -> bool:
        if self.reads:
            self.frames.append(JSON.decode(said.payload(JSON))["p"])
        return self.reads


class Node:
    """One node's part: its own racers' rows, to be changed, and one who listens."""

    def __init__(self, bus: Bus, name: str, lane: int) -> None:
        self.now_ms = 1_000_000.0
        self.rows: list[Row] = []
        self.listener = Listener()
        self.facts = RoomFacts()
        self.place = Place(cast(Any, None), cast(Any, self.listener), lane)
        self.sharing = Sharing(
            bus, CHANNEL, self.facts, race="x", node=name, pull=self._pull, everybody=self._everybody
        )
        self.sharing.come(self.place)
        bus.subscribe(
            CHANNEL,
            lambda message: self.sharing.heard(message, self.now_ms),
            resync=lambda: self.sharing.ask(self.now_ms, new=True),
        )

    def _pull(self) -> list[Row]:
        rows, self.rows = self.rows, []
        return rows

    def _everybody(self) -> Iterable[Place]:
        return (self.place,)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.001)


@pytest.fixture(name="pair")
async def _pair() -> AsyncIterator[tuple[Node, Node]]:
    exchange = Exchange()
    async with Bus(exchange.carrier()) as one, Bus(exchange.carrier()) as other:
        pair = Node(one, "a/1", 0), Node(other, "b/1", 1)
        await until(lambda: all(len(node.sharing.wanted_by) == 1 for node in pair))
        yield pair


async def test_who_hears_another_tells_its_own_at_once(pair: tuple[Node, Node]) -> None:
    """So each one's listeners have both in one frame, and each node has posted once."""
    a, b = pair
    a.rows, b.rows = [[0, 5, 60.0, 0]], [[1, 7, 70.0, 1]]
    a.sharing.post(a.now_ms)
    assert a.sharing.waiting
    await until(lambda: b.sharing.waiting and b.facts.posted == 1)
    await until(lambda: len(a.sharing.rows) == 2)
    for node in pair:
        node.sharing.send()
        assert [sorted(frame) for frame in node.listener.frames] == [[[0, 5, 60.0, 0], [1, 7, 70.0, 1]]]
        assert node.facts.posted == 1
        assert not node.sharing.waiting


@pytest.mark.parametrize("behind_ms", [0, 15, 30, 45, 50, 55, 70, 85, 95])
async def test_two_fall_into_step_however_their_turns_lie(pair: tuple[Node, Node], behind_ms: int) -> None:
    """And though one had nothing to tell in its turn: within a few turns whoever is first is followed at once."""
    begun_ms = pair[0].now_ms
    posts: list[tuple[int, ...]] = []
    for number in range(12):
        turn, place = divmod(number, 2)
        node, other = pair[place], pair[1 - place]
        before = [each.facts.posted for each in pair]
        for each in pair:
            each.now_ms = begun_ms + 100 * turn + behind_ms * place
            each.rows = [[each.place.lane, number + 1, 60.0, 0]] if number else []
        was_told = node.facts.posted
        node.sharing.post(node.now_ms)
        if node.facts.posted > was_told:
            row = [node.place.lane, number + 1, 60.0, 0]
            await until(lambda row=row, other=other: row in other.sharing.rows)
        for each in pair:
            each.sharing.send()
        posts.append(tuple(each.facts.posted - was for each, was in zip(pair, before, strict=True)))
    assert sorted(posts[-6:]) == [(0, 0)] * 3 + [(1, 1)] * 3


async def test_no_oftener_than_ten_times_a_second(pair: tuple[Node, Node]) -> None:
    """What comes sooner waits for the next time."""
    a, _ = pair
    a.rows = [[0, 5, 60.0, 0]]
    a.sharing.post(a.now_ms)
    a.rows = [[0, 6, 60.0, 0]]
    a.sharing.post(a.now_ms + RESTS_MS - 1)
    assert a.facts.posted == 1
    a.sharing.post(a.now_ms + RESTS_MS)
    assert a.facts.posted == 2


async def test_who_does_not_read_is_told_all_of_it_later(pair: tuple[Node, Node]) -> None:
    """In one frame, however much was missed."""
    a, _ = pair
    a.listener.reads = False
    for lane in range(3):
        a.rows = [[lane, 5, 60.0, 0]]
        a.now_ms += 100
        a.sharing.post(a.now_ms)
        a.sharing.send()
    a.listener.reads = True
    a.sharing.send()
    assert a.listener.frames == [[[0, 5, 60.0, 0], [1, 5, 60.0, 0], [2, 5, 60.0, 0]]]
    a.sharing.send()
    assert len(a.listener.frames) == 1


async def test_a_node_that_asks_no_more_is_told_no_more(pair: tuple[Node, Node]) -> None:
    """Then all is sent here at once, and nothing is posted."""
    a, _ = pair
    a.rows = [[0, 5, 60.0, 0]]
    a.sharing.post(a.now_ms + INTEREST_MS + 1)
    assert not a.sharing.waiting
    assert (a.facts.posted, a.listener.frames) == (0, [[[0, 5, 60.0, 0]]])


async def test_the_last_word_of_a_test_is_told(pair: tuple[Node, Node]) -> None:
    """Also when the race is over with it, and nothing is pulled any more."""
    a, b = pair
    owing = [a.sharing.owing]
    a.sharing.take([0, 12, 60.0, 0])
    owing.append(a.sharing.owing)
    a.sharing.post(a.now_ms)
    owing.append(a.sharing.owing)
    assert owing == [False, True, False]
    await until(lambda: b.sharing.rows == [[0, 12, 60.0, 0]])
