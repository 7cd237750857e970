"""What may be chosen for a race."""

from typing import Any

import pytest

from session.messages import Error
from session.options import SessionLimits, TestOptions
from session.race_messages import RaceCreate
from session.race_options import RaceOptions, RaceRules, choose_race
from tests.session.play import session_id

LIMITS, RULES = SessionLimits(), RaceRules()


def chosen(**values: Any) -> RaceOptions | Error:
    return choose_race(RaceCreate(**values), limits=LIMITS, rules=RULES)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"mode": "quote"}, RaceOptions(TestOptions("quote"))),
        (
            {"mode": "words", "count": 25, "numbers": True, "public": True, "racers": 100},
            RaceOptions(TestOptions("words", count=25, numbers=True), public=True, most=100),
        ),
        (
            {"mode": "time", "seconds": 30, "language": "de"},
            RaceOptions(TestOptions("time", seconds=30, language="de")),
        ),
        ({"mode": "quote", "racers": 1, "ghosts": (session_id(),)}, RaceOptions(TestOptions("quote"), most=1)),
        ({"mode": "quote", "racers": 96, "ghosts": (session_id(),) * 4}, RaceOptions(TestOptions("quote"), most=96)),
    ],
)
def test_what_may_be_chosen(values: dict[str, Any], options: RaceOptions) -> None:
    assert chosen(**values) == options


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"mode": "zen"}, ["mode is 'zen'; a race has one of words, time, quote"]),
        ({"mode": "text"}, ["mode is 'text'; a race has one of words, time, quote"]),
        ({"mode": "fly"}, ["mode is 'fly'"]),
        ({"mode": "words"}, ["count is missing"]),
        ({"mode": "time", "seconds": 601, "racers": 1}, ["seconds is 601", "racers is 1; allowed is 2 to 100"]),
        ({"mode": "quote", "racers": 101}, ["racers is 101; allowed is 2 to 100"]),
        ({"mode": "quote", "racers": 97, "ghosts": (session_id(),) * 4}, ["racers is 97; allowed is 1 to 96"]),
        ({"mode": "quote", "ghosts": (session_id(),) * 5}, ["5 ghosts; at most 4 are allowed"]),
        ({"mode": "quote", "ghosts": (session_id(),), "public": True}, ["a race against ghosts is private"]),
        ({"mode": "quote", "racers": 0, "ghosts": ()}, ["racers is 0; allowed is 2 to 100"]),
    ],
)
def test_the_error_says_everything_that_is_wrong(values: dict[str, Any], faults: list[str]) -> None:
    error = chosen(**values)
    assert isinstance(error, Error)
    assert error.code == "options"
    assert all(fault in error.message for fault in faults)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"racers": 1}, "racers is 1; allowed is 2 to 100"),
        ({"racers": 50, "most_racers": 10}, "racers is 50, above most_racers"),
        ({"countdown_ms": 0}, "countdown_ms is 0; allowed is 1 to 60000"),
        ({"closing_share": -0.5}, "closing_share is -0.5"),
        ({"least_right": 1.5}, "least_right is 1.5; allowed is 0 to 1"),
        ({"slowest_wpm": 0.0}, "slowest_wpm is 0.0"),
    ],
)
def test_rules_that_no_race_could_go_by(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        RaceRules(**values)
