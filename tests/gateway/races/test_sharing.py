"""Progress between nodes: in step, in one frame, all of it to whoever has missed some, nothing to who is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.bus import Bus, Exchange
from gateway.codec import JSON
from gateway.races.courier import Courier
from gateway.races.facts import RoomFacts
from gateway.races.place import Place
from gateway.races.progress import Row
from gateway.races.sharing import FOLLOWS_MS, INTEREST_MS, LEAST_MS, RESTS_MS, Sharing
from gateway.said import Said
from tests.gateway.clockwork import Clockwork

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

    def __init__(self, bus: Bus, name: str, lane: int, *others: str) -> None:
        self.now_ms = 1000 * asyncio.get_running_loop().time() + 3_600_000  # so that nobody is waited for too long
        self.rows: list[Row] = []
        self.told: list[tuple[str, list[Row]]] = []
        """What other nodes have told."""
        self.missed = 0
        self.listener = Listener()
        self.facts = RoomFacts()
        self.place = Place(cast(Any, None), cast(Any, self.listener), lane)
        self.courier = Courier(
            bus,
            asyncio.get_running_loop(),
            self.facts,
            node=name,
            heard=self._heard,
            missed=self._missed,
            misheard=self._misheard,
        )
        self.sharing = Sharing(
            bus, CHANNEL, self.courier, self.facts, race="x", pull=self._pull, everybody=self._everybody
        )
        self.sharing.nodes = frozenset(others)
        self.sharing.come(self.place)
        self.subscription = bus.subscribe(
            CHANNEL,
            lambda message: self.sharing.hear(message, self.now_ms),
            resync=lambda: self.sharing.ask(self.now_ms, new=True),
        )

    def turn(self, *rows: Row) -> None:
        """Its turn, with these rows new."""
        self.rows += rows
        self.sharing.turn(self.now_ms)

    def _heard(self, race: str, node: str, rows: Any, answer: bool) -> None:
        assert race == "x"
        self.sharing.heard(node, rows, answer, self.now_ms)
        self.told.append((node, rows))

    def _missed(self) -> None:
        self.missed += 1

    def _misheard(self, race: str, why: Exception) -> None:
        raise AssertionError(f"{race}: {why}")

    def _pull(self) -> list[Row]:
        rows, self.rows = self.rows, []
        return rows

    def _everybody(self) -> Sequence[Place]:
        return (self.place,)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.001)


@pytest.fixture(name="pair")
async def _pair() -> AsyncIterator[tuple[Node, Node]]:
    exchange = Exchange()
    async with Bus(exchange.carrier()) as one, Bus(exchange.carrier()) as other:
        pair = Node(one, "a/1", 0, "b/1"), Node(other, "b/1", 1, "a/1")
        await until(lambda: all(len(node.sharing.wanted_by) == 1 for node in pair))
        yield pair
        for node in pair:
            node.courier.close()


async def test_who_hears_another_tells_its_own_at_once(pair: tuple[Node, Node]) -> None:
    """So each one's listeners have both in one frame, as soon as they can be there, and each node has told once."""
    a, b = pair
    b.rows = [[1, 7, 70.0, 1]]
    a.turn([0, 5, 60.0, 0])
    assert a.sharing.waiting
    await until(lambda: a.listener.frames and b.listener.frames)
    for node in pair:
        assert [sorted(frame) for frame in node.listener.frames] == [[[0, 5, 60.0, 0], [1, 7, 70.0, 1]]]
        assert node.facts.posted == 1
        assert not node.sharing.waiting


async def test_who_has_nothing_to_tell_is_not_waited_for(pair: tuple[Node, Node]) -> None:
    """Who follows says so; who leads does not make anybody follow for it."""
    a, b = pair
    a.turn([0, 5, 60.0, 0])
    await until(lambda: a.listener.frames)
    assert a.told == [("b/1", [])]
    a.now_ms += 100
    a.turn()
    assert not a.sharing.waiting
    assert len(b.told) == a.facts.posted == 1


