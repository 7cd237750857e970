"""A result that its owner has made public: everybody sees it, and nobody sees whose it is; until it is taken back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.gateway import HttpOptions, NodeOptions
from gateway.api.public import PublicRow
from gateway.api.results import SharedRow
from persistence.redis import RedisOptions
from persistence.results import MOST_PUBLIC, SqliteResults, Visibility
from session.identity import mint_session, session_from_text, session_to_text
from tests.gateway.accounts import ADMIN, Served, account, bearer, bearing, knowing, serving_accounts
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client
from tests.persistence.mysql_shards import MysqlShards


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


async def typed(typist: TypingClient, **options: Any) -> str:
    """A whole test; its session, once it is stored. Too short to be taken for a machine's: void ones are not shown."""
    await typist.start(**({"count": 1} if "mode" not in options else {}) | options)
    result = await typist.type_all()
    await typist.receive("stored")
    return str(result["session"])


async def test_everybody_sees_what_is_public_until_it_is_taken_back(
    http: httpx.AsyncClient, typist: TypingClient
) -> None:
    """By anybody's token and by none; figures, series and replay, and not whose it is or how it was judged."""
    session = await typed(typist, tags=["variant=b"])
    path = f"/v1/results/{session}"
    asked: list[dict[str, str]] = [{}, bearing(account(43))]
    assert [(await http.get(path, headers=headers)).status_code for headers in asked] == [401, 404]
    for _ in range(2):
        answer = await http.put(f"{path}/public", headers=bearer(typist))
        assert (answer.status_code, answer.json()) == (
            200,
            {"session": session, "public": True, "page": f"/r/{session}"},
        )
        assert set(answer.json()) == set(PublicRow.model_fields)
    own = (await http.get(path, headers=bearer(typist))).json()
    assert own["public"]
    for headers in asked:
        row = (await http.get(path, headers=headers)).json()
        assert set(row) <= set(SharedRow.model_fields), "every field is documented"
        assert row == {name: value for name, value in own.items() if name in SharedRow.model_fields} | {
            "name": row["name"]
        }
        assert row["name"].startswith("Guest ")
        assert not {"user", "tags", "input", "reasons", "features", "unseen_ms", "slack_ms"} & set(row)
        replay = (await http.get(f"{path}/replay", headers=headers)).json()
        assert replay["events"] == typist.log
        assert "holds" not in replay, "a replay needs none"
        assert replay["result"] == row
        assert (await http.get(f"{path}/keys", headers=headers)).status_code in (401, 404)
    for _ in range(2):
        assert (await http.delete(f"{path}/public", headers=bearer(typist))).status_code == 204
    for part in ("", "/replay"):
        assert [(await http.get(path + part, headers=headers)).status_code for headers in asked] == [401, 404]
    assert not (await http.get(path, headers=bearer(typist))).json()["public"]


async def test_what_caches_may_keep_and_for_how_long(http: httpx.AsyncClient, typist: TypingClient) -> None:
    """A minute at most, and never what a token opened."""
    session = await typed(typist)
    await http.put(f"/v1/results/{session}/public", headers=bearer(typist))
    for part in ("", "/replay"):
        path = f"/v1/results/{session}{part}"
        shown = await http.get(path)
        assert shown.headers["cache-control"] == "public, max-age=60, must-revalidate", "and not when it is old"
        assert "authorization" in shown.headers["vary"]
        for headers in (bearer(typist), bearing(account())):
            assert (await http.get(path, headers=headers)).headers["cache-control"] == "private, no-store"


async def test_the_list_says_which_are_public(http: httpx.AsyncClient, typist: TypingClient) -> None:
    """At once, though it was looked at just before; and page by page."""
    sessions = [await typed(typist, count=1) for _ in range(3)]

    async def listed(**query: str) -> list[str]:
        page = (await http.get("/v1/users/me/results", params=query, headers=bearer(typist))).json()
        return [row["session"] for row in page["results"] if row["public"]]

    assert await listed() == []
    for session in sessions[:2]:
        await http.put(f"/v1/results/{session}/public", headers=bearer(typist))
    assert await listed() == await listed(limit="50") == sessions[1::-1]
    await http.delete(f"/v1/results/{sessions[0]}/public", headers=bearer(typist))
    assert await listed() == [sessions[1]]


async def test_only_its_owner_has_a_say(served: Served, typist: TypingClient) -> None:
    """Others are told that there is none, also of a public one; the admin may take it back, and not make it public."""
    gateway, http = served
    session = await typed(typist)
    path = f"/v1/results/{session}/public"
    for _ in range(2):
        assert (await http.put(path)).status_code == (await http.delete(path)).status_code == 401
        async with client(gateway.url) as other:
            for headers in (bearer(other), bearing(account())):
                assert (await http.put(path, headers=headers)).status_code == 404
                assert (await http.delete(path, headers=headers)).status_code == 404
        assert (await http.put(path, headers=bearing(ADMIN))).status_code == 403
        assert (await http.put(path, headers=bearer(typist))).status_code == 200
    assert (await http.delete(path, headers=bearing(ADMIN))).status_code == 204
    assert (await http.get(f"/v1/results/{session}")).status_code == 401


