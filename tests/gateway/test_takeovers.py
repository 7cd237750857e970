"""Servers with one Redis and one ring of keys: whoever resumes a test last has it, and the holder says what it saw."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from config.bus import BusOptions
from config.gateway import NodeOptions
from gateway.app import Gateway
from gateway.takeovers import CHANNEL, Takeovers
from loadtest.servers.redis import RedisServer
from persistence.errors import StoreError
from persistence.holders import Holders, Holding
from persistence.redis import RedisOptions
from session.holder import Answer, Grounds, Word
from session.identity import MAX_EPOCH_MS, session_from_text
from session.machine import Due, TypingSession
from session.messages import Resume
from session.options import TestOptions
from session.resume import Claim
from tests.gateway.running import PATIENCE_S, program, serving, store_locked
from tests.gateway.typing_client import TypingClient, client
from tests.servers import PATIENT_MS, skip_without
from tests.session.play import USER, material_for, session_id

PATIENT = BusOptions(answer_ms=10_000, lease_ms=15_000)
"""For tests in which somebody answers, however busy the machine."""
HASTY = BusOptions(answer_ms=50, lease_ms=15_000)
"""For tests in which nobody does, though all are there."""


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
        await heard(gateways)
        yield gateways


async def heard(gateways: list[Gateway]) -> None:
    """Wait until they all hear and know each other."""
    async with asyncio.timeout(PATIENCE_S):
        for gateway in gateways:
            names = [other.name for other in gateways]
            while (await gateway.health.parts())["bus"] != "ok" or not all(map(gateway._is_there, names)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


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


def taking(gateway: Gateway) -> Takeovers:
    assert isinstance(gateway.hub.takeovers, Takeovers)
    return gateway.hub.takeovers


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)


async def typed(typist: TypingClient, keys: int, mode: str = "words", **options: Any) -> None:
    """Start a test, type so many keys of it, and have the server say that it has them.

    The rhythm of assistive input is nobody's affair, so `void` is what was typed twice and differs, and nothing else.
    """
    await typist.start(mode, input="assistive", **options or {"count": 5})
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


async def test_of_two_who_resume_at_once_one_keeps_it(two: list[Gateway]) -> None:
    """However their words cross: the later one in the record has it, the other is told, and nothing seen is lost."""
    async with client(two[0].url) as first:
        await typed(first, 12)
        for _ in range(10):
            async with AsyncExitStack() as stack:
                rivals = [await stack.enter_async_context(client(at.url, token=first.ready["token"])) for at in two]
                for rival in rivals:
                    started = first.started
                    await rival.send("resume", session=started["session"], ticket=started["ticket"], n=12)
                loop = asyncio.get_running_loop()
                ends = [loop.create_task(rival.closed()) for rival in rivals]
                done, going_on = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                assert [task.result().code for task in done] == [4502]
                for task in going_on:
                    task.cancel()
                await asyncio.wait(going_on)
                (survivor,) = going_on
                at = ends.index(survivor)
                await rivals[at].send("hb", c=1)
                await rivals[at].receive("hb")
                (resumed,) = [message for message in rivals[at].seen if message["t"] == "resumed"]
                await rivals[at].send("keys", n=resumed["n"], e=first.log[2 * resumed["n"] :])
                await rivals[at].send("hb", c=2)
                await rivals[at].receive("hb")
                assert two[at].hub.live
            await until(lambda: sum(gateway.hub.sessions()["held"] for gateway in two) == 1)
        async with resuming(two[1], first) as last:
            assert (await finish(last))["verdict"] != "void"
        assert (await result_of(two[1], first)).unseen_ms == 0


async def test_of_two_who_resume_at_once_at_one_server_one_keeps_it_though_nothing_was_seen(two: list[Gateway]) -> None:
    """A client that came back twice is not sent away altogether: both wait for one answer, and the later has it."""
    async with client(two[0].url) as before, AsyncExitStack() as stack:
        await before.start("words", count=5, input="assistive")
        rivals = [await stack.enter_async_context(client(two[1].url, token=before.ready["token"])) for _ in range(2)]
        taken = {"session": before.started["session"], "ticket": before.started["ticket"]}
        for rival in rivals:
            await rival.send("resume", **taken, n=0)
        loop = asyncio.get_running_loop()
        ends = [loop.create_task(rival.closed()) for rival in rivals]
        (done,), (survivor,) = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert done.result().code == 4502
        survivor.cancel()
        await asyncio.wait([survivor])
        typist = rivals[ends.index(survivor)]
        await typist.send("hb", c=1)
        await typist.receive("hb")
        (resumed,) = [message for message in typist.seen if message["t"] == "resumed"]
        assert resumed["n"] == 0
        typist.started, typist.log = before.started, []
        assert (await finish(typist))["verdict"] == "ok"


class SlowStore:
    """A store whose answer to the first question comes when it is let; all else is the store's own."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def by_id(self, session: bytes) -> Any:
        if not self.asked.is_set():
            self.asked.set()
            await self.let.wait()
        return await self._store.by_id(session)


