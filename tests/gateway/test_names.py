"""What an account's sign-in calls it is what others read: on leaderboards, in races, beside what it has made public."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.gateway import AuthOptions
from gateway import names as module
from gateway.app import Gateway
from gateway.names import KEPT_S, Names
from persistence.errors import StoreError
from persistence.folder import DataFolder
from persistence.results import SqliteResults
from session.names import default_name
from tests.clock import today
from tests.gateway.issuer import public_pem, token
from tests.gateway.running import serving
from tests.gateway.typing_client import client
from tests.persistence.samples import ranked

KEY = Ed25519PrivateKey.generate()
IN_THE_FUTURE = 4_000_000_000
ADA, GRACE = 7, 8


def jwt(user: int, **claims: Any) -> str:
    return token(KEY, "EdDSA", uid=user, exp=IN_THE_FUTURE, **claims)


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[SqliteResults]:
    async with SqliteResults(tmp_path / "results.db") as store:
        yield store


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """A server on whose board both accounts are."""
    (tmp_path / "key.pem").write_bytes(public_pem(KEY))
    folder = DataFolder(tmp_path / "data")
    folder.open()
    async with SqliteResults(folder.results) as store:
        now_ms = today() * 86_400_000
        await store.write([ranked(user, wpm=60 + user, user=user, created_ms=now_ms + user) for user in (ADA, GRACE)])
    auth = AuthOptions(
        algorithm="EdDSA", issuer="https://site.example", audience="typegate", key_file=tmp_path / "key.pem"
    )
    async with serving(tmp_path / "data", auth=auth) as both:
        yield both


async def board(http: httpx.AsyncClient) -> dict[int, str]:
    page = (await http.get("/v1/leaderboards/time-15-en")).json()
    return {int(entry["user"]): entry["name"] for entry in page["entries"]}


async def eventually(look: Callable[[], Any], wanted: Any) -> None:
    """Wait until what was heard is written."""
    async with asyncio.timeout(60):
        while await look() != wanted:  # noqa: ASYNC110  # writing brings no event
            await asyncio.sleep(0.02)


class Clock:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


async def running(names: Names) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(names.run())


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- where they show ---


async def test_the_name_of_the_sign_in_is_on_leaderboards_and_in_races(
    served: tuple[Gateway, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change shows when what is known has aged; a bad name, or none, gives way to the default one; in a race one may
    choose."""
    gateway, http = served
    monkeypatch.setattr(module, "KEPT_S", 0.0)
    assert await board(http) == {ADA: default_name(ADA), GRACE: default_name(GRACE)}
    async with client(gateway.url, token=jwt(ADA, nickname="  Ada  Lovelace ")) as ada:
        await eventually(lambda: board(http), {ADA: "Ada Lovelace", GRACE: default_name(GRACE)})
        races = set()
        for fields, called in (({}, "Ada Lovelace"), ({"name": "Countess"}, "Countess")):
            await ada.send("race.create", mode="words", count=5, **fields)
            while (state := await ada.receive("race.state"))["race"] in races:
                pass  # what was said last of the one before
            races.add(state["race"])
            assert state["racers"][0]["name"] == called
            await ada.send("race.leave")
    for taken_back in ({}, {"nickname": "Ada\u202e"}):  # issuers leave out what is not there
        async with (
            client(gateway.url, token=jwt(ADA, **taken_back)),
            client(gateway.url, token=jwt(GRACE, nickname="G")),
        ):
            await eventually(lambda: board(http), {ADA: default_name(ADA), GRACE: "G"})
        async with client(gateway.url, token=jwt(ADA, nickname="Ada")):
            await eventually(lambda: board(http), {ADA: "Ada", GRACE: "G"})


