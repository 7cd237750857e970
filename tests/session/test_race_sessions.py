"""A typing session in a race: its time begins at the start instant, on every node and over every resume."""

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.replay import decode
from scoring.scorer import Scorer
from session.holder import Answer, Word
from session.machine import Due, Gap, Refused, TypingSession
from session.options import TestOptions
from session.receipt import Seat
from session.state import State
from tests.session.play import EPOCH_MS, LIMITS, RING, USER, Player, held, material_for, session_id

START_MS = 6_000
"""The start instant on the server's monotonic clock; the session begins 5 s before."""
SEAT = Seat("0123456789abc", 3, EPOCH_MS + START_MS)
WORDS_5 = TestOptions("words", count=5)
TIME_10 = TestOptions("time", seconds=10)


def racer(options: TestOptions = WORDS_5) -> Player:
    return Player(options, seat=SEAT)


def test_started_says_which_race() -> None:
    """And when, and in which lane; the ticket says so too."""
    player = racer()
    started = player.session.started(player.material)
    assert (started.race, started.lane, started.start_ms) == (SEAT.race, 3, SEAT.start_ms)
    wire = Player(WORDS_5).session.started(player.material).to_wire()
    assert not {"race", "lane", "start_ms"} & set(wire)


@pytest.mark.parametrize("n", [0, 1])
def test_keys_before_the_start_are_dropped(n: int) -> None:
    """Nothing of them is in the log; the client is told where to begin, and when."""
    session = racer().session
    refused = session.keys(n, [0, "t"], None, now_ms=START_MS - 0.5)
    assert isinstance(refused, Refused)
    error = refused.error
    assert (error.code, error.expected, error.retry, error.ref) == ("early", 0, 1, 1)
    assert (session.n, session.state, session.tick(now_ms=START_MS)) == (0, State.CREATED, None)
    assert session.keys(0, [0, "t"], None, now_ms=START_MS) is None
    assert session.n == 1


def test_malformed_keys_are_malformed_before_the_start_too() -> None:
    session = racer().session
    assert not isinstance(session.keys("0", [0, "t"], None, now_ms=0), (Refused, type(None)))


def test_the_first_key_s_wait_belongs_to_the_test() -> None:
    """Figures, duration and series count from the start instant; whoever scores the replay again finds the same."""
    player = racer()
    text = player.material.text
    player.note(1700, text[0])
    assert player.send(0) is None
    tick = player.tick()
    assert tick is not None
    assert tick["wpm"] == round(1 / 5 / (1.7 / 60), 2)
    assert player.type(text[1:]) is None
    result = player.session.settle(node="n1")
    assert result.race == SEAT.race
    assert result.summary.duration_ms == 1700 + 120 * (len(text) - 1)
    assert result.summary.series.burst[0] == 0
    scorer = Scorer(player.material.words, from_start=True)
    scorer.feed(decode(result.replay).events)
    assert scorer.summary() == result.summary
    assert result.verdict == "ok"


def test_a_timed_race_ends_with_the_clock_that_began_at_the_start() -> None:
    """Its deadline counts from the start instant too, whenever the first key came."""
    player = racer(TIME_10)
    assert player.session.deadline_ms == inf
    player.note(3000, player.material.text[0])
    assert player.send(0, late_ms=700) is None
    assert player.session.deadline_ms == START_MS + 10_000 + LIMITS.grace_ms
    player.note(7000, player.material.text[1])
    assert player.send(1) is None
    assert player.session.finish(2, now_ms=player.now_ms) is None
    assert player.session.ended
    result = player.session.settle(node="n1")
    assert (result.summary.duration_ms, result.summary.inserts.correct) == (10_000, 1)


def test_who_types_nothing_until_the_limit_has_no_result() -> None:
    player = racer(TIME_10)
    player.note(10_000, "x")
    assert player.send(0) is None
    refused = player.session.finish(1, now_ms=player.now_ms)
    assert isinstance(refused, Refused)
    assert refused.error.code == "empty"
    assert player.session.state is State.ABANDONED


def test_an_untimed_race_expires_so_long_after_the_start() -> None:
    player = racer()
    player.note(40_000, player.material.text[0])
    assert player.send(0) is None
    assert player.session.deadline_ms == START_MS + LIMITS.untimed_ms
    assert player.session.due(now_ms=START_MS + LIMITS.untimed_ms) is Due.EXPIRED