async def test_who_says_nothing_is_waited_for_a_while_only(pair: tuple[Node, Node]) -> None:
    """Then ours is told without."""
    a, b = pair
    b.courier.close()
    a.now_ms = asyncio.get_running_loop().time() * 1000
    a.sharing._wanted("b/1", False, a.now_ms)
    a.turn([0, 5, 60.0, 0])
    assert a.listener.frames == []
    assert a.sharing.waiting
    await until(lambda: a.listener.frames)
    assert a.listener.frames == [[[0, 5, 60.0, 0]]]
    assert not a.sharing.waiting


async def test_an_answer_is_not_answered_however_late(pair: tuple[Node, Node]) -> None:
    """Of two that are slow to hear each other each tells once a turn, not again for each other's word."""
    a, b = pair
    a.turn([0, 5, 60.0, 0])
    b.now_ms += FOLLOWS_MS + 5
    b.rows = [[1, 7, 70.0, 1]]
    a.now_ms += 2 * (FOLLOWS_MS + 5)
    a.sharing.send()  # it has waited long enough
    await until(lambda: a.told)
    assert (a.facts.posted, b.facts.posted) == (1, 1)
    assert a.listener.frames == [[[0, 5, 60.0, 0]]]
    assert a.sharing.owing
    a.turn()
    assert a.listener.frames[1:] == [[[1, 7, 70.0, 1]]]


async def test_who_is_gone_is_not_waited_for(pair: tuple[Node, Node]) -> None:
    """Neither in this turn nor in another; nobody tells it anything."""
    a, b = pair
    b.courier.close()
    a.turn([0, 5, 60.0, 0])
    b.sharing.close()
    await until(lambda: a.listener.frames)
    a.now_ms += 100
    a.turn([0, 6, 60.0, 0])
    assert a.listener.frames == [[[0, 5, 60.0, 0]], [[0, 6, 60.0, 0]]]
    assert a.facts.posted == 1


async def test_who_only_looks_on_is_not_waited_for(pair: tuple[Node, Node]) -> None:
    """A node without racers is told, and has nothing to tell."""
    a, b = pair
    a.sharing.nodes = frozenset()
    a.turn([0, 5, 60.0, 0])
    assert a.listener.frames == [[[0, 5, 60.0, 0]]]
    await until(lambda: b.listener.frames)
    assert b.listener.frames == [[[0, 5, 60.0, 0]]]


async def test_three_wait_for_each_other() -> None:
    """Each has told the two others once when all have one frame with everybody's."""
    exchange = Exchange()
    names = ("a/1", "b/1", "c/1")
    async with Bus(exchange.carrier()) as one, Bus(exchange.carrier()) as two, Bus(exchange.carrier()) as three:
        nodes = [
            Node(bus, name, lane, *(set(names) - {name}))
            for lane, (bus, name) in enumerate(zip((one, two, three), names, strict=True))
        ]
        await until(lambda: all(len(node.sharing.wanted_by) == 2 for node in nodes))
        rows = [[lane, 5 + lane, 60.0, 0] for lane in range(3)]
        for node, row in zip(nodes, rows, strict=True):
            node.rows = [row]
        nodes[1].turn()
        await until(lambda: all(node.listener.frames for node in nodes))
        for node in nodes:
            assert [sorted(frame) for frame in node.listener.frames] == [rows]
            assert node.facts.posted == 2
            node.courier.close()


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
        told = [len(each.told) for each in pair]
        node.turn()
        if number and not node.rows:
            await until(lambda told=told, other=other, at=1 - place: len(other.told) > told[at])
            if not other.rows:  # it has followed
                await until(lambda told=told, node=node, at=place: len(node.told) > told[at])
        for each in pair:
            each.sharing.send()
        posts.append(tuple(each.facts.posted - was for each, was in zip(pair, before, strict=True)))
    assert sorted(posts[-6:]) == [(0, 0)] * 3 + [(1, 1)] * 3


