"""A gateway with the embedded defaults, and one typist at it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import Gateway
from tests.gateway.connecting import settings
from tests.gateway.typing_client import TypingClient, client


@pytest.fixture(name="gateway")
async def _gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with Gateway(settings(tmp_path)) as gateway:
        yield gateway


@pytest.fixture(name="url")
def _url(gateway: Gateway) -> str:
    return gateway.url


@pytest.fixture(name="typist")
async def _typist(url: str) -> AsyncIterator[TypingClient]:
    async with client(url) as typist:
        yield typist
