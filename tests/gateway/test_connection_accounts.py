"""Accounts on a connection: who may type with a JSON Web Token, and for how long."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from config.gateway import AuthOptions
from gateway.app import Gateway
from tests.gateway import issuer as issuers
from tests.gateway.issuer import Issuer, issuing, jwk, rsa
from tests.gateway.running import serving
from tests.gateway.typing_client import client

SECRET = b"0123456789abcdef0123456789abcdef"


def accounts(folder: Path) -> AuthOptions:
    """Accounts by tokens that are good to the millisecond."""
    path = folder / "secret"
    path.write_bytes(SECRET)
    return AuthOptions(algorithm="HS256", issuer="i", audience="a", key_file=path, leeway_s=0)


def token(epoch_ms: int, **claims: Any) -> str:
    """A token that ends an hour later."""
    return jwt.encode(
        {"iss": "i", "aud": "a", "iat": epoch_ms // 1000, "exp": epoch_ms // 1000 + 3600, **claims}, SECRET, "HS256"
    )


async def test_a_token_starts_no_test_after_its_end(tmp_path: Path) -> None:
    """Who is connected when it ends may finish the test at hand; the next one needs a new token."""
    async with serving(tmp_path / "data", auth=accounts(tmp_path)) as (gateway, _):
        epoch_ms = gateway.hub.epoch_ms
        async with client(gateway.url, token=token(epoch_ms(), uid=7)) as typist:
            assert (typist.ready["user"], typist.ready["guest"]) == ("7", False)
            await typist.start()
            gateway.hub.epoch_ms = lambda: epoch_ms() + 3_600_000
            assert (await typist.type_all())["acc"] == 100
            await typist.send("start", mode="words", count=3)
            end = await typist.closed()
    assert (end.code, "expired" in end.reason) == (4501, True)


@pytest.mark.parametrize("said", [{"t": "race.create", "mode": "words", "count": 5}, {"t": "race.join"}])
async def test_a_token_takes_part_in_no_race_after_its_end(tmp_path: Path, said: dict[str, Any]) -> None:
    """Else who once had one could go on for ever, race after race, over one connection."""
    async with serving(tmp_path / "data", auth=accounts(tmp_path)) as (gateway, _):
        epoch_ms = gateway.hub.epoch_ms
        async with client(gateway.url, token=token(epoch_ms(), uid=7)) as typist:
            gateway.hub.epoch_ms = lambda: epoch_ms() + 3_600_000
            await typist.send(**said)
            end = await typist.closed()
    assert (end.code, "expired" in end.reason) == (4501, True)


async def test_the_operators_token_types_nothing(tmp_path: Path) -> None:
    """It reads results over the API; a session of user 0 would be nobody's."""
    secret = tmp_path / "admin"
    secret.write_text("s" * 32)
    async with (
        serving(tmp_path / "data", auth=AuthOptions(admin_token_file=secret)) as (gateway, _),
        client(gateway.url, auth=False) as typist,
    ):
        await typist.send("auth", token="s" * 32)
        assert (await typist.closed()).code == 4501


async def test_a_refused_token_is_counted_by_its_kind(tmp_path: Path) -> None:
    """A JWT has dots, a guest's token has none."""
    async with serving(tmp_path / "data") as (gateway, _):
        for token_ in ("forged", "a.b.c"):
            async with client(gateway.url, auth=False) as typist:
                await typist.send("auth", token=token_)
                assert (await typist.closed()).code == 4501
        shown = (await gateway.metrics.scrape()).decode()
    assert 'typegate_auth_total{kind="guest",outcome="forged"} 1.0' in shown
    assert 'typegate_auth_total{kind="jwt",outcome="accounts_off"} 1.0' in shown


# --- keys that the issuer must be asked for ---

OLD, NEW = rsa(), rsa()


@pytest.fixture(name="issuer")
def running_issuer() -> Iterator[Issuer]:
    """An issuer whose key set has the old key."""
    with issuing() as issuer:
        issuer.keys = [jwk(OLD, "old")]
        yield issuer


@pytest.fixture(name="gateway")
async def asking_gateway(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Gateway]:
    """A gateway that has read the issuer's key set."""
    auth = AuthOptions(
        algorithm="RS256",
        issuer="https://site.example",
        audience="typegate",
        jwks_url=issuer.url,
        jwks_retry_s=0,
        jwks_timeout_s=60,
    )
    async with serving(tmp_path / "data", auth=auth) as (gateway, _):
        async with client(gateway.url, token=signed(gateway, OLD, "old")) as typist:
            assert typist.ready["user"] == "7"
        yield gateway


def signed(gateway: Gateway, key: issuers.PrivateKey, kid: str) -> str:
    """An account's token."""
    return issuers.token(key, "RS256", kid=kid, exp=gateway.hub.epoch_ms() // 1000 + 3600)


async def test_a_key_that_is_new_at_the_issuer_is_asked_for_while_its_client_waits(
    gateway: Gateway, issuer: Issuer
) -> None:
    """What the client sends meanwhile waits too, and is answered in order."""
    issuer.keys.append(jwk(NEW, "new"))
    async with client(gateway.url, auth=False) as typist:
        await typist.send("auth", token=signed(gateway, NEW, "new"))
        await typist.send("start", mode="words", count=3)
        assert (await typist.receive())["user"] == "7"
        assert (await typist.receive())["t"] == "started"
    assert issuer.asked == 2


@pytest.mark.parametrize("status", [200, 500], ids=["the issuer has no such key", "the issuer fails"])
async def test_a_key_that_cannot_be_had_is_refused(gateway: Gateway, issuer: Issuer, status: int) -> None:
    issuer.answer = lambda: (status, json.dumps({"keys": issuer.keys}).encode())
    async with client(gateway.url, auth=False) as typist:
        await typist.send("auth", token=signed(gateway, NEW, "new"))
        end = await typist.closed()
    assert (end.code, "(kid)" in end.reason) == (4501, True)
    assert issuer.asked == 2
    async with client(gateway.url, token=signed(gateway, OLD, "old")) as typist:
        assert typist.ready["user"] == "7"


async def test_who_is_gone_when_the_issuer_answers_is_no_fault(gateway: Gateway, issuer: Issuer) -> None:
    """The connection ends while its key is fetched; the next one finds the key read."""
    asked, answer = threading.Event(), threading.Event()

    def slowly() -> tuple[int, bytes]:
        asked.set()
        answer.wait(60)
        return 200, json.dumps({"keys": [jwk(NEW, "new")]}).encode()

    issuer.answer = slowly
    with capture_logs() as logs:
        async with client(gateway.url, auth=False) as typist:
            await typist.send("auth", token=signed(gateway, NEW, "new"))
            assert await asyncio.to_thread(asked.wait, 60)
            (waiting,) = gateway.hub.connections
            waiting.send_away(after_ms=0)
            await typist.receive("reconnect")
            assert (await typist.closed()).code == 1012
        assert await gateway._edge.emptied(60)
        answer.set()
        async with client(gateway.url, token=signed(gateway, NEW, "new")) as typist:
            assert typist.ready["user"] == "7"
    assert issuer.asked == 2
    assert not [line for line in logs if line["log_level"] == "error"]