@pytest.mark.parametrize("later", [0, 1], ids=["at the same server", "at another"])
async def test_who_asked_later_has_it_though_the_earlier_waits_for_a_slow_store(two: list[Gateway], later: int) -> None:
    """A connection that broke off without a word is not served last: its client has come back since."""
    slow = SlowStore(two[0].hub.store)
    async with client(two[1].url) as before:
        await typed(before, 12)
    two[0].hub.store = cast(Any, slow)
    async with client(two[0].url, token=before.ready["token"]) as stale:
        taken = {"session": before.started["session"], "ticket": before.started["ticket"], **receipt_of(before)}
        await stale.send("resume", **taken, n=12)
        await slow.asked.wait()
        await until(lambda: not two[1].hub.copies())  # it is recorded, and asked for, meanwhile: that is the earlier
        async with resuming(two[later], before) as typist:
            slow.let.set()
            assert (await stale.closed()).code == 4502
            assert (await finish(typist))["verdict"] != "void"
            assert [message["t"] for message in stale.seen if message["t"] == "resumed"] == []


async def test_two_bumps_and_a_chain_of_three(tmp_path: Path, redis: RedisOptions) -> None:
    """Who is asked while it is itself waiting for an answer hands that on, and its own client is told."""
    async with cluster(tmp_path, redis, "a", "b", "c") as (one, two, three), client(one.url) as first:
        await typed(first, 12)
        async with AsyncExitStack() as stack:
            rivals = [
                await stack.enter_async_context(client(at.url, token=first.ready["token"])) for at in (two, three)
            ]
            with unheard(one):
                for rival, at in zip(rivals, (two, three), strict=True):
                    await rival.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=12)
                    await until(lambda at=at: bool(taking(at)._open))  # type: ignore[misc]
                await until(lambda: any(one.questions for one in taking(two)._takings.values()))
            assert (await rivals[1].receive("resumed"))["n"] == 0
            assert (await rivals[0].closed()).code == 4502
            session = three.hub.copy_of(session_from_text(first.started["session"]))
            assert session is not None
            account = session.answer().account
            assert account is not None
            assert account.n == 12
        assert (counted(two, "superseded"), counted(three, "held")) == (1, 1)


@contextmanager
def unheard(gateway: Gateway) -> Iterator[None]:
    """Let a gateway hear nothing of takeovers until the context is left."""
    takeovers = taking(gateway)
    channels = takeovers._bus._channels
    subscriptions = [
        each for name in (CHANNEL, f"{CHANNEL}:{takeovers._node}") for each in channels[name].subscriptions
    ]
    for subscription in subscriptions:
        subscription.pause()
    try:
        yield
    finally:
        for subscription in subscriptions:
            subscription.resume()


