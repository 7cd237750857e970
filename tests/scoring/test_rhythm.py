"""The numbers that plausibility rests on: L-moments, ranks, places, order."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import inf, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.rhythm import Places, fastest_ms, l_moments, mid_ranks, order, same_share

VALUES = st.lists(st.integers(0, 5000), min_size=3, max_size=30)


def l_moments_by_definition(values: Sequence[float]) -> tuple[float, float, float]:
    """Hosking's definition: expectations over all subsets of one, two and three values."""

    def mean(numbers: list[float]) -> float:
        return sum(numbers) / len(numbers)

    first = mean(list(values))
    second = mean([(b - a) / 2 for a, b in combinations(sorted(values), 2)])
    third = mean([(c - 2 * b + a) / 3 for a, b, c in combinations(sorted(values), 3)])
    return first, second / first if second else 0.0, third / second if second else 0.0


@given(VALUES)
def test_l_moments_are_those_of_the_definition(values: list[int]) -> None:
    assert l_moments(sorted(values))[:3] == pytest.approx(l_moments_by_definition(values), abs=1e-9)


@given(VALUES, st.integers(0, 10))
def test_capped_values_count_as_the_greatest_of_the_others(values: list[int], capped: int) -> None:
    rising = sorted(values)
    capped = min(capped, len(rising) - 1)
    cap = rising[len(rising) - 1 - capped]
    expected = l_moments([min(value, cap) for value in rising])[2]
    assert l_moments(rising, capped) == pytest.approx((*l_moments(rising)[:3], expected), abs=1e-9)


def test_l_moments_of_known_laws() -> None:
    """An exponential law: L-variation 1/2, L-skewness 1/3; a uniform one from 0: 1/3 and 0."""
    n = 4000
    _, variation, skew, _ = l_moments([(i + 0.5) / n for i in range(n)])
    assert (variation, skew) == pytest.approx((1 / 3, 0), abs=0.01)
    chance = Random(1)
    _, variation, skew, _ = l_moments(sorted(chance.expovariate(1) for _ in range(20_000)))
    assert (variation, skew) == pytest.approx((1 / 2, 1 / 3), abs=0.02)


@given(VALUES)
def test_mid_ranks_count_the_less_and_the_more(values: list[int]) -> None:
    ranks = mid_ranks(values, sorted(values))
    assert ranks == [sum(o < v for o in values) - sum(o > v for o in values) for v in values]
    assert sum(ranks) == 0


@given(VALUES, st.integers(0, 100))
def test_the_same_share_is_that_of_the_fullest_window(values: list[int], within: int) -> None:
    fullest = max(sum(low <= value <= low + within for value in values) for low in values)
    assert same_share(sorted(values), within) == fullest / len(values)


@given(VALUES, st.integers(1, 12))
def test_the_fastest_so_many_gaps(values: list[int], count: int) -> None:
    sums = [sum(values[at : at + count]) for at in range(len(values) - count + 1)]
    assert fastest_ms(values, count) == (min(sums) if sums else inf)


def places_of(keys: str | Sequence[str]) -> Places:
    return Places.of(list(range(len(keys))), keys, 1, len(keys))


def test_each_gap_has_its_kind_of_place() -> None:
    places = places_of("He saw\b 2, ßall 한글.")
    assert places.kinds == "lswllcawpswlldswlp"
    before = [chr(pair & 0xFFFF) for pair in places.pairs]
    assert [chr(pair >> 16) for pair in places.pairs] == list(places.after)
    assert list(zip(before, places.after, places.kinds, strict=True))[:8] == [
        ("H", "e", "l"),
        ("e", " ", "s"),
        (" ", "s", "w"),
        ("s", "a", "l"),
        ("a", "w", "l"),
        ("w", "\b", "c"),
        ("\b", " ", "a"),
        (" ", "2", "w"),
    ]


def test_held_keys_leave_no_gaps_behind() -> None:
    """A second letter is the hand's, a third the keyboard's; so is a delete after a delete."""
    places = places_of("aallllb\b\b\b\x17\x17c")
    assert places.numbers == places.gaps == [1, 2, 3, 6, 7, 10, 12]
    assert places.after == "allb\b\x17c"
    assert places.kinds == "dldlcca"


def test_where_hardly_anything_else_is_left_held_letters_stay() -> None:
    """Deletes never do: a delete key held down is an everyday thing."""
    assert places_of("aaaaab").numbers == [1, 2, 3, 4, 5]
    assert places_of("aaaabbc").numbers == [1, 4, 5, 6]
    assert places_of("a" + "\b" * 9).numbers == [1]
    assert places_of("a" * 6 + "\b" * 5).numbers == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("key", "kind"), [("b", "l"), ("B", "u"), ("한", "l"), ("ß", "l"), ("7", "p"), ("👩‍👩‍👧", "p"), (",", "p")]
)
def test_kinds_of_keys(key: str, kind: str) -> None:
    assert places_of(["a", key]).kinds == kind
    assert places_of(["a", key, "क्षि"]).kinds[0] == kind


