"""The typist model against the figures of the study that it stands for."""

from collections.abc import Sequence
from itertools import pairwise
from math import log
from random import Random
from statistics import fmean, pstdev
from tracemalloc import get_traced_memory, start, stop

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.typist import Typed, Typist
from scoring.scorer import Scorer
from scoring.text import Word, prepare

TEXT = (
    "There was a time when every letter took a week to arrive, and people wrote them slowly. A page might wait on the "
    "table for days before the last line was put down. Nobody minded; the answer would not come before the spring."
)
PASSAGE = prepare(TEXT, timed=False)
PEOPLE = 1500


@pytest.fixture(scope="module")
def crowd() -> list[tuple[Typist, Typed]]:
    typists = [Typist(seed) for seed in range(PEOPLE)]
    return [(typist, typist.type(PASSAGE.words)) for typist in typists]


def standing(keys: Sequence[str]) -> str:
    """What stands there in the end, by a plain reading of the keys."""
    text: list[str] = []
    for key in keys:
        if key == "\b":
            text.pop()
        else:
            text.append(key)
    return "".join(text)


def test_speed_across_people_is_lognormal_as_in_the_study() -> None:
    speeds = [log(Typist(seed).wpm) for seed in range(20_000)]
    assert fmean(speeds) == pytest.approx(3.871, abs=0.01)
    assert pstdev(speeds) == pytest.approx(0.378, abs=0.01)
    skew = fmean((speed - 3.871) ** 3 for speed in speeds) / 0.378**3
    assert abs(skew) < 0.1


def test_each_person_types_at_their_own_speed(crowd: list[tuple[Typist, Typed]]) -> None:
    """Errors and their correction included; one test of 200 characters wanders by some 5 %."""
    ratios = [len(TEXT) / 5 / (typed.duration_ms / 60_000) / typist.wpm for typist, typed in crowd]
    assert fmean(ratios) == pytest.approx(1, abs=0.02)
    assert pstdev(ratios) < 0.1


def test_keystrokes_a_character(crowd: list[tuple[Typist, Typed]]) -> None:
    assert fmean(len(typed) for _, typed in crowd) / len(TEXT) == pytest.approx(1.173, abs=0.004)


def test_corrections_a_character(crowd: list[tuple[Typist, Typed]]) -> None:
    """A correction is a run of deletes."""
    runs = [sum(key == "\b" != last for last, key in pairwise(typed.keys)) for _, typed in crowd]
    assert fmean(runs) / len(TEXT) == pytest.approx(0.063, abs=0.002)


def test_errors_left(crowd: list[tuple[Typist, Typed]]) -> None:
    wrong = [sum(a != b for a, b in zip(standing(typed.keys), TEXT, strict=False)) for _, typed in crowd]
    assert fmean(wrong) / len(TEXT) == pytest.approx(0.012, abs=0.001)


def test_gaps_are_lognormal_within_a_person() -> None:
    """Habits and all: the width is this person's, and the law has little skew and no long tails."""
    widths, skews, tails = [], [], []
    for seed in range(60):
        typist = Typist(seed)
        gaps = [log(max(1, gap)) for test in range(5) for gap in typist.type(PASSAGE.words, test=test).gaps[1:]]
        mu, sigma = fmean(gaps), pstdev(gaps)
        widths.append(sigma / typist.gap_sigma)
        skews.append(fmean((gap - mu) ** 3 for gap in gaps) / sigma**3)
        tails.append(fmean((gap - mu) ** 4 for gap in gaps) / sigma**4 - 3)
    assert fmean(widths) == pytest.approx(1, abs=0.02)
    assert abs(fmean(skews)) < 0.2
    assert abs(fmean(tails)) < 0.15


def test_habits_change_no_mean_whatever_the_text() -> None:
    """A text of quick places and one of slow places are typed at the person's speed all the same."""
    for words in (("eee ", "ee ") * 60, ("1.", "2, ", "3; ") * 60, ("한", "글") * 100):
        ratios = []
        for seed in range(150):
            typed = Typist(seed).type(words)
            ratios.append(typed.duration_ms / (len(typed) - 1) / Typist(seed).mean_gap_ms)
        assert fmean(ratios) == pytest.approx(1, abs=0.025)


def test_holds_are_those_of_the_study(crowd: list[tuple[Typist, Typed]]) -> None:
    means = [fmean(typed.holds) for _, typed in crowd]
    assert fmean(means) == pytest.approx(116, abs=3)
    assert pstdev(means) == pytest.approx(24, abs=3)


