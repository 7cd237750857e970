"""A crowd's people type as the typist model's do, whatever the shortcut."""

from random import Random
from statistics import mean

import pytest

from loadtest.crowd import Crowd
from loadtest.typist import CORRECTIONS, ERRORS_LEFT, TAKEN_BACK
from scoring.scorer import Scorer

WORDS = tuple(f"{word} " for word in Random(1).choices(["the", "quick", "brown", "foxes", "jumping", "over"], k=200))


def test_corrections_and_errors_are_the_models() -> None:
    crowd, chance = Crowd(1, 50), Random(2)
    characters = deletes = wrong = 0
    target = "".join(WORDS).strip()
    for number in range(50):
        typed = crowd.person(number).type((*WORDS[:-1], WORDS[-1].strip()), chance=chance)
        standing: list[str] = []
        for key in typed.keys:
            if key == "\b":
                deletes += 1
                standing.pop()
            else:
                standing.append(key)
        assert len(standing) - len(target) in (0, 1)  # a space, where the last word stands wrong
        wrong += sum(one != other for one, other in zip(standing, target, strict=False))
        characters += len(target)
    assert deletes / characters == pytest.approx(CORRECTIONS * TAKEN_BACK, rel=0.15)
    assert wrong / characters == pytest.approx(ERRORS_LEFT, rel=0.15)


def test_speeds_and_holds_are_the_persons() -> None:
    crowd, chance = Crowd(1, 30), Random(2)
    ratios = []
    for number in range(30):
        person = crowd.person(number)
        typed = person.type(WORDS, chance=chance, limit_ms=60_000)
        assert typed.duration_ms < 60_000
        assert len(typed.gaps) == len(typed.keys) == len(typed.holds)
        minutes = typed.duration_ms / 60_000
        ratios.append(len(typed) / 1.173 / 5 / minutes / person.typist.wpm)
    assert mean(ratios) == pytest.approx(1.0, rel=0.08)


@pytest.mark.parametrize("limit_ms", [None, 15_000])
def test_a_test_comes_to_its_end(limit_ms: int | None) -> None:
    """Without a clock with the last word; with one, all events lie before the limit."""
    crowd, chance = Crowd(4, 60), Random(5)
    for number in range(60):
        words = ("ab ", "c ", ("e\u0301", "x", " "), "a ", "word")
        typed = crowd.person(number).type(words, chance=chance, limit_ms=limit_ms)
        scorer = Scorer(words, limit_ms=limit_ms, cyclic=limit_ms is not None)
        scorer.feed(typed.events())
        assert scorer.ended == (limit_ms is None)
        assert scorer.scored == len(typed)


def test_equal_seeds_type_equal_keys() -> None:
    def play() -> list[list[int | str]]:
        crowd, chance = Crowd(9, 5), Random(9)
        return [crowd.person(number).type(WORDS, chance=chance).events() for number in range(5)]

    assert play() == play()
