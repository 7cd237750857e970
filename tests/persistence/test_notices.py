"""Which stored results are news to those who typed them."""

from dataclasses import replace

import pytest

from persistence.notices import Doubt, Notice, doubt_of, notice_of
from persistence.results import Outcome, Stored, Written
from persistence.results.bests import Board, PersonalBest, Span, places_of
from session.identity import session_to_text
from tests.persistence.samples import sample

RESULT = sample(1)
BOARD = Board("time", 15, "en")
PLACES = {place.period.span: place for place in places_of(RESULT.user, BOARD, RESULT.created_at_ms)}


def written(*mine: Span, others: tuple[Span, ...] = ()) -> Written:
    """As a store says it of a result that holds these bests, and met better ones there."""
    best = {PLACES[span]: PersonalBest(PLACES[span], RESULT.session, 80.0, 97.0) for span in mine}
    theirs = {PLACES[span]: PersonalBest(PLACES[span], bytes(16), 90.0, 97.0) for span in others}
    return Written(RESULT.session, Outcome.INSERTED, "ok", best | theirs)


def test_a_best_of_all_time_is_news() -> None:
    notice = notice_of(RESULT.user, written(Span.ALL, Span.WEEK, Span.DAY), {Span.DAY: 3})
    assert notice == Notice(RESULT.user, RESULT.session, BOARD, 80.0, (Span.DAY, Span.WEEK, Span.ALL), {Span.DAY: 3})
    assert notice.to_wire() == {
        "t": "event",
        "kind": "best",
        "session": session_to_text(RESULT.session),
        "board": "time-15-en",
        "wpm": 80.0,
        "spans": ["day", "week", "all"],
        "ranks": {"day": 3},
    }


def test_a_best_of_the_day_is_news_with_a_rank_alone() -> None:
    """Else the first test of every day would be."""
    mine = written(Span.DAY, others=(Span.WEEK, Span.ALL))
    assert notice_of(RESULT.user, mine, {}) is None
    notice = notice_of(RESULT.user, mine, {Span.DAY: 1, Span.ALL: 7})
    assert notice is not None
    assert (notice.spans, notice.ranks) == ((Span.DAY,), {Span.DAY: 1}), "a rank is of a best that it holds"


def test_what_is_no_best_is_no_news() -> None:
    assert notice_of(RESULT.user, written(others=(Span.ALL,)), {Span.ALL: 1}) is None
    assert notice_of(RESULT.user, written(), {}) is None


@pytest.mark.parametrize(
    ("said", "outcome", "stands", "doubted"),
    [
        ("ok", Outcome.INSERTED, "review", True),
        ("ok", Outcome.CONFLICT, "review", False),
        ("ok", Outcome.REPEATED, "review", False),
        ("review", Outcome.ATTESTED, "review", False),
        ("void", Outcome.CONFLICT, "void", False),
    ],
    ids=["played again", "another log", "a better copy is there", "it was the better copy", "void beside another log"],
)
def test_a_verdict_of_which_another_may_have_been_told_is_told(
    said: str, outcome: Outcome, stands: str, doubted: bool
) -> None:
    """Also where this copy has it already: what its user was told may have been another one's."""
    result = replace(RESULT, verdict=said)
    doubt = doubt_of(Stored(result, Written(RESULT.session, outcome, stands, {}), doubted))
    assert doubt == Doubt(RESULT.user, RESULT.session, stands)
    assert doubt.to_wire() == {"t": "stored", "session": session_to_text(RESULT.session), "verdict": stands}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_verdict_that_can_be_no_stricter_than_the_one_that_was_told_is_not_told_again(outcome: Outcome) -> None:
    ok = Written(RESULT.session, outcome, "ok", {})
    assert doubt_of(Stored(RESULT, ok)) is None
    alone = Written(RESULT.session, Outcome.INSERTED, "review", {})
    assert doubt_of(Stored(replace(RESULT, verdict="review"), alone)) is None
