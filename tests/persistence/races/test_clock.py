"""The race's clock: the server's TIME, from wherever."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest

from persistence.errors import StoreError
from persistence.races import RaceClock
from persistence.redis import Answer, Call, RedisOptions, RedisServers


@pytest.fixture(name="servers")
async def _servers(redis_single: RedisOptions) -> AsyncIterator[RedisServers]:
    async with RedisServers(replace(redis_single, prefix=f"{uuid.uuid4().hex}:")) as servers:
        yield servers


async def time_ms(servers: RedisServers) -> float:
    seconds, micros = map(int, (await servers.ask(Call("k", ("TIME",)))).value)
    return seconds * 1000 + micros / 1000


async def test_it_is_the_server_s_time_whatever_the_machine_s_own(servers: RedisServers) -> None:
    """Here time stands still while the server is asked; so its answers lie between two others."""
    clock = RaceClock(servers, "k", every_ms=10_000, monotonic_ms=lambda: 5_000.0, epoch_ms=lambda: 77.0)
    assert (clock.now_ms(), clock.known) == (77, False)
    before_ms = await time_ms(servers)
    await clock.read()
    assert before_ms - 1 <= clock.now_ms() <= await time_ms(servers) + 1
    assert clock.known


async def test_it_goes_on_by_the_monotonic_clock(servers: RedisServers) -> None:
    now_ms = [5_000.0]
    clock = RaceClock(servers, "k", every_ms=10_000, monotonic_ms=lambda: now_ms[0])
    await clock.read()
    begun_ms = clock.now_ms()
    now_ms[0] += 1_234
    assert clock.now_ms() == begun_ms + 1_234


async def test_one_answer_that_takes_long_does_not_move_it(servers: RedisServers) -> None:
    """The median of five: here the third takes ten minutes, as it seems."""
    looks = count()
    clock = RaceClock(
        servers, "k", every_ms=10_000, monotonic_ms=lambda: 600_000.0 if next(looks) == 6 else 0.0, epoch_ms=lambda: 0.0
    )
    before_ms = await time_ms(servers)
    await clock.read()
    assert before_ms - 1 <= clock.now_ms() <= await time_ms(servers) + 1
    assert next(looks) == 12


async def test_until_it_is_known_it_is_asked_for_soon(servers: RedisServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not an hour later, as one that is known: who comes back to a race waits for it."""
    ask, asked = servers.ask, count()

    async def away_at_first(call: Call) -> Answer:
        if next(asked) == 0:
            raise StoreError("Redis is away", retriable=True)
        return await ask(call)

    monkeypatch.setattr(servers, "ask", away_at_first)
    async with RaceClock(servers, "k", every_ms=3_600_000) as clock, asyncio.timeout(60):
        while not clock.known:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)


async def test_it_is_read_again_and_again_until_it_is_closed(servers: RedisServers) -> None:
    asked = asyncio.Event()
    ticks = count()

    def monotonic_ms() -> float:
        if next(ticks) > 40:  # four readings of five answers
            asked.set()
        return 0.0

    async with RaceClock(servers, "k", every_ms=1, monotonic_ms=monotonic_ms), asyncio.timeout(60):
        await asked.wait()
    said = next(ticks)
    await time_ms(servers)
    assert next(ticks) == said + 1
