"""Which guests an account has, as its history is read: never fewer than the store was told of."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from persistence.cache import AccountGuests, MemoryCache
from persistence.errors import StoreError
from persistence.results import Linked, SqliteResults


class Forgetful(SqliteResults):
    """A store whose answers to claims are lost, once it has carried them out, and whose lists may be of a server behind
    it."""

    behind = False

    async def guests_of(self, account: int, *, behind: Callable[[], None] | None = None) -> tuple[int, ...]:
        if self.behind and behind is not None:
            behind()
        return await super().guests_of(account)

    async def link(self, guest: int, account: int, *, at_ms: int | None = None) -> Linked:
        await super().link(guest, account, at_ms=at_ms)
        raise StoreError("the connection was lost", retriable=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Forgetful]:
    async with Forgetful(tmp_path / "results.db") as opened:
        yield opened


async def test_a_claim_whose_answer_was_lost_is_seen_at_once(store: Forgetful) -> None:
    async with MemoryCache() as cache:
        guests = AccountGuests(cache, store, ttl_ms=3_600_000)
        assert await guests.of(7) == ()
        with pytest.raises(StoreError, match="the connection was lost"):
            await guests.link(-7, 7)
        assert await guests.of(7) == (-7,)
        assert await guests.of(8) == await guests.of(-7) == ()


async def test_a_list_that_may_lack_the_last_claim_is_not_kept(store: Forgetful) -> None:
    """An account would miss what it has just claimed, long after the store's primary is back."""
    store.behind = True
    async with MemoryCache() as cache:
        guests = AccountGuests(cache, store, ttl_ms=3_600_000)
        assert await guests.of(7) == ()
        store.behind = False
        await SqliteResults.link(store, -7, 7)
        assert await guests.of(7) == (-7,)
