"""Leaderboards and progress over HTTP: what all may see, and what its owner alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.api.leaderboards import BoardList, BoardPage, Percentile, Standing
from gateway.api.progress import ProgressList
from persistence.folder import DataFolder
from persistence.results import Period, Span, SqliteResults
from persistence.results.bests import DAY_MS
from session.result import Result
from tests.clock import today
from tests.gateway.accounts import ADMIN, Served, account, bearing, serving_accounts
from tests.gateway.typing_client import client
from tests.persistence.samples import copy_of, ranked, sample, settled_sample

pytestmark = pytest.mark.usefixtures("same_day")


def typed_by(user: int, wpm: float, *, ago: int = 0, **changes: object) -> Result:
    return ranked(user, wpm=wpm, user=user, created_ms=(today() - ago) * DAY_MS + user, **changes)


@pytest.fixture(name="folder")
async def _folder(tmp_path: Path) -> Path:
    """A data folder with results: users 1 to 20 today, user n with 50 + n wpm, and others on other days and boards."""
    folder = DataFolder(tmp_path / "data")
    folder.open()
    noon_ms = today() * DAY_MS + DAY_MS // 2
    yesterday = typed_by(5, 99, ago=1)
    german = typed_by(3, 70, language="de", session=sample(99, user=3, created_ms=noon_ms).session)
    async with SqliteResults(folder.results) as store:
        await store.write([typed_by(user, 50 + user) for user in range(1, 21)])
        await store.write([yesterday, german])
        await store.write([sample(1, user=1, created_ms=noon_ms), copy_of(typed_by(77, 300), verdict="void")])
    return tmp_path / "data"


@pytest.fixture(name="served")
async def _served(folder: Path) -> AsyncIterator[Served]:
    async with serving_accounts(folder.parent) as both:
        yield both


@pytest.fixture(name="http")
def _http(served: Served) -> httpx.AsyncClient:
    return served[1]


async def get(http: httpx.AsyncClient, path: str, user: int | None = None, **query: Any) -> Any:
    response = await http.get(path, params=query, headers={} if user is None else bearing(account(user)))
    assert response.status_code == 200, response.text
    return response.json()


async def users(http: httpx.AsyncClient, **query: Any) -> list[int]:
    page = await get(http, "/v1/leaderboards/time-15-en", **query)
    return [int(entry["user"]) for entry in page["entries"]]


async def test_all_boards_are_listed(http: httpx.AsyncClient) -> None:
    boards = BoardList.model_validate(await get(http, "/v1/leaderboards")).boards
    assert len(boards) == 3 * len((await get(http, "/v1/languages"))["languages"])
    row = next(board for board in boards if board.board == "words-50-de")
    assert (row.mode, row.count, row.seconds, row.language) == ("words", 50, None, "de")
    for board in boards:
        await get(http, f"/v1/leaderboards/{board.board}")


async def test_a_page_shows_who_is_fastest(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/leaderboards/time-15-en?span=day&limit=3")
    assert response.headers["cache-control"] == "public, max-age=5"
    page = BoardPage.model_validate_json(response.content)
    assert set(orjson.loads(response.content)) == set(BoardPage.model_fields)
    assert [(entry.rank, entry.user, entry.wpm) for entry in page.entries] == [
        (1, "20", 70),
        (2, "19", 69),
        (3, "18", 68),
    ]
    assert (page.size, page.next, page.board, page.span) == (20, 3, "time-15-en", "day")
    assert (page.since, page.until) == (today() * DAY_MS, (today() + 1) * DAY_MS)
    best = typed_by(20, 70)
    assert (page.entries[0].created_at, page.entries[0].acc) == (best.created_at_ms, best.summary.acc)


async def test_pages_follow_each_other_to_the_end(http: httpx.AsyncClient) -> None:
    seen: list[int] = []
    offset: int | None = 0
    while offset is not None:
        page = await get(http, "/v1/leaderboards/time-15-en", span="day", limit=7, offset=offset)
        seen += [int(entry["user"]) for entry in page["entries"]]
        offset = page["next"]
    assert seen == list(range(20, 0, -1))
    assert (await get(http, "/v1/leaderboards/time-15-en", offset=100_000))["entries"] == []


async def test_day_week_and_all_time_and_the_one_before(http: httpx.AsyncClient) -> None:
    assert (await users(http, span="all"))[:2] == [5, 20]
    assert (await users(http, span="day"))[0] == 20
    assert await users(http, span="day", ago=1) == [5]
    this_week = Period.of(Span.WEEK, today()) == Period.of(Span.WEEK, today() - 1)
    assert (await users(http, span="week"))[0] == (5 if this_week else 20)
    german = await get(http, "/v1/leaderboards/time-15-de")
    assert [entry["user"] for entry in german["entries"]] == ["3"]


async def test_one_s_own_place_and_who_is_around(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/leaderboards/time-15-en/me?span=day&limit=3", headers=bearing(account(10)))
    assert response.headers["cache-control"] == "private, no-store"
    standing = Standing.model_validate_json(response.content)
    assert set(orjson.loads(response.content)) == set(Standing.model_fields)
    assert [(entry.rank, entry.user) for entry in standing.entries] == [(10, "11"), (11, "10"), (12, "9")]
    assert (standing.rank, standing.slower_percent) == (11, 45)
    assert standing.best is not None
    assert standing.best.wpm == 60


async def test_who_has_no_best_stands_nowhere(served: Served) -> None:
    """An account without one, and a guest."""
    http = served[1]
    nowhere: dict[str, Any] = {"rank": None, "best": None, "slower_percent": None, "entries": []}
    assert nowhere.items() <= (await get(http, "/v1/leaderboards/time-15-en/me", 1234)).items()
    async with client(served[0].url) as guest:
        response = await http.get(
            "/v1/leaderboards/time-15-en/me", headers={"authorization": f"Bearer {guest.ready['token']}"}
        )
        assert nowhere.items() <= response.json().items()


async def test_how_a_speed_compares(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/leaderboards/time-15-en/percentile?span=day&wpm=60.5")
    assert response.headers["cache-control"] == "public, max-age=60"
    found = Percentile.model_validate_json(response.content)
    assert (found.slower_percent, found.users, found.wpm) == (47.5, 20, 60.5)
    nobody = await get(http, "/v1/leaderboards/time-60-en/percentile", wpm=60)
    assert (nobody["slower_percent"], nobody["users"]) == (None, 0)


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/v1/leaderboards/time-16-en", 404, "time-15-en"),
        ("/v1/leaderboards/quote", 404, "/v1/leaderboards lists them"),
        ("/v1/leaderboards/time-15-tlh", 404, "no list of words in 'tlh'"),
        ("/v1/leaderboards/time-15-en?span=month", 422, "span"),
        ("/v1/leaderboards/time-15-en?ago=2", 422, "ago"),
        ("/v1/leaderboards/time-15-en?offset=-1", 422, "offset"),
        ("/v1/leaderboards/time-15-en?offset=100001", 422, "offset"),
        ("/v1/leaderboards/time-15-en?limit=0", 422, "limit"),
        ("/v1/leaderboards/time-15-en/percentile", 422, "wpm"),
        ("/v1/leaderboards/time-15-en/percentile?wpm=nan", 422, "wpm"),
        ("/v1/leaderboards/time-15-en/percentile?wpm=-1", 422, "wpm"),
        ("/v1/leaderboards/time-15-en/me", 401, "Authorization"),
        ("/v1/users/me/progress", 401, "Authorization"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(http: httpx.AsyncClient, path: str, status: int, why: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert why in response.json()["detail"]


async def test_the_admin_token_stands_nowhere(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/leaderboards/time-15-en/me", headers=bearing(ADMIN))
    assert response.status_code == 422


async def test_a_result_is_on_the_boards_when_it_is_stored(served: Served) -> None:
    """The board was read before: it is told, not read again."""
    gateway, http = served
    assert (await users(http, span="day"))[0] == 20
    settled = settled_sample(1, user=500)
    fast = typed_by(500, 140)
    summary = replace(settled.result.summary, wpm=140.0, duration_ms=15_000.0, seconds=15.0)
    result = replace(settled.result, session=fast.session, seconds=15, summary=summary)
    await gateway._spool.put(replace(settled, result=result))
    assert await gateway._stream.flush(timeout_ms=30_000)
    assert (await users(http, span="day"))[:2] == [500, 20]
    recent = await get(http, "/v1/users/me/results", 500)
    assert [row["wpm"] for row in recent["results"]] == [140]


# -- progress ----------------------------------------------------------------------------------------------------


async def test_progress_by_day_and_mode(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/users/me/progress", headers=bearing(account(5)))
    assert response.headers["cache-control"] == "private, no-store"
    rows = ProgressList.model_validate_json(response.content).progress
    assert [((row.day.toordinal() - 719_163) - today(), row.mode, row.tests, row.best_wpm) for row in rows] == [
        (-1, "time", 1, 99),
        (0, "time", 1, 55),
    ]
    assert rows[0].duration_ms == 15_000
    day = rows[1].day.isoformat()
    only = await get(http, "/v1/users/5/progress", 5, since=day, until=day)
    assert [row["day"] for row in only["progress"]] == [day]


async def test_progress_is_its_owner_s_alone(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/users/5/progress", headers=bearing(account(6)))
    assert response.status_code == 403
    admin = await http.get("/v1/users/5/progress", headers=bearing(ADMIN))
    assert len(admin.json()["progress"]) == 2


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("since=2026-10-02&until=2026-10-01", "since must come first"),
        ("since=1969-12-31&until=1970-01-02", "from 1970-01-01 on"),
        ("since=2020-01-01&until=2026-01-01", "at most 400 are allowed"),
        ("since=yesterday", "since"),
        ("until=2026-02-30", "until"),
    ],
)
async def test_a_range_that_makes_no_sense_is_a_problem(http: httpx.AsyncClient, query: str, why: str) -> None:
    response = await http.get(f"/v1/users/me/progress?{query}", headers=bearing(account(5)))
    assert response.status_code == 422
    assert why in response.json()["detail"]
