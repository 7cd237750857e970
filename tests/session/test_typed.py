"""What is typed of a test: its log and receipts, how long it may be and how fast, its clocks, what it costs."""

import gc
import tracemalloc
from math import inf
from random import Random

import pytest

from scoring.replay import decode
from session.history import encode
from session.machine import Breach, TypingSession
from session.messages import CloseCode
from session.options import SessionLimits, TestOptions
from session.receipt import Receipt, hash_of
from session.state import State
from tests.session.play import (
    EPOCH_MS,
    RING,
    Player,
    code_of,
    material_for,
    rescored,
    session_id,
)

TIME_10 = TestOptions("time", seconds=10)
TEXT = TestOptions("text", text="abc def")
ZEN = TestOptions("zen")


def test_receipts_of_long_logs_have_the_digest_of_the_whole() -> None:
    """However the digest is kept, and whenever receipts are given, it is that of all bytes so far."""
    player = Player(TestOptions("time", seconds=600))
    history = bytearray()
    for count in (5, 1200, 60, 1, 700):
        player.type(["x", "\b"] * count)
        history.clear()
        encode(player.log, history)
        tick = player.tick()
        assert tick is not None
        assert Receipt.open(RING, tick["r"], hash_of(player.ticket)).digest == hash_of(history)


def test_keys_in_any_batches_make_the_same() -> None:
    """Receipt, figures and result do not depend on how the events were batched."""
    keys = "the of tx\x08o and to\x17to in é한 "
    outcomes = []
    for batch in (1, 2, 3, 7, len(keys)):
        player = Player(TIME_10)
        for key in keys:
            player.note(150, key)
        for at in range(0, len(keys), batch):
            events = player.log[2 * at : 2 * (at + batch)]
            assert player.session.keys(at, events, None, now_ms=player.now_ms) is None
        tick = player.tick()
        assert tick is not None
        player.session.finish(player.n, now_ms=player.now_ms)
        outcomes.append((tick, player.session.settle(node="n").core_hash))
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_holds_come_with_the_replay() -> None:
    player = Player(TIME_10)
    player.type("abc")
    assert player.session.keys(3, [], [0, 80, 2, 100_000], now_ms=player.now_ms) is None
    player.note(90, "d")
    assert player.session.keys(3, player.log[6:], [1, 0, 0, 81], now_ms=player.now_ms) is None
    assert player.session.finish(4, now_ms=player.now_ms) is None
    assert decode(player.session.settle(node="n").replay).holds == {0: 81, 1: 0, 2: 65_534}


def test_only_the_ended_are_settled() -> None:
    player = Player(TEXT)
    player.type("abc")
    with pytest.raises(AssertionError):
        player.session.settle(node="n")


# --- speed and size ---


