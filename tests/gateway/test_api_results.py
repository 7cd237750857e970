"""Results over HTTP: for their owner, with their replay, page by page."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from config.gateway import HttpOptions
from gateway.api.results import Keys, Replay, ResultList, ResultRow
from persistence.results.bests import DAY_MS
from session.identity import mint_session, session_to_text
from tests.gateway.accounts import ADMIN, Served, account, bearer, bearing, serving_accounts
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client
from tests.persistence.samples import sample

GAPS = (90, 140, 110, 170, 95, 125)
"""Not all alike, so that nobody takes them for a machine's."""


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving_accounts(tmp_path) as both:
        yield both


@pytest.fixture(name="http")
def _http(served: Served) -> httpx.AsyncClient:
    return served[1]


@pytest.fixture(name="typist")
async def _typist(served: Served) -> AsyncIterator[TypingClient]:
    async with client(served[0].url) as typist:
        yield typist


async def typed(typist: TypingClient, **options: Any) -> dict[str, Any]:
    """A whole test; its result, once it is stored, with its final verdict."""
    await typist.start(**options)
    result = await typist.type_all()
    return result | {"verdict": (await typist.receive("stored"))["verdict"]}


async def test_its_owner_reads_a_result_with_all_that_the_message_said(
    http: httpx.AsyncClient, typist: TypingClient
) -> None:
    result = await typed(typist, mode="words", count=3, language="en", tags=["variant=b"], punctuation=True)
    response = await http.get(f"/v1/results/{result['session']}", headers=bearer(typist))
    assert response.headers["cache-control"] == "private, no-store"
    row = orjson.loads(response.content)
    for name, value in result.items():
        if name not in ("t", "state", "ref"):
            assert row[name] == value, name
    shown = ResultRow.model_validate(row)
    assert set(row) <= set(ResultRow.model_fields), "every field is documented"
    assert (shown.state, shown.user, shown.mode, shown.count) == ("stored", typist.ready["user"], "words", 3)
    assert (shown.language, shown.tags, shown.punctuation, shown.numbers) == ("en", ["variant=b"], True, False)
    assert shown.unseen_ms == 0


async def test_a_quote_s_result_names_its_passage_and_an_own_text_s_its_text(
    http: httpx.AsyncClient, typist: TypingClient
) -> None:
    quote = await typed(typist, mode="quote", test="1000000001")
    shown = (await http.get(f"/v1/results/{quote['session']}", headers=bearer(typist))).json()
    assert shown["test"] == "1000000001"
    assert shown["title"] == typist.started["title"]
    assert "text" not in shown
    own = await typed(typist, mode="text", text="my own words")
    shown = (await http.get(f"/v1/results/{own['session']}", headers=bearer(typist))).json()
    assert shown["text"] == "my own words"
    assert "test" not in shown


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "words", "count": 4},
        {"mode": "words", "count": 4, "language": "ar", "numbers": True},
        {"mode": "quote", "language": "en"},
        {"mode": "text", "text": "schön ist é und 👍🏽 auch"},
    ],
    ids=["words", "arabic", "quote", "text"],
)
async def test_a_replay_is_what_was_typed_and_scores_the_same(
    http: httpx.AsyncClient, typist: TypingClient, options: dict[str, Any]
) -> None:
    await typist.start(**options)
    clusters = clusters_of(typist.started)
    for n, cluster in enumerate(clusters):
        event = [GAPS[n % len(GAPS)], cluster]
        await typist.send("keys", n=n, e=event, h=[n, 80 + n % 7])
        typist.log += event
    result = await typist.finish()
    await typist.receive("stored")
    response = await http.get(f"/v1/results/{result['session']}/replay", headers=bearer(typist))
    replay = Replay.model_validate_json(response.content)
    assert replay.agrees
    assert replay.events == typist.log
    assert replay.text == typist.started["text"]
    assert replay.breaks == typist.started.get("breaks")
    assert replay.word_lengths == typist.started.get("word_lengths")
    assert replay.direction == typist.started["direction"]
    assert replay.holds is not None
    assert replay.holds[:4] == [0, 80, 1, 81]
    assert replay.result.session == result["session"]
    assert set(orjson.loads(response.content)) <= set(Replay.model_fields)


