"""A whole log analysed: what stands in each word, key by key, holds, error rates."""

import pytest
from hypothesis import given, settings

from scoring.analysis import KeyFigures, Spread, analyse, hold_spans, overlap_ms
from scoring.scorer import Scorer
from scoring.text import prepare
from tests.scoring.batch import Test
from tests.scoring.logs import Case, cases


def log(keys: str, gap_ms: int = 100) -> list[object]:
    return [part for key in keys for part in (gap_ms, key)]


def inputs(text: str, keys: str, **options: bool) -> list[str]:
    words = () if options.get("zen") else prepare(text, timed=options.get("cyclic", False)).words
    return ["".join(word) for word in analyse(words, log(keys), **options).inputs]  # type: ignore[arg-type]  # flags


@pytest.mark.parametrize(
    ("text", "keys", "stands"),
    [
        ("ab cd", "ab c", ["ab ", "c"]),
        ("ab cd", "ab ", ["ab "]),
        ("ab cd", "ax c\b\bb", ["axb"]),
        ("ab cd", "ax cx\x17\x17a", ["a"]),
        ("ab cd", "ax cx ", ["ax ", "cx"]),
        ("東京 で", "京京 で", ["京", "京 ", "で"]),
        ("東京 で", "京京\b\b東", ["東"]),
    ],
)
def test_inputs_are_what_stands_in_each_word(text: str, keys: str, stands: list[str]) -> None:
    assert inputs(text, keys) == stands


def test_inputs_in_zen_and_in_a_text_that_repeats() -> None:
    assert inputs("", "ab cx\by ", zen=True) == ["ab ", "cy "]
    assert inputs("a b", "a b a ", cyclic=True) == ["a ", "b ", "a "]


@given(cases())
@settings(max_examples=200, deadline=None)
def test_inputs_are_those_of_the_whole_log_played_naively(case: Case) -> None:
    exact = case.options.pop("exact_duration")
    state = Test(case.words, **case.options).play(case.events)[-1]
    analysis = analyse(case.words, case.events, **case.options)
    expected = [tuple(word) for word in state.inputs]
    if not expected[-1]:
        expected.pop()
    assert list(analysis.inputs) == expected
    summary = Scorer(case.words, exact_duration=exact, **case.options)
    summary.feed(case.events)
    assert sum(key.inserts for key in analysis.keys.values()) == summary.inserts
    assert sum(key.wrong for key in analysis.keys.values()) == summary.wrong


def test_figures_by_the_key_that_was_due() -> None:
    found = analyse(("ab ", "ba"), log("axb\b\bb ab"))
    assert found.keys == {
        "a": KeyFigures(2, 1, Spread(0, 0, 0)),
        "b": KeyFigures(3, 2, Spread(1, 300, 0)),
        " ": KeyFigures(2, 1, Spread(1, 100, 0)),
    }


def test_an_ignored_key_is_a_press_of_no_key_that_was_due() -> None:
    found = analyse(("ab ", "c"), log("a  b"))
    assert found.spacing.n == 3
    assert {due: figures.inserts for due, figures in found.keys.items()} == {"a": 1, "b": 1, "c": 1}


def test_a_mark_counts_for_the_cluster_that_it_goes_on_with() -> None:
    found = analyse((("क्ष",),), log("क्ष"))
    assert found.keys == {"क्ष": KeyFigures(3, 0, Spread(2, 100, 0))}


def test_holds_of_presses_alone_a_repeated_key_ends_its_own() -> None:
    found = analyse(("aab",), log("a\bab"), {0: 150, 1: 1000, 2: 250, 3: 30})
    assert found.duration == Spread.of([150, 250, 30])
    assert found.duration.mean == pytest.approx(430 / 3)
    assert found.overlap_ms == 30
    assert hold_spans([(0, "a", 150), (100, "a", 40), (200, "a", 1)]) == [(0, 100), (100, 140), (200, 201)]
    assert overlap_ms([(0, 100), (50, 80), (60, 200)]) == 50
    assert overlap_ms([]) == 0


def test_the_last_key_to_the_end() -> None:
    events = log("abc")
    assert analyse(("abcd ",), events, limit_ms=1000).last_key_to_end_ms == 800
    assert analyse(("abcd",), events).last_key_to_end_ms == 0
    assert analyse(("abcd",), events, stop_ms=250.5).last_key_to_end_ms == 50.5
    assert analyse((), events, zen=True, stop_ms=5000).last_key_to_end_ms == 0
    assert analyse(("abcd",), [], stop_ms=5000).last_key_to_end_ms == 0


def test_events_after_the_end_count_nowhere() -> None:
    assert analyse(("ab",), log("abcccc")) == analyse(("ab",), log("ab"))
    late = analyse(("abc ",), [0, "a", 400, "b", 600, "c"], {2: 90}, limit_ms=1000)
    assert late.spacing == Spread(1, 400, 0)
    assert late.duration.n == 0


def test_error_rates_compare_the_words_as_far_as_they_were_typed() -> None:
    """One character fixed, one left: C = 5, INF = 1, IF = 1, eight keys."""
    rates = analyse(("abc ", "def ", "ghi "), log("axx\bc de"), limit_ms=60_000).rates
    assert rates.msd == pytest.approx(1 / 6)
    assert rates.kspc == pytest.approx(8 / 6)
    assert rates.total == pytest.approx(2 / 7)
    assert rates.corrected == pytest.approx(1 / 7)


def test_an_untyped_rest_of_the_last_word_is_an_error_once_the_test_is_done() -> None:
    assert analyse(("abc ", "def"), log("abc d ")).rates.not_corrected == pytest.approx(2 / 7)
    assert analyse(("abc ", "def"), log("abc d")).rates.not_corrected == 0
    assert analyse(("abc ", "def"), log("ab ")).rates.not_corrected == pytest.approx(1 / 4)


def test_zen_has_no_errors_left() -> None:
    assert analyse((), log("ab c\bd"), zen=True).rates.not_corrected == 0
