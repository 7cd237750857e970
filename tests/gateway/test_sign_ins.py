"""Who signs in twice: on one server and on two."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from config.gateway import ConnectionOptions
from gateway.app import Gateway
from loadtest.servers.redis import RedisServer
from persistence.redis import RedisOptions
from tests.gateway.running import serving
from tests.gateway.two_servers import two_servers, until
from tests.gateway.typing_client import TypingClient, client
from tests.servers import PATIENT_MS, skip_without

NEWEST = ConnectionOptions(sign_ins="newest")


@pytest.fixture(name="two")
async def _two(tmp_path: Path, redis_single: RedisOptions) -> AsyncIterator[list[Gateway]]:
    async with two_servers(tmp_path, redis_single, connection=NEWEST) as gateways:
        yield gateways


async def lives(typist: TypingClient) -> None:
    await typist.send("hb", c=1)
    await typist.receive("hb")


async def test_as_often_as_one_likes_by_default(tmp_path: Path) -> None:
    """Tabs of a guest are one user."""
    async with (
        serving(tmp_path / "data") as (gateway, _),
        client(gateway.url) as first,
        client(gateway.url, token=first.ready["token"]) as second,
    ):
        assert second.ready["user"] == first.ready["user"]
        await lives(first)


async def test_the_newest_closes_the_older_and_takes_its_test_along(tmp_path: Path) -> None:
    """With 4502; others are left alone."""
    async with (
        serving(tmp_path / "data", connection=NEWEST) as (gateway, _),
        client(gateway.url) as other,
        client(gateway.url) as first,
    ):
        started = await first.start()
        await first.keys("x")
        receipt = (await first.receive("tick"))["r"]
        async with client(gateway.url, token=first.ready["token"]) as second:
            end = await first.closed()
            assert (end.code, end.reason) == (4502, "superseded: you have signed in elsewhere")
            resume = {"session": started["session"], "ticket": started["ticket"], "receipt": receipt}
            await second.send("resume", **resume, n=1)
            assert (await second.receive("resumed"))["n"] == 1
            await lives(other)


async def test_the_newest_closes_the_older_at_another_server(two: list[Gateway]) -> None:
    """To and fro."""
    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(client(two[0].url))
        for number in range(1, 5):
            one = await stack.enter_async_context(client(two[number % 2].url, token=before.ready["token"]))
            assert (await before.closed()).code == 4502
            await lives(one)
            before = one


async def test_of_two_who_sign_in_at_once_one_stays(two: list[Gateway]) -> None:
    """However their words cross."""
    async with client(two[0].url) as first:
        token, user = first.ready["token"], int(first.ready["user"])
    for _ in range(10):
        async with AsyncExitStack() as stack:
            rivals = await asyncio.gather(
                *(stack.enter_async_context(client(gateway.url, token=token)) for gateway in two)
            )
            await until(lambda: sum(len(gateway.hub.of(user)) for gateway in two) == 1)
            at = [bool(gateway.hub.of(user)) for gateway in two].index(True)
            assert (await rivals[1 - at].closed()).code == 4502
            await lives(rivals[at])


async def test_what_hands_in_old_tests_signs_nobody_in(two: list[Gateway]) -> None:
    """Until it starts one: then it is as any other."""
    async with client(two[0].url) as typist, client(two[1].url, auth=False) as aside:
        await aside.send("auth", token=typist.ready["token"], aside=True)
        await aside.receive("ready")
        await lives(aside)
        await lives(typist)
        await aside.start()
        assert (await typist.closed()).code == 4502


async def test_who_signs_in_closes_none_that_signed_nobody_in(two: list[Gateway]) -> None:
    """A page that reconnects leaves the one alone that looks on, or hands in old tests, here and at another server."""
    async with AsyncExitStack() as stack:
        typist = await stack.enter_async_context(client(two[0].url))
        token = typist.ready["token"]
        beside = [await stack.enter_async_context(client(gateway.url, auth=False)) for gateway in two]
        for aside in beside:
            await aside.send("auth", token=token, aside=True)
            await aside.receive("ready")
        for number in range(1, 5):
            newer = await stack.enter_async_context(client(two[number % 2].url, token=token))
            assert (await typist.closed()).code == 4502
            typist = newer
        for aside in beside:
            await lives(aside)


async def test_aside_is_a_yes_or_no(tmp_path: Path) -> None:
    """Anything else is no message of the protocol."""
    async with serving(tmp_path / "data") as (gateway, _), client(gateway.url, auth=False) as typist:
        await typist.send("auth", aside=1)
        assert (await typist.closed()).code == 4500


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


async def test_when_redis_is_back_the_newest_stays(tmp_path: Path, server: RedisServer) -> None:
    """While it is away both may type; then each says who is here."""
    redis = RedisOptions(url=f"redis://{server.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    async with two_servers(tmp_path, redis, connection=NEWEST) as two, client(two[0].url) as older:
        server.kill()
        async with client(two[1].url, token=older.ready["token"]) as newer:
            await lives(older)
            await newer.start()
            server.start()
            assert (await older.closed()).code == 4502
            assert (await newer.type_all())["t"] == "result"