async def test_who_had_nothing_to_tell_in_its_turn_follows_the_next(pair: tuple[Node, Node]) -> None:
    """However soon that comes: else what it is told would lie there until its own next turn."""
    a, b = pair
    b.turn()
    b.now_ms += FOLLOWS_MS - 15
    a.turn([0, 5, 60.0, 0])
    await until(lambda: a.listener.frames and b.listener.frames)
    assert a.listener.frames == b.listener.frames == [[[0, 5, 60.0, 0]]]
    assert not a.sharing.waiting
    b.now_ms += RESTS_MS - 1
    b.turn([1, 7, 70.0, 1])
    assert b.facts.posted == 1, "the turn that comes soon after is left out"


class SlowBus:
    """A bus that brings everything in the same time, on a clock that a test moves."""

    def __init__(self, clockwork: Clockwork, way_ms: float) -> None:
        self._clockwork = clockwork
        self._way_ms = way_ms
        self._listeners: dict[str, Callable[[Any], None]] = {}

    def subscribe(self, channel: str, listener: Callable[[Any], None], *, resync: Callable[[], None]) -> None:
        self._listeners[channel] = listener

    def post(self, channel: str, message: Any) -> None:
        if (listener := self._listeners.get(channel)) is not None:  # what is asked on the race's own is known here
            brought = msgpack.unpackb(msgpack.packb(message))
            self._clockwork.call_at(self._clockwork.now + self._way_ms / 1000, lambda: listener(brought))


class Shown:
    """One of several nodes with a racer each, and when others are told of its keys, and it shows theirs."""

    def __init__(self, clockwork: Clockwork, bus: SlowBus, lane: int, others: list[str]) -> None:
        self.keys = self._pulled = 0
        self.told_ms: dict[int, float] = {}
        """When it told of so many keys of its own."""
        self.shown_ms: dict[tuple[int, int], float] = {}
        """When it showed so many keys of a lane."""
        self._clockwork = clockwork
        self._place = Place(cast(Any, None), cast(Any, self), lane)
        courier = Courier(
            cast(Bus, bus),
            clockwork.loop,
            RoomFacts(),
            node=f"n{lane}",
            heard=lambda race, node, rows, answer: self.sharing.heard(node, rows, answer, clockwork.now * 1000),
            missed=lambda: None,
            misheard=self._misheard,
        )
        self.sharing = Sharing(
            cast(Bus, bus),
            CHANNEL,
            courier,
            RoomFacts(),
            race="x",
            pull=self._pull,
            everybody=lambda: (self._place,),
        )
        self.sharing.nodes = frozenset(others)
        for other in others:
            self.sharing.hear(["here", other, False], clockwork.now * 1000)

    def key(self) -> None:
        self.keys += 1

    def turn(self) -> None:
        self.sharing.turn(self._clockwork.now * 1000)

    def hear(self, said: Said, more: Any = None) -> bool:
        for lane, keys, *_ in JSON.decode(said.payload(JSON))["p"]:
            self.shown_ms[lane, keys] = self._clockwork.now * 1000
        return True

    def _pull(self) -> list[Row]:
        if self.keys == self._pulled:
            return []
        self._pulled = self.keys
        self.told_ms[self.keys] = self._clockwork.now * 1000
        return [[self._place.lane, self.keys, 60.0, 0]]

    def _misheard(self, race: str, why: Exception) -> None:
        raise AssertionError(f"{race}: {why}")


