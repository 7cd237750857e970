from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from persistence.results import ResultStore
from tests.persistence.implementations import STORES

OpenStore = Callable[[], AbstractAsyncContextManager[ResultStore]]


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens an empty store, one at a time: each implementation of the port."""
    return lambda: STORES[request.param](Path(mkdtemp(dir=tmp_path)), request.getfixturevalue)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[ResultStore]:
    """Every implementation of the port, empty."""
    async with open_store() as opened:
        yield opened
