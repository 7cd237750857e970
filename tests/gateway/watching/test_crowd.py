"""Many who look on at one typist, and what that costs; one who reads slowly; nonsense from elsewhere."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.watch import WatchOptions
from gateway.connection import Connection
from gateway.watching.words import END, KEYS, STATE, TEST, WHO, channel_of
from persistence.redis import RedisOptions
from session.identity import session_from_text
from tests.gateway.running import PATIENCE_S, serving
from tests.gateway.typing_client import JSON, MSGPACK, client
from tests.gateway.watching.audience import PATIENT, Onlooker, Places, together

CROWD = 1_000
FRAME_BYTES = 200
"""A tenth of a second of somebody fast, with its figures."""


async def test_a_thousand_cost_one_subscription_and_one_encoding_a_frame(
    tmp_path: Path, redis_single: RedisOptions
) -> None:
    """For each of the two encodings; and what they are sent is bounded by what is typed."""
    patient = replace(PATIENT, silent_ms=600_000)  # however slow the machine: a typist who is taken for away is told of
    async with together(tmp_path, redis_single, watch=patient) as (here, there), AsyncExitStack() as stack:
        typist = await stack.enter_async_context(client(here.url))
        started = await typist.start(mode="words", count=10, watch=True)
        watching = there.hub.watching
        assert watching is not None
        channels, told = watching.bus.facts().channels, watching.facts

        async def come(number: int) -> Onlooker:
            subprotocol = (JSON, MSGPACK)[number % 2]
            other = Onlooker(await stack.enter_async_context(client(there.url, subprotocol)))
            assert (await other.watch(started["session"]))["t"] == "watched"
            return other

        crowd: list[Onlooker] = []
        for first in range(0, CROWD, 50):
            crowd += await asyncio.gather(*map(come, range(first, first + 50)))
        assert watching.bus.facts().channels == channels + 1
        assert watching.figures() == {"watchers": CROWD, "watched": 1, "shown": 0}
        for typed in range(1, 6):
            encoded, sent, out = told.encoded, told.sent, there.hub.counts.bytes_out
            frames = [one.frames for one in crowd]
            await typist.keys(started["text"][typed - 1])
            await asyncio.gather(*(one.sees(started["text"][:typed]) for one in crowd))
            assert {one.frames - before for one, before in zip(crowd, frames, strict=True)} == {1}
            assert told.encoded - encoded == 2
            assert told.sent - sent == CROWD
            assert there.hub.counts.bytes_out - out <= CROWD * FRAME_BYTES
        assert told.dropped == 0


async def test_who_reads_slowly_misses_frames_and_no_key(places: Places) -> None:
    """What was left out comes in one, once it reads again; nobody else waits for it."""
    async with client(places.here.url) as typist, client(places.there.url) as one, client(places.there.url) as two:
        started = await typist.start(mode="zen", watch=True)
        quick, slow = Onlooker(one), Onlooker(two)
        await quick.watch(started["session"])
        await slow.watch(started["session"])
        wire = connection_of(places, slow)._wire
        assert wire is not None
        wire.pause_writing()
        written = "what one writes when there is nothing to copy from"
        for at in range(0, len(written), 10):
            await typist.keys(*written[at : at + 10])
            await quick.sees(written[: at + 10])
        assert slow.frames == 1
        watching = places.there.hub.watching
        assert watching is not None
        assert watching.facts.dropped > 0
        wire.resume_writing()
        await slow.sees(written)
        assert slow.frames == 2


async def test_a_long_log_comes_in_parts(places: Places) -> None:
    """Whoever comes late has each key of it once and in order, and then goes along with the others."""
    async with client(places.here.url) as typist, client(places.there.url) as one, client(places.there.url) as two:
        started = await typist.start(mode="zen", watch=True)
        written = "".join(f"word {number} " for number in range(300))
        for at in range(0, len(written), 500):
            await typist.keys(*written[at : at + 500])
        early, late = Onlooker(one), Onlooker(two)
        await early.watch(started["session"])
        await early.sees(written)
        await late.watch(started["session"])
        await late.sees(written)
        assert late.frames > 3
        await typist.keys("x")
        for onlooker in (early, late):
            await onlooker.sees(written + "x")


NONSENSE: list[Any] = [
    None,
    7,
    [],
    ["test"],
    [TEST, "x", 0, b"no ticket", True],
    [TEST, "x", 0, b"", True],
    [KEYS, "x", 0, b"s", 0, [1, 2], 5, 1.0, 1.0, 1.0, 0],
    [KEYS, "a", 0, "session", 0, [], 5],
    [STATE, "x", 0, "asleep", 1, True],
    [END, "x", 0, b"s"],
    ["dance", "x", 0],
]


@pytest.mark.parametrize("channel", ["the thread's", "the common one"])
async def test_nonsense_of_other_nodes_is_counted_and_disturbs_nobody(tmp_path: Path, channel: str) -> None:
    async with (
        serving(tmp_path, watch=PATIENT) as (gateway, _),
        client(gateway.url) as typist,
        client(gateway.url) as other,
    ):
        watching = gateway.hub.watching
        assert watching is not None
        started = await typist.start(mode="words", count=4, watch=True)
        onlooker = Onlooker(other)
        await onlooker.watch(started["session"])
        where = channel_of(session_from_text(started["session"])) if channel == "the thread's" else "watching"
        for message in NONSENSE:
            watching.bus.post(where, message)
        if channel == "the common one":
            watching.bus.post(where, [[b"short", b"short", 0, True]])
        await until(lambda: watching.facts.misheard >= len(NONSENSE) - 2)
        await typist.keys("x")
        await onlooker.sees("x")
        assert watching.bus.facts().failures == 0


class Sought(dict[bytes, Connection]):
    """Whom a hub has with a connection, and for whom it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[bytes] = []

    def get(self, key: bytes, default: Any = None) -> Any:
        self.threads.append(key)
        return super().get(key, default)


