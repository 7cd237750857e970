"""Tests that were typed offline, handed in over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.gateway import AuthOptions, ConnectionOptions, HttpOptions
from gateway.api.results import ResultRow
from gateway.app import Gateway
from persistence.stream import SpoolOptions
from scoring.slices import at_once
from session.options import TestOptions
from session.passages import Vocabulary, generating
from tests.gateway.running import serving, store_away, store_locked
from tests.gateway.typing_client import client

ADMIN = "an admin's token of forty characters, ok"
SEED = 77


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    (tmp_path / "admin").write_text(ADMIN)
    async with serving(
        tmp_path / "data",
        auth=AuthOptions(admin_token_file=tmp_path / "admin"),
        http=HttpOptions(user_burst=1000, upload_bytes=65_536),
        connection=ConnectionOptions(starts_burst=12, starts_per_s=0.01),
    ) as both:
        yield both


@pytest.fixture(name="bearer")
async def _bearer(served: tuple[Gateway, httpx.AsyncClient]) -> dict[str, str]:
    async with client(served[0].url) as typist:
        return {"authorization": f"Bearer {typist.ready['token']}"}


async def told(http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """A test of five words, as a page that generates them by itself would tell it."""
    rows = (await http.get("/v1/languages")).json()["languages"]
    version = next(row["version"] for row in rows if row["language"] == "en")
    from persistence.catalogue.builtin import built_in_word_lists

    words = next(words for words in built_in_word_lists() if (words.language, words.version) == ("en", version))
    vocabulary = Vocabulary(words.words, language="en", version=version, direction="ltr")
    text = at_once(generating(vocabulary, TestOptions("words", count=5, language="en"), seed=SEED)).text
    events = [value for at, key in enumerate(text) for value in ((90, 140, 110, 170, 95, 125)[at % 6], key)]
    body = {
        "mode": "words",
        "count": 5,
        "language": "en",
        "seed": str(SEED),
        "list_version": version,
        "started_at": round(time.time() * 1000) - 600_000,
        "events": events,
        "holds": [0, 80, 1, 75],
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


async def test_it_is_stored_once_however_often_it_is_sent(
    served: tuple[Gateway, httpx.AsyncClient], bearer: dict[str, str]
) -> None:
    """202 on its way, 200 when it is stored, and one result in the list; also where it is sent twice at once."""
    _, http = served
    body = await told(http)
    first, second = await asyncio.gather(*(http.post("/v1/results", json=body, headers=bearer) for _ in range(2)))
    assert {first.status_code, second.status_code} <= {200, 202}
    row = first.json()
    assert set(row) <= set(ResultRow.model_fields), "every field is documented"
    assert row["session"] == second.json()["session"]
    assert row["created_at"] == body["started_at"]
    assert (row["mode"], row["count"], row["acc"]) == ("words", 5, 100)
    assert row["unseen_ms"] == row["duration_ms"]
    async with asyncio.timeout(60):
        while (await http.get(f"/v1/results/{row['session']}", headers=bearer)).json()["state"] != "stored":
            pass
    again = await http.post("/v1/results", json=body, headers=bearer)
    assert (again.status_code, again.json()["state"]) == (200, "stored")
    listed = (await http.get("/v1/users/me/results", headers=bearer)).json()["results"]
    assert [one["session"] for one in listed] == [row["session"]]
    replay = (await http.get(f"/v1/results/{row['session']}/replay", headers=bearer)).json()
    assert replay["agrees"] is True
    assert replay["holds"] == [0, 80, 1, 75]


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"mode": "sprint"}, 422, "mode is 'sprint'"),
        ({"count": 0}, 422, "count is 0"),
        ({"seed": None}, 422, "takes the seed"),
        ({"list_version": None}, 422, "list_version"),
        ({"list_version": 99}, 422, "word list en, version 99"),
        ({"generator": 9}, 422, "generator version 9"),
        ({"mode": "quote", "count": None}, 422, "takes the test"),
        ({"mode": "quote", "count": None, "test": "999"}, 422, "test 999"),
        ({"test": "1e5"}, 422, "$.test"),
        ({"started_at": -1}, 422, "$.started_at"),
        ({"started_at": 4_000_000_000_000}, 422, "in the future"),
        ({"started_at": 1}, 422, "too long ago"),
        ({"started_at": None}, 422, "started_at"),
        ({"events": [1, "a", 2]}, 422, "flat list"),
        ({"events": [1, 2.5]}, 422, "$.events[1]"),
        ({"events": [1, "a"], "holds": None}, 422, "not typed to its end"),
        ({"events": "abc"}, 422, "$.events"),
        ({"holds": [1]}, 422, "holds must be a flat list"),
        ({"events": [100, "a"] * 10_000}, 413, "65536 bytes"),
        ({"tags": ["no good tag"]}, 422, "a tag is"),
    ],
)
async def test_what_has_no_result_is_told_why(
    served: tuple[Gateway, httpx.AsyncClient],
    bearer: dict[str, str],
    changes: dict[str, Any],
    status: int,
    sentence: str,
) -> None:
    """A problem with a sentence, and nothing is kept."""
    _, http = served
    response = await http.post("/v1/results", json=await told(http, **changes), headers=bearer)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert sentence in response.json()["detail"]
    assert (await http.get("/v1/users/me/results", headers=bearer)).json()["results"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 50_000, b'{"mode":"zen"}'])
async def test_bodies_that_are_none(
    served: tuple[Gateway, httpx.AsyncClient], bearer: dict[str, str], body: bytes
) -> None:
    """What is no such object is refused, whatever it is."""
    response = await served[1].post("/v1/results", content=body, headers=bearer)
    assert response.status_code == 422
    assert "one JSON object" in response.json()["detail"]


async def test_who_may_not(served: tuple[Gateway, httpx.AsyncClient], bearer: dict[str, str]) -> None:
    """Nobody without a token, not the operators', and nobody more often than they may start tests."""
    _, http = served
    body = await told(http)
    assert (await http.post("/v1/results", json=body)).status_code == 401
    assert (await http.post("/v1/results", json=body, headers={"authorization": f"Bearer {ADMIN}"})).status_code == 403
    statuses = [(await http.post("/v1/results", json=body, headers=bearer)).status_code for _ in range(13)]
    assert set(statuses[:12]) <= {200, 202}
    assert statuses[12] == 429


