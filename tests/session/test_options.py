"""What may be chosen: every fault is named, all of them at once."""

from typing import Any

import pytest

from session.options import OptionFaults, SessionLimits, TestOptions, choose

LIMITS = SessionLimits()


@pytest.mark.parametrize(
    ("chosen", "limit_ms"),
    [
        ({"mode": "words", "count": 1}, None),
        ({"mode": "words", "count": 2000, "punctuation": True, "numbers": True, "language": "zh-Hant"}, None),
        ({"mode": "time", "seconds": 600, "input": "ime"}, 600_000),
        ({"mode": "quote"}, None),
        ({"mode": "quote", "test": 4}, None),
        ({"mode": "quote", "category": "code", "difficulty": "hard", "language": "en"}, None),
        ({"mode": "text", "text": "abc"}, None),
        ({"mode": "text", "text": "abc", "seconds": 15}, 15_000),
        ({"mode": "zen", "tags": ["caret=line", "v2"], "watch": True}, None),
    ],
)
def test_good_choices(chosen: dict[str, Any], limit_ms: int | None) -> None:
    options = choose(limits=LIMITS, **chosen)
    for name, value in chosen.items():
        assert getattr(options, name) == (tuple(value) if isinstance(value, list) else value)
    assert options.limit_ms == limit_ms


def test_switches_that_say_nothing_are_off() -> None:
    """A page sends its switches always; where no words are generated they mean nothing."""
    assert choose(limits=LIMITS, mode="zen", punctuation=True, numbers=True) == TestOptions("zen")


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ({"mode": "sprint"}, "mode is 'sprint'; allowed are words, time, quote, text, zen"),
        ({"mode": "words"}, "count is missing: mode words takes 1 to 2000"),
        ({"mode": "words", "count": 0}, "count is 0; allowed is 1 to 2000"),
        ({"mode": "words", "count": 2001}, "count is 2001; allowed is 1 to 2000"),
        ({"mode": "time"}, "seconds is missing: mode time takes 1 to 600"),
        ({"mode": "time", "seconds": 601}, "seconds is 601; allowed is 1 to 600"),
        ({"mode": "text", "text": "a", "seconds": 0}, "seconds is 0; allowed is 1 to 600"),
        ({"mode": "text"}, "text is missing"),
        ({"mode": "text", "text": "ä" * 24_577}, "text is over 49152 bytes"),
        ({"mode": "text", "text": "a" * 49_153}, "text is over 49152 bytes"),
        ({"mode": "zen", "count": 5}, "count belongs to mode words, not to zen"),
        ({"mode": "quote", "seconds": 5}, "seconds belongs to mode time or text, not to quote"),
        ({"mode": "time", "seconds": 5, "text": "a"}, "text belongs to mode text"),
        ({"mode": "time", "seconds": 5, "test": 1}, "test belongs to mode quote"),
        ({"mode": "zen", "category": "code"}, "category belongs to mode quote"),
        ({"mode": "zen", "difficulty": "easy"}, "difficulty belongs to mode quote"),
        ({"mode": "text", "text": "a", "watch": True}, "nobody looks on at an own text"),
        ({"mode": "quote", "test": 1, "category": "code"}, "test names one passage"),
        ({"mode": "quote", "language": "e"}, "BCP 47"),
        ({"mode": "quote", "category": "Code!"}, "lower-case word"),
        ({"mode": "quote", "difficulty": "mild"}, "difficulty is 'mild'; allowed are easy, medium, hard"),
        ({"mode": "zen", "tags": ["a"] * 9}, "9 tags; at most 8"),
        ({"mode": "zen", "tags": ["a b"]}, "a tag is"),
        ({"mode": "zen", "input": "feet"}, "input is 'feet'; allowed are keyboard, touch, ime, assistive"),
    ],
)
def test_faults(chosen: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionFaults) as caught:
        choose(limits=LIMITS, **chosen)
    assert len(caught.value.faults) == 1
    assert fault in caught.value.faults[0]


def test_all_faults_at_once() -> None:
    with pytest.raises(OptionFaults) as caught:
        choose(limits=LIMITS, mode="words", count=0, seconds=5, language="!", input="feet", tags=[""])
    assert len(caught.value.faults) == 5


def test_a_language_that_a_ticket_cannot_hold_is_refused() -> None:
    with pytest.raises(OptionFaults):
        choose(limits=LIMITS, mode="zen", language="-".join(["abcdefgh"] * 9))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timed_seconds", 0),
        ("events", 30_001),
        ("replay_bytes", 60 * 1024 + 1),
        ("detached_ms", -1),
        ("tags", 256),
        ("words", 10_001),
    ],
)
def test_limits_that_are_none(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; allowed is 1 to"):
        SessionLimits(**{name: value})


def test_a_closing_rate_below_the_review_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="below review_keys_per_s"):
        SessionLimits(close_keys_per_s=49)