@pytest.mark.parametrize(("late_ms", "verdict"), [(0.0, "ok"), (480.0, "ok"), (900.0, "review")])
def test_time_that_began_late_is_claimed_time_that_is_missing(late_ms: float, verdict: str) -> None:
    """A client whose clock starts after the others' has all its keys arrive late, the first one too: drift, not lag."""
    player = racer()
    for number, key in enumerate(player.material.text):
        player.note(120, key)
        assert player.send(number, late_ms=late_ms) is None
    result = player.session.settle(node="n1")
    assert result.drift_ms == late_ms
    assert result.verdict == verdict


def test_a_resume_does_not_move_the_start() -> None:
    """On the same process or another, with a receipt or without: time away that the log leaves out is drift."""
    for where in ("held", "another", "no receipt"):
        player = racer()
        text = player.material.text
        assert player.type(text[:8]) is None
        player.tick()
        away_ms = 3_000
        if where == "held":
            assert held(player, away_ms=away_ms) is not None
        else:
            changes: dict[str, Any] = {} if where == "another" else {"receipt": None}
            assert player.move(after_ms=away_ms, **changes) is None
        for number in range(8, len(text)):
            player.note(120, text[number])
            assert player.send(number, late_ms=away_ms) is None
        result = player.session.settle(node="n2")
        assert (result.drift_ms, result.slack_ms, result.verdict) == (away_ms, away_ms, "review"), where


def test_an_honest_return_accounts_for_the_time_away() -> None:
    """The client's clock went on meanwhile: its next event says so."""
    player = racer()
    text = player.material.text
    assert player.type(text[:8]) is None
    player.tick()
    assert player.move(after_ms=2_000) is None
    player.note(2_120, text[8])
    assert player.send(8) is None
    assert player.type(text[9:]) is None
    result = player.session.settle(node="n2")
    assert (result.drift_ms, result.slack_ms, result.verdict) == (0, 0, "ok")
    assert result.summary.duration_ms == 120 * len(text) + 2_000


def test_a_resume_before_the_start_waits_like_everybody() -> None:
    player = racer()
    assert player.move(after_ms=-1_000) is None
    assert isinstance(player.session.keys(0, [0, "t"], None, now_ms=START_MS - 1), Refused)
    assert isinstance(player.session.keys(1, [0, "t"], None, now_ms=START_MS), Gap)


def test_who_resumes_with_nothing_typed_has_no_start_of_one_s_own() -> None:
    """With an empty log there is no slack to measure; the start is the base all the same."""
    player = racer()
    assert player.move(after_ms=4_000) is None
    for number, key in enumerate(player.material.text):
        player.note(120, key)
        assert player.send(number, late_ms=4_000) is None
    assert player.session.settle(node="n2").verdict == "review"


