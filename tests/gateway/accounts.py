"""A gateway that knows accounts and an administrator, and how both ask it over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.gateway import AuthOptions, HttpOptions
from gateway.app import Gateway
from tests.gateway.issuer import public_pem, token
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient

ADMIN = "an admin's token of forty characters, ok"

Served: TypeAlias = tuple[Gateway, httpx.AsyncClient]

_KEY = Ed25519PrivateKey.generate()
_IN_THE_FUTURE = 4_000_000_000


def knowing(folder: Path, **changes: Any) -> AuthOptions:
    """Options of a gateway whose issuer is ours; the key file goes to the folder."""
    (folder / "key.pem").write_bytes(public_pem(_KEY))
    options: dict[str, Any] = {
        "algorithm": "EdDSA",
        "issuer": "https://site.example",
        "audience": "typegate",
        "key_file": folder / "key.pem",
    }
    return AuthOptions(**options | changes)


@asynccontextmanager
async def serving_accounts(folder: Path) -> AsyncIterator[Served]:
    """A running gateway with its data in `folder / "data"`, and an HTTP client for it that may ask often."""
    (folder / "admin").write_text(ADMIN)
    auth = knowing(folder, admin_token_file=folder / "admin")
    async with serving(folder / "data", auth=auth, http=HttpOptions(user_burst=1000)) as both:
        yield both


def account(user: int = 42, **claims: Any) -> str:
    """A token of an account."""
    return token(_KEY, "EdDSA", exp=_IN_THE_FUTURE, uid=user, **claims)


def bearing(text: str) -> dict[str, str]:
    """Headers with a token."""
    return {"authorization": f"Bearer {text}"}


def bearer(typist: TypingClient) -> dict[str, str]:
    """Headers with a guest's own token."""
    return bearing(typist.ready["token"])