async def test_what_is_public_bears_its_owner_s_name(
    served: tuple[Gateway, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its page, and on the lane of who races against it."""
    gateway, http = served
    monkeypatch.setattr(module, "KEPT_S", 0.0)
    ada_s = jwt(ADA, nickname="Ada")
    async with client(gateway.url, token=ada_s) as ada:
        await ada.start(count=1)  # too short to be taken for a machine's
        session = (await ada.type_all())["session"]
        await ada.receive("stored")
    bearer = {"authorization": f"Bearer {ada_s}"}
    assert (await http.put(f"/v1/results/{session}/public", headers=bearer)).status_code == 200

    async def shown() -> str:
        name: str = (await http.get(f"/v1/results/{session}")).json()["name"]
        return name

    await eventually(shown, "Ada")
    async with client(gateway.url) as other:
        await other.send("race.create", mode="words", count=5, ghosts=[session])
        assert "Ada" in [row["name"] for row in (await other.receive("race.state"))["racers"]]


async def test_while_the_store_is_away_default_names_show(tmp_path: Path) -> None:
    async with SqliteResults(tmp_path / "results.db") as store:
        await store.name_users({ADA: "Ada"})
    assert await Names(store).of([ADA, -5]) == {ADA: default_name(ADA), -5: default_name(-5)}


async def test_where_accounts_have_no_names_those_that_are_known_show_no_more(store: SqliteResults) -> None:
    await store.name_users({ADA: "Ada"})
    assert await Names(store, shown=False).of([ADA]) == {ADA: default_name(ADA)}


async def test_a_guest_is_called_like_the_account_that_has_its_past(store: SqliteResults, clock: Clock) -> None:
    names = Names(store, clock=clock)
    await store.name_users({ADA: "Ada"})
    await store.link(-5, ADA)
    await store.link(-6, GRACE)
    expected = {-5: "Ada", -6: default_name(-6), -9: default_name(-9), ADA: "Ada"}
    assert await names.of(list(expected)) == await names.of(list(expected)) == expected


# --- how they are kept ---


async def test_a_name_is_as_old_as_said_and_no_older(store: SqliteResults, clock: Clock) -> None:
    names = Names(store, clock=clock)
    assert await names.of([ADA]) == {ADA: default_name(ADA)}
    await store.name_users({ADA: "Ada"})
    clock.now += KEPT_S - 0.1
    assert await names.of([ADA]) == {ADA: default_name(ADA)}
    clock.now += 0.2
    assert await names.of([ADA, GRACE]) == {ADA: "Ada", GRACE: default_name(GRACE)}


async def test_of_many_sign_ins_the_last_name_is_written_and_nothing_that_is_known(store: SqliteResults) -> None:
    """Ten thousand who come back at once with the names that they had cost a look and no write."""
    names = Names(store, gather_s=0)
    task = await running(names)
    for number in range(100):
        names.heard(ADA, f"Ada {number}")
    await eventually(lambda: store.names_of([ADA]), {ADA: "Ada 99"})
    ((word,),) = [page async for page in store.names()]
    for _ in range(3):
        names.heard(ADA, "Ada 99")
    names.heard(GRACE, "")
    names.heard(GRACE, "Grace")
    await eventually(lambda: store.names_of([GRACE]), {GRACE: "Grace"})
    ((again, _),) = [page async for page in store.names()]
    assert again == word
    await stopped(task)


async def test_what_cannot_be_written_waits_and_not_too_many_do(
    store: SqliteResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HEARD", 2)
    names = Names(store, gather_s=0, again_s=0.01)
    write, failing = store.name_users, asyncio.Event()

    async def fail(said: Any) -> None:
        failing.set()
        raise StoreError("away", retriable=True)

    monkeypatch.setattr(store, "name_users", fail)
    task = await running(names)
    for user in (1, 2, 3):
        names.heard(user, f"name {user}")
    await failing.wait()
    names.heard(1, "another")
    monkeypatch.setattr(store, "name_users", write)
    await eventually(lambda: store.names_of([1, 2, 3]), {1: "another", 2: "name 2"})
    await stopped(task)


async def test_not_more_names_are_kept_than_have_room(store: SqliteResults, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was asked for least lately goes first; more may be asked for at once all the same."""
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    await store.name_users({user: f"name {user}" for user in range(1, 6)})
    names = Names(store)
    assert await names.of(range(1, 6)) == {user: f"name {user}" for user in range(1, 6)}
    await store.name_users({5: "changed", 1: "changed"})
    assert await names.of([5]) == {5: "name 5"}
    assert await names.of([1]) == {1: "changed"}
