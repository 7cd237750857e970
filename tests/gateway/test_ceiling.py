"""The most tests under way, and the queue: on one server and over two."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.gateway import ConnectionOptions
from gateway.app import Gateway
from gateway.ceiling import Ceiling, Line, retry_ms
from loadtest.servers.redis import RedisServer
from persistence.redis import RedisOptions, RedisServers
from tests.gateway.running import PATIENCE_S, serving
from tests.gateway.two_servers import two_servers, until
from tests.gateway.typing_client import TypingClient, client
from tests.servers import PATIENT_MS, skip_without

TWO = ConnectionOptions(tests=2, starts_per_s=1000, starts_burst=1000)


async def asks(typist: TypingClient) -> int:
    """Ask for a test; 0 where it began, else the place."""
    await typist.send("start", mode="words", count=3)
    answer = await typist.receive("started", "error")
    if answer["t"] == "started":
        typist.started, typist.log = answer, []
        return 0
    assert answer["code"] == "full", answer
    assert 800 <= answer["retry"] <= 18_000
    place = answer["place"]
    assert isinstance(place, int)
    return place


async def asks_until(typist: TypingClient, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await asks(typist) != wanted:  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.02)


async def crowd(stack: AsyncExitStack, gateways: list[Gateway], count: int) -> list[TypingClient]:
    """So many clients, at each server in turn."""
    return [await stack.enter_async_context(client(gateways[number % len(gateways)].url)) for number in range(count)]


def test_one_gets_in_when_there_is_room_for_all_before_and_for_it_too() -> None:
    """Nobody overtakes, however often one asks; who does not ask again in time, or went, loses the place."""
    line = Line(most=3)
    assert line.ask(1, free=0, now_ms=0) == 1
    assert line.ask(2, free=0, now_ms=0) == 2
    assert line.ask(3, free=0, now_ms=0) == 3
    assert line.ask(4, free=0, now_ms=0) == -1
    assert line.ask(2, free=1, now_ms=1) == 2
    assert line.ask(4, free=1, now_ms=1) == -1
    assert line.ask(2, free=2, now_ms=2) == 0
    assert line.ask(3, free=1, now_ms=3) == 2
    line.gone(1, now_ms=4)
    line.gone(99, now_ms=4)
    assert line.ask(3, free=1, now_ms=5_003) == 2
    assert line.ask(3, free=1, now_ms=5_004) == 0
    assert line.ask(5, free=0, now_ms=5_004) == 1
    assert line.ask(6, free=0, now_ms=35_003) == 2
    assert line.ask(6, free=0, now_ms=35_004) == 1
    assert len(line) == 1


class Queue:
    """What a line is by its definition, without a thought of what it costs."""

    def __init__(self) -> None:
        self.until_ms: dict[int, int] = {}

    def ask(self, user: int, free: int, now_ms: int) -> int:
        self.until_ms = {one: until_ms for one, until_ms in self.until_ms.items() if until_ms > now_ms}
        before = [*self.until_ms, user].index(user)
        if before < free:
            self.until_ms.pop(user, None)
            return 0
        if user not in self.until_ms and before >= 4:
            return -1
        self.until_ms[user] = now_ms + 30_000
        return before + 1

    def gone(self, user: int, now_ms: int) -> None:
        if user in self.until_ms:
            self.until_ms[user] = now_ms + 5_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "gone"]),
            st.integers(1, 6),
            st.integers(0, 3),
            st.sampled_from([0, 1, 2_500, 5_000, 25_000]),
        ),
        max_size=40,
    )
)
@example([("ask", 1, 0, 0), ("gone", 1, 0, 0), ("ask", 1, 0, 1), ("ask", 2, 0, 5_000)])
@example([("ask", 1, 0, 0), ("ask", 2, 0, 0), ("ask", 1, 0, 25_000), ("ask", 3, 0, 5_000), ("ask", 1, 0, 0)])
@example([("ask", 1, 0, 0), ("gone", 1, 0, 25_000), ("gone", 1, 0, 2_500), ("ask", 2, 0, 2_500)])
def test_a_line_is_a_queue_whoever_asks_goes_or_falls_silent(steps: list[tuple[str, int, int, int]]) -> None:
    line, queue, now_ms = Line(most=4), Queue(), 0
    for what, user, free, later_ms in steps:
        now_ms += later_ms
        if what == "gone":
            line.gone(user, now_ms=now_ms)
            queue.gone(user, now_ms)
        else:
            assert line.ask(user, free=free, now_ms=now_ms) == queue.ask(user, free, now_ms)
            assert len(line) == len(queue.until_ms)


def test_those_far_behind_ask_more_rarely() -> None:
    """And those who came at once do not ask at once."""
    assert [retry_ms(place, chance=0.5) for place in (1, 100, 700, 100_000)] == [1020, 3000, 15_000, 15_000]
    assert retry_ms(700, chance=0) == 12_000
    assert retry_ms(700, chance=1) == 18_000


async def test_a_start_beyond_the_ceiling_waits_for_its_turn(tmp_path: Path) -> None:
    """It says which; the test that runs may be given up for a new one; results and aborts make room."""
    async with serving(tmp_path / "data", connection=TWO) as (gateway, http), AsyncExitStack() as stack:
        a, b, c, d, e = await crowd(stack, [gateway], 5)
        assert [await asks(one) for one in (a, b, c, d, e, c, d)] == [0, 0, 1, 2, 3, 1, 2]
        assert await asks(a) == 0, "as Tab does"
        metrics = (await http.get(f"{gateway.admin_url}metrics")).text
        assert "typegate_tests_waiting 3.0" in metrics
        assert "typegate_tests_taken 2.0" in metrics
        await a.type_all()
        assert [await asks(one) for one in (e, d, c)] == [3, 2, 0]
        await b.send("abort")
        assert [await asks(one) for one in (a, e, d)] == [3, 2, 0]
        await c.send("abort")
        await e.send("start", mode="nonsense")
        assert (await e.receive("error"))["code"] == "options"
        assert [await asks(one) for one in (e, a)] == [0, 1]


async def test_who_goes_gives_up_test_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place after a while: a page may be loaded anew."""
    monkeypatch.setattr("gateway.ceiling._GONE_MS", 600_000)
    options = ConnectionOptions(tests=1)
    async with serving(tmp_path / "data", connection=options) as (gateway, _), client(gateway.url) as a:
        assert await asks(a) == 0
        async with client(gateway.url) as c:
            async with client(gateway.url) as b:
                token = b.ready["token"]
                assert [await asks(b), await asks(c)] == [1, 2]
            async with client(gateway.url, token=token) as b:
                assert await asks(b) == 1
                monkeypatch.setattr("gateway.ceiling._GONE_MS", 0)
            await a.send("abort")
            await asks_until(c, 0)
        await until(lambda: not gateway.hub.live)
        assert await asks(a) == 0


