"""How fast somebody is, for strangers who are to race each other."""

from __future__ import annotations

from persistence.cache import AccountGuests, RecentResults
from persistence.errors import StoreError

__all__ = ["Speeds"]


class Speeds:
    """By their last results: the best of them, for people race as fast as they can."""

    def __init__(self, recent: RecentResults, guests: AccountGuests) -> None:
        self._recent = recent
        self._guests = guests

    async def of(self, user: int) -> float | None:
        """Words a minute; None where nothing is known, or can be asked just now."""
        try:
            results = await self._recent.of(user, await self._guests.of(user))
        except StoreError:
            return None
        return max((result.summary.wpm for result in results if result.verdict != "void"), default=None)