def clusters_of(started: dict[str, Any]) -> list[str]:
    """The text as the clusters that the server says it has."""
    text, breaks = started["text"], started.get("breaks")
    if breaks is None:
        return list(text)
    found, at = [], 0
    for length in breaks:
        found.append(text[at : at + length])
        at += length
    return found


async def test_a_timed_test_s_replay_has_what_was_scored(http: httpx.AsyncClient, typist: TypingClient) -> None:
    await typist.start(mode="time", seconds=1)
    await typist.keys(*typist.started["text"][:20], gap_ms=100)
    result = await typist.finish()
    await typist.receive("stored")
    replay = (await http.get(f"/v1/results/{result['session']}/replay", headers=bearer(typist))).json()
    assert replay["agrees"]
    assert replay["cyclic"]
    assert replay["seconds"] == 1
    assert result["duration_ms"] == 1000


async def test_figures_by_key(http: httpx.AsyncClient, typist: TypingClient) -> None:
    await typist.start(mode="text", text="aab b")
    await typist.keys("a", "x", "\b", "a", "b", " ", "b")
    result = await typist.finish()
    await typist.receive("stored")
    response = await http.get(f"/v1/results/{result['session']}/keys", headers=bearer(typist))
    found = Keys.model_validate_json(response.content)
    assert (found.keys["a"].inserts, found.keys["a"].wrong) == (3, 1)
    assert (found.keys["b"].inserts, found.keys["b"].wrong) == (2, 0)
    assert found.rates.corrected > 0
    assert found.rates.not_corrected == 0
    assert found.rates.kspc == 7 / 5


# --- who may read ---


@pytest.mark.parametrize("path", ["", "/replay", "/keys"])
async def test_somebody_else_s_result_is_as_good_as_none(served: Served, typist: TypingClient, path: str) -> None:
    gateway, http = served
    result = await typed(typist)
    address = f"/v1/results/{result['session']}{path}"
    async with client(gateway.url) as other:
        theirs = await http.get(address, headers=bearer(other))
        none = await http.get(
            f"/v1/results/{session_to_text(mint_session(-5, epoch_ms=1, random_bits=1))}{path}", headers=bearer(other)
        )
    assert theirs.status_code == none.status_code == 404
    assert (await http.get(address, headers=bearing(account(7)))).status_code == 404
    assert (await http.get(address, headers=bearing(ADMIN))).status_code == 200
    assert (await http.get(address, headers=bearer(typist))).status_code == 200


@pytest.mark.parametrize("path", ["/v1/results/{id}", "/v1/results/{id}/replay", "/v1/users/me/results"])
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer"}, {"authorization": "Basic eDp5"}, bearing("forged"), bearing("a.b.c")]
)
async def test_without_a_good_token_nothing_is_read(
    http: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    response = await http.get(path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["detail"]


async def test_an_account_s_results_are_under_its_id(served: Served, typist: TypingClient) -> None:
    gateway, http = served
    jwt = account()
    async with client(gateway.url, token=jwt) as owner:
        assert owner.ready["user"] == "42"
        result = await typed(owner)
    for name in ("me", "42"):
        page = ResultList.model_validate_json(
            (await http.get(f"/v1/users/{name}/results", headers=bearing(jwt))).content
        )
        assert [row.session for row in page.results] == [result["session"]]
    assert (await http.get("/v1/users/42/results", headers=bearer(typist))).status_code == 403
    assert (await http.get("/v1/users/42/results", headers=bearing(ADMIN))).status_code == 200
    assert (await http.get("/v1/users/me/results", headers=bearing(ADMIN))).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/v1/results/nonsense",
        "/v1/results/019E0000-0000-4000-8000-000000000000",
        "/v1/users/0/results",
        "/v1/users/x/results",
        "/v1/users/me/results?cursor=nonsense",
        "/v1/users/me/results?limit=0",
        "/v1/users/me/results?since=yesterday",
        "/v1/users/me/results?since=2026-02-29",
        "/v1/users/me/results?since=2026-09-02&until=2026-09-01",
        "/v1/users/me/results?since=1969-12-31",
        "/v1/users/me/results?until=1969-12-31",
    ],
)
async def test_what_makes_no_sense_is_told(http: httpx.AsyncClient, typist: TypingClient, path: str) -> None:
    response = await http.get(path, headers=bearer(typist))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


