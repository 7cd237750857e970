"""Habits: the same person has the same ones, people share some, and their sizes are those that were measured."""

from collections.abc import Callable
from math import log
from statistics import fmean, pvariance

import pytest

from loadtest import habits
from loadtest.crowd import Crowd
from loadtest.habits import GapHabits, HoldHabits
from loadtest.typist import pair_of

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = [one + other for one in LETTERS for other in LETTERS if one != other]
SIGMA = habits.GAP_VARIANCE**0.5


def test_a_person_keeps_their_habits_and_two_people_differ() -> None:
    one, same, other = GapHabits(5, SIGMA), GapHabits(5, SIGMA), GapHabits(6, SIGMA)
    assert [one[pair] for pair in PAIRS] == [same[pair] for pair in reversed(PAIRS)][::-1]
    assert [one[pair] for pair in PAIRS] != [other[pair] for pair in PAIRS]
    assert HoldHabits(5)["e"] == HoldHabits(5)["e"] != HoldHabits(6)["e"]


def test_pairs_differ_as_much_as_was_measured() -> None:
    """Most of it alike in all people: so much do two people's habits have in common."""
    logs = [[log(GapHabits(seed, SIGMA)[pair]) for pair in PAIRS] for seed in range(40)]
    total = habits.COMMON_VARIANCE + habits.OWN_VARIANCE
    assert fmean(pvariance(one) for one in logs) == pytest.approx(total, rel=0.15)
    mean = [fmean(pair) for pair in zip(*logs, strict=True)]
    assert pvariance(mean) == pytest.approx(habits.COMMON_VARIANCE, rel=0.2)


def test_holds_differ_by_key_and_keep_their_mean() -> None:
    factors = [HoldHabits(seed)[key] for seed in range(300) for key in LETTERS]
    assert fmean(factors) == pytest.approx(1, abs=0.03)
    assert pvariance(map(log, factors)) == pytest.approx(habits.HOLD_HABITS_VARIANCE, rel=0.2)


@pytest.mark.parametrize(
    ("before", "key", "place"),
    [
        ("a", "a", "again"),
        ("a", "\b", "erase"),
        ("\b", "\b", "erase on"),
        ("\b", "a", "after"),
        ("\b", " ", "after"),
        (" ", "a", "word"),
        (" ", "1", "word"),
        ("a", " ", "space"),
        ("a", "b", "letter"),
        ("क्षि", "त", "letter"),
        ("a", "क्षि", "letter"),
        ("a", ".", "mark"),
    ],
)
def test_places(before: str, key: str, place: str) -> None:
    """Only the place is left where the pair's own draw is taken out."""
    pair = pair_of(before, key)
    drawn = [log(GapHabits(seed, SIGMA)[pair]) for seed in range(400)]
    own = habits.OWN_VARIANCE**0.5
    common = habits.COMMON_VARIANCE**0.5 * habits._drawn(b"everybody", pair)
    assert fmean(drawn) - common == pytest.approx(habits.PLACES[place], abs=4 * own / 20)


def test_who_types_more_evenly_has_smaller_habits() -> None:
    even, uneven = GapHabits(5, SIGMA / 2), GapHabits(5, SIGMA)
    assert 2 * log(even["th"]) == pytest.approx(log(uneven["th"]))


@pytest.mark.parametrize("made", [lambda: GapHabits(1, SIGMA), lambda: HoldHabits(1)])
def test_what_was_drawn_is_kept(made: Callable[[], dict[str, float]]) -> None:
    """By person, a few hundred pairs at most: what a text has."""
    own = made()
    assert own["th"] == own["th"]
    assert list(own) == ["th"]


def test_a_crowds_person_has_the_typists_habits() -> None:
    person = Crowd(2, 1).person(0)
    habit = GapHabits(person.typist.seed, person.typist.gap_sigma)
    assert person._gap_habits["th"] == habit["th"]
