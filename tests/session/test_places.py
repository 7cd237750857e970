"""Places: by time, by speed on the clock, shared in a tie, none for void, nothing won by skipping."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.places import counts, placed
from session.race import Race, Racer
from session.race_options import RaceRules
from session.state import Phase, RacerState
from tests.session.races import GHOST, QUOTE, RULES, TIMED, a_race


def settled(test: object, *results: tuple[float, float, str], ghosts: bool = False) -> Race:
    """A race over, with these (ms, wpm, verdict)."""
    race = a_race(test, most=9, ghosts=(GHOST,) if ghosts else ())  # type: ignore[arg-type]  # options of a test
    racers = [
        Racer(lane, lane + 1, f"U{lane}", state=RacerState.FINISHED, ms=ms, wpm=wpm, verdict=verdict)
        for lane, (ms, wpm, verdict) in enumerate(results)
    ]
    return replace(race.with_racers(racers), phase=Phase.SETTLED)


def places(race: Race, rules: RaceRules = RULES) -> list[int | None]:
    return [racer.place for racer in placed(race, rules)]


def test_who_needs_less_time_is_before_who_needs_more() -> None:
    assert places(settled(QUOTE, (30_000, 100, "ok"), (20_000, 150, "review"), (25_000, 120, "ok"))) == [3, 1, 2]


def test_within_ten_milliseconds_of_the_first_of_a_place_it_is_shared() -> None:
    """Not of the one before: else a row of ties would reach any distance."""
    race = settled(QUOTE, *((20_000 + step, 150, "ok") for step in (0, 10, 11, 20, 21.5)))
    assert places(race) == [1, 1, 3, 3, 5]


def test_on_the_clock_speed_decides_and_only_equal_ones_share() -> None:
    race = settled(TIMED, (30_000, 80.0, "ok"), (30_000, 90.0, "ok"), (30_000, 80.0, "ok"), (30_000, 79.99, "ok"))
    assert places(race) == [2, 1, 2, 4]


def test_void_has_no_place_and_takes_none() -> None:
    assert places(settled(QUOTE, (10_000, 300, "void"), (20_000, 150, "ok"))) == [None, 1]


def test_who_got_too_little_right_comes_after_who_got_it_right() -> None:
    """With 250 characters, 20 wpm over 5 s are 8 of them."""
    results = (5_000, 20, "ok"), (90_000, 33.33, "ok"), (4_000, 0, "ok"), (30_000, 75.0, "ok"), (30_000, 70.0, "ok")
    race = settled(QUOTE, *results)
    assert places(race) == [4, 2, 5, 1, 3]
    assert [counts(race, racer, RULES) for racer in race.racers] == [False, True, False, True, False]
    assert places(race, replace(RULES, least_right=0.0)) == [4, 3, 5, 1, 2]


def test_words_left_wrong_win_nothing() -> None:
    """A text of 250: 200 of it right in 20 s are as much as all of it in 25; more than all is not to be had."""
    race = settled(QUOTE, (20_000, 120.0, "ok"), (24_000, 125.0, "ok"), (25_000, 120.0, "ok"), (26_000, 200.0, "ok"))
    assert places(race) == [2, 1, 2, 4]


@given(
    word=st.integers(2, 40),
    gap_ms=st.integers(40, 400),
)
def test_who_skips_a_word_is_behind_who_types_as_fast(word: int, gap_ms: int) -> None:
    """A key and a space instead of the word."""
    keys = 250 - word + 1
    skipped_ms, whole_ms = keys * gap_ms, 250 * gap_ms
    skipped = (skipped_ms, round((250 - word - 1) * 12_000 / skipped_ms, 2), "ok")
    race = settled(QUOTE, skipped, (whole_ms, round(250 * 12_000 / whole_ms, 2), "ok"))
    assert places(race) == [2, 1]


def test_who_did_not_finish_has_no_place() -> None:
    race = settled(QUOTE, (20_000, 150, "ok"))
    race = race.with_racers([Racer(1, 5, "D", state=RacerState.DNF), Racer(2, 6, "R", state=RacerState.RACING)])
    assert places(race) == [1, None, None]
    assert not any(counts(race, racer, RULES) for racer in race.racers[1:])


@pytest.mark.parametrize(("phase", "ghosts"), [(Phase.CLOSING, None), (Phase.SETTLED, 1)])
def test_a_ghost_has_its_place_among_them_and_shows_it_in_the_end(phase: Phase, ghosts: int | None) -> None:
    race = replace(settled(QUOTE, (26_000, 115, "ok"), (24_900, 121, "ok"), ghosts=True), phase=phase)
    assert places(race) == [3, 1, 2] if ghosts else [3, 1, None]
    assert placed(race, RULES)[-1].lane == 9


def test_places_that_stand_are_left_alone() -> None:
    race = settled(QUOTE, (30_000, 100, "ok"), (20_000, 150, "ok"))
    race = replace(race, racers=placed(race, RULES))
    assert all(after is before for after, before in zip(placed(race, RULES), race.racers, strict=True))
