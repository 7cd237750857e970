"""An account takes a guest's past over HTTP, and reads it as its own; nobody else does."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.gateway import AuthOptions
from gateway.api.claims import ClaimRow
from gateway.auth import Authenticator
from loadtest.servers.addresses import Addresses
from persistence.results import MOST_GUESTS, SqliteResults
from session.receipt import KeyRing
from tests.gateway import plant as plants
from tests.gateway.accounts import ADMIN, Served, account, bearing, serving_accounts
from tests.gateway.running import ROOT
from tests.gateway.typing_client import TypingClient, client

DAY_MS = 86_400_000


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving_accounts(tmp_path) as both:
        yield both


async def typed(typist: TypingClient, **options: Any) -> str:
    """A whole test; its session, once it is stored."""
    chosen: dict[str, Any] = {"mode": "words", "count": 1} | options
    await typist.start(**chosen)
    result = await typist.type_all()
    await typist.receive("stored")
    session: str = result["session"]
    return session


async def claim(http: httpx.AsyncClient, guest_token: str, *, by: str) -> httpx.Response:
    return await http.post("/v1/claims", json={"token": guest_token}, headers=bearing(by))


async def listed(http: httpx.AsyncClient, by: str, **query: str) -> list[str]:
    response = await http.get("/v1/users/me/results", params=query, headers=bearing(by))
    return [row["session"] for row in response.json()["results"]]


async def test_what_a_guest_typed_is_the_account_s_from_then_on(served: Served) -> None:
    """In its list at once, though that was looked at just before; by id, with its replay; and in its progress."""
    gateway, http = served
    jwt = account()
    async with client(gateway.url, token=jwt) as typist:
        own = await typed(typist)
    async with client(gateway.url) as typist:
        guest, guest_token = typist.ready["user"], typist.ready["token"]
        past = await typed(typist)
    addresses = [f"/v1/results/{past}{part}" for part in ("", "/replay", "/keys")]
    assert await listed(http, jwt) == [own]
    assert [(await http.get(address, headers=bearing(jwt))).status_code for address in addresses] == [404] * 3

    response = await claim(http, guest_token, by=jwt)
    assert (response.status_code, response.json()) == (201, {"user": "42", "guest": guest})
    assert set(response.json()) == set(ClaimRow.model_fields)
    assert await listed(http, jwt) == [past, own]
    assert [(await http.get(address, headers=bearing(jwt))).status_code for address in addresses] == [200] * 3
    assert (await http.get(addresses[0], headers=bearing(jwt))).json()["user"] == guest, "rows keep their owner"
    progress = (await http.get("/v1/users/me/progress", headers=bearing(jwt))).json()["progress"]
    assert sum(row["tests"] for row in progress) == 2, "of one day, or it was midnight"
    assert await listed(http, account(43)) == []
    assert (await http.get(addresses[0], headers=bearing(account(43)))).status_code == 404


async def test_the_list_is_turned_page_by_page_across_both(served: Served) -> None:
    gateway, http = served
    jwt = account()
    sessions = []
    async with client(gateway.url) as guest, client(gateway.url, token=jwt) as own:
        for _ in range(6):
            sessions += [await typed(guest), await typed(own)]
        assert (await claim(http, guest.ready["token"], by=jwt)).status_code == 201
    for limit in ("5", "10", "50"):
        found: list[str] = []
        query = {"limit": limit}
        while True:
            page = (await http.get("/v1/users/me/results", params=query, headers=bearing(jwt))).json()
            found += [row["session"] for row in page["results"]]
            if page["cursor"] is None:
                break
            query["cursor"] = page["cursor"]
        assert found == sessions[::-1], limit


async def test_a_claim_made_again_is_the_same_and_by_another_account_it_is_refused(served: Served) -> None:
    gateway, http = served
    async with client(gateway.url) as typist:
        guest_token = typist.ready["token"]
    statuses = [(await claim(http, guest_token, by=account())).status_code for _ in range(3)]
    assert statuses == [201, 200, 200]
    refused = await claim(http, guest_token, by=account(43))
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert "another account's" in refused.json()["detail"]


async def test_a_tab_that_goes_on_as_the_guest_loses_nothing(served: Served) -> None:
    """What it types after the claim is the account's history, too; and the guest may read its own, and no more."""
    gateway, http = served
    jwt = account()
    async with client(gateway.url, token=jwt) as typist:
        own = await typed(typist)
    async with client(gateway.url) as tab:
        guest_token = tab.ready["token"]
        await tab.start(mode="words", count=2)
        assert (await claim(http, guest_token, by=jwt)).status_code == 201
        assert await listed(http, jwt) == [own]
        running = (await tab.type_all())["session"]
        await tab.receive("stored")
        later = await typed(tab)
    assert await listed(http, jwt) == [later, running, own]
    assert await listed(http, guest_token) == [later, running]
    assert (await http.get(f"/v1/results/{own}", headers=bearing(guest_token))).status_code == 404
    async with client(gateway.url, token=guest_token) as again:
        assert again.ready["guest"]