async def test_an_account_has_a_say_of_what_its_guests_typed(served: Served, typist: TypingClient) -> None:
    _, http = served
    session = await typed(typist)
    path = f"/v1/results/{session}/public"
    assert (await http.put(path, headers=bearing(account()))).status_code == 404
    claim = await http.post("/v1/claims", json={"token": typist.ready["token"]}, headers=bearing(account()))
    assert claim.status_code == 201
    assert (await http.put(path, headers=bearing(account()))).status_code == 200
    page = (await http.get("/v1/users/me/results", headers=bearing(account()))).json()
    assert [row["public"] for row in page["results"]] == [True]
    assert (await http.get(f"/v1/results/{session}")).status_code == 200
    assert (await http.delete(path, headers=bearer(typist))).status_code == 204, "the guest's it is as well"
    assert (await http.get(f"/v1/results/{session}")).status_code == 401


async def test_what_cannot_be_public(http: httpx.AsyncClient, typist: TypingClient, tmp_path: Path) -> None:
    """An own text, a void result, none at all: each is told why. One that turns out void is shown to nobody."""
    own = await typed(typist, mode="text", text="a text of my own")
    answer = await http.put(f"/v1/results/{own}/public", headers=bearer(typist))
    assert (answer.status_code, "own text" in answer.json()["detail"]) == (409, True)
    session = await typed(typist)
    path = f"/v1/results/{session}"
    assert (await http.put(f"{path}/public", headers=bearer(typist))).status_code == 200
    async with SqliteResults(tmp_path / "data" / "results.db") as store:
        result = await store.by_id(session_from_text(session))
        assert result is not None
        await store.write([replace(result, verdict="void")])
    assert [(await http.get(path + part)).status_code for part in ("", "/replay")] == [401, 401]
    assert not (await http.get(path, headers=bearer(typist))).json()["public"]
    answer = await http.put(f"{path}/public", headers=bearer(typist))
    assert (answer.status_code, "void" in answer.json()["detail"]) == (409, True)
    none = session_to_text(mint_session(-5, epoch_ms=1, random_bits=1))
    assert (await http.put(f"/v1/results/{none}/public", headers=bearer(typist))).status_code == 404
    for name in ("nonsense", "019E0000-0000-4000-8000-000000000000"):
        for ask in (http.put, http.delete):
            answer = await ask(f"/v1/results/{name}/public", headers=bearer(typist))
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_one_too_many_is_told_so(http: httpx.AsyncClient, typist: TypingClient, tmp_path: Path) -> None:
    session, user = await typed(typist), int(typist.ready["user"])
    others = [mint_session(user, epoch_ms=1, random_bits=i) for i in range(MOST_PUBLIC)]
    async with SqliteResults(tmp_path / "data" / "results.db") as store:
        await store.take_words([Visibility(one, user, True, 1) for one in others])
    answer = await http.put(f"/v1/results/{session}/public", headers=bearer(typist))
    assert (answer.status_code, "1,000 of your results" in answer.json()["detail"]) == (409, True)


async def test_servers_that_share_their_stores_agree(
    tmp_path: Path, mysql_shards: MysqlShards, redis_single: RedisOptions, fresh_name: Callable[[str], str]
) -> None:
    """Said at one of them it holds at the other, in lists that it has just shown too; and what accounts are called."""
    mysql_shards.clear()
    sections: dict[str, Any] = {
        "mysql": mysql_shards.options,
        "redis": replace(redis_single, prefix=f"{fresh_name('public')}:"),
        "auth": knowing(tmp_path),
    }
    async with AsyncExitStack() as stack:
        nodes = []
        for name in ("one", "two"):
            node = NodeOptions(name=name, data=tmp_path / name, keys_file=tmp_path / "keys.json")
            nodes.append(await stack.enter_async_context(serving(tmp_path / name, **sections | {"node": node})))
        (gateway, one), (_, two) = nodes
        jwt = account(nickname="Ada")
        typist = await stack.enter_async_context(client(gateway.url, token=jwt))
        session = await typed(typist)
        path = f"/v1/results/{session}"

        async def listed() -> list[bool]:
            page = (await two.get("/v1/users/me/results", headers=bearing(jwt))).json()
            return [row["public"] for row in page["results"]]

        for public, ask in ((True, one.put), (False, two.delete), (True, two.put), (False, one.delete)):
            assert await listed() == [not public]
            assert (await ask(f"{path}/public", headers=bearing(jwt))).is_success
            assert await listed() == [public]
            assert [(await http.get(path)).status_code for http in (one, two)] == [200 if public else 401] * 2
        await one.put(f"{path}/public", headers=bearing(jwt))
        async with asyncio.timeout(60):
            while (await one.get(path)).json()["name"] != "Ada":  # noqa: ASYNC110  # writing brings no event
                await asyncio.sleep(0.02)


async def test_pages_of_other_origins_may_make_public_too(http: httpx.AsyncClient) -> None:
    allowed = (await http.options("/v1/results/x/public")).headers["access-control-allow-methods"]
    assert {"PUT", "DELETE"} <= set(allowed.split(", "))


async def test_who_asks_too_much_waits(tmp_path: Path) -> None:
    limits = HttpOptions(user_per_s=0.01, user_burst=2)
    async with serving(tmp_path / "data", http=limits) as (gateway, http), client(gateway.url) as typist:
        session = await typed(typist)
        path = f"/v1/results/{session}/public"
        statuses = [(await http.put(path, headers=bearer(typist))).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