def test_a_part_of_a_log_has_its_own_places() -> None:
    places = Places.of([0, 10, 20, 30, 40], "abcde", 3, 5)
    assert (list(places.numbers), places.gaps, places.after) == ([3, 4], [30, 40], "de")
    assert [(chr(pair & 0xFFFF), chr(pair >> 16)) for pair in places.pairs] == [("c", "d"), ("d", "e")]


KEYS = st.lists(
    st.sampled_from(["a", "A", " ", "\b", "\x17", "한", "7", "क्षि", "e\u0301", "👩\u200d👩\u200d👧"]),
    min_size=2,
    max_size=40,
)


@given(KEYS)
def test_equal_pairs_and_keys_have_equal_names_in_any_script(keys: list[str]) -> None:
    places = places_of(keys)
    real = [(keys[number - 1], keys[number]) for number in places.numbers]
    for names, meant in ((places.pairs, real), (places.after, [pair[1] for pair in real])):
        assert len(set(zip(names, meant, strict=True))) == len(set(names)) == len(set(meant))


@given(KEYS)
def test_a_log_of_clusters_has_the_kinds_that_its_pairs_have_alone(keys: list[str]) -> None:
    places = places_of(keys)
    alone = [places_of([keys[number - 1], keys[number]]).kinds for number in places.numbers]
    assert "".join(alone) == places.kinds


def test_however_many_pairs_are_tried_kinds_stay_right() -> None:
    """What was met before is remembered, within a limit."""
    for code in range(0x4E00, 0x4E00 + 9000, 500):
        keys = "".join(map(chr, range(code, code + 500)))
        assert places_of(keys).kinds == "l" * 499
    assert places_of("a b").kinds == "sw"


def order_of(gaps: Sequence[float], keys: str) -> float:
    places = Places.of(gaps, keys, 1, len(keys))
    return order(mid_ranks(places.gaps, sorted(places.gaps)), places.pairs, places.kinds)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abc"), st.sampled_from("lws")), min_size=3, max_size=40)
)
def test_order_is_the_correlation_with_the_forecasts_of_its_definition(values: list[tuple[int, str, str]]) -> None:
    gaps, groups, kinds = (list(column) for column in zip(*values, strict=True))
    ranks = mid_ranks(gaps, sorted(gaps))
    n = len(ranks)
    forecasts = []
    for at in range(n):
        group = [ranks[o] for o in range(n) if o != at and groups[o] == groups[at]]
        kind = [ranks[o] for o in range(n) if o != at and kinds[o] == kinds[at]]
        near = [ranks[o] for o in range(max(0, at - 6), min(n, at + 7)) if o != at]
        forecasts.append(sum(group) / (len(group) + 1) + 2 * sum(kind) / (len(kind) + 2) + sum(near) / 16)
    length = sqrt(sum(f * f for f in forecasts) * sum(rank * rank for rank in ranks))
    expected = sum(f * rank for f, rank in zip(forecasts, ranks, strict=True)) / length if length else 0.0
    assert order(ranks, groups, "".join(kinds)) == pytest.approx(expected, abs=1e-6)


TEXT = ("the people who live here often say that they would like to see more of the sea and less of the rain " * 4)[
    :300
]


def test_gaps_drawn_one_by_one_have_no_order_whatever_the_law() -> None:
    """Of laws as different as these the order comes out alike, because only ranks count."""
    chance = Random(7)
    laws: list[Callable[[], float]] = [
        lambda: chance.gauss(150, 30),
        lambda: chance.lognormvariate(5, 0.6),
        lambda: chance.expovariate(0.01),
    ]
    for law in laws:
        orders = sorted(order_of([law() for _ in TEXT], TEXT) for _ in range(100))
        assert abs(orders[50]) < 0.08
        assert orders[95] < 1.9 / sqrt(300) * 1.2


def test_gaps_that_hang_on_their_keys_have_order() -> None:
    chance = Random(8)
    habit: dict[str, float] = {}
    gaps = [
        habit.setdefault(pair, chance.gauss(150, 30)) + chance.gauss(0, 30)
        for pair in map("".join, zip("t" + TEXT, TEXT, strict=False))
    ]
    assert order_of(gaps, TEXT) > 0.3


def test_words_that_begin_late_have_order() -> None:
    chance = Random(9)
    gaps = [chance.gauss(150, 30) + 60 * (last == " ") for last in " " + TEXT[:-1]]
    assert order_of(gaps, TEXT) > 0.3


def test_a_wandering_pace_has_order() -> None:
    chance = Random(10)
    gaps = [chance.gauss(150, 30) + 60 * (at // 40 % 2) for at in range(len(TEXT))]
    assert order_of(gaps, TEXT) > 0.3


def test_equal_gaps_have_no_order() -> None:
    assert order_of([120] * len(TEXT), TEXT) == 0.0
