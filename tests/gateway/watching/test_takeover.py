"""The test goes on elsewhere: who looks on stays where they are, and see each key once."""

import uuid
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from config.gateway import NodeOptions
from config.watch import WatchOptions
from loadtest.servers.redis import RedisServer
from persistence.redis import RedisOptions
from tests.gateway.running import program, serving
from tests.gateway.typing_client import TypingClient, client
from tests.gateway.watching.audience import PATIENT, Onlooker, hears, together
from tests.servers import PATIENT_MS, skip_without


async def resumed(stack: AsyncExitStack, url: str, before: TypingClient) -> TypingClient:
    """The same typist at another server, with its log sent again."""
    typist = await stack.enter_async_context(client(url, token=before.ready["token"]))
    n = len(before.log) // 2
    typist.started, typist.log = before.started, before.log
    await typist.send("resume", session=before.started["session"], ticket=before.started["ticket"], n=n)
    answer = await typist.receive("resumed")
    if answer["n"] < n:
        await typist.send("keys", n=answer["n"], e=before.log[2 * answer["n"] :])
    return typist


async def test_a_test_that_goes_on_at_another_server_is_seen_to(tmp_path: Path, redis_single: RedisOptions) -> None:
    """From a to b and back again: the same test, no key lost or twice, and whoever comes later sees all of it."""
    async with together(tmp_path, redis_single, "a", "b", "c") as (a, b, c), AsyncExitStack() as stack:
        typist = await stack.enter_async_context(client(a.url))
        other = await stack.enter_async_context(client(c.url))
        started = await typist.start(mode="words", count=10, watch=True)
        text = started["text"]
        onlooker = Onlooker(other)
        await onlooker.watch(started["session"])
        for turn, gateway in enumerate((a, b, a, b)):
            if turn:
                typist = await resumed(stack, gateway.url, typist)
            await typist.keys(*text[3 * turn : 3 * turn + 3])
            await onlooker.sees(text[: 3 * turn + 3])
        assert len([message for message in other.seen if message["t"] == "watched"]) == 1
        late = Onlooker(await stack.enter_async_context(client(b.url)))
        await late.watch(started["session"])
        await late.sees(text[:12])
        await typist.keys(*text[12:])
        await typist.finish()
        for one in (onlooker, late):
            await one.until(lambda one: one.end.get("how") == "finished")
            assert one.keys == list(text)


async def test_a_server_that_is_killed_takes_nothing_from_who_looks_on(
    tmp_path: Path, redis_single: RedisOptions
) -> None:
    """Its typist goes on at another one; who looked on there does so too, and who did elsewhere just waits."""
    redis = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    keys = tmp_path / "keys.json"
    quick = WatchOptions(answer_ms=60_000, silent_ms=2_500)
    node = NodeOptions(name="b", data=tmp_path / "b", keys_file=keys)
    async with AsyncExitStack() as stack:
        here, _ = await stack.enter_async_context(serving(tmp_path / "b", redis=redis, node=node, watch=quick))
        variables = {
            "TYPEGATE_REDIS_URL": redis.url,
            "TYPEGATE_REDIS_PREFIX": redis.prefix,
            "TYPEGATE_REDIS_CALL_MS": str(redis.call_ms),
            "TYPEGATE_NODE_NAME": "a",
            "TYPEGATE_NODE_KEYS_FILE": str(keys),
        }
        doomed = await stack.enter_async_context(program(tmp_path / "a", **variables))
        await hears(here)
        typist = await stack.enter_async_context(client(doomed.url))
        other = Onlooker(await stack.enter_async_context(client(here.url)))
        started = await typist.start(mode="words", count=10, watch=True)
        text = started["text"]
        await typist.keys(*text[:4])
        await other.watch(started["session"])
        await other.sees(text[:4])
        doomed.process.kill()
        await doomed.process.wait()
        await other.until(lambda one: one.state == "away")
        typist = await resumed(stack, here.url, typist)
        await other.until(lambda one: one.state == "typing")
        await typist.keys(*text[4:9])
        await other.sees(text[:9])
        again = Onlooker(await stack.enter_async_context(client(here.url)))
        await again.watch(started["session"])
        await again.sees(text[:9])


@pytest.fixture(name="shared")
def _shared(tmp_path: Path) -> RedisServer:
    skip_without("redis")
    return RedisServer(tmp_path / "redis")


async def test_while_redis_is_away_one_is_told_so_and_what_was_seen_goes_on_after(
    tmp_path: Path, shared: RedisServer
) -> None:
    """Typing is not touched; who asks is told when to try again; what was typed meanwhile comes when it is back."""
    redis = RedisOptions(url=f"redis://{shared.address}/0", call_ms=PATIENT_MS, retry_min_ms=50, retry_max_ms=200)
    async with (
        serving(tmp_path / "data", redis=redis, watch=replace(PATIENT, answer_ms=500)) as (gateway, _),
        client(gateway.url) as typist,
        client(gateway.url) as other,
    ):
        started = await typist.start(mode="words", count=10, watch=True)
        text = started["text"]
        onlooker = Onlooker(other)
        refused = await onlooker.watch(started["session"])
        assert (refused["code"], refused["retry"]) == ("away", 2_000)
        assert gateway.hub.watching is not None
        gateway.hub.watching.options = PATIENT
        shared.start()
        try:
            await hears(gateway)
            await typist.keys(*text[:2])
            await onlooker.watch(started["session"])
            await onlooker.sees(text[:2])
            shared.kill()
            await typist.keys(*text[2:5])
            await typist.receive("tick")
            shared.start()
            await hears(gateway)
            await onlooker.sees(text[:5])
            await typist.keys(text[5])
            await onlooker.sees(text[:6])
        finally:
            shared.stop()