@given(
    turns_at_ms=st.lists(st.integers(0, 99), min_size=2, max_size=4),
    keys_at_ms=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3_000)), max_size=40),
    way_ms=st.sampled_from([0.5, 3.0, 9.0]),
)
@example(turns_at_ms=[0, 30, 60], keys_at_ms=[(1, at) for at in range(0, 3_000, 170)], way_ms=3.0)
def test_what_is_told_is_shown_everywhere_before_long(
    turns_at_ms: list[int], keys_at_ms: list[tuple[int, int]], way_ms: float
) -> None:
    """Whoever types when, and however the nodes' turns lie: it does not lie at a node until that one's own turn.

    A way brings what is told, and another one what those tell who follow.
    """
    clockwork = Clockwork(now=3_600.0)
    bus = SlowBus(clockwork, way_ms)
    names = [f"n{lane}" for lane in range(len(turns_at_ms))]
    nodes = [Shown(clockwork, bus, lane, [name for name in names if name != own]) for lane, own in enumerate(names)]
    for which, at_ms in keys_at_ms:
        clockwork.call_at(clockwork.now + at_ms / 1000, nodes[which % len(nodes)].key)
    for node, first_ms in zip(nodes, turns_at_ms, strict=True):
        for number in range(34):
            clockwork.call_at(clockwork.now + (first_ms + 100 * number) / 1000, node.turn)
    clockwork.advance(4)
    for lane, node in enumerate(nodes):
        for keys, told_ms in node.told_ms.items():
            for other in nodes:
                assert other.shown_ms[lane, keys] - told_ms <= 2 * way_ms + 1


async def test_no_oftener_than_ten_times_a_second(pair: tuple[Node, Node]) -> None:
    """What comes sooner waits for the next turn; who has followed another leaves the turn out that comes soon after."""
    a, b = pair
    a.turn([0, 5, 60.0, 0])
    await until(lambda: a.told)
    a.now_ms += LEAST_MS - 1
    a.turn([0, 6, 60.0, 0])
    assert len(a.listener.frames) == 1
    a.now_ms += 1
    a.turn()
    await until(lambda: len(b.told) == 2)
    b.now_ms += RESTS_MS - 1
    b.turn([1, 7, 70.0, 1])
    assert (a.facts.posted, b.facts.posted) == (2, 1)
    b.now_ms += 1
    b.turn()
    await until(lambda: b.facts.posted == 2)


async def test_who_does_not_read_is_told_all_of_it_later(pair: tuple[Node, Node]) -> None:
    """In one frame, however much was missed."""
    a, _ = pair
    a.listener.reads = False
    for lane in range(3):
        a.now_ms += 100
        a.turn([lane, 5, 60.0, 0])
        a.sharing.send()
    a.listener.reads = True
    a.sharing.send()
    assert a.listener.frames == [[[0, 5, 60.0, 0], [1, 5, 60.0, 0], [2, 5, 60.0, 0]]]
    a.sharing.send()
    assert len(a.listener.frames) == 1


async def test_a_node_that_asks_no_more_is_told_no_more(pair: tuple[Node, Node]) -> None:
    """Then all is sent here at once, and nothing is told."""
    a, _ = pair
    a.now_ms += INTEREST_MS + 1
    a.turn([0, 5, 60.0, 0])
    assert not a.sharing.waiting
    assert (a.facts.posted, a.listener.frames) == (0, [[[0, 5, 60.0, 0]]])


async def test_the_last_word_of_a_test_is_told(pair: tuple[Node, Node]) -> None:
    """Also when the race is over with it, and nothing is pulled any more."""
    a, b = pair
    owing = [a.sharing.owing]
    a.sharing.take([0, 12, 60.0, 0])
    owing.append(a.sharing.owing)
    a.turn()
    await until(lambda: a.listener.frames and b.sharing.rows == [[0, 12, 60.0, 0]])
    owing.append(a.sharing.owing)
    assert owing == [False, True, False]


async def test_what_comes_right_behind_our_turn_is_told_in_the_next(pair: tuple[Node, Node]) -> None:
    """Also when the race is over and there would be none: it is owed."""
    a, b = pair
    a.turn([0, 5, 60.0, 0])
    await until(lambda: a.listener.frames)
    a.now_ms += FOLLOWS_MS - 1
    b.now_ms += RESTS_MS
    b.turn([1, 7, 70.0, 1])
    await until(lambda: len(a.told) == 2)
    assert len(a.listener.frames) == 1
    assert a.sharing.owing
    a.now_ms += 100
    a.turn()
    assert a.listener.frames[1:] == [[[1, 7, 70.0, 1]]]
    assert not a.sharing.owing