def test_more_than_50_keys_a_second_are_reviewed() -> None:
    """Over any 5 s of claimed time, also where a setting is stricter than the plausibility's own."""
    player = Player(TIME_10)
    for at in range(400):
        player.note(12, "abcde "[at % 6])
    assert player.send(0) is None
    player.session.finish(400, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.verdict != "ok"
    assert [reason.name for reason in result.reasons].count("peak_keys_per_s") == 1

    player = Player(TIME_10, limits=SessionLimits(review_keys_per_s=2))
    for key in player.material.text[:15]:
        player.note(round(Random(ord(key)).lognormvariate(4.9, 0.4)), key)
    assert player.send(0) is None
    player.session.finish(15, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.verdict == "review"
    assert [(reason.name, reason.threshold) for reason in result.reasons] == [("peak_keys_per_s", 2)]


@pytest.mark.parametrize("by", ["finish", "frame", "pong", "end", "look"])
def test_more_than_500_keys_a_second_close(by: str) -> None:
    """Over any 5 s of claimed time, however the log came and ended; a key less is only reviewed."""
    own = "ab " * 900 + "a"
    for count, closes in ((2500, False), (2501, True)):
        options = {"end": TestOptions("text", text=own[:count])}.get(by, TestOptions("time", seconds=600))
        player = Player(options)
        if by == "look":
            for _ in range(3000):
                player.note(100, "a")
        for at in range(count):
            player.note(1 + at % 2 if at else 6000, own[at])
        player.note(6000, "x")
        if by == "look":
            for _ in range(2000):
                player.note(100, "a")
        outcome = player.send(0)
        if by == "finish":
            assert outcome is None
            outcome = player.session.finish(player.n, now_ms=player.now_ms)
        elif by == "pong":
            player.session.due(now_ms=inf)
            outcome = player.session.pong(now_ms=player.now_ms)
        elif by == "frame":
            for _ in range(2000):
                player.note(100, "a")
            outcome = player.send(count + 1)
        if closes:
            assert isinstance(outcome, Breach), outcome
            assert outcome.close_code is CloseCode.LIMITS
            assert player.session.state is State.ABANDONED
            assert not bool(player.session.ended)
            assert player.session.deadline_ms == inf
        else:
            assert outcome is None


def test_a_slow_text_of_many_keys_is_no_breach() -> None:
    player = Player(TestOptions("zen"))
    for _ in range(7000):
        player.note(20, "a")
    assert player.send(0) is None


@pytest.mark.parametrize("batch", [1, 250, 6100])
@pytest.mark.parametrize("options", [ZEN, TestOptions("time", seconds=600), TestOptions("quote")])
def test_the_log_is_bounded_in_events(options: TestOptions, batch: int) -> None:
    """With so many events a test ends as at its limit, at the same event in any batches."""
    player = Player(options, limits=SessionLimits(events=3000))
    for _ in range(3050):
        player.note(30, "a")
        player.note(30, "\b")
    outcome = None
    for at in range(0, player.n, batch):
        outcome = outcome or player.session.keys(at, player.log[2 * at : 2 * (at + batch)], None, now_ms=player.now_ms)
    assert player.session.n == 3000
    if options.mode == "quote":
        assert code_of(outcome) == "expired"
        assert player.session.state is State.ABANDONED
        return
    assert outcome is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert result.summary == rescored(player, result.replay, gave_up=result.gave_up)
    assert result.gave_up is (options.mode == "zen")


def test_the_log_is_bounded_in_bytes() -> None:
    """A replay fits its row: keys that nothing compresses end the test as at its limit."""
    chance = Random(1)
    player = Player(ZEN)
    for _ in range(20_000):
        player.note(chance.randrange(180), chr(chance.randrange(0x4E00, 0x9FA6)) + chance.choice(["", "\u0301"]))
    outcome = None
    for at in range(0, player.n, 4000):
        outcome = outcome or player.session.keys(at, player.log[2 * at : 2 * at + 8000], None, now_ms=player.now_ms)
    assert outcome is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert 30 * 1024 < len(result.replay) <= 60 * 1024
    assert len(decode(result.replay).events) == 2 * player.session.n


def test_the_history_of_a_live_session_is_bounded() -> None:
    player = Player(ZEN, limits=SessionLimits(history_bytes=5000))
    for _ in range(9000):
        player.note(30, "a")
    player.send(0)
    assert player.session.ended
    assert player.session.n == 4096, "the second look"


# --- clocks ---


def test_a_clock_that_runs_ahead_is_reviewed() -> None:
    player = Player(TestOptions("time", seconds=60))
    text = player.material.text
    for at in range(200):
        player.note(60 + 37 * at % 120, text[at])
        server_ms = (player.zero_ms or 0) + 0.9 * player.client_ms
        assert player.session.keys(at, player.log[-2:], None, now_ms=server_ms) is None
    player.session.finish(200, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.drift_ms < -250
    assert "drift_ms" in [reason.name for reason in result.reasons]
    assert result.verdict != "ok"


@pytest.mark.parametrize(("sent_after_ms", "flagged"), [(1000.0, True), (60_000.0, False)])
def test_a_log_typed_before_the_test_was_opened_and_sent_at_once_is_flagged(
    sent_after_ms: float, flagged: bool
) -> None:
    """Its first batches would set their own base, but nobody types for longer than the test is open."""
    player = Player(TestOptions("text", text="a b c d e f g h i j k l m n o p q r s t"))
    for key in player.material.text:
        player.note(700, key)
    for frame in range(3):
        n = player.session.n
        player.session.keys(n, player.log[2 * n :][:26], None, now_ms=player.started_ms + sent_after_ms + 10 * frame)
    assert player.session.ended
    result = player.session.settle(node="n")
    assert ("drift_ms" in [reason.name for reason in result.reasons]) is flagged


def test_holds_that_come_late_are_no_drift() -> None:
    """A key that is let go long after the last event comes in a frame without events: it says nothing of clocks."""
    player = Player(TestOptions(mode="time", seconds=10))
    player.type(list(player.material.text[:40]))
    receipt = player.tick()
    assert receipt is not None
    assert player.session.keys(player.n, [], [player.n - 1, 3000], now_ms=player.now_ms + 3000) is None
    assert player.session.finish(player.n, now_ms=player.now_ms + 5200) is None
    result = player.session.settle(node="n")
    assert result.drift_ms == pytest.approx(0)
    assert "drift_ms" not in [reason.name for reason in result.reasons]


def test_lag_that_recovers_is_no_drift() -> None:
    player = Player(TestOptions("time", seconds=60))
    text = player.material.text
    for at in range(100):
        player.note(90 + 37 * at % 120, text[at])
        late_ms = 3000.0 if at == 50 else 0.0
        assert player.send(at, late_ms=late_ms) is None
    player.session.finish(100, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.lag_ms == pytest.approx(3000)
    assert result.drift_ms == pytest.approx(0)


@pytest.mark.parametrize(("stall_ms", "flagged"), [(0.0, True), (2_400.0, True), (3_000.0, False)])
def test_what_the_server_did_not_read_in_time_is_no_drift(stall_ms: float, flagged: bool) -> None:
    """The last batch waited there; what it measured stays what it was."""
    player = Player(TestOptions("words", count=3))
    text = player.material.text
    for at, key in enumerate(text):
        player.note(90 + 37 * at % 120, key)
        assert player.send(at, late_ms=3_000.0 if at == len(text) - 1 else 0.0) is None
    assert player.session.seen_ms == player.now_ms + 3_000
    result = player.session.settle(node="n", stall_ms=stall_ms)
    assert result.drift_ms == pytest.approx(3_000)
    assert ("drift_ms" in [reason.name for reason in result.reasons]) is flagged


def test_a_frame_counts_once_for_the_clocks() -> None:
    """A stall that delivers hundreds at once is one late batch."""
    player = Player(TestOptions("time", seconds=60))
    for _ in range(400):
        player.note(100, "a")
    assert player.send(0) is None
    player.session.finish(400, now_ms=player.now_ms)
    assert player.session.settle(node="n").lag_ms == 0


# --- what it costs ---


def test_a_minute_of_typing_is_small() -> None:
    """Session and scorer together, after 300 keys and their holds in 60 s: 10,000 of them fit anywhere."""
    options = TestOptions("time", seconds=60)

    def typed(seed: int) -> TypingSession:
        player = Player(options, seed=seed)
        for at, key in enumerate(player.material.text[:300]):
            player.note(195, key)
            player.session.keys(at, player.log[-2:], [at, 95], now_ms=player.now_ms)
            if at % 5 == 0:
                player.tick()
        return player.session

    typed(0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [typed(seed) for seed in range(20)]
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    tracemalloc.stop()
    assert each < 6 * 1024, each


def test_sessions_hold_no_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        player = Player(TEXT)
        player.type("abc def")
        player.session.settle(node="n")
        del player
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_sessions_of_one_text_are_independent() -> None:
    material = material_for(TestOptions("quote"))
    sessions = [
        TypingSession.begin(
            TestOptions("quote"),
            material,
            session=session_id(at),
            user=at + 1,
            seed=0,
            ref=None,
            ring=RING,
            limits=SessionLimits(),
            now_ms=0.0,
            epoch_ms=EPOCH_MS,
        )
        for at in range(2)
    ]
    assert sessions[0].keys(0, [0, "A"], None, now_ms=5.0) is None
    assert (sessions[0].n, sessions[1].n) == (1, 0)
    assert sessions[0].ticket != sessions[1].ticket
