"""What those see who look on at a session: who may, which keys, how long it has run."""

from dataclasses import replace

import pytest

from scoring.slices import at_once
from session.machine import TypingSession
from session.options import TestOptions
from session.receipt import Ticket
from tests.session.play import RING, Player

OPEN = TestOptions("words", count=3, watch=True)
TIMED = TestOptions("time", seconds=1, watch=True)


def all_keys(session: TypingSession) -> list[str]:
    return session.typed_since(0, most=1_000)[0]


@pytest.mark.parametrize(
    ("options", "own", "others"),
    [
        (OPEN, True, True),
        (replace(OPEN, watch=False), True, False),
        (TestOptions("text", text="abc"), False, False),
        (TestOptions("text", text="abc", watch=True), False, False),  # no `choose` lets it be chosen
    ],
    ids=["open", "private", "own text", "own text that says it is open"],
)
def test_who_may_look_on(options: TestOptions, own: bool, others: bool) -> None:
    """Its user at each but an own text, others where they are let; and the ticket takes that along."""
    player = Player(options)
    assert (player.session.shows(own=True), player.session.shows(own=False)) == (own, others)
    assert Ticket.open(RING, player.ticket).options.watch is options.watch
    player.type("ab")
    player.move()
    assert (player.session.shows(own=True), player.session.shows(own=False)) == (own, others)


def test_keys_are_seen_from_where_one_looked_last() -> None:
    player = Player(OPEN)
    player.type("tha")
    first, mark = player.session.typed_since(0, most=2)
    second, mark = player.session.typed_since(mark, most=2)
    assert (first, second) == (["t", "h"], ["a"])
    player.type(["\b", "e"])
    assert player.session.typed_since(mark, most=100)[0] == ["\b", "e"]
    assert player.session.figures() == player.session._scorer.figures()


def test_what_comes_after_the_end_of_a_timed_test_is_not_seen() -> None:
    """It belongs to the log, and counts for nothing."""
    player = Player(TIMED)
    player.type("abcd", dt=400)
    player.type("efg", dt=400)
    assert player.session.finish(player.n, now_ms=player.now_ms) is None
    assert all_keys(player.session) == ["a", "b", "c"]


def test_the_time_goes_on_between_keys_and_ends_with_the_test() -> None:
    """From the first key on, by the server's clock, until it is known how long the test took."""
    player = Player(OPEN)
    session = player.session
    assert session.running_ms(now_ms=9_999) == 0
    player.type("th", dt=100)
    assert session.running_ms(now_ms=player.now_ms + 250) == 350
    assert session.running_ms(now_ms=player.now_ms - 9_000) == 0
    before = session.summary
    player.type(player.material.text[2:], dt=100)
    after = session.summary
    assert before is None
    assert after is not None
    assert session.running_ms(now_ms=player.now_ms + 5_000) == after.duration_ms


def test_a_log_that_comes_again_is_seen_as_it_comes() -> None:
    """After a takeover the new process has the same keys in the same order."""
    player = Player(OPEN)
    player.type("that ")
    claim = player.claim()
    player.move()
    assert all_keys(player.session) == list("that ")
    assert claim.ticket.options.watch
    at_once(player.session.feeding(5, [100, "x"], None, now_ms=player.now_ms))
    assert all_keys(player.session) == list("that x")
