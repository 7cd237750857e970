from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.results.bests import (
    DAY_MS,
    BestRules,
    Board,
    BoardError,
    Period,
    PersonalBest,
    Place,
    Span,
    board_of,
    periods_of,
    places_of,
)
from session.result import Result
from tests.persistence.samples import copy_of, ranked, sample

EN = Board("time", 15, "en")


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (ranked(wpm=80), "time-15-en"),
        (ranked(wpm=80, language="zh-Hant", punctuation=True, input="touch"), "time-15-zh-Hant"),
        (ranked(wpm=80, seconds=60), "time-60-en"),
        (ranked(wpm=80, mode="words", seconds=None, count=50), "words-50-en"),
        (ranked(wpm=80, verdict="void"), "time-15-en"),
        (ranked(wpm=80, seconds=30), None),
        (ranked(wpm=80, mode="words", seconds=None, count=15), None),
        (ranked(wpm=80, mode="text"), None),
        (ranked(wpm=80, mode="quote", seconds=None, test=1), None),
        (ranked(wpm=80, mode="zen", seconds=None), None),
        (ranked(wpm=80, user=-7), None),
        (ranked(wpm=80, unseen_ms=5_000), "time-15-en"),
        (ranked(wpm=80, unseen_ms=5_001), None),
        (ranked(wpm=80, slack_ms=3_000), "time-15-en"),
        (ranked(wpm=80, slack_ms=3_001), None),
    ],
)
def test_which_board_a_result_counts_for(result: Result, name: str | None) -> None:
    board = board_of(result, BestRules())
    assert (None if board is None else str(board)) == name


def test_of_a_long_test_a_share_may_be_unseen() -> None:
    summary = replace(sample().summary, duration_ms=60_000.0)
    result = copy_of(sample(), seconds=60, summary=summary, unseen_ms=6_000)
    assert board_of(result, BestRules()) is not None
    assert board_of(copy_of(result, unseen_ms=6_001), BestRules()) is None
    assert board_of(result, BestRules(unseen_percent=9)) is None


@pytest.mark.parametrize("wrong", [{"unseen_ms": -1}, {"unseen_percent": 101}, {"slack_ms": 3_600_001}])
def test_rules_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BestRules(**wrong)


@pytest.mark.parametrize("board", [EN, Board("time", 60, "zh-Hant"), Board("words", 50, "pt-BR")])
def test_a_board_is_read_from_its_name(board: Board) -> None:
    assert Board.named(str(board)) == board


@pytest.mark.parametrize(
    "name",
    ["", "time", "time-15", "time-30-en", "words-15-en", "time-015-en", "time-15-en'; --", "zen-15-en", "a" * 99],
)
def test_a_name_of_no_board_is_refused_and_told_what_there_is(name: str) -> None:
    with pytest.raises(BoardError, match=r"there are time-15-en, time-60-en, words-50-en"):
        Board.named(name)


@given(st.integers(0, 60_000))
def test_a_day_lies_in_its_periods_and_weeks_begin_on_monday(day: int) -> None:
    for period in periods_of(day):
        first, after = period.bounds_ms
        assert first <= day * DAY_MS < (day + 1) * DAY_MS <= after
        assert Period.of(period.span, day) == period
    week = Period.of(Span.WEEK, day)
    assert datetime.fromtimestamp(week.day * 86_400, UTC).weekday() == 0
    assert week.bounds_ms[1] - week.bounds_ms[0] == 7 * DAY_MS


def test_the_greater_speed_is_better_and_of_equal_ones_the_earlier_test() -> None:
    place = Place(7, EN, Period(Span.ALL, 0))
    early, late, fast = (PersonalBest(place, sample(i).session, wpm, 99.0) for i, wpm in ((0, 80), (1, 80), (2, 80.01)))
    assert sorted([late, fast, early], key=lambda best: best.order) == [late, early, fast]


def test_a_test_may_be_best_of_its_day_its_week_and_all_time() -> None:
    spans = [(place.period.span, place.period.day) for place in places_of(7, EN, 20_719 * DAY_MS + 5)]
    assert spans == [(Span.DAY, 20_719), (Span.WEEK, 20_717), (Span.ALL, 0)]
