"""The last results of a user, kept in a cache in front of the result store."""

from __future__ import annotations

from collections.abc import Sequence

from persistence.cache.port import Cache
from persistence.results.port import ResultStore
from session.result import Result

RECENT = 10
"""How many results a recent list holds."""
RECENT_TTL_MS = 3_600_000


class RecentResults:
    """Key `user:{id}:recent_results`: the last ten of a user, for an hour, pushed to when a result is stored."""

    def __init__(self, cache: Cache, store: ResultStore) -> None: ...

    async def of(self, user: int) -> list[Result]:
        """The user's last results, newest first, at most `RECENT`."""
        ...

    async def stored(self, results: Sequence[Result]) -> None:
        """Take note of results that have just been stored."""
        ...