async def test_a_guest_is_on_no_board_and_gets_no_best_by_the_claim(served: Served) -> None:
    gateway, http = served
    jwt = account()
    async with client(gateway.url) as typist:
        await typed(typist, count=50)
        assert (await claim(http, typist.ready["token"], by=jwt)).status_code == 201
    assert len(await listed(http, jwt)) == 1
    mine = (await http.get("/v1/leaderboards/words-50-en/me", headers=bearing(jwt))).json()
    assert (mine["rank"], mine["best"], mine["entries"]) == (None, None, [])


async def test_only_accounts_claim(served: Served) -> None:
    gateway, http = served
    async with client(gateway.url) as typist, client(gateway.url) as other:
        guest_token = typist.ready["token"]
        for by, status in ((other.ready["token"], 403), (guest_token, 403), (ADMIN, 403), ("forged", 401)):
            assert (await claim(http, guest_token, by=by)).status_code == status
        assert (await http.post("/v1/claims", json={"token": guest_token})).status_code == 401


async def test_a_token_that_is_no_guest_s_of_ours_is_refused_with_the_reason(served: Served) -> None:
    _, http = served
    now_ms = time.time_ns() // 1_000_000
    ring = served[0].hub.ring
    expired = Authenticator(AuthOptions(), ring).guest(now_ms=now_ms - 31 * DAY_MS).token
    foreign = Authenticator(AuthOptions(), KeyRing([(ring.ids[0], b"x" * 32)])).guest(now_ms=now_ms).token
    good = Authenticator(AuthOptions(), ring).guest(now_ms=now_ms).token
    assert good is not None
    for guest_token, why in (
        (expired or "", "has expired"),
        (foreign or "", "not this server's"),
        (good[:-1], "not this server's"),
        ("", "not this server's"),
        ("é" * 40, "not this server's"),
        (account(), "no guest token"),
        ("a" * 8_193, "no guest token"),
    ):
        response = await claim(http, guest_token, by=account())
        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
        assert why in response.json()["detail"]
    assert (await claim(http, good, by=account())).status_code == 201


async def test_a_guest_of_a_server_that_takes_none_any_more_can_be_claimed(served: Served, tmp_path: Path) -> None:
    async with client(served[0].url) as typist:
        guest_token = typist.ready["token"]
    closed = Authenticator(
        AuthOptions(guests=False, algorithm="EdDSA", issuer="i", audience="a", key_file=tmp_path / "key.pem"),
        served[0].hub.ring,
    )
    assert str(closed.guest_of(guest_token, now_ms=time.time_ns() // 1_000_000)) == typist.ready["user"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"token":1}', 422),
        (b"\xff", 422),
        (b'{"token":"' + b"a" * 10_000, 413),
    ],
)
async def test_bodies_that_are_none(served: Served, body: bytes, status: int) -> None:
    response = await served[1].post("/v1/claims", content=body, headers=bearing(account()))
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


