"""Coming back: on the process that has the session, and on one that has nothing but ticket, receipt and log."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from session.holder import Question
from session.machine import Breach, Differs, Due, Gap, Refused, TypingSession
from session.messages import Error
from session.options import SessionLimits, TestOptions
from session.receipt import KeyRing, Receipt, Ticket, hash_of
from session.resume import Claim, Takeover
from session.state import Illegal, State
from tests.session.play import (
    EPOCH_MS,
    LIMITS,
    QUOTE,
    RING,
    USER,
    Player,
    anew,
    back,
    held,
    material_for,
    rebuilt,
    session_id,
    ticket_of,
)

TIME_60 = TestOptions("time", seconds=60)
WORDS_5 = TestOptions("words", count=5)
TEXT = TestOptions("text", text="abc def ghi")
ZEN = TestOptions("zen")
SOME = "the of and "


def typed(options: TestOptions = TIME_60, keys: str = SOME, *, tick_at: int | None = 5, **more: Any) -> Player:
    """A test in the middle, with a receipt for its first events."""
    player = Player(options, **more)
    for at, key in enumerate(keys):
        if at == tick_at:
            player.tick()
        assert player.type(key) is None
    return player


def opened(player: Player, *, user: int = USER, epoch_ms: int | None = None, **changes: Any) -> Claim | Error:
    return Claim.open(
        player.resume_message(**changes),
        user=user,
        ring=RING,
        limits=LIMITS,
        epoch_ms=EPOCH_MS + 5000 if epoch_ms is None else epoch_ms,
    )


def refusal(outcome: Any) -> str:
    assert isinstance(outcome, Refused), outcome
    return outcome.error.code


# --- what a claim must have ---


def test_a_good_claim() -> None:
    player = typed()
    claim = opened(player)
    assert isinstance(claim, Claim)
    assert (claim.n, claim.ref, claim.sealed) == (11, 2, player.ticket)
    assert claim.ticket == ticket_of(player)
    assert claim.receipt is not None
    assert claim.receipt.n == 5


OTHER = Player(TIME_60, seed=5)
OTHER.type("ab")
OTHER.tick()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ticket": b""}, "ticket"),
        ({"ticket": b"\x07" + bytes(120)}, "ticket"),
        ({"ticket": OTHER.ticket}, "ticket"),
        ({"session": OTHER.session.id}, "ticket"),
        ({"session": OTHER.session.id, "ticket": OTHER.ticket}, "ticket"),
        ({"receipt": b""}, "ticket"),
        ({"receipt": OTHER.receipt}, "ticket"),
        ({"user": USER + 1}, "foreign"),
        ({"user": -USER}, "foreign"),
        ({"epoch_ms": EPOCH_MS + 1000 + LIMITS.ticket_ms + 1}, "stale"),
    ],
    ids=[
        "no ticket",
        "forged",
        "of another session",
        "for another session",
        "receipt of another session",
        "no receipt",
        "foreign receipt",
        "other user",
        "guest with the same number",
        "after 7 days",
    ],
)
def test_bad_claims(changes: dict[str, Any], code: str) -> None:
    error = opened(typed(), **changes)
    assert isinstance(error, Error)
    assert (error.code, error.ref, error.retry) == (code, 2, None)


def test_a_claim_of_the_last_moment() -> None:
    assert isinstance(opened(typed(), epoch_ms=EPOCH_MS + 1000 + LIMITS.ticket_ms), Claim)


def test_a_ticket_cut_off_or_of_a_foreign_cluster() -> None:
    player = typed()
    foreign = ticket_of(player).seal(KeyRing([(7, b"f" * 32)]))
    for ticket in (player.ticket[:-1], player.ticket[:40], foreign):
        error = opened(player, ticket=ticket)
        assert isinstance(error, Error)
        assert error.code == "ticket"


def test_an_own_text_comes_with_the_claim() -> None:
    player = typed(TEXT, "abc ")
    error = opened(player, text=None)
    assert isinstance(error, Error)
    assert error.code == "text"


def test_another_text_than_the_tickets() -> None:
    player = typed(TEXT, "abc ")
    claim = player.claim()
    other = material_for(replace(TEXT, text="abc def ghj"))
    error = TypingSession.rebuild(claim, other, ring=RING, limits=LIMITS, now_ms=5000.0, epoch_ms=EPOCH_MS)
    assert isinstance(error, Error)
    assert error.code == "text"


def test_a_catalogue_that_lost_the_text() -> None:
    claim = typed().claim()
    other = material_for(TIME_60, seed=99)
    error = TypingSession.rebuild(claim, other, ring=RING, limits=LIMITS, now_ms=5000.0, epoch_ms=EPOCH_MS)
    assert isinstance(error, Error)
    assert error.code == "stale"


def test_tickets_of_the_key_before_are_good() -> None:
    player = typed()
    rotated = KeyRing([(8, b"n" * 32), (7, bytes(range(32)))])
    claim = Claim.open(player.resume_message(), user=USER, ring=rotated, limits=LIMITS, epoch_ms=EPOCH_MS + 5000)
    assert isinstance(claim, Claim)


# --- on a fresh process ---


@pytest.mark.parametrize("batch", [1, 4, 700])
def test_mid_test(batch: int) -> None:
    """Typing goes on; what came after the receipt was never seen live, and the result says how much that was."""
    player = typed()
    assert player.session.state is State.RUNNING
    assert player.move(after_ms=300, batch=batch) is None
    session = player.session
    assert (session.n, session.ref, session.state, session.replaying) == (11, 2, State.RUNNING, False)
    tick = player.tick()
    assert tick is not None
    receipt = Receipt.open(RING, tick["r"], hash_of(player.ticket))
    assert (receipt.n, receipt.unseen_events, receipt.unseen_ms, receipt.slack_ms) == (11, 6, 6 * 120, 0)
    assert player.type("to", dt=400) is None
    assert player.session.finish(13, now_ms=player.now_ms) is None
    result = player.session.settle(node="n2")
    assert (result.unseen_ms, result.slack_ms, result.seen_live) == (720, 0, 7)
    assert result.verdict == "ok"
    assert result.summary.chars.correct or result.summary.inserts.correct


def test_nothing_is_vouched_for_before_it_was_looked_at() -> None:
    """No ticks while the log comes in, no `finish` either, and the deadline waits."""
    player = typed()
    claim = player.claim()
    session = rebuilt(claim, player.options, now_ms=9000.0)
    assert session.resumed().to_wire() == {
        "t": "resumed",
        "session": "0190163d-8694-739b-8000-000000000001",
        "n": 0,
        "ref": 2,
    }
    assert session.keys(0, player.log[:12], None, now_ms=9010.0) is None
    assert bool(session.replaying)
    assert session.tick(now_ms=9020.0) is None
    assert isinstance(session.finish(6, now_ms=9030.0), Breach)
    assert session.keys(8, player.log[16:], None, now_ms=9040.0) == Gap(6)
    assert session.due(now_ms=1e12) is Due.NOTHING
    assert session.keys(6, player.log[12:], None, now_ms=9050.0) is None
    assert not session.replaying
    assert session.tick(now_ms=9060.0) is not None


def test_a_receipt_for_everything_needs_no_other() -> None:
    player = typed()
    player.tick()
    assert player.move(after_ms=100) is None
    assert player.tick() is None
    assert held(player, away_ms=100) is not None
    assert player.type("t") is None
    assert player.tick() is not None


def test_before_the_first_tick() -> None:
    """Without a receipt nothing was seen; the clock counts from `started`, reaction time included."""
    player = typed(tick_at=None)
    player.move(after_ms=2000)
    player.type("t", dt=2000)
    player.session.finish(12, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.unseen_ms, result.slack_ms, result.seen_live) == (10 * 120, 0, 1)


def test_before_the_first_key() -> None:
    """Nothing typed, nothing lost: no slack however long it took."""
    player = Player(TIME_60)
    now_ms = 90_000.0
    claim = Claim.open(player.resume_message(), user=USER, ring=RING, limits=LIMITS, epoch_ms=EPOCH_MS + int(now_ms))
    assert isinstance(claim, Claim)
    player.session = rebuilt(claim, player.options, now_ms=now_ms)
    player.started_ms = now_ms
    assert not player.session.replaying
    assert player.session.deadline_ms == float("inf")
    assert player.type("the ") is None
    player.session.finish(4, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.unseen_ms, result.slack_ms, result.seen_live) == (0, 0, 4)


def test_slack_is_time_that_the_log_does_not_account_for() -> None:
    """Who stops the clock while away has it held against the result; who merely pauses has not."""
    for dt, slack_ms in ((120, 20_000), (20_120, 0)):
        player = typed()
        player.tick()
        assert player.move(after_ms=10) is None
        player.note(dt, "t")
        assert player.session.keys(11, player.log[22:], None, now_ms=player.now_ms + 20_120 - dt) is None
        player.session.finish(12, now_ms=player.now_ms)
        result = player.session.settle(node="n")
        assert result.slack_ms == slack_ms
        assert result.unseen_ms == 0


def test_an_old_receipt_is_no_undo_button() -> None:
    """Go back to a receipt and type the rest again at leisure: the time since then is slack, the rest unseen."""
    player = typed()
    lost_ms = player.now_ms
    del player.log[10:]
    player.client_ms = 4 * 120.0
    for key in "f better":
        player.note(100, key)
    claim = player.claim()
    player.session = rebuilt(claim, player.options, now_ms=lost_ms + 30_000)
    assert player.send_again(batch=100, now_ms=lost_ms + 30_000) is None
    player.session.finish(player.n, now_ms=lost_ms + 30_001)
    result = player.session.settle(node="n")
    assert result.unseen_ms == 800
    # the test was not typed on, so the clock counts to its limit
    assert result.slack_ms == 0
    player = typed(ZEN)
    lost_ms = player.now_ms
    del player.log[10:]
    player.client_ms = 4 * 120.0
    for key in "f better":
        player.note(100, key)
    player.session = rebuilt(player.claim(), player.options, now_ms=lost_ms + 30_000)
    player.send_again(batch=100, now_ms=lost_ms + 30_000)
    player.session.finish(player.n, now_ms=lost_ms + 30_001)
    result = player.session.settle(node="n")
    assert result.slack_ms == pytest.approx(30_000 + 6 * 120 - 800, abs=1)


def test_resumes_add_up() -> None:
    """A second resume does not launder the first, not even by the receipt that was given in between."""
    player = typed()
    player.move(after_ms=50)
    player.tick()
    player.type("to", dt=5000)
    player.move(after_ms=50)
    player.tick()
    player.type("in", dt=100)
    player.session.finish(player.n, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.unseen_ms == 720 + 10_000
    assert result.seen_live == 15 - 6 - 2


def test_slack_adds_up_over_resumes() -> None:
    """What a receipt says of earlier resumes is carried on by the next one."""
    player = typed()
    player.tick()
    for away_ms in (8000, 9000):
        player.move(after_ms=away_ms)
        player.note(100, "t")
        player.session.keys(player.n - 1, player.log[-2:], None, now_ms=player.now_ms + away_ms)
        assert player.zero_ms is not None
        player.zero_ms += away_ms  # from now on all arrives so much later
        player.tick()
    player.session.finish(player.n, now_ms=player.now_ms)
    assert player.session.settle(node="n").slack_ms == 8000 + 9000


def test_a_receipt_holds_what_32_bits_hold() -> None:
    takeover = Takeover(seen_n=0, offset_ms=0, log_n=1, resumed_ms=0)
    takeover.caught_up(1, scored=1, client_ms=0.6)
    takeover.arrived(2.0**40)
    assert takeover.account() == (1, 1, 2**32 - 1, False)


def test_slack_survives_a_crash_before_it_was_measured() -> None:
    """The receipt of a resumed test that nobody typed on keeps the clocks as they were."""
    player = typed()
    player.tick()
    player.move(after_ms=8000)
    player.session.tick(now_ms=player.now_ms + 8000)
    player.move(after_ms=9000)
    player.note(100, "t")
    player.session.keys(11, player.log[22:], None, now_ms=player.now_ms + 9000)
    player.session.finish(12, now_ms=player.now_ms + 9000)
    assert player.session.settle(node="n").slack_ms == 9000


def test_after_the_end_of_words() -> None:
    """A finished log whose result never came is settled by the log itself, on any later visit."""
    player = Player(WORDS_5)
    text = player.material.text
    player.type(text[:9])
    player.tick()
    player.type(text[9:])
    first = player.session.settle(node="n1")
    assert player.move(after_ms=86_400_000) is None
    assert player.session.ended
    assert not player.session.replaying
    second = player.session.settle(node="n2")
    assert second.core_hash == first.core_hash
    assert first.attestation_rank > second.attestation_rank
    assert second.seen_live == 9
    assert second.unseen_ms == (len(text) - 9) * 120
    assert second.slack_ms == pytest.approx(86_400_000, abs=1)


def test_after_the_end_of_a_timed_test() -> None:
    for late_keys in ("", "xyz"):
        player = Player(TestOptions("time", seconds=10))
        player.type("the of and", dt=900)
        player.tick()
        player.type("to", dt=300)
        if late_keys:
            player.type(late_keys, dt=700)
        assert player.move(after_ms=100) is None
        assert not player.session.ended
        assert player.session.finish(player.n, now_ms=player.now_ms + 101) is None
        result = player.session.settle(node="n")
        assert result.summary.inserts.correct + result.summary.inserts.wrong == (13 if late_keys else 12)
        assert result.unseen_ms == (1900 if late_keys else 600)
        assert result.seen_live == 10


def test_a_receipt_that_covers_events_after_the_end() -> None:
    player = Player(TestOptions("time", seconds=10))
    player.type("abc", dt=4000)
    player.type("def", dt=4000)
    player.tick()
    player.type("g")
    assert player.move(after_ms=100) is None
    player.session.finish(7, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.unseen_ms == 0
    assert result.verdict != "void"


def test_after_the_deadline() -> None:
    """A test that ran out while its typist was offline waits for the log, then for `finish`, then asks by ping.

    It waits for as long as it may still go on by the typist's clock: the log alone tells how far that one is.
    """
    player = typed(TestOptions("time", seconds=10))
    player.move(after_ms=600_000)
    deadline_ms = player.session.deadline_ms
    left_ms = 10_000 - player.client_ms
    assert deadline_ms == player.now_ms + 600_000 + left_ms + 2000
    assert player.session.due(now_ms=deadline_ms) is Due.PING
    assert player.session.pong(now_ms=deadline_ms + 5) is None
    result = player.session.settle(node="n")
    assert result.slack_ms > 500_000
    untimed = typed(ZEN)
    untimed.move(after_ms=7_200_000)
    assert untimed.session.due(now_ms=untimed.session.deadline_ms) is Due.SETTLE


@pytest.mark.parametrize("apart_ms", [-3_600_000, 3_600_000])
@pytest.mark.parametrize("options", [TestOptions("time", seconds=10), TestOptions("quote")], ids=["timed", "untimed"])
def test_a_clock_that_is_wrong_ends_no_test(options: TestOptions, apart_ms: int) -> None:
    """Taken over by a server whose clock is an hour off, a test has all the time that it has left."""
    player = typed(options)
    now_ms = player.now_ms + 1000
    player.session = TypingSession.rebuild(  # type: ignore[assignment]  # it is no error
        player.claim(),
        player.material,
        ring=RING,
        limits=LIMITS,
        now_ms=now_ms,
        epoch_ms=EPOCH_MS + int(now_ms) + apart_ms,
    )
    assert player.send_again(batch=700, now_ms=now_ms) is None
    longest_ms = 10_000 if options.seconds else LIMITS.untimed_ms
    assert player.session.deadline_ms >= now_ms + longest_ms - player.client_ms


def test_what_came_back_and_was_not_typed_on() -> None:
    """Until something live comes, a test that was resumed is only on its way back."""
    player = typed(TIME_60)
    before = player.session.returning
    player.move(after_ms=1000)
    back = player.session.returning
    player.type("x", dt=2000)
    assert (before, back, player.session.returning) == (False, True, False)


def test_a_log_beyond_the_longest_duration() -> None:
    player = Player(TestOptions("quote"))
    player.type(QUOTE[:5])
    player.tick()
    player.note(3_600_000, "x")
    assert refusal(player.move(after_ms=0)) == "expired"
    assert player.session.state is State.ABANDONED


def test_a_log_beyond_the_most_events() -> None:
    limits = SessionLimits(events=3000)
    player = Player(ZEN, limits=limits)
    for _ in range(3500):
        player.note(30, "a")
    player.session.keys(0, player.log, None, now_ms=player.now_ms)
    first = player.session.settle(node="n")
    assert player.move(after_ms=100) is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert result.core_hash == first.core_hash
    assert (result.seen_live, result.unseen_ms) == (0, 2999 * 30)


@pytest.mark.parametrize("batch", [1, 3, 700])
def test_a_log_that_differs_from_what_was_seen(batch: int) -> None:
    """The client is told once, may go on, and the result is void, with the reason."""
    player = typed()
    player.log[3] = "x"
    outcome = player.move(after_ms=10, batch=batch)
    assert refusal(outcome) == "conflict"
    assert player.type("to") is None
    tick = player.tick()
    assert tick is not None
    assert Receipt.open(RING, tick["r"], hash_of(player.ticket)).conflict
    player.session.finish(13, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert result.verdict == "void"
    assert "conflict" in [reason.name for reason in result.reasons]
    assert result.seen_live == 2, "what was seen was another log"
    assert result.unseen_ms == 10 * 120
    # and no later resume makes it good again
    assert player.move(after_ms=20) is None
    player.session.finish(13, now_ms=player.now_ms)
    assert player.session.settle(node="n").verdict == "void"


def test_a_log_shorter_than_its_receipt() -> None:
    player = typed()
    del player.log[8:]
    player.client_ms = 3 * 120.0
    assert refusal(player.move(after_ms=10)) == "conflict"
    player.session.finish(4, now_ms=player.now_ms)
    assert player.session.settle(node="n").verdict == "void"


def test_a_log_that_ends_before_its_receipt() -> None:
    """Another log, which completes the text before the events that were seen: void, and settled all the same."""
    player = Player(TEXT)
    player.type("abx\bc de")
    player.tick()
    shorter = Player(TEXT)
    for key in "abc def ghi":
        shorter.note(100, key)
    player.log, player.client_ms = shorter.log, shorter.client_ms
    player.receipt = Receipt(20, EPOCH_MS + 3000, bytes(16)).seal(RING, hash_of(player.ticket))
    player.log += [10, "x"] * 12
    assert refusal(player.move(after_ms=10)) == "conflict"
    assert player.session.ended
    assert player.session.n == 11
    assert player.session.due(now_ms=1e12) is Due.SETTLE, "nobody looks for an end behind an error"
    result = player.session.settle(node="n")
    assert result.verdict == "void"
    assert (result.seen_live, result.unseen_ms) == (0, 1000)


def test_a_forged_receipt_of_many_events_is_no_receipt() -> None:
    player = typed()
    player.receipt = Receipt(11, EPOCH_MS, bytes(16)).seal(KeyRing([(7, b"f" * 32)]), hash_of(player.ticket))
    error = opened(player)
    assert isinstance(error, Error)
    assert error.code == "ticket"


def test_wrong_values_while_the_log_comes_again() -> None:
    player = typed()
    session = rebuilt(player.claim(), player.options, now_ms=9000.0)
    assert isinstance(session.keys(0, [5, "a", 5.5, "b"], None, now_ms=9000.0), Breach)


def test_speed_is_held_against_resumed_logs_too() -> None:
    player = typed(ZEN)
    for _ in range(6000):
        player.note(1, "a")
    outcome = player.move(after_ms=10)
    assert isinstance(outcome, Breach)


# --- on the process that has it ---


def test_the_holder_goes_on_with_what_it_saw() -> None:
    player = typed()
    answer = held(player, away_ms=5000)
    assert answer is not None
    assert (answer.n, answer.ref) == (5, 2), "from where the receipt ends"
    assert player.session.state is State.RUNNING
    assert player.send_again(batch=4, now_ms=player.now_ms + 5000) is None
    assert player.type("to", dt=5000) is None
    assert player.session.finish(13, now_ms=player.now_ms) is None
    result = player.session.settle(node="n")
    assert (result.unseen_ms, result.slack_ms, result.seen_live, result.verdict) == (0, 0, 13, "ok")


def test_another_way_through_the_network_is_no_drift() -> None:
    """After a resume the clocks are compared anew: the new path may be slower for good."""
    player = typed()
    assert back(player, away_ms=10) is None
    for key in "to in that":
        since = player.n
        player.note(120, key)
        assert player.send(since, late_ms=1400.0) is None
    player.session.finish(player.n, now_ms=player.now_ms + 1500)
    result = player.session.settle(node="n")
    assert result.drift_ms == 0
    assert "drift_ms" not in [reason.name for reason in result.reasons]
    assert result.slack_ms == 1400


def test_what_was_typed_while_away_is_unseen() -> None:
    player = typed()
    for key in "to in":
        player.note(200, key)
    answer = held(player, away_ms=0)
    assert answer is not None
    assert bool(player.session.replaying)
    assert player.send(answer.n) is None
    assert not player.session.replaying
    player.session.finish(player.n, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.unseen_ms, result.seen_live) == (1000, 11)


def test_a_connection_lost_again_while_the_log_comes() -> None:
    """What had come by then is still unseen, what was seen before still seen; all of it is held to that."""
    player = typed()
    for key in "to in":
        player.note(200, key)
    assert held(player, away_ms=0) is not None
    assert player.session.keys(5, player.log[10:26], None, now_ms=player.now_ms) is None
    player.note(200, " ")
    assert held(player, away_ms=100) is None
    anew(player, away_ms=100)
    assert player.send(0) is None
    player.session.finish(player.n, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.unseen_ms, result.seen_live) == (1200, 11)


def test_a_rebuilt_session_that_is_lost_before_it_caught_up() -> None:
    """Its own copy does not outrank the receipt: the log is still held to that."""
    for tampered in (False, True):
        player = typed()
        player.session = rebuilt(player.claim(), player.options, now_ms=player.now_ms + 10)
        assert player.session.keys(0, player.log[:4], None, now_ms=player.now_ms + 10) is None
        if tampered:
            player.log[7] = "x"
        assert held(player, away_ms=20) is None
        anew(player, away_ms=20)
        outcome = player.send(0)
        assert (outcome is None) is not tampered
        player.session.finish(11, now_ms=player.now_ms)
        result = player.session.settle(node="n")
        assert (result.verdict == "void") is tampered
        assert result.unseen_ms == (1200 if tampered else 720)


@pytest.mark.parametrize("lost", ["nothing", "a receipt", "all receipts"])
def test_the_holder_takes_any_receipt_of_what_it_saw(lost: str) -> None:
    player = typed()
    early = player.receipt
    player.tick()
    if lost != "nothing":
        player.receipt = early if lost == "a receipt" else None
    assert back(player, away_ms=10) is None
    assert player.type("to") is None
    assert player.session.answer().account is not None


def test_a_client_that_has_less_than_was_seen() -> None:
    """Its log cannot be the one: what it sends again makes a void result."""
    player = typed()
    assert held(player, away_ms=10, n=10) is None
    assert player.session.state is State.DETACHED
    del player.log[20:]
    player.client_ms -= 120
    anew(player, away_ms=10)
    assert player.send(0) is None, "it was told already"
    player.session.finish(10, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.verdict, result.seen_live) == ("void", 0)


@pytest.mark.parametrize(
    "receipt",
    [Receipt(5, EPOCH_MS, bytes(16)), Receipt(11, EPOCH_MS, bytes(16))],
    ids=["of others", "of other last ones"],
)
def test_the_holder_takes_no_receipt_of_another_log(receipt: Receipt) -> None:
    player = typed()
    player.tick()
    player.receipt = receipt.seal(RING, hash_of(player.ticket))
    assert held(player, away_ms=10, n=20) is None
    anew(player, away_ms=10)
    assert player.send(0) is None
    player.session.finish(11, now_ms=player.now_ms)
    assert player.session.settle(node="n").verdict == "void"


def test_the_holder_takes_no_other_ticket() -> None:
    player = typed()
    ticket = replace(ticket_of(player), seed=77).seal(RING)
    assert held(player, away_ms=10, ticket=ticket, receipt=None) is None
    claim = player.claim(ticket=ticket, receipt=None)
    assert player.session.answer(Question.of(claim, epoch=0)).conflict


# --- what comes again is held to what is here ---


def compared(options: TestOptions = TIME_60, keys: str = SOME, *, more: str = "", **changes: Any) -> Player:
    """Back on the process that has it, with a receipt for 5 events; `more` was typed meanwhile."""
    player = typed(options, keys)
    for key in more:
        player.note(100, key)
    answer = held(player, away_ms=50, **changes)
    assert answer is not None
    assert answer.n == (5 if player.claim(**changes).receipt is not None else 0)
    return player


def void(player: Player) -> bool:
    """Whether it is, made anew, sent whole and finished."""
    anew(player, away_ms=60)
    outcome = player.send(0)
    assert outcome is None, "the client was told already"
    assert player.session.finish(player.n, now_ms=player.now_ms) is None
    result = player.session.settle(node="n")
    assert result.summary.inserts.correct + result.summary.inserts.wrong == player.n, "it is the client's own log"
    return result.verdict == "void"


@pytest.mark.parametrize("receipt", ["some", "none"])
@pytest.mark.parametrize("batch", [1, 2, 40])
@pytest.mark.parametrize("more", ["", "to in"])
@pytest.mark.parametrize("what", ["key", "time"])
def test_a_log_that_parted_behind_the_receipt(receipt: str, batch: int, more: str, what: str) -> None:
    """Wherever: the first event that differs is told, however they come, and nothing of the other log is taken."""
    for at in range(5 if receipt == "some" else 0, 11):
        player = compared(more=more) if receipt == "some" else compared(more=more, receipt=None)
        history = bytes(player.session._history)
        if what == "key":
            player.log[2 * at + 1] = "#"
        else:
            player.log[2 * at] += 1
        outcome = player.send_again(batch=batch, now_ms=player.now_ms + 50)
        assert isinstance(outcome, Differs)
        assert outcome.claim.n == player.n
        assert bytes(player.session._history) == history
        assert void(player)


def test_what_is_compared_is_not_taken_twice() -> None:
    """Neither scored nor put to the log; the clocks are compared with what comes live."""
    player = compared(TEXT, "abc de", more="f")
    figures = player.session.figures()
    assert player.session.keys(3, player.log[6:8], None, now_ms=player.now_ms + 50) is None, "before what is wanted"
    assert player.session.keys(5, player.log[10:12], None, now_ms=player.now_ms + 50) is None
    assert player.session.figures() == figures
    assert bool(player.session.replaying)
    assert player.session.keys(6, player.log[12:], [6, 80], now_ms=player.now_ms + 50) is None
    assert player.session.n == 7
    assert not player.session.replaying
    assert player.type(" ghi") is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert (result.seen_live, result.unseen_ms, result.verdict) == (10, 100, "ok")


def test_while_it_is_compared() -> None:
    """No tick, no end, no deadline; what is missing is asked for, and what was seen is told to who takes it over."""
    player = compared()
    session = player.session
    seen = session.answer().account
    assert seen is not None
    assert seen.n == 11
    assert session.keys(11, [100, "t"], None, now_ms=player.now_ms) == Gap(5)
    assert session.keys(5, player.log[10:16], None, now_ms=player.now_ms) is None
    assert session.keys(9, player.log[18:], None, now_ms=player.now_ms) == Gap(8)
    assert session.finish(11, now_ms=player.now_ms) == Gap(8)
    assert isinstance(session.finish(8, now_ms=player.now_ms), Breach), "its log was said to be longer"
    assert session.tick(now_ms=player.now_ms) is None
    assert session.deadline_ms == inf
    assert session.answer().account == seen
    assert isinstance(session.keys(8, [5, "a", 5.5, "b"], None, now_ms=player.now_ms), Breach)
    assert session.keys(8, player.log[16:], None, now_ms=player.now_ms) is None
    assert session.tick(now_ms=player.now_ms) is not None
    assert session.deadline_ms < inf
    assert session.finish(11, now_ms=player.now_ms) is None


@pytest.mark.parametrize("parted", [False, True])
def test_a_connection_lost_again_while_it_is_compared(parted: bool) -> None:
    """All of it comes again, and is held to all that was seen."""
    player = compared(more="to")
    assert player.session.keys(5, player.log[10:14], None, now_ms=player.now_ms) is None
    assert held(player, away_ms=100) is None
    if parted:
        player.log[17] = "#"
    anew(player, away_ms=100)
    outcome = player.send(0)
    assert (refusal(outcome) if parted else outcome) == ("conflict" if parted else None)
    player.session.finish(13, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.verdict == "void", result.seen_live) == (parted, 0 if parted else 11)


def test_a_long_log_is_compared_in_slices() -> None:
    """Nobody else waits for it."""
    player = typed(ZEN, "a" * 1000)
    answer = held(player, away_ms=10, receipt=None)
    assert answer is not None
    feeding = player.session.feeding(0, player.log, None, now_ms=player.now_ms)
    assert len(list(feeding)) == 3
    assert not player.session.replaying


def test_nothing_typed_yet() -> None:
    player = Player(TIME_60)
    player.session.detach(now_ms=2000.0)
    claim = Claim.open(player.resume_message(), user=USER, ring=RING, limits=LIMITS, epoch_ms=EPOCH_MS + 3000)
    assert isinstance(claim, Claim)
    answer = player.session.reattach(claim, now_ms=3000.0)
    assert answer is not None
    assert (answer.n, player.session.state) == (0, State.RUNNING)
    assert player.type("the ") is None
    player.session.finish(4, now_ms=player.now_ms)
    assert player.session.settle(node="n").unseen_ms == 0


def test_detached_sessions_are_forgotten() -> None:
    player = typed()
    player.session.detach(now_ms=5000.0)
    assert player.session.state.value == "detached"
    assert player.session.tick(now_ms=5001.0) is None
    assert player.session.deadline_ms == 125_000
    player.session.detach(now_ms=6000.0)
    assert player.session.deadline_ms == 125_000, "once is enough"
    assert player.session.due(now_ms=124_999.0) is Due.NOTHING
    assert player.session.due(now_ms=125_000.0) is Due.FORGET
    assert player.session.state is State.ABANDONED
    with pytest.raises(Illegal):
        player.session.reattach(player.claim(), now_ms=126_000.0)
    assert player.move(after_ms=200_000) is None, "the log makes it anew"


def test_a_detached_session_may_be_aborted() -> None:
    player = typed()
    player.session.detach(now_ms=5000.0)
    player.session.abort()
    assert player.session.state is State.ABANDONED


def test_a_lost_connection_after_the_end_changes_nothing() -> None:
    player = Player(TEXT)
    player.type("abc def ghi")
    player.session.detach(now_ms=player.now_ms)
    assert player.session.ended
    assert player.session.state is State.FINISHED


def test_a_ping_that_was_never_answered() -> None:
    """Without the pong the test is detached, not finished; back again it has its time anew, and is asked again."""
    player = typed(TestOptions("time", seconds=10))
    asked_ms = player.session.deadline_ms
    assert player.session.due(now_ms=asked_ms) is Due.PING
    player.session.detach(now_ms=asked_ms + 20_000)
    assert player.session.pong(now_ms=asked_ms + 20_001) is None
    assert not player.session.ended
    assert player.session.reattach(player.claim(), now_ms=asked_ms + 30_000) is not None
    assert player.session.deadline_ms == inf, "nothing is due while it is compared"
    assert player.send_again(batch=4, now_ms=asked_ms + 30_000) is None
    again_ms = player.session.deadline_ms
    assert again_ms == asked_ms + 30_000 + (10_000 - player.client_ms) + 2000
    assert player.session.due(now_ms=again_ms) is Due.PING
    assert player.session.pong(now_ms=again_ms + 100) is None
    assert player.session.ended


def test_a_holder_whose_test_is_over_but_for_finish() -> None:
    player = Player(TestOptions("time", seconds=10))
    player.type("the of", dt=1500)
    player.type("x", dt=4000)
    assert back(player, away_ms=300) is None
    assert player.session.finish(7, now_ms=player.now_ms + 400) is None
    result = player.session.settle(node="n")
    assert result.unseen_ms == 0


def test_resumed_by_a_page_that_was_loaded_anew() -> None:
    """The page has ticket, receipt and log from its storage, and text and ref are its own business again."""
    player = typed(TEXT, "abc d")
    assert player.move(after_ms=1500, ref=0) is None
    assert player.session.ref == 0
    assert player.type("ef ghi", dt=1500) is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert (result.text, result.slack_ms) == ("abc def ghi", 0)


def test_a_ticket_reads_as_it_was_given() -> None:
    player = typed()
    assert Ticket.open(RING, player.claim().sealed) == ticket_of(player)
    assert player.session.id == session_id(1)