def test_the_scorer_agrees_on_what_was_typed(crowd: list[tuple[Typist, Typed]]) -> None:
    """Every test ends with its last event, and what stands there is what a plain reading of the keys says."""
    for _, typed in crowd[:200]:
        ended = []
        scorer = Scorer(PASSAGE.words)
        for at in (0, len(typed) - 1):
            scorer.feed(typed.events(at, len(typed) - 1 if at == 0 else None))
            ended.append(scorer.ended)
        assert ended == [False, True]
        text = standing(typed.keys)
        wrong = sum(a != b for a, b in zip(text, TEXT, strict=False))
        chars = scorer.summary().chars
        assert (chars.incorrect, chars.missed) == (wrong, 0)
        assert len(text) == len(TEXT) + (text[-1] == " ")


def test_the_same_seed_types_the_same_and_each_test_differs() -> None:
    one, same, other = Typist(77), Typist(77), Typist(78)
    assert one.type(PASSAGE.words, test=3) == same.type(PASSAGE.words, test=3)
    assert one.type(PASSAGE.words, test=3) != one.type(PASSAGE.words, test=4)
    assert one.type(PASSAGE.words) != other.type(PASSAGE.words)


def test_the_first_seeds_never_change() -> None:
    """Load runs of different versions, and of different machines, are compared by seed."""
    assert [round(Typist(seed).wpm, 3) for seed in range(3)] == GOLDEN_WPM
    assert Typist(1).type(("ab ", "cd"), test=1).events() == GOLDEN_EVENTS


GOLDEN_WPM = [39.087, 50.974, 65.557]
GOLDEN_EVENTS = [1116, "c", 392, "\b", 161, "a", 132, "b", 153, " ", 250, "c", 111, "d"]


@pytest.mark.parametrize("limit_ms", [1, 15_000, 60_000.5])
def test_with_a_limit_the_text_repeats_and_all_lies_before_it(limit_ms: float) -> None:
    words = prepare("to and fro", timed=True).words
    for seed in range(20):
        typed = Typist(seed).type(words, limit_ms=limit_ms)
        assert 0 <= typed.duration_ms < limit_ms
        text = standing(typed.keys)
        assert len(text) > len("to and fro ") or limit_ms < 15_000


WORDS: list[Sequence[Word]] = [
    ("a",),
    ("  ",),
    ("x ", "x ", "x"),
    ("한", "글"),
    (("क्षि", "त", " "), ("👩‍👩‍👧",)),
    prepare("แม่น้ำสายนี้ไหลลงสู่ทะเล", timed=False).words,
    prepare("春が来ると、花が咲く。", timed=False).words,
]


@pytest.mark.parametrize("words", WORDS)
def test_any_script_is_typed_to_its_end(words: Sequence[Word]) -> None:
    """Every key is one cluster of the text, a wrong one, a space or a delete; deletes never outnumber the rest."""
    for seed in range(100):
        typed = Typist(seed).type(words)
        assert len(typed.gaps) == len(typed.keys) == len(typed.holds) >= sum(map(len, words))
        standing(typed.keys)
        scorer = Scorer(tuple(words))
        scorer.feed(typed.events())
        if words != ("  ",):  # the scorer ignores spaces on an empty word
            assert scorer.ended


def test_nothing_to_type_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to type"):
        Typist(1).type(())


@given(st.integers(0, 300), st.integers(0, 300))
def test_slices_join_to_the_whole(a: int, b: int) -> None:
    typed = Typist(3).type(PASSAGE.words)
    first, second = sorted((a, b))
    assert typed.events(0, first) + typed.events(first, second) + typed.events(second) == typed.events()
    assert typed.held(0, first) + typed.held(first, second) + typed.held(second) == typed.held()
    assert typed.held()[1::2] == list(typed.holds)
    assert typed.held()[::2] == list(range(len(typed)))


def test_twenty_thousand_typists_in_a_test_fit_into_one_process() -> None:
    """Under 4 KB each with a minute's log; so 20,000 are under 80 MB."""
    words = prepare(" ".join(Random(1).sample(TEXT.split(), 30)), timed=True).words
    start()
    try:
        crowd = [(typist := Typist(seed), typist.type(words, limit_ms=60_000)) for seed in range(100)]
        size, _ = get_traced_memory()
    finally:
        stop()
    assert len(crowd) == 100
    assert size / 100 < 4096
