"""The store is away: results wait in the spool, everybody is answered the same as before and after, nothing is lost."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from gateway.app import Gateway
from persistence.stream import SpoolOptions
from session.identity import session_from_text
from tests.gateway.running import serving, store_away
from tests.gateway.typing_client import TypingClient, client


async def row_of(http: httpx.AsyncClient, typist: TypingClient, session: str, path: str = "") -> dict[str, Any]:
    """A result as its owner reads it over HTTP."""
    headers = {"authorization": f"Bearer {typist.ready['token']}"}
    response = await http.get(f"/v1/results/{session}{path}", headers=headers)
    assert response.status_code == 200, response.text
    row: dict[str, Any] = response.json()
    return row


async def test_a_result_underway_is_shown_with_its_final_verdict(tmp_path: Path) -> None:
    """Who reads it before the stream has judged it reads what will be stored, with its replay."""
    async with serving(tmp_path) as (gateway, http), client(gateway.url) as typist:
        with store_away(tmp_path):
            await typist.start("words", count=50)
            result = await typist.type_all(gap_ms=120)
            assert (
                result["verdict"] == "review"
            )  # it was sent faster than it claims to have been typed: in half a minute
            underway = await row_of(http, typist, result["session"])
            replay = await row_of(http, typist, result["session"], "/replay")
            assert (underway["state"], underway["verdict"]) == ("accepted", "void")
            assert "gap_variation" in {reason["name"] for reason in underway["reasons"]}
            assert replay["agrees"]
            assert replay["events"] == typist.log
        assert (await typist.receive("stored"))["verdict"] == "void"
        assert await row_of(http, typist, result["session"]) == underway | {"state": "stored"}


async def test_a_test_that_is_underway_is_resumed_as_it_is(tmp_path: Path) -> None:
    """Another connection that resumes it hears the same `result`, and both hear the same `stored`."""
    async with serving(tmp_path) as (gateway, _), client(gateway.url) as first:
        with store_away(tmp_path):
            started = await first.start("words", count=8)
            result = await first.type_all(gap_ms=120)
            async with client(gateway.url, token=first.ready["token"]) as gone:
                await gone.send("resume", session=started["session"], ticket=started["ticket"], n=len(first.log) // 2)
                assert await gone.receive() == result
            second = client(gateway.url, token=first.ready["token"])
            typist = await second.__aenter__()
            await typist.send("resume", session=started["session"], ticket=started["ticket"], n=len(first.log) // 2)
            assert await typist.receive() == result
        stored = await first.receive("stored")
        assert stored["verdict"] == "void"
        assert await typist.receive() == stored
        await second.__aexit__(None, None, None)


async def listeners(gateway: Gateway, session: str, *, count: int) -> None:
    """Wait until so many wait for a result."""
    async with asyncio.timeout(60):
        while True:
            submission = gateway.hub.submissions.of(session_from_text(session))
            assert submission is not None
            if len(submission.listeners) == count:
                return
            await asyncio.sleep(0)


async def test_who_goes_away_waits_no_more(tmp_path: Path) -> None:
    """A connection that closes is no listener any longer; its result is stored all the same."""
    async with serving(tmp_path) as (gateway, http):
        with store_away(tmp_path):
            async with client(gateway.url) as typist:
                await typist.start("words", count=2)
                session = (await typist.type_all())["session"]
                await listeners(gateway, session, count=1)
            await listeners(gateway, session, count=0)
        async with asyncio.timeout(60):
            while (await row_of(http, typist, session))["state"] != "stored":
                pass


async def test_a_resume_that_cannot_be_looked_up_makes_the_test_anew(tmp_path: Path) -> None:
    """The log comes to the same result, and the store meets its own row: the copy that was seen live stays."""
    async with serving(tmp_path) as (gateway, http), client(gateway.url) as first:
        started = await first.start("words", count=4)
        result = await first.type_all()
        await first.receive("stored")
        before = await row_of(http, first, started["session"])
        async with client(gateway.url, token=first.ready["token"]) as second:
            with store_away(tmp_path):
                n = len(first.log) // 2
                await second.send("resume", session=started["session"], ticket=started["ticket"], n=n)
                assert await second.receive() == {"t": "resumed", "session": started["session"], "n": 0}
                await second.send("keys", n=0, e=first.log)
                second.log = first.log
                again = await second.finish()
                assert again == result | {"verdict": "ok"}  # nothing was live, so nothing is held against its clock
            assert (await second.receive("stored"))["session"] == started["session"]
        assert await row_of(http, first, started["session"]) == before


async def test_a_spool_at_its_limit_starts_no_test(tmp_path: Path) -> None:
    """`start` is answered by `error full` with a time to try again; then there is room."""
    async with serving(tmp_path, spool=SpoolOptions(max_rows=1)) as (gateway, _), client(gateway.url) as typist:
        with store_away(tmp_path):
            await typist.start("words", count=2)
            await typist.type_all()
            await typist.send("start", mode="words", count=2, ref=7)
            error = await typist.receive("error")
            assert (error["code"], error["retry"], error["ref"]) == ("full", 5_000, 7)
            assert "limit 1" in error["message"]
        await typist.receive("stored")
        async with asyncio.timeout(60):
            while not gateway.hub.spool.accepting:  # noqa: ASYNC110  # facts come without an event
                await asyncio.sleep(0.001)
        await typist.start("words", count=2)
