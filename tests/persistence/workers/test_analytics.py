"""What an analytics event says, and what is read from one."""

import json

import pytest

from persistence.notices import notice_of
from persistence.results import Outcome, Written
from persistence.results.bests import Board, PersonalBest, places_of
from persistence.workers.analytics import event_of, news_in
from session.identity import session_to_text
from tests.persistence.samples import sample

RESULT = sample(1)
BESTS = {
    place: PersonalBest(place, RESULT.session, 80.0, 97.0)
    for place in places_of(RESULT.user, Board("time", 15, "en"), RESULT.created_at_ms)
}


def test_an_event_says_what_was_typed_and_not_how() -> None:
    """Figures and verdict that hold, the result's id; nothing of the keystrokes."""
    event = json.loads(event_of(RESULT, Written(RESULT.session, Outcome.CONFLICT, "review", {}), None))
    assert event["id"] == session_to_text(RESULT.session)
    assert (event["schema"], event["user"], event["guest"]) == (1, "7", False)
    assert (event["verdict"], event["outcome"], event["notice"]) == ("review", "conflict", None)
    assert event["wpm"] == RESULT.summary.wpm
    assert not {"replay", "text", "seed"} & event.keys()
    assert news_in(event_of(RESULT, Written(RESULT.session, Outcome.INSERTED, "ok", {}), None)) is None


def test_news_in_an_event() -> None:
    written = Written(RESULT.session, Outcome.INSERTED, "ok", BESTS)
    notice = notice_of(RESULT.user, written, {})
    assert notice is not None
    news = news_in(event_of(RESULT, written, notice))
    assert news == (RESULT.session, RESULT.user, RESULT.created_at_ms, notice.to_wire())


@pytest.mark.parametrize(
    "event",
    [
        None,
        b"",
        b"{",
        b"[1]",
        b'{"schema": 2}',
        b'{"schema": 1}',
        b'{"schema": 1, "notice": 5}',
        b'{"schema": 1, "notice": {}, "id": "x"}',
        b'{"schema": 1, "notice": {}, "id": 5}',
        b'{"schema": 1, "notice": {}, "id": "0190163d-8694-739b-8000-000000000001", "user": "9223372036854775808"}',
    ],
)
def test_what_is_no_event(event: bytes | None) -> None:
    with pytest.raises(ValueError, match=r".+"):
        news_in(event)
