"""Servers with one Redis and one ring of keys: whoever resumes a test last has it, and the holder says what it saw."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.bus import BusOptions
from config.gateway import NodeOptions
from gateway.app import Gateway
from persistence.redis import RedisOptions
from session.identity import session_from_text
from tests.gateway.running import PATIENCE_S, serving
from tests.gateway.typing_client import TypingClient, client

PATIENT = BusOptions(answer_ms=10_000)
"""For tests in which somebody answers, however busy the machine."""


@asynccontextmanager
async def cluster(folder: Path, redis: RedisOptions, *names: str, **sections: Any) -> AsyncIterator[list[Gateway]]:
    """Gateways that know and hear each other."""
    async with AsyncExitStack() as stack:
        gateways = []
        for name in names:
            node = NodeOptions(name=name, data=folder / name, keys_file=folder / "keys.json")
            given = {"bus": PATIENT, **sections}
            gateway, _ = await stack.enter_async_context(serving(folder / name, redis=redis, node=node, **given))
            gateways.append(gateway)
        async with asyncio.timeout(PATIENCE_S):
            for gateway in gateways:
                while (await gateway.health.parts())["bus"] != "ok" or not all(map(gateway._is_there, names)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        yield gateways


@pytest.fixture(name="redis")
def _redis(redis_single: RedisOptions) -> RedisOptions:
    return replace(redis_single, prefix=f"{uuid.uuid4().hex}:")


@pytest.fixture(name="two")
async def _two(tmp_path: Path, redis: RedisOptions) -> AsyncIterator[list[Gateway]]:
    async with cluster(tmp_path, redis, "a", "b") as gateways:
        yield gateways


@asynccontextmanager
async def resuming(gateway: Gateway, before: TypingClient, **changes: Any) -> AsyncIterator[TypingClient]:
    """Another connection of the same client, that has sent its log as far as it is wanted."""
    async with client(gateway.url, token=before.ready["token"]) as typist:
        await resume(typist, before, **changes)
        yield typist


async def resume(typist: TypingClient, before: TypingClient, **changes: Any) -> None:
    typist.started, typist.log = before.started, list(changes.pop("log", before.log))
    fields = {"n": len(typist.log) // 2, **receipt_of(before), **changes}
    await typist.send("resume", session=before.started["session"], ticket=before.started["ticket"], **fields)
    while (answer := await typist.receive("resumed", "error"))["t"] == "error":
        assert answer["code"] == "conflict", answer
    if typist.log:
        await typist.send("keys", n=answer["n"], e=typist.log[2 * answer["n"] :])


def receipt_of(typist: TypingClient) -> dict[str, Any]:
    ticks = [message["r"] for message in typist.seen if message["t"] == "tick"]
    return {"receipt": ticks[-1]} if ticks else {}


def counted(gateway: Gateway, outcome: str, *, recorded: str = "yes") -> float:
    """Takeovers with this outcome."""
    labels = {"outcome": outcome, "recorded": recorded}
    return gateway.metrics.registry.get_sample_value("typegate_takeovers_total", labels) or 0.0


def given(gateway: Gateway, what: str) -> float:
    labels = {"what": what}
    return gateway.metrics.registry.get_sample_value("typegate_takeovers_given_total", labels) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)


async def typed(typist: TypingClient, keys: int, mode: str = "words", **options: Any) -> None:
    """Start a test, type so many keys of it, and have the server say that it has them."""
    await typist.start(mode, **options or {"count": 5})
    await typist.keys(*typist.started["text"][:keys])
    while (await typist.receive("tick"))["n"] != keys:
        pass


async def finish(typist: TypingClient, *, at: int | None = None) -> dict[str, Any]:
    """Type the rest of the text, from this place on; the result, and its final verdict."""
    rest = typist.started["text"][len(typist.log) // 2 if at is None else at :]
    if rest:
        await typist.keys(*rest)
    result = await typist.finish()
    return result | {"verdict": (await typist.receive("stored"))["verdict"]}


def result_of(gateway: Gateway, typist: TypingClient) -> Any:
    return gateway.hub.store.by_id(session_from_text(typist.started["session"]))


# --- the holder answers ---


async def test_who_resumes_at_another_server_has_the_test(two: list[Gateway]) -> None:
    """The former connection is told, what it saw counts as seen, and the result says which takeover it was."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
        await first.keys("x")  # seen, and no receipt says so yet
        await first.send("hb")
        await first.receive("hb")
        async with resuming(there, first) as second:
            assert (await first.closed()).code == 4502
            assert not here.hub.live
            assert not here.hub.copies()
            second.log += [100, "\b"]
            await second.send("keys", n=13, e=[100, "\b"])
            assert (await finish(second, at=12))["verdict"] != "void"
            kept = await result_of(there, second)
            assert kept.seen_live == len(second.log) // 2
            assert (kept.unseen_ms, kept.node) == (0, "b")
            assert kept.epoch > 0
    assert counted(there, "held") == given(here, "held") == 1


async def test_what_a_lost_connection_left_is_asked_for_too(two: list[Gateway]) -> None:
    """A session that is held has seen as much as one with its client."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
    await until(lambda: here.hub.sessions()["held"] == 1)
    async with resuming(there, first) as second:
        await until(lambda: here.hub.sessions()["held"] == 0)
        assert (await finish(second))["verdict"] != "void"
        assert (await result_of(there, second)).unseen_ms == 0


async def test_an_old_receipt_is_no_undo_while_the_holder_is_there(two: list[Gateway]) -> None:
    """The log agrees with the receipt, and not with what was seen after it: `conflict`, and the result is void."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 6)
        await first.keys(*"xyz")
        await first.send("hb")
        await first.receive("hb")
        better = first.log[:12] + [each for key in first.started["text"][6:10] for each in (100, key)]
        async with resuming(there, first, log=better) as second:
            assert (await second.receive("error"))["code"] == "conflict"
            assert (await finish(second))["verdict"] == "void"
        assert (await first.closed()).code == 4502


async def test_a_log_that_lacks_what_was_seen_conflicts_at_once(two: list[Gateway]) -> None:
    """Without a receipt, and back at the beginning: the holder knows."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 6)
        async with client(there.url, token=first.ready["token"]) as second:
            await second.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=0)
            assert (await second.receive("error", "resumed"))["code"] == "conflict"
            second.started = first.started
            assert (await second.receive("resumed"))["n"] == 0
            assert (await finish(second))["verdict"] == "void"


async def test_back_and_forth_everything_was_seen(two: list[Gateway]) -> None:
    """Each takes it from the one that had it, at a greater epoch."""
    async with client(two[0].url) as typist:
        await typed(typist, 4)
    for at in (1, 0, 1, 0):
        async with resuming(two[at], typist) as again:
            await again.keys(again.started["text"][len(again.log) // 2])
            await again.receive("tick")
        typist = again
    async with resuming(two[1], typist) as last:
        assert (await finish(last))["verdict"] != "void"
        kept = await result_of(two[1], last)
        assert (kept.seen_live, kept.unseen_ms) == (len(last.log) // 2, 0)
    assert counted(two[0], "held") == 2
    assert counted(two[1], "held") == 3
