"""How far a racer is: the place in the text, and which rows are news."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.races.progress import Course, Progress, rows_of
from scoring.scorer import Scorer
from scoring.text import prepare

WORDS = ("to ", "be ", "or ", "not")


@pytest.mark.parametrize(
    ("word", "cluster", "done"),
    [(0, 0, 0), (0, 2, 2), (1, 0, 3), (1, 9, 6), (3, 3, 12), (3, 20, 12), (4, 0, 12), (5, 1, 16)],
)
def test_what_is_done(word: int, cluster: int, done: int) -> None:
    """Clusters too many do not count; a text that repeats goes on counting."""
    assert Course(WORDS).done(word, cluster) == done


@given(st.lists(st.sampled_from("tobernx \b"), max_size=40))
def test_what_is_done_stays_within_the_text(keys: list[str]) -> None:
    """Whatever is typed it is between 0 and the text's length, which is what its end comes to."""
    words = prepare("to be or not", timed=False).words
    course, scorer = Course(words), Scorer(words)
    for key in keys:
        scorer.feed([100, key])
        assert 0 <= course.done(*scorer.pos) <= course.clusters == 12


def test_news_are_told_once() -> None:
    """A row that did not change is none; who comes later asks for all."""
    progress = Progress()
    progress.take([[0, 1, 60.0, 0], [1, 2, 60.0, 0]])
    progress.take([[0, 1, 60.0, 0], [1, 3, 60.0, 0]])
    assert progress.news() == [[0, 1, 60.0, 0], [1, 3, 60.0, 0]]
    progress.take([[1, 3, 60.0, 0]])
    assert progress.news() == []
    assert progress.all() == [[0, 1, 60.0, 0], [1, 3, 60.0, 0]]


@pytest.mark.parametrize(
    "rows",
    [7, [7], ["x"], [[]], [[0, 1, 2.0]], [[-1, 1, 2.0, 0]], [[100, 1, 2.0, 0]], [["0", 1, 2.0, 0]], [[0, 1, "2", 0]]],
)
def test_what_is_no_row(rows: Any) -> None:
    """Another node's nonsense is told from progress."""
    with pytest.raises((ValueError, TypeError)):
        list(rows_of(rows))


def test_what_a_newer_node_says_more_is_passed_over() -> None:
    """A row may become longer."""
    assert list(rows_of([[0, 1, 2.0, 0, "more"]])) == [[0, 1, 2.0, 0]]