async def test_a_test_that_nobody_types_gives_its_place_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, to who waits; it goes on all the same, and counts again from its first key."""
    monkeypatch.setattr("gateway.ceiling._UNTOUCHED_MS", 0)
    async with (
        serving(tmp_path / "data", connection=replace(TWO, tests=1)) as (gateway, _),
        client(gateway.url) as idle,
        client(gateway.url) as typist,
        client(gateway.url) as third,
    ):
        assert await asks(idle) == 0
        await asks_until(typist, 0)
        await typist.keys(*typist.started["text"][:2])
        await typist.receive("tick")
        await idle.keys(*idle.started["text"][:2])
        await idle.receive("tick")
        ceiling = gateway.hub.ceiling
        assert ceiling is not None
        await until(lambda: ceiling.taken == 2)
        assert await asks(third) == 1


@pytest.fixture(name="redis", params=["single", "cluster"])
def _redis(request: pytest.FixtureRequest) -> RedisOptions:
    options = request.getfixturevalue(f"redis_{request.param}")
    assert isinstance(options, RedisOptions)
    return options


@pytest.fixture(name="two")
async def _two(tmp_path: Path, redis: RedisOptions) -> AsyncIterator[list[Gateway]]:
    async with two_servers(tmp_path, redis, connection=TWO) as gateways:
        yield gateways


async def test_two_servers_have_one_ceiling_and_one_queue(two: list[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which they came, wherever they are; no more are ever under way."""
    monkeypatch.setattr("gateway.ceiling._PATIENCE_MS", 600_000)
    async with AsyncExitStack() as stack:
        a, b, *others = await crowd(stack, two, 8)
        for one in (a, b):
            await asks_until(one, 0)
        for place, one in enumerate(others, 1):
            assert await asks(one) == place
        assert sum(len(gateway.hub.live) for gateway in two) == 2
        for turn, one in enumerate(others):
            await (a, b, *others)[turn].send("abort")
            if one is not others[-1]:
                assert await asks(others[-1]) > 1, "nobody overtakes"
            await asks_until(one, 0)
            assert sum(len(gateway.hub.live) for gateway in two) <= 2


