"""What every result store promises of what accounts are called."""

import pytest

from persistence.results import MOST_NAMED, Called, ResultStore

ADA, GRACE, NOBODY = 7, 4_000_000_000, 9


async def test_accounts_are_called_what_was_said_last(store: ResultStore) -> None:
    """In any script; said again it is the same; by the empty name by none any more."""
    assert await store.names_of([ADA, GRACE]) == {}
    await store.name_users({ADA: "Ada", GRACE: "グレース 👩🏽‍💻 O'\\\"x\\"})
    for _ in range(2):
        assert await store.names_of([ADA, NOBODY, GRACE]) == {ADA: "Ada", GRACE: "グレース 👩🏽‍💻 O'\\\"x\\"}
        await store.name_users({ADA: "Ada"})
    await store.name_users({ADA: "ada", GRACE: ""})
    assert await store.names_of([ADA, NOBODY, GRACE]) == {ADA: "ada"}
    await store.name_users({})
    assert await store.names_of([]) == {}


async def test_as_many_as_a_wave_of_sign_ins_brings(store: ResultStore) -> None:
    many = {user: f"name {user}" for user in range(1, MOST_NAMED + 1)}
    await store.name_users(many)
    assert await store.names_of(list(many)) == many


async def test_the_later_of_two_names_holds(store: ResultStore) -> None:
    """What another store was told is taken over, but not where this one was told more."""
    await store.name_users({ADA: "Ada"})
    await store.name_users({ADA: "Ada L."})
    await store.name_users({GRACE: "Grace"})
    for _ in range(2):
        await store.take_names([Called(ADA, "Ada", 1), Called(GRACE, "", 3), Called(NOBODY, "None", 2)])
        assert await store.names_of([ADA, GRACE, NOBODY]) == {ADA: "Ada L.", NOBODY: "None"}
    await store.take_names([])


@pytest.mark.parametrize(
    "names",
    [{-7: "a guest"}, {0: "nobody"}, {2**53: "too great"}, {7: "x" * 81}, dict.fromkeys(range(1, MOST_NAMED + 2), "x")],
    ids=["guest", "nobody", "too-great", "too-long", "too-many"],
)
async def test_what_is_no_name_of_an_account_is_refused(store: ResultStore, names: dict[int, str]) -> None:
    with pytest.raises(ValueError, match=r"allowed|only an account"):
        await store.name_users(names)
    with pytest.raises(ValueError, match=r"allowed|only an account"):
        await store.take_names([Called(user, name, 1) for user, name in names.items()])
