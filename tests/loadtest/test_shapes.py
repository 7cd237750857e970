"""How many type when: never more than were asked for, and as the shape's name says."""

import pytest

from loadtest.shapes import SHAPES, Crowding

TOTAL_S, USERS, PER_S = 300.0, 100, 4.0


def course(name: str) -> list[Crowding]:
    return [SHAPES[name](float(at), TOTAL_S, USERS, PER_S) for at in range(int(TOTAL_S))]


@pytest.mark.parametrize("name", SHAPES)
def test_between_one_and_all_type_and_somebody_comes_in_time(name: str) -> None:
    for wanted in course(name):
        assert 1 <= wanted.users <= USERS
        assert wanted.per_s > 0
    assert max(wanted.users for wanted in course(name)) == USERS


@pytest.mark.parametrize("name", SHAPES)
def test_a_single_user_in_a_short_run_types_too(name: str) -> None:
    assert SHAPES[name](0.0, 1.0, 1, 0.1).users == 1


def test_a_ramp_never_falls_and_comes_evenly() -> None:
    users = [wanted.users for wanted in course("ramp")]
    assert users == sorted(users)
    assert users[135] == 50
    assert users[270:] == [USERS] * 30


def test_a_spike_is_the_middle_third_and_comes_at_once() -> None:
    wanted = course("spike")
    assert [one.users for one in wanted] == [20] * 100 + [100] * 100 + [20] * 100
    assert wanted[100].per_s >= USERS


def test_a_soak_is_there_after_a_tenth_and_ten_minutes_at_most() -> None:
    assert SHAPES["soak"](0.0, TOTAL_S, USERS, PER_S) == Crowding(USERS, USERS / 30)
    assert SHAPES["soak"](0.0, 86_400.0, USERS, PER_S) == Crowding(USERS, USERS / 600)
    assert SHAPES["steady"](0.0, TOTAL_S, USERS, PER_S) == Crowding(USERS, PER_S)