async def test_a_test_that_was_aborted_elsewhere_is_gone(two: list[Gateway]) -> None:
    here, there = two
    async with client(here.url) as first, client(there.url, token=first.ready["token"]) as second:
        await typed(first, 3)
        await first.send("abort")
        await until(lambda: not here.hub.copies())
        await second.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=3)
        assert (await second.receive("error"))["code"] == "gone"


async def test_who_is_asked_what_it_saw_keeps_it(two: list[Gateway]) -> None:
    """Whoever is recorded says so; who does not answer is not there."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
        session = session_from_text(first.started["session"])
        answer = await taking(there).seen(session, "a")
        assert answer is not None
        assert (answer.word, answer.account and answer.account.n) == (Word.HELD, 12)
        async with resuming(there, first) as second:
            answer = await taking(here).seen(session, "")
            assert answer is not None
            assert (answer.word, answer.account and answer.account.n) == (Word.HELD, 12)
            await second.send("abort")
            await until(lambda: not there.hub.copies())
        assert await taking(here).seen(session, "") == Answer(Word.NOTHING)
        assert await taking(here).seen(session_id(3), "nobody") is None


async def test_a_result_on_its_way_is_asked_for_at_another_server(tmp_path: Path, redis: RedisOptions) -> None:
    """It goes on its way, and the same test comes to the same core there, all of it seen and without slack."""
    async with cluster(tmp_path, redis, "a", "b") as (here, there), client(here.url) as first:
        with store_locked(tmp_path / "a"):
            await typed(first, 12)
            await first.keys(*first.started["text"][12:])
            await first.finish()
            async with resuming(there, first) as second:
                second.log = first.log
                await finish(second)
                kept = await result_of(there, first)
        await first.receive("stored")
        assert counted(there, "finished") == 1
        former = await result_of(here, first)
        assert former is not None
        assert (kept.core_hash, kept.seen_live) == (former.core_hash, former.seen_live)
        assert (kept.unseen_ms, kept.slack_ms) == (0, 0)


async def test_a_log_that_differs_from_a_finished_one_is_void(tmp_path: Path, redis: RedisOptions) -> None:
    """Who does not like the end cannot take it back at another server while the result is on its way."""
    async with cluster(tmp_path, redis, "a", "b") as (here, there), client(here.url) as first:
        with store_locked(tmp_path / "a"):
            await first.start("time", seconds=15, input="assistive")
            await first.keys(*first.started["text"][:30], gap_ms=400)
            await first.keys("x" if first.started["text"][30] != "x" else "y", gap_ms=400)
            await first.finish()
            better = [*first.log[:-1], first.started["text"][30]]
            async with resuming(there, first, log=better) as second:
                assert (await second.receive("error"))["code"] == "conflict"
                await second.finish()
                assert (await second.receive("stored"))["verdict"] == "void"


async def test_the_middle_of_a_replay_is_taken_over(two: list[Gateway]) -> None:
    """What the first holder saw stands, though the second has not yet seen the log: no undo by a quick return."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
    async with client(there.url, token=first.ready["token"]) as second:
        await second.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=12)
        await second.receive("resumed")
        await second.send("keys", n=0, e=first.log[:8])
        await second.send("hb")
        await second.receive("hb")
    await until(lambda: there.hub.sessions()["held"] == 1)
    async with resuming(here, first) as third:
        assert (await finish(third))["verdict"] != "void"
        assert (await result_of(here, third)).unseen_ms == 0
    assert counted(here, "held") == 1


