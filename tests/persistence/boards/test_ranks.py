"""One board in memory against the plainest way to do the same: a dictionary, sorted."""

from hypothesis import given
from hypothesis import strategies as st

from persistence.boards.entries import Entry
from persistence.boards.ranks import Ranks

USERS = st.integers(1, 6)


def entry(user: int, speed: int, session: int) -> Entry:
    return -speed, bytes([session]) * 16 + user.to_bytes(8, "big") + b"\0\0"


ENTRIES = st.builds(entry, USERS, st.integers(1, 4), st.integers(1, 4))


@given(st.lists(ENTRIES, max_size=20), st.integers(1, 6))
def test_the_best_of_each_user_in_order_and_no_more_than_the_top(entries: list[Entry], top: int) -> None:
    ranks = Ranks(top)
    for one in entries:
        user = int.from_bytes(one[1][16:24], "big")
        ranks.submit(user, one, b"?" * 16)
    best: dict[bytes, Entry] = {}
    for one in entries:
        user_bytes = one[1][16:24]
        best[user_bytes] = min(one, best.get(user_bytes, one))
    expected = sorted(best.values())[:top]
    assert ranks.slice(0, 100) == expected
    assert len(ranks) == len(expected)
    for at, one in enumerate(expected):
        user = int.from_bytes(one[1][16:24], "big")
        assert (ranks.rank(user), ranks.entry(user)) == (at, one)
    assert (ranks.floor is not None) == (len(best) > top)


def test_a_session_that_is_out_gives_its_place_to_what_is_left() -> None:
    ranks = Ranks(3)
    first, second = entry(1, 90, 1), entry(1, 80, 2)
    ranks.submit(1, first, first[1][:16])
    assert not ranks.submit(1, second, b"\x09" * 16), "worse, and not because another is out"
    assert ranks.entry(1) == first
    assert not ranks.submit(1, second, first[1][:16])
    assert ranks.entry(1) == second
    assert not ranks.submit(1, None, second[1][:16])
    assert len(ranks) == 0


def test_a_full_board_that_loses_one_has_a_hole() -> None:
    """Of who is below its floor it knows nothing."""
    ranks = Ranks(2)
    tests = [entry(user, 90 - user, user) for user in (1, 2, 3)]
    for user, one in enumerate(tests, 1):
        ranks.submit(user, one, one[1][:16])
    assert ranks.floor == tests[1]
    assert not ranks.submit(3, tests[2], tests[2][1][:16])
    assert ranks.submit(1, None, tests[0][1][:16])
    assert ranks.slice(0, 9) == [tests[1]]
    assert ranks.submit(2, entry(2, 10, 9), tests[1][1][:16]), "what is left to the user is below the floor"
    assert len(ranks) == 0


def test_filled_up_to_a_floor_nothing_is_below_it() -> None:
    ranks = Ranks(3)
    filled = [entry(user, 90 - user, user) for user in (1, 2)]
    below = entry(5, 10, 5)
    ranks.submit(5, below, below[1][:16])
    ranks.fill(filled)
    ranks.filled(filled[-1])
    assert ranks.slice(0, 9) == filled
    assert ranks.rank(5) is None
    assert not ranks.submit(5, below, below[1][:16])
    assert ranks.rank(5) is None


def test_who_comes_twice_while_it_is_filled_has_the_better_one() -> None:
    ranks = Ranks(3)
    ranks.fill([entry(1, 90, 1), entry(2, 80, 1), entry(1, 70, 2)])
    ranks.fill([entry(2, 85, 3)])
    ranks.filled(None)
    assert ranks.slice(0, 9) == [entry(1, 90, 1), entry(2, 85, 3)]
    assert ranks.remove(1)
    assert not ranks.remove(1)
