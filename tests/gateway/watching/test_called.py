"""Whoever looks on is told who types: by the account's name, as in races and on leaderboards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.gateway import AuthOptions
from session.names import default_name
from tests.gateway.issuer import public_pem, token
from tests.gateway.running import serving
from tests.gateway.typing_client import MSGPACK, client
from tests.gateway.watching.audience import Onlooker, Places, places

KEY = Ed25519PrivateKey.generate()
ADA, NOBODY = 7, 8


def jwt(user: int, **claims: str) -> str:
    return token(KEY, "EdDSA", uid=user, exp=4_000_000_000, **claims)


def accounts(folder: Path, *, claim: str = "nickname") -> AuthOptions:
    """Accounts by tokens of ours; `claim` has their names."""
    (folder / "key.pem").write_bytes(public_pem(KEY))
    return AuthOptions(
        algorithm="EdDSA",
        issuer="https://site.example",
        audience="typegate",
        key_file=folder / "key.pem",
        name_claim=claim,
    )


@pytest.fixture(name="known", params=["embedded", "redis"])
async def _known(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Places]:
    """Servers that know accounts."""
    async with places(request.param, tmp_path, request.getfixturevalue, auth=accounts(tmp_path)) as found:
        yield found


@pytest.mark.parametrize(
    ("signed", "called"),
    [
        (jwt(ADA, nickname="Ada"), "Ada"),
        (jwt(NOBODY), default_name(NOBODY)),
        (jwt(NOBODY, nickname="a@b.example"), default_name(NOBODY)),
    ],
    ids=["a name", "no name", "none that may be shown"],
)
async def test_an_account_is_called_by_its_name(known: Places, signed: str, called: str) -> None:
    """On whatever server one looks; who has none that may be shown has a default one."""
    async with client(known.here.url, token=signed) as typist, client(known.there.url, MSGPACK) as other:
        started = await typist.start(mode="words", count=4, watch=True)
        watched = await Onlooker(other).watch(started["session"])
        assert watched["name"] == called
        assert not {"user", "token"} & watched.keys()


async def test_where_accounts_have_no_names_a_typist_has_none(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, auth=accounts(tmp_path, claim="")) as (gateway, _),
        client(gateway.url, token=jwt(ADA, nickname="Ada")) as typist,
        client(gateway.url) as other,
    ):
        started = await typist.start(mode="words", count=4, watch=True)
        assert (await Onlooker(other).watch(started["session"]))["name"] == default_name(ADA)


async def test_who_was_away_when_one_came_is_called_by_name_once_back(known: Places) -> None:
    """Until then nobody there knows it. All that was typed is seen again, once and in order."""
    signed = jwt(ADA, nickname="Ada")
    async with client(known.there.url) as other:
        async with client(known.here.url, token=signed) as typist:
            started = await typist.start(mode="words", count=4, watch=True)
            await typist.keys(*started["text"][:3])
            await typist.receive("tick")
        onlooker = Onlooker(other)
        await onlooker.watch(started["session"])
        await onlooker.sees(started["text"][:3])
        await onlooker.until(lambda one: one.state == "away")
        first = onlooker.watched["name"]
        async with client(known.here.url, token=signed) as back:
            await back.send("resume", session=started["session"], ticket=started["ticket"], n=3)
            n = (await back.receive("resumed"))["n"]
            await back.send("keys", n=n, e=typist.log[2 * n :])
            await onlooker.until(lambda one: one.watched["name"] == "Ada")
            await onlooker.sees(started["text"][:3])
        assert first in ("Ada", default_name(ADA)), "it may have been asked before the connection was seen to be lost"