def test_the_race_s_clock_need_not_be_the_node_s() -> None:
    """The start instant is on the clock that all nodes share, whatever this one thinks that it is."""
    material = material_for(WORDS_5)
    session = TypingSession.begin(
        WORDS_5,
        material,
        session=session_id(),
        user=USER,
        seed=1,
        ref=None,
        ring=RING,
        limits=LIMITS,
        now_ms=1_000,
        epoch_ms=EPOCH_MS,
        seat=Seat("0123456789abc", 0, EPOCH_MS + 65_000),
        race_ms=EPOCH_MS + 60_000,
    )
    assert isinstance(session.keys(0, [0, "t"], None, now_ms=5_999), Refused)
    assert session.keys(0, [0, "t"], None, now_ms=6_000) is None


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.sampled_from(["", "", "", "x", "\b"])), max_size=40),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_however_it_is_batched_and_wherever_it_goes_on_the_figures_are_those_of_the_log(
    typed: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Incremental is batch, in a race too: over frames of any size and a move to another process anywhere."""
    player = racer(TIME_10)
    text = player.material.text
    for number, (dt, key) in enumerate(typed):
        player.note(dt, key or text[number])
    at = 0
    while at < player.n and not player.session.ended and player.session.state is not State.ABANDONED:
        size = data.draw(st.integers(1, 6))
        if player.session.n and data.draw(st.booleans()):
            player.move(n=at)
        outcome = player.session.keys(at, player.log[2 * at : 2 * (at + size)], None, now_ms=player.now_ms)
        assert outcome is None or isinstance(outcome, Refused)
        at += size
    if not player.session.ended and player.session.state is State.RUNNING:
        player.session.finish(player.session.n, now_ms=player.now_ms)
    scorer = Scorer(player.material.words, limit_ms=10_000, cyclic=True, from_start=True)
    scorer.feed(player.log)
    if player.session.ended:
        assert player.session.settle(node="n1").summary == scorer.summary()
    else:
        assert scorer.inserts == 0


def typed_behind(share: float, *, options: TestOptions = WORDS_5) -> Player:
    """A whole text by a clock that goes so much slower than the server's."""
    player = racer(options)
    for number, key in enumerate(player.material.text):
        player.note(500, key)
        assert player.send(number, late_ms=player.client_ms * share) is None
    assert player.session.ended
    return player


def test_who_is_late_by_the_race_s_clock_is_so_for_all_that_lag_does_not_explain() -> None:
    """500 ms, the ping time up to 1,500 ms, and one in a hundred are lag; the rest is the race's time."""
    player = typed_behind(0.5)
    ms = player.client_ms
    assert player.session.late_ms(ping_ms=0) == pytest.approx(ms * 0.49 - 500)
    assert player.session.late_ms(ping_ms=200) == pytest.approx(ms * 0.49 - 700)
    assert player.session.late_ms(ping_ms=60_000) == pytest.approx(ms * 0.49 - 2_000)
    assert player.session.late_ms(ping_ms=0, stall_ms=150) == pytest.approx(ms * 0.49 - 650)
    assert typed_behind(0.01).session.late_ms(ping_ms=0) == 0


def half_typed() -> Player:
    player = racer()
    player.type(player.material.text[:8], dt=500)
    player.tick()
    return player


def test_a_test_that_was_had_from_elsewhere_is_a_new_one_at_its_epoch() -> None:
    """Nothing of it was typed: it has neither slack nor anything unseen, and is late by nothing."""
    player = racer()
    seat = player.seat
    assert seat is not None
    now_ms = seat.start_ms - EPOCH_MS + 2_000
    player.session = TypingSession.begin(
        player.options,
        player.material,
        session=player.session.id,
        user=player.session.user,
        seed=player.seed,
        ref=None,
        ring=RING,
        limits=LIMITS,
        now_ms=now_ms,
        epoch_ms=EPOCH_MS + int(now_ms),
        seat=seat,
        epoch=7,
    )
    assert (player.session.epoch, player.session.seen, player.session.returning) == (7, False, False)
    assert player.session.taken
    assert player.session.answer() == Answer(Word.HELD, None, epoch=7)
    player.note(2_000, player.material.text[0])
    assert player.send(0) is None
    assert player.type(player.material.text[1:]) is None
    assert player.session.ended
    assert player.session.late_ms(ping_ms=0) == 0
    result = player.session.settle(node="n2")
    assert (result.epoch, result.unseen_ms, result.slack_ms, result.seen_live) == (7, 0, 0, player.n)


def test_what_was_typed_without_a_connection_came_with_the_resume() -> None:
    """However little time it claims."""
    player = half_typed()
    for key in player.material.text[8:]:
        player.note(120, key)
    assert player.move(after_ms=9_000) is None
    assert player.session.ended
    late_ms = player.session.late_ms(ping_ms=0)
    assert late_ms == pytest.approx(9_000 - 500 - player.client_ms * 0.01)
    player.session.settle(node="n2")
    assert player.session.late_ms(ping_ms=0) == late_ms


def test_who_types_on_after_a_resume_is_not_late() -> None:
    player = half_typed()
    player.note(120, player.material.text[8])
    assert player.move(after_ms=3_000) is None
    player.note(3_000, player.material.text[9])
    assert player.send(9) is None
    assert player.type(player.material.text[10:], dt=500) is None
    assert player.session.ended
    assert player.session.late_ms(ping_ms=0) == 0


def test_a_test_whose_end_was_seen_is_not_late_for_being_resumed() -> None:
    """On the clock: the last key was seen, then the connection was lost, and `finish` comes with the resume."""
    player = racer(TIME_10)
    player.type(player.material.text[:15], dt=600)
    player.tick()
    assert player.move(after_ms=9_000) is None
    assert player.session.finish(player.n, now_ms=player.now_ms + 9_000) is None
    assert player.session.late_ms(ping_ms=0) == 0
