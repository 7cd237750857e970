"""The bus's guarantee, over every carrier: at most once, in order, gaps told, bounded, one process's fault its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from config.bus import BusOptions
from gateway.bus import Bus
from persistence.errors import StoreError
from tests.gateway.bus.nodes import BUSES, PATIENCE_S, Ear, MakeBus


@pytest.fixture(name="make", params=BUSES)
def _make(request: pytest.FixtureRequest) -> MakeBus:
    return BUSES[request.param](request.getfixturevalue)


@pytest.fixture(name="two")
async def _two(make: MakeBus) -> AsyncIterator[tuple[Bus, Bus]]:
    async with make() as here, make() as there:
        yield here, there


async def test_all_processes_hear_it_the_sender_s_own_too(two: tuple[Bus, Bus]) -> None:
    """As msgpack gives it back, and nothing of other channels."""
    here, there = two
    ears = [await Ear(bus, "news").listening() for bus in two]
    other = await Ear(there, "other").listening()
    message = {"a": [1, "ü", b"\x00\xff", None], "b": {"c": 1.5}}
    await here.publish("news", message)
    here.post("news", ("a", "tuple"))
    for ear in ears:
        await ear.until(lambda ear=ear: len(ear.messages) == 2)  # type: ignore[misc]  # bound early
        assert ear.messages == [message, ["a", "tuple"]]
    assert other.messages == []


async def test_messages_of_one_sender_come_once_and_in_order(two: tuple[Bus, Bus]) -> None:
    """Waited for or not, many at a time or one by one, from two senders at once; and no gap is told of."""
    ears = [await Ear(bus, "news").listening() for bus in two]
    for i in range(300):
        for name, bus in zip("ab", two, strict=True):
            if i % 10:
                bus.post("news", [name, i])
            else:
                await bus.publish("news", [name, i])
    for ear in ears:
        await ear.until(lambda ear=ear: len(ear.messages) == 600)  # type: ignore[misc]  # bound early
        for name in "ab":
            assert [i for sender, i in ear.messages if sender == name] == list(range(300))
        assert ear.resyncs == 1


async def test_another_cluster_is_not_believed(two: tuple[Bus, Bus]) -> None:
    """Its frames are counted and passed over; while keys rotate all hear each other, and who has none is heard."""
    here, there = two
    ear = await Ear(there, "news").listening()
    there.marks = (b"older...", b"newer...")
    for marks, heard in (((), 1), ((b"foreign.",), 1), ((b"newer...", b"older..."), 2), ((b"older...",), 3)):
        here.marks = marks
        await here.publish("news", len(ear.messages))
        here.marks = ()
        await here.publish("news", "end")
        await ear.until(lambda: ear.messages[-1:] == ["end"])
        assert len([message for message in ear.messages if message != "end"]) == heard
        ear.heard[:] = [message for message in ear.heard if message != "end"]
    assert there.facts().foreign == 1
    there.marks = ()
    here.marks = (b"foreign.",)
    await here.publish("news", "to who has no keys")
    await ear.until(lambda: "to who has no keys" in ear.messages)


async def test_what_is_said_at_once_goes_in_one_frame(two: tuple[Bus, Bus]) -> None:
    here, there = two
    ear = await Ear(there, "news").listening()
    before = here.facts().frames_sent
    for i in range(1_000):
        here.post("news", i)
    await ear.until(lambda: len(ear.messages) == 1_000)
    assert here.facts().frames_sent == before + 1
    assert there.facts().frames_heard == 1
    assert there.facts().bytes_heard == here.facts().bytes_sent


async def test_many_subscribers_of_a_process_hear_one_frame(two: tuple[Bus, Bus]) -> None:
    """And who subscribes later is told to read what there is, though the process listens already."""
    here, there = two
    ears = [Ear(there, "news") for _ in range(100)]
    for ear in ears:
        await ear.listening()
    await here.publish("news", "hello")
    for ear in ears:
        await ear.until(lambda ear=ear: ear.messages == ["hello"])  # type: ignore[misc]  # bound early
    assert there.facts().frames_heard == 1
    late = await Ear(there, "news").listening()
    assert late.messages == []
    assert (there.facts().subscriptions, there.facts().channels) == (101, 1)


async def test_who_left_hears_nothing_and_who_comes_again_does(two: tuple[Bus, Bus]) -> None:
    here, there = two
    gone, stays = await Ear(there, "news").listening(), await Ear(there, "news").listening()
    await here.publish("news", 1)
    await stays.until(lambda: stays.messages == [1])
    await gone.until(lambda: gone.messages == [1])
    gone.subscription.close()
    gone.subscription.close()
    await here.publish("news", 2)
    await stays.until(lambda: stays.messages == [1, 2])
    stays.subscription.close()
    assert there.facts().channels == 0
    await here.publish("news", 3)
    again = await Ear(there, "news").listening()
    await here.publish("news", 4)
    await again.until(lambda: again.messages == [4])
    assert gone.messages == [1]
    assert stays.messages == [1, 2]


async def test_a_subscriber_that_raises_costs_the_others_nothing(two: tuple[Bus, Bus]) -> None:
    here, there = two

    def picky(message: str) -> None:
        raise ValueError(message)

    there.subscribe("news", picky, resync=lambda: picky("resync"))
    ear = await Ear(there, "news").listening()
    await here.publish("news", "bad")
    await here.publish("news", "good")
    await ear.until(lambda: ear.messages == ["bad", "good"])
    assert there.facts().failures >= 2


async def test_a_slow_subscriber_loses_its_oldest_and_is_told(make: MakeBus) -> None:
    """Before what is left comes; others miss nothing."""
    async with make() as here, make(BusOptions(waiting_messages=10)) as there:
        slow, quick = await Ear(there, "news").listening(), await Ear(there, "news").listening()
        slow.subscription.pause()
        for i in range(25):
            await here.publish("news", i)
            await quick.until(lambda i=i: quick.messages[-1:] == [i])  # type: ignore[misc]  # bound early
        assert slow.heard == [Ear.RESYNC]
        slow.subscription.resume()
        await slow.until(lambda: slow.messages[-1:] == [24])
        assert slow.heard == [Ear.RESYNC, Ear.RESYNC, *range(15, 25)]
        assert there.facts().dropped == 15
        assert quick.messages == list(range(25))


async def test_a_gap_is_told_though_it_was_the_oldest_that_waited(make: MakeBus) -> None:
    async with make() as here, make(BusOptions(waiting_messages=10)) as there:
        slow, quick = await Ear(there, "news").listening(), await Ear(there, "news").listening()
        slow.subscription.pause()
        there.listening("news")  # as its carrier says where something may have been missed
        for i in range(10):
            await here.publish("news", i)
            await quick.until(lambda i=i: quick.messages[-1:] == [i])  # type: ignore[misc]  # bound early
        slow.subscription.resume()
        await slow.until(lambda: slow.messages[-1:] == [9])
        assert slow.heard == [Ear.RESYNC, Ear.RESYNC, *range(10)]
        assert there.facts().dropped == 0


async def test_long_messages_count_by_their_bytes(make: MakeBus) -> None:
    options = BusOptions(message_bytes=1_024, sending_bytes=4_096, waiting_bytes=2_048)
    async with make(options) as here, make(options) as there:
        slow = await Ear(there, "news").listening()
        slow.subscription.pause()
        quick = await Ear(there, "news").listening()
        with pytest.raises(ValueError, match="1024 is the longest"):
            here.post("news", b"x" * 1_025)
        for i in range(4):
            await here.publish("news", bytes([i]) * 1_000)
        await quick.until(lambda: len(quick.messages) == 4)
        slow.subscription.resume()
        await slow.until(lambda: len(slow.messages) >= 1 and slow.messages[-1][0] == 3)
        assert slow.resyncs == 2
        assert len(slow.messages) < 4


async def test_beyond_what_may_wait_to_be_sent_messages_are_given_up_and_subscribers_told(make: MakeBus) -> None:
    async with make(BusOptions(sending_messages=3, gather_ms=1_000)) as here, make() as there:
        ear = await Ear(there, "news").listening()
        assert [here.post("news", i) for i in range(5)] == [True, True, True, False, False]
        with pytest.raises(StoreError, match="3 messages wait") as raised:
            await here.publish("news", "too much")
        assert raised.value.retriable
        await ear.until(lambda: ear.resyncs == 2 and len(ear.messages) == 3)
        assert sorted(ear.messages) == [0, 1, 2]
        assert here.facts().unsent == 3


@pytest.mark.parametrize("message", [object(), {1, 2}, 2**70])
async def test_what_has_no_form_is_refused_where_it_is_said(message: object) -> None:
    async with BUSES["local"](lambda _: None)() as bus:
        with pytest.raises((TypeError, ValueError, OverflowError)):
            bus.post("news", message)
        assert bus.facts().unsent == 0


async def test_what_waits_is_sent_before_it_closes(make: MakeBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.bus.bus._CLOSE_S", PATIENCE_S)
    async with make() as there:
        ear = await Ear(there, "news").listening()
        async with make(BusOptions(gather_ms=100)) as here:
            await here.publish("news", 1)
            here.post("news", 2)
        await ear.until(lambda: ear.messages == [1, 2])


async def test_a_thousand_channels(make: MakeBus) -> None:
    """Each heard by its own subscriber."""
    async with make() as here, make() as there, AsyncExitStack() as left:
        ears = [Ear(there, f"room-{i}") for i in range(1_000)]
        for ear in ears:
            left.callback(ear.subscription.close)
            await ear.listening()
        for i in range(1_000):
            here.post(f"room-{i}", i)
        for i, ear in enumerate(ears):
            await ear.until(lambda ear=ear, i=i: ear.messages == [i])  # type: ignore[misc]  # bound early
        assert there.facts().channels == 1_000


async def test_a_burst_holds_up_nobody() -> None:
    """Subscribers are served in turn, and the event loop turns between."""
    async with BUSES["local"](lambda _: None)(BusOptions(waiting_messages=100_000)) as bus:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        busy, other = await Ear(bus, "busy").listening(), await Ear(bus, "other").listening()
        busy.subscription.pause()
        for start in range(0, 50_000, 5_000):
            for i in range(start, start + 5_000):
                bus.post("busy", i)
            await bus.publish("busy", "end of a lot")
        async with asyncio.TaskGroup() as group:
            turning = group.create_task(turn())
            busy.subscription.resume()
            before = turns
            await bus.publish("other", "hello")
            await other.until(lambda: other.messages == ["hello"])
            assert len(busy.messages) < 50_000, "the other one did not wait for all of it"
            await busy.until(lambda: len(busy.messages) == 50_010)
            assert turns > before + 1
            turning.cancel()