# --- a user's list ---


async def test_a_user_s_results_come_newest_first_page_by_page(http: httpx.AsyncClient, typist: TypingClient) -> None:
    sessions = [(await typed(typist, mode="words", count=1))["session"] for _ in range(13)]
    newest_first = sessions[::-1]
    for limit in (5, 10, 50):
        found: list[str] = []
        cursor: str | None = None
        while True:
            query = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
            response = await http.get("/v1/users/me/results", params=query, headers=bearer(typist))
            page = ResultList.model_validate_json(response.content)
            assert len(page.results) <= limit
            found += [row.session for row in page.results]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == newest_first, limit


async def test_a_range_of_days_is_read_page_by_page(served: Served) -> None:
    """Both days are in it, to their last instant; the pages go on within it."""
    gateway, http = served
    day = date(2024, 2, 28)  # the next one is one of a leap year
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    times = [timedelta(days=days, milliseconds=ms) for days in range(4) for ms in (0, DAY_MS - 1)]
    results = [sample(i, user=42, created_ms=int((begins + at).timestamp() * 1000)) for i, at in enumerate(times)]
    await gateway.hub.store.write(results)
    names = [session_to_text(result.session) for result in results]

    async def found(limit: int = 10, **days: date) -> list[str]:
        rows: list[str] = []
        query = {"limit": str(limit), **{name: str(value) for name, value in days.items()}}
        while True:
            response = await http.get("/v1/users/42/results", params=query, headers=bearing(account()))
            page = ResultList.model_validate_json(response.content)
            rows += [row.session for row in page.results]
            if page.cursor is None:
                return rows
            query["cursor"] = page.cursor

    one = timedelta(days=1)
    assert await found(since=day + one, until=day + 2 * one) == names[5:1:-1]
    assert await found(limit=1, since=day + one, until=day + 2 * one) == names[5:1:-1]
    assert await found(since=day + 3 * one) == names[7:5:-1]
    assert await found(until=day) == names[1::-1]
    assert await found(since=day + 4 * one, until=date.max) == []


async def test_who_typed_nothing_has_an_empty_list(http: httpx.AsyncClient, typist: TypingClient) -> None:
    response = await http.get("/v1/users/me/results", headers=bearer(typist))
    assert response.json() == {"results": [], "cursor": None}


async def test_pages_may_be_longer_than_those_of_a_store(tmp_path: Path) -> None:
    """The setting is of all lists: where it allows more than a store gives at once, there are as many as that."""
    async with (
        serving(tmp_path, http=HttpOptions(page_rows=1000)) as (gateway, http),
        client(gateway.url) as typist,
    ):
        results = [sample(i, user=int(typist.ready["user"])) for i in range(101)]
        await gateway.hub.store.write(results)
        response = await http.get("/v1/users/me/results?limit=1000", headers=bearer(typist))
        page = ResultList.model_validate_json(response.content)
        assert (len(page.results), page.cursor is None) == (100, False)


async def test_a_user_who_asks_too_much_waits_and_nobody_else(tmp_path: Path) -> None:
    limits = HttpOptions(user_per_s=0.01, user_burst=2)
    async with (
        serving(tmp_path / "data", http=limits) as (gateway, http),
        client(gateway.url) as one,
        client(gateway.url) as other,
    ):
        for _ in range(2):
            assert (await http.get("/v1/users/me/results", headers=bearer(one))).status_code == 200
        refused = await http.get("/v1/users/me/results", headers=bearer(one))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 50
        assert (await http.get("/v1/users/me/results", headers=bearer(other))).status_code == 200
