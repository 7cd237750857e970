"""Who is there: guests who come back, tokens that are none of ours, and who says nothing."""

from pathlib import Path

import pytest

from config.gateway import ConnectionOptions
from gateway.app import Gateway
from tests.gateway.connecting import settings
from tests.gateway.typing_client import client


async def test_a_guest_comes_back(url: str) -> None:
    """The token of `ready` makes one the same guest again."""
    async with client(url) as first:
        assert first.ready["guest"] is True
        assert first.ready["user"].startswith("-")
    async with client(url, token=first.ready["token"]) as second:
        assert second.ready["user"] == first.ready["user"]


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "é", "x" * 5000])
async def test_a_token_that_is_none_of_ours(url: str, token: str) -> None:
    """Closed 4501, not to come back with the same."""
    async with client(url, auth=False) as typist:
        await typist.send("auth", token=token)
        end = await typist.closed()
        assert end.code == 4501, end


async def test_auth_has_a_deadline(tmp_path: Path) -> None:
    """Who says nothing is closed 4003 and may come back as who it is: a slow network is no token that is refused."""
    options = ConnectionOptions(auth_deadline_s=0.5)
    async with Gateway(settings(tmp_path, connection=options)) as gateway, client(gateway.url, auth=False) as typist:
        assert (await typist.closed()).code == 4003


async def test_the_first_frame_is_auth(url: str) -> None:
    """Anything else first is out of place."""
    async with client(url, auth=False) as typist:
        await typist.send("start", mode="words", count=3)
        assert (await typist.closed()).code == 4500