async def test_who_goes_away_before_the_answer_keeps_what_was_seen(two: list[Gateway]) -> None:
    """The holder has let the session go, and its client closed before it was made anew: the account stays."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
    with unheard(here):
        async with client(there.url, token=first.ready["token"]) as second:
            await second.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=12)
            await until(lambda: bool(taking(there)._open))
            (connection,) = there.hub.connections
            connection.ban("for this test")
            assert (await second.closed()).code == 4505
        await until(lambda: not there.hub.connections)
    await until(lambda: len(there.hub.takeovers.accounts) == 1)
    async with client(there.url, token=first.ready["token"]) as third:
        await third.send("resume", session=first.started["session"], ticket=first.started["ticket"], n=10)
        assert (await third.receive("resumed", "error"))["code"] == "conflict"
    async with resuming(here, first, n=10, log=first.log[:20]) as fourth:
        assert (await finish(fourth))["verdict"] == "void"


def lost_tests(gateway: Gateway, count: int) -> list[Claim]:
    """So many tests that a gateway holds for their clients, and what those bring to another one."""
    hub, claims = gateway.hub, []
    options = TestOptions("words", count=3)
    material = material_for(options)
    for number in range(count):
        session = TypingSession.begin(
            options,
            material,
            session=session_id(number),
            user=USER,
            seed=number,
            ref=1,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=hub.clock() * 1000,
            epoch_ms=hub.epoch_ms(),
            node=hub.node,
        )
        session.keys(0, [100, "a", 120, "b"], None, now_ms=hub.clock() * 1000)
        hub.hold(session)
        resume = Resume(session.id, session.ticket, 2)
        claim = Claim.open(resume, user=USER, ring=hub.ring, limits=hub.limits, epoch_ms=hub.epoch_ms())
        assert isinstance(claim, Claim)
        claims.append(claim)
    return claims


async def test_a_wave_of_takeovers_loses_no_answer(two: list[Gateway]) -> None:
    """However many come at once: each is asked for, and everything that was seen counts."""
    here, there = two
    claims = lost_tests(here, 3_000)
    verdicts = await asyncio.gather(*(there.hub.takeovers.take(claim) for claim in claims))
    assert not here.hub.copies()
    for verdict in verdicts:
        assert isinstance(verdict, Grounds)
        assert verdict.claim.receipt is not None
        assert verdict.claim.receipt.n == 2
    assert counted(there, "held") == len(claims)


# --- the holder does not answer ---


@pytest.fixture(name="hasty")
async def _hasty(tmp_path: Path, redis: RedisOptions) -> AsyncIterator[list[Gateway]]:
    async with cluster(tmp_path, redis, "a", "b", bus=HASTY) as gateways:
        yield gateways


async def test_a_holder_that_answers_late_counts_as_gone(hasty: list[Gateway]) -> None:
    """The receipt alone stands for what it saw; it drops its copy in the end, and its answer is passed over."""
    here, there = hasty
    async with client(here.url) as first:
        await typed(first, 12)
        await first.keys("x")
        await first.send("hb")
        await first.receive("hb")
        with unheard(here):
            async with resuming(there, first, log=first.log[:24]) as second:
                assert (await finish(second))["verdict"] != "void"
                kept = await result_of(there, second)
                assert kept.seen_live < len(second.log) // 2 + 1
            assert here.hub.live
        assert (await first.closed()).code == 4502
        assert not here.hub.copies()
    assert counted(there, "silent") == 1
    await until(lambda: counted(there, "late") == 1)


async def test_an_old_receipt_after_the_holder_is_gone_is_told_by_what_was_unseen(
    tmp_path: Path, redis: RedisOptions
) -> None:
    """There is nobody who saw more: the log goes on from the receipt, and the result says that it was not seen live."""
    async with cluster(tmp_path, redis, "b") as (there,):
        async with cluster(tmp_path, redis, "a") as (here,), client(here.url) as first:
            await until(lambda: there._is_there("a"))
            await typed(first, 6)
            await first.keys(*"xyz")
            await first.send("hb")
            await first.receive("hb")
        await until(lambda: not there._is_there("a"))
        log = first.log[:12] + [each for key in first.started["text"][6:12] for each in (100, key)]
        async with resuming(there, first, log=log) as second:
            assert (await finish(second))["verdict"] != "void"
        kept = await result_of(there, second)
        assert (len(second.log) // 2 - kept.seen_live, kept.unseen_ms) == (6, 600)
        assert counted(there, "gone") == 1


async def test_of_a_wave_only_the_first_wait_for_who_hangs(hasty: list[Gateway]) -> None:
    """The others go on with their receipts at once; it is told of all, and waited for again once it says something."""
    here, there = hasty
    claims = lost_tests(here, 1_000)
    with unheard(here):
        verdicts = await asyncio.gather(*(there.hub.takeovers.take(claim) for claim in claims))
        assert all(isinstance(verdict, Grounds) and verdict.claim.receipt is None for verdict in verdicts)
        peer = taking(there)._peers["a"]
        assert peer.silent_until
    await until(lambda: not here.hub.copies())
    await until(lambda: not peer.silent_until)
    assert counted(there, "silent") == len(claims)


async def test_a_ticket_that_names_nobody_has_nobody_to_ask(two: list[Gateway]) -> None:
    """One of an earlier version: the receipt alone counts, and all are told."""
    here, there = two
    here.hub.node = ""
    async with client(here.url) as first:
        await typed(first, 12)
        async with resuming(there, first) as second:
            assert (await first.closed()).code == 4502
            assert (await finish(second))["verdict"] != "void"
    assert counted(there, "unnamed") == 1


async def test_time_that_ran_out_while_nobody_was_there(two: list[Gateway]) -> None:
    """A copy without a connection has no result; what was typed offline is not seen, and the time since is slack."""
    here, there = two
    async with client(here.url) as first:
        await first.start("time", seconds=15)
        await first.keys(*first.started["text"][:10], gap_ms=100)
        await first.receive("tick")
    await until(lambda: here.hub.sessions()["held"] == 1)
    session = here.hub.copy_of(session_from_text(first.started["session"]))
    assert session is not None
    assert session.due(now_ms=session.deadline_ms - 1) is Due.NOTHING, "its time is over long before"
    log = first.log + [each for key in first.started["text"][10:40] for each in (400, key)]
    async with resuming(there, first, log=log) as second:
        await second.finish()
        await second.receive("stored")
    kept = await result_of(there, second)
    assert (kept.seen_live, kept.summary.duration_ms) == (10, 15_000)
    assert kept.unseen_ms == 12_000
    assert await result_of(here, first) is None
    assert not here.hub.submissions


async def test_a_fork_whose_copies_end_differently(tmp_path: Path, redis: RedisOptions) -> None:
    """Neither hears of the other: both have a result. One is the row, by what was seen live; the other a conflict."""
    async with cluster(tmp_path, redis, "a", "b", bus=HASTY) as (here, there):
        async with client(here.url) as first, client(there.url, token=first.ready["token"]) as second:
            await typed(first, 12)
            with unheard(here):
                await resume(second, first)
                wrong = "x" if first.started["text"][-1] != "x" else "y"
                await second.keys(*second.started["text"][12:-1], wrong, " ")
                await second.finish()
                await second.receive("stored")
                await finish(first)
        one, other = await result_of(here, first), await result_of(there, second)
        assert one.core_hash != other.core_hash
        assert (one.epoch, other.epoch > 0) == (0, True)
        await here.hub.store.write([other])
        kept = await result_of(here, first)
        assert kept.core_hash == max((one, other), key=lambda copy: copy.attestation_rank).core_hash
        assert (kept.verdict != "ok", here.hub.store.facts().conflicts) == (True, 1)


async def test_a_test_is_taken_over_while_its_node_drains(tmp_path: Path, redis: RedisOptions) -> None:
    """The node that goes says what it saw as long as it is there."""
    async with cluster(tmp_path, redis, "a", "b") as (here, there), client(here.url) as first:
        await typed(first, 12)
        await first.keys("x")
        await first.send("hb")
        await first.receive("hb")
        draining = asyncio.get_running_loop().create_task(here.hub.drain(grace_s=0))
        assert (await first.closed()).code in (1012, 4001)
        await draining
        async with resuming(there, first) as second:
            await second.keys("\b")
            assert (await finish(second, at=12))["verdict"] != "void"
        assert (await result_of(there, second)).unseen_ms == 0
        assert counted(there, "held") == 1


# --- Redis ---


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[RedisServer]:
    skip_without("redis")
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def of(server: RedisServer, *, call_ms: int = PATIENT_MS) -> RedisOptions:
    return RedisOptions(url=f"redis://{server.address}/0", call_ms=call_ms, retry_min_ms=20, retry_max_ms=100)


async def test_without_redis_a_takeover_is_harmless(tmp_path: Path, server: RedisServer) -> None:
    """Killed, then hung: the receipt alone counts, it takes no longer than Redis' limit, and all goes on."""
    async with cluster(tmp_path, of(server, call_ms=1_000), "a", "b") as gateways:
        here, there = gateways
        for fault in (server.kill, server.pause):
            async with client(here.url) as first:
                await typed(first, 12)
                fault()
                async with resuming(there, first) as second:
                    if server.alive:
                        server.resume()
                    else:
                        server.start()
                    assert (await first.closed()).code == 4502, "it is told when it can be"
                    await heard(gateways)
                    assert (await finish(second))["verdict"] != "void"
                    kept = await result_of(there, second)
                    assert (kept.epoch > 0, kept.node) == (True, "b")
        assert counted(there, "away", recorded="no") == 2
        async with asyncio.timeout(PATIENCE_S):
            while not counted(there, "held"):  # nor is Redis waited for longer on a machine that is busy
                async with client(here.url) as first:
                    await typed(first, 12)
                    async with resuming(there, first) as second:
                        assert (await finish(second))["verdict"] != "void"