async def test_however_many_others_look_at_few_are_looked_for_at_once(tmp_path: Path) -> None:
    """Thirty nodes may look at thousands; in no visit are more than 500 of them looked for, and each has its turn."""
    async with serving(tmp_path, watch=PATIENT) as (gateway, _):
        watching = gateway.hub.watching
        assert watching is not None
        threads = [number.to_bytes(16, "big") for number in range(1_700)]
        for start in range(0, len(threads), 500):
            watching._asked([[thread, thread, 0, False] for thread in threads[start : start + 500]])
        live = gateway.hub.live = Sought()
        now_ms = gateway.hub.clock() * 1000
        for _ in range(4):
            before = len(live.threads)
            watching.beat(now_ms)
            assert len(live.threads) - before <= 500
        assert sorted(live.threads) == threads
        watching.beat(now_ms)
        assert len(live.threads) > len(threads), "and then from the beginning"


async def test_of_two_nodes_that_have_a_test_the_one_that_took_it_later_is_believed(tmp_path: Path) -> None:
    """And if what it has differs from what was shown, it is shown anew; what the former says is passed over."""
    async with (
        serving(tmp_path, watch=PATIENT) as (gateway, _),
        client(gateway.url) as typist,
        client(gateway.url) as other,
    ):
        watching = gateway.hub.watching
        assert watching is not None
        started = await typist.start(mode="words", count=4, watch=True)
        session = session_from_text(started["session"])
        channel = channel_of(session)
        onlooker = Onlooker(other)
        await onlooker.watch(started["session"])
        await typist.keys("a", "b")
        await onlooker.sees("ab")

        def said(word: str, epoch: int, *what: Any) -> None:
            watching.bus.post(channel, [word, "elsewhere", epoch, *what])

        figures = (900, 10.0, 11.0, 50.0, 1)
        said(KEYS, 0, session, 2, ["!"], *figures)
        said(STATE, 0, "gone", 1, True)
        said(WHO, 0, 1)
        await typist.keys("c")
        await onlooker.sees("abc")
        assert onlooker.state == "typing"
        live = gateway.hub.live[session].session
        assert live is not None
        said(TEST, 7, live.ticket, True)
        said(KEYS, 7, session, 0, ["a", "X"], *figures)
        await onlooker.until(lambda one: one.keys == ["a", "X"])
        assert [message["t"] for message in other.seen].count("watched") == 2
        await typist.keys("d")
        said(KEYS, 7, session, 2, ["Y"], *figures)
        await onlooker.until(lambda one: len(one.keys) == 3)
        assert onlooker.keys == ["a", "X", "Y"]


async def test_of_whom_nothing_is_heard_is_away_and_in_the_end_gone(tmp_path: Path, redis_single: RedisOptions) -> None:
    """The typist's server is gone, and nobody takes the test up again."""
    quick = WatchOptions(answer_ms=60_000, silent_ms=2_500, gone_s=5)
    async with together(tmp_path, redis_single, watch=quick) as (here, there), client(there.url) as other:
        async with client(here.url) as typist:
            started = await typist.start(mode="words", count=4, watch=True)
            await typist.keys("a")
            onlooker = Onlooker(other)
            await onlooker.watch(started["session"])
            await onlooker.sees("a")
            assert here.hub.watching is not None
            here.hub.watching.close()
            await onlooker.until(lambda one: one.state == "away")
            await onlooker.until(lambda one: one.state == "gone")
        watching = there.hub.watching
        assert watching is not None
        await until(lambda: watching.figures() == {"watchers": 0, "watched": 0, "shown": 0})


def connection_of(places: Places, onlooker: Onlooker) -> Connection:
    user = int(onlooker.client.ready["user"])
    return next(one for one in places.there.hub.connections if one.user == user)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)
