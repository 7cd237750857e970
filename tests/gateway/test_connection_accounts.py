"""Accounts on a connection: who may type with a JSON Web Token, and for how long."""

from pathlib import Path
from typing import Any

import jwt

from config.gateway import AuthOptions
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