async def test_while_the_store_is_away(
    served: tuple[Gateway, httpx.AsyncClient], bearer: dict[str, str], tmp_path: Path
) -> None:
    """Nobody knows whether it is there already: come again. What is wrong with it is told operators alone."""
    _, http = served
    body = await told(http)
    with store_away(tmp_path / "data"):
        response = await http.post("/v1/results", json=body, headers=bearer)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["detail"] == "the store does not answer just now; send the same again in a moment"
    assert (await http.post("/v1/results", json=body, headers=bearer)).status_code == 202


async def test_while_the_spool_is_full(tmp_path: Path) -> None:
    """It is not taken, and taken when there is room again."""
    async with (
        serving(tmp_path, spool=SpoolOptions(max_rows=1)) as (gateway, http),
        client(gateway.url) as typist,
    ):
        bearer = {"authorization": f"Bearer {typist.ready['token']}"}
        first, second = await told(http), await told(http, tags=["second"])
        with store_locked(tmp_path):
            assert (await http.post("/v1/results", json=first, headers=bearer)).status_code == 202
            response = await http.post("/v1/results", json=second, headers=bearer)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        async with asyncio.timeout(60):
            while not gateway.hub.spool.accepting:  # noqa: ASYNC110  # facts come without an event
                await asyncio.sleep(0.001)
        assert (await http.post("/v1/results", json=second, headers=bearer)).status_code in (200, 202)


async def test_whose_clock_is_wrong_is_told_the_server_s(
    served: tuple[Gateway, httpx.AsyncClient], bearer: dict[str, str]
) -> None:
    """Where the start is refused; set right it is taken, once. No start is taken that is yet to come."""
    gateway, http = served
    clock_ms = gateway.hub.epoch_ms
    gateway.hub.epoch_ms = lambda: clock_ms() - 3_600_000
    body = await told(http)
    for started_ms in (body["started_at"], clock_ms() - 9 * 86_400_000):
        refused = await http.post("/v1/results", json=body | {"started_at": started_ms}, headers=bearer)
        assert refused.status_code == 422
        now_ms = refused.json()["now"]
        assert abs(clock_ms() - 3_600_000 - now_ms) < 60_000
    right = body | {"started_at": now_ms - 60_000}
    answers = [await http.post("/v1/results", json=right, headers=bearer) for _ in range(2)]
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert {answer.json()["created_at"] for answer in answers} == {now_ms - 60_000}
    other = await http.post("/v1/results", json=body | {"events": [1, 2.5]}, headers=bearer)
    assert "now" not in other.json()