async def test_an_account_has_so_many_guests_and_no_more(served: Served) -> None:
    gateway, http = served
    now_ms = time.time_ns() // 1_000_000
    tokens = [gateway.hub.authenticator.guest(now_ms=now_ms).token or "" for _ in range(MOST_GUESTS + 1)]
    statuses = [(await claim(http, one, by=account())).status_code for one in tokens]
    assert statuses == [201] * MOST_GUESTS + [403]
    assert f"{MOST_GUESTS} guests" in (await claim(http, tokens[-1], by=account())).json()["detail"]
    assert (await claim(http, tokens[0], by=account())).status_code == 200
    assert f"An account may have {MOST_GUESTS} guests" in (ROOT / "gateway/PROTOCOL.md").read_text()


async def test_one_claim_of_an_account_at_a_time(served: Served) -> None:
    """Many at once could have it more guests than are allowed."""
    gateway, http = served
    now_ms = time.time_ns() // 1_000_000
    tokens = [gateway.hub.authenticator.guest(now_ms=now_ms).token or "" for _ in range(2)]
    store, written = gateway.hub.store, threading.Event()
    assert isinstance(store, SqliteResults)
    store._writer.post(lambda _: written.wait())
    try:
        async with asyncio.TaskGroup() as group:
            claims = [group.create_task(claim(http, one, by=account())) for one in tokens]
            (refused,), (waiting,) = await asyncio.wait(claims, return_when=asyncio.FIRST_COMPLETED)
            written.set()
    finally:
        written.set()
    assert (refused.result().status_code, refused.result().headers["retry-after"]) == (429, "1")
    assert waiting.result().status_code == 201


async def test_while_the_store_is_away_the_claim_is_to_be_made_again(served: Served, tmp_path: Path) -> None:
    gateway, http = served
    async with client(gateway.url) as typist:
        guest_token = typist.ready["token"]
    with closing(sqlite3.connect(tmp_path / "data" / "results.db", isolation_level=None)) as operator:
        operator.execute("ALTER TABLE guest_links RENAME TO away")
        response = await claim(http, guest_token, by=account())
        operator.execute("ALTER TABLE away RENAME TO guest_links")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "guest_links" not in response.text  # what the store says is for operators
    assert (await claim(http, guest_token, by=account())).status_code == 201


async def test_across_nodes_shards_and_workers(
    fresh_name: Callable[[str], str],
    kafka_servers: list[str],
    mariadb_servers: Addresses,
    redis_servers: Addresses,
    tmp_path: Path,
) -> None:
    """Claimed at one node it is in the list that another one keeps; what a worker stores later comes there, too."""
    plant = await plants.build(
        fresh_name,
        kafka=kafka_servers,
        mariadb=mariadb_servers,
        redis=redis_servers["url"],
        patient=True,
        session_ms=plants.LONG_SESSION_MS,
    )
    jwt = plants.token_of(7)
    async with (
        plants.gateway_of(plant, tmp_path / "one", name="one") as one,
        plants.gateway_of(plant, tmp_path / "two", name="two") as two,
        plants.worker_of(plant, tmp_path),
        httpx.AsyncClient(timeout=60, base_url=one.url, trust_env=False) as here,
        httpx.AsyncClient(timeout=60, base_url=two.url, trust_env=False) as there,
        client(one.url) as guest,
    ):
        first = await typed(guest)
        await plants.committed(plant)
        assert await listed(there, jwt) == []
        # the two nodes have keys of their own: a guest is claimed where it is known
        assert (await claim(there, guest.ready["token"], by=jwt)).status_code == 422
        assert (await claim(here, guest.ready["token"], by=jwt)).status_code == 201
        assert await listed(there, jwt) == [first]
        second = await typed(guest)
        await plants.committed(plant)
        assert await listed(there, jwt) == [second, first]
        assert (await there.get(f"/v1/results/{second}/replay", headers=bearing(jwt))).status_code == 200
        progress = (await there.get("/v1/users/me/progress", headers=bearing(jwt))).json()["progress"]
        assert sum(row["tests"] for row in progress) == 2
