"""Who may look on, and that nobody learns more from not being let than that there is nothing to be seen."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from config.gateway import ConnectionOptions
from config.watch import WatchOptions
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client
from tests.gateway.watching.audience import PATIENT, Onlooker, Places, places

QUICK = replace(PATIENT, answer_ms=400)
"""Refusals take as long as this; where one is not refused that may be too short on a busy machine."""


@pytest.fixture(name="servers", params=["embedded", "redis"])
async def _servers(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Places]:
    async with places(request.param, tmp_path, request.getfixturevalue, watch=QUICK) as found:
        yield found


@asynccontextmanager
async def typing(servers: Places, **options: Any) -> AsyncIterator[TypingClient]:
    async with client(servers.here.url) as typist:
        await typist.start(**options)
        yield typist


async def test_every_refusal_is_the_same(servers: Places) -> None:
    """A private test, an own text (its own user's too), one that is over, and one that never was."""
    answers = {}
    async with (
        client(servers.there.url) as stranger,
        typing(servers, mode="words") as private,
        typing(servers, mode="text", text="mine alone") as text,
        client(servers.there.url, token=text.ready["token"]) as owner,
    ):
        async with typing(servers, mode="words", watch=True) as over:
            await over.type_all()
            await over.receive("stored")
        for name, who, session in (
            ("private", stranger, private.started["session"]),
            ("own text", stranger, text.started["session"]),
            ("one's own text", owner, text.started["session"]),
            ("over", stranger, over.started["session"]),
            ("unknown", stranger, str(uuid.UUID("01900000-0000-7000-8000-000000000001"))),
        ):
            answers[name] = await Onlooker(who).watch(session)
            while answers[name].get("code") == "away":  # Redis did not answer in time: one is to ask again
                answers[name] = await Onlooker(who).watch(session)
            assert servers.here.hub.watching is not None
            assert servers.here.hub.watching.figures()["shown"] == 0, f"{name}: it left its node"
    wanted = {
        "t": "error",
        "code": "unwatchable",
        "message": "there is no such test to be seen, or it is over, or it is not for you",
        "retry": None,
    }
    assert answers == dict.fromkeys(answers, wanted)


async def test_a_stranger_is_refused_while_the_owner_looks_on(servers: Places) -> None:
    """The gallery is there, the test is shown on the bus; still there is nothing for others."""
    async with (
        typing(servers, mode="words") as typist,
        client(servers.there.url, token=typist.ready["token"]) as owner,
        client(servers.there.url) as stranger,
    ):
        own, other = Onlooker(owner), Onlooker(stranger)
        watching = servers.there.hub.watching
        assert watching is not None
        watching.options = PATIENT
        assert (await own.watch(typist.started["session"]))["own"] is True
        watching.options = QUICK
        assert (await other.watch(typist.started["session"]))["code"] == "unwatchable"
        await typist.keys("z")
        await own.sees("z")
        assert [message["t"] for message in stranger.seen] == ["hello", "ready", "error"]


async def test_an_own_text_is_for_nobody_and_start_says_so(servers: Places) -> None:
    """Whoever asks to let others look on at it is told, and no test begins."""
    async with client(servers.here.url) as typist:
        await typist.send("start", mode="text", text="mine alone", watch=True)
        error = await typist.receive("started", "error")
        assert error["code"] == "options"
        assert "nobody looks on at an own text" in error["message"]


async def test_neither_a_test_nor_a_race_is_nothing_to_look_at(servers: Places) -> None:
    async with client(servers.there.url) as stranger:
        await stranger.send("watch")
        assert (await stranger.receive("error"))["code"] == "options"


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (replace(PATIENT, watchers=1), True),
        (replace(PATIENT, watchers_each=1), True),
        (replace(PATIENT, typists=0), False),
        (replace(PATIENT, shown=0), False),
    ],
    ids=["watchers", "watchers each", "typists", "shown"],
)
async def test_who_comes_too_late_is_told_so(
    options: WatchOptions, first: bool, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """And when to try again; whoever is there stays, and when one leaves there is room."""
    async with (
        places("embedded", tmp_path, request.getfixturevalue, watch=options) as servers,
        typing(servers, mode="words", watch=True) as typist,
        client(servers.there.url) as one,
        client(servers.there.url) as another,
    ):
        session = typist.started["session"]
        early, late = Onlooker(one), Onlooker(another)
        if first:
            assert (await early.watch(session))["t"] == "watched"
        refused = await late.watch(session)
        assert (refused["code"], refused["retry"]) == ("watch_full", 10_000)
        if first:
            await typist.keys("z")
            await early.sees("z")
            await one.send("unwatch")
            await one.send("hb", c=1)
            await one.receive("hb")
            assert (await late.watch(session))["t"] == "watched"


async def test_one_user_takes_no_more_than_a_share_of_the_places(tmp_path: Any, request: pytest.FixtureRequest) -> None:
    """Others still may; who looks away has room again."""
    async with (
        places("embedded", tmp_path, request.getfixturevalue, watch=replace(PATIENT, watchers_own=1)) as servers,
        typing(servers, mode="words", watch=True) as typist,
        client(servers.there.url) as one,
        client(servers.there.url, token=one.ready["token"]) as same,
        client(servers.there.url) as another,
    ):
        session = typist.started["session"]
        for who in (one, another, one):
            assert (await Onlooker(who).watch(session))["t"] == "watched"
        assert (await Onlooker(same).watch(session))["code"] == "watch_full"
        await one.send("unwatch")
        await one.send("hb", c=1)
        await one.receive("hb")
        assert (await Onlooker(same).watch(session))["t"] == "watched"


async def test_who_looks_here_and_there_too_fast_is_told_when_again(
    tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """At tests and races, over whichever connection; and nobody else is."""
    async with (
        places("embedded", tmp_path, request.getfixturevalue, watch=replace(PATIENT, per_s=0.001, burst=2)) as servers,
        typing(servers, mode="words", watch=True) as typist,
        client(servers.there.url) as one,
        client(servers.there.url, token=one.ready["token"]) as same,
        client(servers.there.url) as another,
    ):
        session = typist.started["session"]
        for who in (one, same, another):
            assert (await Onlooker(who).watch(session))["t"] == "watched"
        for about in ({"session": session}, {"race": "0123456789abc"}):
            await one.send("watch", **about)
            error = await one.receive("error")
            assert error["code"] == "busy"
            assert 0 < error["retry"] <= 1_000_000
        assert servers.there.hub.watching is not None
        assert servers.there.hub.watching.figures()["watchers"] == 2


async def test_one_s_own_page_that_looks_on_is_no_second_sign_in(tmp_path: Any) -> None:
    """Where the newest sign-in closes the older connection, `aside` leaves the typist alone."""
    async with (
        serving(tmp_path, connection=ConnectionOptions(sign_ins="newest"), watch=PATIENT) as (gateway, _),
        client(gateway.url) as typist,
        client(gateway.url, auth=False) as page,
    ):
        started = await typist.start(mode="words")
        await page.send("auth", token=typist.ready["token"], aside=True)
        await page.receive("ready")
        own = Onlooker(page)
        assert (await own.watch(started["session"]))["own"] is True
        await page.send("unwatch")
        await own.watch(started["session"])
        await typist.keys("z")
        await own.sees("z")