async def type_on(typist: TypingClient, keys: int) -> None:
    """So many keys more, until the server says that it has them all."""
    at = len(typist.log) // 2
    await typist.keys(*typist.started["text"][at : at + keys])
    while (await typist.receive("tick"))["n"] != at + keys:
        pass


async def test_back_at_a_server_that_heard_of_no_takeover(tmp_path: Path, server: RedisServer) -> None:
    """Its copy is outdated and no authority: the receipt shows that, and all of it was seen."""
    async with cluster(tmp_path, of(server), "a", "b") as (here, there):
        async with client(here.url) as first:
            await typed(first, 6)
            server.kill()
        await until(lambda: not here.hub.live)
        async with resuming(there, first) as second:
            await type_on(second, 6)
        async with resuming(here, second) as third:
            assert (await finish(third))["verdict"] != "void"
            kept = await result_of(here, third)
            assert (kept.seen_live, kept.unseen_ms) == (len(third.log) // 2, 0)
        assert "conflict" not in [message.get("code") for message in third.seen]


async def test_a_fork_shows_at_a_copy_that_is_outdated(tmp_path: Path, server: RedisServer) -> None:
    """An old receipt and a better log while Redis is away; who then comes back with more is held to what was seen."""
    async with cluster(tmp_path, of(server), "a", "b") as (here, there):
        async with client(here.url) as first:
            await typed(first, 6)
            await first.keys(*"xyz")
            await first.send("hb")
            await first.receive("hb")
            server.kill()
        await until(lambda: not here.hub.live)
        async with resuming(there, first, log=first.log[:12]) as second:
            await type_on(second, 6)
        async with resuming(here, second) as third:
            assert (await third.receive("error"))["code"] == "conflict"
            assert (await finish(third))["verdict"] == "void"


async def test_a_copy_that_is_outdated_is_asked_by_a_third_server(tmp_path: Path, server: RedisServer) -> None:
    """The server that has seen more is gone, and Redis has lost who it was: the receipt counts, not the old copy."""
    async with cluster(tmp_path, of(server), "a", "b", "c") as gateways:
        one, two, three = gateways
        async with client(one.url) as first:
            await typed(first, 6)
            server.kill()
        await until(lambda: not one.hub.live)
        async with resuming(two, first) as second:
            await type_on(second, 6)
        await until(lambda: two.hub.sessions()["held"] == 1)
        two.hub.release(session_from_text(first.started["session"]))  # as if it were another process by now
        server.start()
        await heard(gateways)
        # a copy that is compared with the record only now, before it is asked for, has gone when it is
        await until(lambda: not taking(one)._bus._ready and not taking(one)._looking)
        async with resuming(three, second) as third:
            assert (await finish(third))["verdict"] != "void"
            kept = await result_of(three, third)
            assert (kept.seen_live, kept.unseen_ms) == (len(third.log) // 2, 0)
        assert counted(three, "held") == 1


async def test_redis_that_has_lost_its_records(tmp_path: Path, server: RedisServer) -> None:
    """Epochs go on upwards, and a copy that nobody knows of any more drops out."""
    async with cluster(tmp_path, of(server), "a", "b", "c") as (one, two, three), client(one.url) as first:
        await typed(first, 12)
        async with resuming(two, first) as second:
            await second.send("hb")
            await second.receive("hb")
            before = two.hub.copy_of(session_from_text(first.started["session"]))
            assert before is not None
            records = server.ask("keys", "*session:*").split()
            assert server.ask("del", *records) == str(len(records)) != "0"
            async with resuming(three, first) as third:
                assert (await second.closed()).code == 4502
                assert (await finish(third))["verdict"] != "void"
                assert (await result_of(three, third)).epoch > before.epoch
        assert counted(three, "nothing") == 1


async def test_redis_that_takes_no_records_but_messages(tmp_path: Path, server: RedisServer) -> None:
    """As a replica, or when it is full: the holder is asked all the same."""
    async with cluster(tmp_path, of(server), "a", "b") as (here, there), client(here.url) as first:
        await typed(first, 12)
        server.ask("config", "set", "maxmemory", "1")
        async with resuming(there, first) as second:
            assert (await first.closed()).code == 4502
            assert (await finish(second))["verdict"] != "void"
            assert (await result_of(there, second)).unseen_ms == 0
        server.ask("config", "set", "maxmemory", "0")
        assert counted(there, "held", recorded="no") == 1


async def test_what_was_missed_is_found_in_the_records(tmp_path: Path, server: RedisServer) -> None:
    """A copy whose takeover was not heard of drops out when its process learns that it may have missed something."""
    async with cluster(tmp_path, of(server), "a", "b") as (here, there), client(here.url) as first:
        await typed(first, 12)
        session = session_from_text(first.started["session"])
        await taking(there)._holders.take(session, "b", floor=1)
        assert here.hub.live
        server.ask("client", "kill", "type", "pubsub")
        assert (await first.closed()).code == 4502
        assert not here.hub.copies()


class Faulty:
    """Records that fail so many times before they are those of the servers."""

    def __init__(self, holders: Holders, *faults: Exception) -> None:
        self.holders, self.faults = holders, list(faults)

    async def take(self, session: bytes, node: str, *, floor: int) -> tuple[int, str]:
        if self.faults:
            await asyncio.sleep(0)
            raise self.faults.pop()
        return await self.holders.take(session, node, floor=floor)

    async def read(self, sessions: Sequence[bytes]) -> list[Holding | None]:
        if self.faults:
            raise self.faults.pop()
        return await self.holders.read(sessions)


async def test_records_that_come_back_later_than_the_bus(two: list[Gateway]) -> None:
    """Who may have missed something looks again until it can see, and a copy that others have taken drops out."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
        await taking(there)._holders.take(session_from_text(first.started["session"]), "b", floor=1)
        taking(here)._holders = Faulty(
            taking(here)._holders, StoreError("away", retriable=True), StoreError("away", retriable=True)
        )
        taking(here)._missed()
        assert (await first.closed()).code == 4502
        assert not here.hub.copies()


async def test_a_fault_of_ours_supersedes_nobody(two: list[Gateway]) -> None:
    """All who wait for the same takeover hear of the fault, and come back."""
    here, there = two
    (claim,) = lost_tests(here, 1)
    taking(there)._holders = Faulty(taking(there)._holders, RuntimeError("ours"))
    ends = await asyncio.gather(*(there.hub.takeovers.take(claim) for _ in range(2)), return_exceptions=True)
    assert [str(end) for end in ends] == ["ours", "ours"]
    assert isinstance(await there.hub.takeovers.take(claim), Grounds)


async def test_a_result_is_given_up_where_the_record_names_another(two: list[Gateway]) -> None:
    """A copy that was taken over, and taken again behind its back, ends without a result; its client is told."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
        async with resuming(there, first) as second:
            session = session_from_text(first.started["session"])
            await taking(here)._holders.take(session, "c", floor=1)
            await second.keys(*second.started["text"][12:])
            await second.send("finish", n=len(second.log) // 2)
            assert (await second.closed()).code == 4502
            assert not there.hub.submissions
            assert await result_of(there, second) is None


# --- what others say ---


async def test_nonsense_on_the_channels_harms_nobody(two: list[Gateway]) -> None:
    """Malformed words are passed over, those of a newer version too, and takeovers go on."""
    here, there = two
    async with client(here.url) as first:
        await typed(first, 12)
        bus = taking(there)._bus
        session = session_from_text(first.started["session"])
        digest = bytes(16)
        said: list[tuple[str, Any]] = [
            (CHANNEL, None),
            (CHANNEL, [session, 1 << 60, "c"]),
            (CHANNEL, [session_id(), MAX_EPOCH_MS + 1, "c"]),
            (CHANNEL, [session_id(), (1 << 53) - 1, "c"]),
            (CHANNEL, [session, "x", "c"]),
            (CHANNEL, [session]),
            (f"{CHANNEL}:a", 7),
            (f"{CHANNEL}:a", ["ask"]),
            (f"{CHANNEL}:a", ["ask", 1, "b", session]),
            (f"{CHANNEL}:a", ["ask", 1, "b", session, (1 << 53) - 1, digest, 1, None, None]),
            (f"{CHANNEL}:a", ["say", 1]),
            (f"{CHANNEL}:a", ["say", 1, "b", "held"]),
            (f"{CHANNEL}:a", ["hibernate", 1, "b", session]),
        ]
        for channel, message in said:
            await bus.publish(channel, message)
        assert here.hub.live
        assert taking(here)._now() <= MAX_EPOCH_MS
        async with resuming(there, first) as second:
            assert (await finish(second))["verdict"] != "void"
    assert counted(there, "held") == 1


async def test_a_server_that_hangs_and_comes_back(tmp_path: Path, redis: RedisOptions) -> None:
    """Meanwhile it counts as gone; when it is back it hears that the test goes on elsewhere, and tells its client."""
    variables = {
        "TYPEGATE_REDIS_URL": redis.url,
        "TYPEGATE_REDIS_PREFIX": redis.prefix,
        "TYPEGATE_REDIS_CALL_MS": str(redis.call_ms),
        "TYPEGATE_NODE_NAME": "hung",
        "TYPEGATE_NODE_KEYS_FILE": str(tmp_path / "keys.json"),
    }
    async with (
        cluster(tmp_path, redis, "b", bus=replace(HASTY, answer_ms=300)) as (there,),
        program(tmp_path / "hung", **variables) as hung,
        client(hung.url) as first,
    ):
        await until(lambda: there._is_there("hung"))
        await typed(first, 12)
        hung.signal(signal.SIGSTOP)
        try:
            async with resuming(there, first) as second:
                result = await finish(second)
        finally:
            hung.signal(signal.SIGCONT)
        assert result["verdict"] != "void"
        assert counted(there, "silent") + counted(there, "gone") == 1
        assert (await first.closed()).code == 4502
