"""What every result store promises of results that their owners make public."""

import asyncio

import pytest

from persistence.results import MOST_PUBLIC, ResultStore, Visibility
from session.result import Result
from tests.persistence.samples import T0_MS, copy_of, sample

USER, GUEST = 7, -8


async def test_a_result_is_public_from_its_owner_s_word_to_the_next(store: ResultStore) -> None:
    """Said again it is the same; what was never public is taken back without a word."""
    one, other = sample(0, user=USER), sample(1, user=USER)
    await store.write([one, other])
    await store.unpublish(one.session)
    for _ in range(2):
        for _ in range(2):
            assert await store.publish(one.session, USER)
            assert [await store.is_public(result.session) for result in (one, other)] == [True, False]
            assert list(await store.public_of(USER)) == [one.session]
        for _ in range(2):
            await store.unpublish(one.session)
            assert not await store.is_public(one.session)
            assert list(await store.public_of(USER)) == []


async def test_copies_that_come_later_change_nothing(store: ResultStore) -> None:
    """One that is delivered again, a better attestation, one that disagrees: the word stands; that it is not, too."""
    public, private = sample(0, user=USER), sample(1, user=USER)
    await store.write([public, private])
    assert await store.publish(public.session, USER)
    assert await store.publish(private.session, USER)
    await store.unpublish(private.session)
    for result in (public, private):
        await store.write([result])
        await store.write([copy_of(result, seen_live=3)])
        await store.write([copy_of(result, core=9, seen_live=99)])
    assert [await store.is_public(one.session) for one in (public, private)] == [True, False]


async def test_each_user_has_a_list_of_their_own(store: ResultStore) -> None:
    results = [sample(i, user=user) for i in range(3) for user in (USER, GUEST)]
    await store.write(results)
    for result in reversed(results):
        assert await store.publish(result.session, result.user)
    for user in (USER, GUEST):
        assert list(await store.public_of(user)) == [result.session for result in results if result.user == user]
    assert list(await store.public_of(99)) == []


async def test_not_more_are_public_than_a_list_can_show(store: ResultStore) -> None:
    """One that is public may be made so again; where one is taken back another one has room."""
    words = [Visibility(sample(i, user=USER).session, USER, True, 1) for i in range(MOST_PUBLIC)]
    await store.take_words(words)
    assert not await store.publish(sample(MOST_PUBLIC, user=USER).session, USER)
    assert not await store.is_public(sample(MOST_PUBLIC, user=USER).session)
    assert await store.publish(words[0].session, USER)
    await store.unpublish(words[0].session)
    assert await store.publish(sample(MOST_PUBLIC, user=USER).session, USER)
    assert await store.publish(sample(0, user=GUEST).session, GUEST)


async def test_the_later_of_two_words_holds(store: ResultStore) -> None:
    """What another store was told is taken over, but not where this one was told more."""
    sessions = [sample(i, user=USER).session for i in range(3)]
    await store.publish(sessions[0], USER)
    await store.unpublish(sessions[0])  # the second word
    await store.publish(sessions[1], USER)
    said = [Visibility(sessions[0], USER, True, 1), Visibility(sessions[1], USER, False, 4)]
    for _ in range(2):
        await store.take_words([*said, Visibility(sessions[2], USER, True, 3)])
        assert list(await store.public_of(USER)) == [sessions[2]]
    await store.take_words([])


async def test_of_many_words_at_once_one_is_the_last(store: ResultStore) -> None:
    session = sample(0, user=USER).session
    await asyncio.gather(*(store.publish(session, USER) if i % 2 else store.unpublish(session) for i in range(20)))
    assert list(await store.public_of(USER)) == ([session] if await store.is_public(session) else [])
    assert await store.publish(session, USER)
    assert await store.is_public(session)


@pytest.mark.parametrize("user", [8, -7, 0, 2**53])
async def test_nobody_makes_public_what_cannot_be_theirs(store: ResultStore, user: int) -> None:
    """It would be looked for elsewhere."""
    mine: Result = sample(0, user=USER, created_ms=T0_MS)
    with pytest.raises(ValueError, match="is not of user"):
        await store.publish(mine.session, user)
    with pytest.raises(ValueError, match="is not of user"):
        await store.take_words([Visibility(mine.session, user, True, 1)])
    assert not await store.is_public(mine.session)