async def test_of_a_crowd_all_have_their_turn(tmp_path: Path, redis_single: RedisOptions) -> None:
    """However they ask; and never are more under way than may, but for what crosses in an answer's time."""
    options = ConnectionOptions(tests=5, starts_per_s=1000, starts_burst=1000)
    async with two_servers(tmp_path, redis_single, connection=options) as two, AsyncExitStack() as stack:
        most = 0

        async def types(typist: TypingClient) -> None:
            nonlocal most
            await asks_until(typist, 0)
            most = max(most, sum(len(gateway.hub.live) for gateway in two))
            await typist.type_all()

        await asyncio.gather(*(types(typist) for typist in await crowd(stack, two, 24)))
        assert most <= 6


async def test_those_who_ask_at_once_are_one_question(tmp_path: Path, redis_single: RedisOptions) -> None:
    """Each has the place in which it came; for who went before nobody asks."""
    redis = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    async with (
        serving(tmp_path / "data", connection=TWO, redis=redis) as (gateway, _),
        AsyncExitStack() as stack,
    ):
        a, b, *others = await crowd(stack, [gateway], 34)
        for one in (a, b):
            await asks_until(one, 0)
        ceiling = gateway.hub.ceiling
        assert ceiling is not None
        assert ceiling._servers is not None
        here = [gateway.hub.of(int(one.ready["user"]))[0] for one in others]
        await others[1].socket.close()
        await until(lambda: not here[1].alive)
        calls = ceiling._servers.facts().calls
        waits = await asyncio.gather(*(ceiling.ask(one) for one in here))
        assert ceiling._servers.facts().calls - calls < 20
        assert [wait.place for wait in waits if wait is not None] == [1, None, *range(2, 32)]


async def test_a_share_is_renewed_after_a_fault_too(tmp_path: Path) -> None:
    """Whatever went wrong, the next time is another one."""
    counts = iter([1, 0, 3])

    def processes() -> int:
        count = next(counts, 1)
        if not count:
            raise ZeroDivisionError
        return count

    nowhere = RedisServers(RedisOptions(url="redis://127.0.0.1:1/0"))
    async with (
        serving(tmp_path / "data") as (gateway, _),
        nowhere,
        Ceiling(gateway.hub, nowhere, tests=6, this="this", processes=processes) as ceiling,
    ):
        assert ceiling.share == 6
        await until(lambda: ceiling.share == 2)


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


async def test_while_redis_is_away_each_server_has_its_part(tmp_path: Path, server: RedisServer) -> None:
    """And a queue of its own; afterwards there is one again."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    sections: dict[str, Any] = {"connection": TWO}
    async with two_servers(tmp_path, redis, **sections) as two, AsyncExitStack() as stack:
        server.kill()
        ceilings = [gateway.hub.ceiling for gateway in two]
        await until(lambda: all(ceiling is not None and ceiling._away for ceiling in ceilings))
        a, b, c, d = await crowd(stack, two, 4)
        assert [await asks(one) for one in (a, b, c, d)] == [0, 0, 1, 1]
        server.start()
        await until(lambda: not any(ceiling is not None and ceiling._away for ceiling in ceilings))
        for one in (a, b):
            await one.send("abort")
        for one in (c, d):
            await asks_until(one, 0)
        await until(lambda: sum(ceiling.share for ceiling in ceilings if ceiling is not None) == 2)
        assert [await asks(one) for one in (a, b)] == [1, 2]
