"""The formulas where the reference cases do not reach: edges, exactness, and agreement of two ways to one figure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.formulas import (
    accuracy,
    count_chars,
    error_rates,
    evenness,
    evenness_of_whole,
    kogasa,
    mean_and_sd,
    round2,
    sd_of_sums,
    speed,
    speed2,
    speeds,
    whole,
)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.001, 3600)), max_size=20))
def test_a_series_of_speeds_is_one_after_the_other(series: list[tuple[int, float]]) -> None:
    """To the digit what the two formulas give."""
    shown = speeds([chars for chars, _ in series], [seconds / 60 for _, seconds in series])
    assert shown == [whole(speed(chars, seconds)) for chars, seconds in series]


@pytest.mark.parametrize(("x", "rounded"), [(1.005, 1.01), (2.675, 2.68), (0.125, 0.13), (0, 0), (99.995, 100)])
def test_two_digits_are_rounded_half_up(x: float, rounded: float) -> None:
    assert round2(x) == rounded


@given(st.integers(0, 100_000), st.just(0.0) | st.floats(0.001, 4_000))
def test_speeds_rounded_at_once(chars: int, seconds: float) -> None:
    """The same digits as in two steps."""
    assert speed2(chars, seconds) == round2(speed(chars, seconds))


@pytest.mark.parametrize(("x", "rounded"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.4999, 2), (0, 0)])
def test_whole_numbers_are_rounded_half_up(x: float, rounded: int) -> None:
    assert whole(x) == rounded


def test_nothing_divides_by_nothing() -> None:
    assert speed(10, 0) == 0
    assert accuracy(0, 0) == 0
    assert mean_and_sd([]) == (0, 0)
    assert evenness(0, 0) == 0
    assert sd_of_sums(0, 0, 0) == 0
    rates = error_rates("", "", 0, correct=0, left=0, fixed=0)
    assert (rates.msd, rates.kspc, rates.total, rates.corrected, rates.not_corrected) == (0, 0, 0, 0, 0)


def test_speed_is_words_of_five_characters_a_minute() -> None:
    assert speed(300, 60) == 60
    assert speed(50, 15) == 40


def test_evenness_goes_from_a_hundred_to_nothing_and_never_overflows() -> None:
    assert kogasa(0) == 100
    assert kogasa(0.5) == pytest.approx(50.1042832075367)
    assert kogasa(1e308) == 0
    assert evenness(10, 0) == 100


@given(st.lists(st.integers(0, 3_600_000), max_size=50))
def test_the_deviation_of_whole_numbers_from_their_sums_is_exact(values: list[int]) -> None:
    expected = mean_and_sd(values)[1]
    assert sd_of_sums(len(values), sum(values), sum(value * value for value in values)) == pytest.approx(expected)


@given(st.lists(st.integers(0, 1000), max_size=50))
def test_the_evenness_of_whole_numbers_is_that_of_their_mean_and_deviation(values: list[int]) -> None:
    assert evenness_of_whole(values) == pytest.approx(evenness(*mean_and_sd(values)), abs=0.0101)


@given(st.integers(1, 40), st.floats(0, 1e5))
def test_the_deviation_of_equal_fractions_never_turns_negative(n: int, value: float) -> None:
    found = sd_of_sums(n, math.fsum([value] * n), math.fsum([value * value] * n))
    assert 0 <= found <= 1e-6 * value + 1e-9


@pytest.mark.parametrize(
    ("given_word", "target", "partial", "counts"),
    [
        ("ab ", "ab ", False, (3, 3, 0, 0, 0)),
        ("ab", "ab ", False, (2, 0, 0, 0, 1)),
        ("ab", "ab ", True, (2, 2, 0, 0, 0)),
        ("a ", "ab ", False, (1, 0, 1, 0, 1)),
        ("xb ", "ab ", False, (1, 0, 1, 1, 0)),
        ("abx", "ab ", True, (2, 0, 0, 1, 0)),
        ("abx ", "ab ", False, (2, 0, 1, 1, 0)),
        ("abxy", "ab ", True, (2, 0, 0, 2, 0)),
        ("ab ", "ab", False, (2, 0, 0, 1, 0)),
        ("", "ab", True, (0, 0, 0, 0, 0)),
        ("", "ab", False, (0, 0, 0, 0, 2)),
    ],
)
def test_characters_of_a_word(given_word: str, target: str, partial: bool, counts: tuple[int, ...]) -> None:
    assert count_chars(given_word, target, credit_partial=partial) == counts
    assert count_chars(list(given_word), tuple(target), credit_partial=partial) == counts


def test_error_rates_of_soukoreff_and_mackenzie() -> None:
    """One error fixed and one left, in five characters."""
    rates = error_rates("quick", "quixk", 7, correct=4, left=1, fixed=1)
    assert rates.msd == 1 / 5
    assert rates.kspc == 7 / 5
    assert (rates.total, rates.corrected, rates.not_corrected) == (2 / 6, 1 / 6, 1 / 6)


def test_a_cluster_is_one_character_of_the_edit_distance() -> None:
    rates = error_rates(["क्ष", "ण"], ["क्ष", "न"], 2, correct=1, left=1, fixed=0)
    assert rates.msd == 1 / 2
