"""Which results are public, as lists show it and as strangers are asked: never other than the store was told."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from persistence.cache import MemoryCache, PublicResults
from persistence.errors import StoreError
from persistence.results import SqliteResults
from tests.persistence.samples import sample

USER, GUEST = 7, -8


class Forgetful(SqliteResults):
    """A store whose answers are lost, once it has done what was asked, and whose lists may be of a server behind it."""

    behind = False

    async def public_of(self, user: int, *, behind: Callable[[], None] | None = None) -> Sequence[bytes]:
        if self.behind and behind is not None:
            behind()
        return await super().public_of(user)

    async def publish(self, session_id: bytes, user: int) -> bool:
        await super().publish(session_id, user)
        raise StoreError("the connection was lost", retriable=True)

    async def unpublish(self, session_id: bytes) -> None:
        await super().unpublish(session_id)
        raise StoreError("the connection was lost", retriable=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Forgetful]:
    async with Forgetful(tmp_path / "results.db") as opened:
        yield opened


async def test_what_was_said_is_seen_at_once_though_the_answer_was_lost(store: Forgetful) -> None:
    """In the lists of both, the account's and its guest's, which were looked at before."""
    mine, guest_s = sample(0, user=USER).session, sample(1, user=GUEST).session
    async with MemoryCache() as cache:
        public = PublicResults(cache, store, ttl_ms=3_600_000)
        assert await public.of([USER, GUEST]) == frozenset()
        for session, user in ((mine, USER), (guest_s, GUEST)):
            with pytest.raises(StoreError, match="the connection was lost"):
                await public.publish(session, user)
        assert await public.of([USER, GUEST]) == {mine, guest_s}
        with pytest.raises(StoreError, match="the connection was lost"):
            await public.unpublish(mine, USER)
        assert await public.of([USER, GUEST]) == {guest_s}
        assert await public.of([]) == frozenset()


async def test_strangers_are_asked_of_the_store_itself(store: Forgetful) -> None:
    """What another process took back, whose word this one's cache could not hear, is shown to nobody."""
    session = sample(0, user=USER).session
    await SqliteResults.publish(store, session, USER)
    async with MemoryCache() as cache:
        public = PublicResults(cache, store, ttl_ms=3_600_000)
        assert await public.of([USER]) == {session}
        await SqliteResults.unpublish(store, session)
        assert not await public.holds(session)
        assert await public.of([USER]) == {session}, "the list may be older"


async def test_a_list_that_may_lack_what_was_said_last_is_not_kept(store: Forgetful) -> None:
    """It would show as public for an hour what was taken back before the store's primary went away."""
    session = sample(0, user=USER).session
    await SqliteResults.publish(store, session, USER)
    store.behind = True
    async with MemoryCache() as cache:
        public = PublicResults(cache, store, ttl_ms=3_600_000)
        assert await public.of([USER]) == {session}
        store.behind = False
        await SqliteResults.unpublish(store, session)
        assert await public.of([USER]) == frozenset()
