from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persistence.results import ResultStore
from tests.persistence.implementations import STORES


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultStore]:
    """Every implementation of the port, empty."""
    async with STORES[request.param](tmp_path) as opened:
        yield opened
