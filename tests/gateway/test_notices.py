"""The way of a notice to the browser: within one process, and from whoever stores results to every gateway."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.gateway import AuthOptions, NodeOptions
from gateway.app import Gateway
from persistence.redis import RedisOptions
from session.identity import session_to_text
from session.result import Result
from tests.gateway.issuer import public_pem, token
from tests.gateway.running import serving
from tests.gateway.typing_client import MSGPACK, client
from tests.persistence.samples import ranked

KEY = Ed25519PrivateKey.generate()
IN_THE_FUTURE = 4_000_000_000


@pytest.fixture(name="auth")
def _auth(tmp_path: Path) -> AuthOptions:
    """Accounts of a site whose key we have."""
    (tmp_path / "key.pem").write_bytes(public_pem(KEY))
    return AuthOptions(
        algorithm="EdDSA", issuer="https://site.example", audience="typegate", key_file=tmp_path / "key.pem"
    )


def account(user: int) -> str:
    return token(KEY, "EdDSA", uid=user, exp=IN_THE_FUTURE)


def typed(i: int, *, wpm: float, user: int) -> Result:
    """A result of just now that counts on a board."""
    return ranked(i, wpm=wpm, user=user, created_ms=time.time_ns() // 1_000_000)


async def store(gateway: Gateway, result: Result) -> None:
    """Bring a result on its way, as if it had just been typed."""
    await gateway.hub.spool.put(result)


async def listening(gateway: Gateway) -> None:
    """Wait until the gateway hears what others publish."""
    async with asyncio.timeout(60):
        while (await gateway.health.parts())["bus"] != "ok":  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.01)


async def test_a_best_is_told_to_all_tabs_of_its_user(tmp_path: Path, auth: AuthOptions) -> None:
    """With speed, spans and ranks, in either encoding; a slower test after it is no news."""
    async with (
        serving(tmp_path / "data", auth=auth) as (gateway, http),
        client(gateway.url, token=account(5)) as first,
        client(gateway.url, MSGPACK, token=account(5)) as second,
        client(gateway.url, token=account(6)) as other,
    ):
        await http.get("/v1/leaderboards/time-15-en")  # a board that was looked at knows its ranks
        best = typed(1, wpm=80.5, user=5)
        await store(gateway, typed(9, wpm=99, user=9))
        await store(gateway, best)
        event = {
            "t": "event",
            "kind": "best",
            "session": session_to_text(best.session),
            "board": "time-15-en",
            "wpm": 80.5,
            "spans": ["day", "week", "all"],
            "ranks": {"all": 2},
        }
        assert await first.receive("event") == event
        assert await second.receive("event") == event
        await store(gateway, typed(2, wpm=70, user=5))
        await store(gateway, typed(3, wpm=120, user=5))
        assert (await first.receive("event"))["wpm"] == 120
        assert not [message for message in other.seen if message["t"] == "event"]


async def test_a_verdict_that_a_better_copy_makes_stricter_is_told_in_all_tabs(
    tmp_path: Path, auth: AuthOptions
) -> None:
    """As after a takeover: both nodes had the test, and the one that saw more of it, and doubts it, comes second."""
    copy = typed(1, wpm=80.5, user=5)
    doubted = replace(copy, verdict="review", seen_live=copy.seen_live + 1)
    async with (
        serving(tmp_path / "data", auth=auth) as (gateway, _),
        client(gateway.url, token=account(5)) as first,
        client(gateway.url, MSGPACK, token=account(5)) as second,
    ):
        await store(gateway, copy)
        await first.receive("event")
        await store(gateway, doubted)
        told = {"t": "stored", "session": session_to_text(copy.session), "verdict": "review"}
        assert await first.receive("stored") == told
        assert await second.receive("stored") == told


def node(folder: Path, name: str) -> NodeOptions:
    """One of a cluster: with its keys."""
    return NodeOptions(name=name, data=folder / name, keys_file=folder / "keys.json")


@pytest.mark.parametrize("kind", ["redis_single", "redis_cluster"])
async def test_a_best_stored_by_another_process_is_told_where_its_user_is(
    tmp_path: Path,
    auth: AuthOptions,
    kind: str,
    fresh_name: Callable[[str], str],
    request: pytest.FixtureRequest,
) -> None:
    """Through Redis: whoever stores a result need not know where its user is connected."""
    options: RedisOptions = replace(request.getfixturevalue(kind), prefix=fresh_name("notices") + ":")
    async with (
        serving(tmp_path / "here", auth=auth, redis=options, node=node(tmp_path, "here")) as (here, _),
        serving(tmp_path / "there", auth=auth, redis=options, node=node(tmp_path, "there")) as (there, _),
        client(here.url, token=account(5)) as typist,
    ):
        await listening(here)
        best = typed(1, wpm=80.5, user=5)
        await store(there, best)
        assert (await typist.receive("event"))["session"] == session_to_text(best.session)
