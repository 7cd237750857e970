"""What a session's holder says to who takes it over, and what that comes to."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.holder import NOTHING, Answer, Grounds, Question, Word, outdated, weigh
from session.machine import TypingSession
from session.messages import Error
from session.options import TestOptions
from session.receipt import Receipt, hash_of
from session.resume import Claim
from tests.session.play import EPOCH_MS, LIMITS, Player, held, rebuilt
from tests.session.test_resume import ZEN, refusal, typed

TIME_15 = TestOptions("time", seconds=15)
ACCOUNT = Receipt(7, EPOCH_MS + 9_000, b"d" * 16, 1, 20, 300)


def asked(player: Player, *, epoch: int = 5, **changes: Any) -> Question:
    return Question.of(player.claim(**changes), epoch=epoch)


def grounds(claim: Claim, answer: Answer | None, *, epoch: int = 5) -> Grounds:
    weighed = weigh(claim, answer, epoch=epoch)
    assert isinstance(weighed, Grounds)
    return weighed


def taken(player: Player, answer: Answer | None, *, after_ms: float = 500.0, epoch: int = 5) -> Any:
    """Another process goes on with the player's test, on what this answer comes to; what it says to the log."""
    found = grounds(player.claim(after_ms=after_ms), answer, epoch=epoch)
    now_ms = player.now_ms + after_ms
    player.session = rebuilt(
        found.claim,
        player.options,
        now_ms=now_ms,
        seed=player.seed,
        conflict=found.conflict,
        epoch=found.epoch,
        finished=found.finished,
    )
    return player.send_again(batch=3, now_ms=now_ms)


# --- what it comes to ---


@pytest.mark.parametrize("answer", [None, NOTHING, Answer(Word.LATER, epoch=9)], ids=["silent", "nothing", "later"])
def test_without_a_holder_the_receipt_alone_counts(answer: Answer | None) -> None:
    claim = typed().claim()
    assert weigh(claim, answer, epoch=5) == Grounds(claim, 5)


def test_what_was_aborted_is_gone() -> None:
    error = weigh(typed().claim(), Answer(Word.ABORTED), epoch=5)
    assert isinstance(error, Error)
    assert (error.code, error.ref, error.retry) == ("gone", 2, None)


@pytest.mark.parametrize("word", [Word.HELD, Word.FINISHED])
def test_the_holders_account_stands_in_for_the_receipt(word: Word) -> None:
    claim = typed(tick_at=7).claim()
    found = grounds(claim, Answer(word, ACCOUNT))
    assert found == Grounds(replace(claim, receipt=ACCOUNT), 5, finished=word is Word.FINISHED)
    assert grounds(claim, Answer(word, replace(ACCOUNT, n=8))).claim.receipt == replace(ACCOUNT, n=8)
    assert grounds(replace(claim, receipt=None), Answer(word, ACCOUNT)).claim.receipt == ACCOUNT


@pytest.mark.parametrize("word", [Word.HELD, Word.FINISHED])
def test_a_receipt_for_more_stands_before_an_outdated_account(word: Word) -> None:
    """And the log is held to both."""
    player = typed()
    player.tick()
    claim = player.claim()
    account = replace(ACCOUNT, n=10)
    assert outdated(claim, Answer(word, account))
    assert grounds(claim, Answer(word, account)).claim == replace(claim, older=(10, ACCOUNT.digest))
    assert grounds(claim, Answer(word)).claim == claim, "it had seen nothing"
    assert not outdated(claim, Answer(word, replace(ACCOUNT, n=11)))
    assert not outdated(replace(claim, receipt=None), Answer(word))
    assert not outdated(claim, NOTHING)
    assert not outdated(claim, None)


def test_a_log_shorter_than_the_account_conflicts() -> None:
    claim = typed().claim()
    assert not grounds(claim, Answer(Word.HELD, replace(ACCOUNT, n=claim.n))).conflict
    assert grounds(claim, Answer(Word.HELD, replace(ACCOUNT, n=claim.n + 1))).conflict
    assert grounds(claim, Answer(Word.HELD, ACCOUNT, conflict=True)).conflict


# --- what a session says ---


def test_all_that_was_seen() -> None:
    """Beyond the last receipt, and with the clock at the last event."""
    player = typed()
    answer = player.session.answer(asked(player))
    assert answer == Answer(
        Word.HELD, Receipt(11, int(EPOCH_MS + player.now_ms), hash_of(player.session._history)), conflict=False
    )
    assert player.session.answer() == answer
    assert taken(player, answer) is None
    player.session.finish(11, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.seen_live, result.unseen_ms, result.epoch, result.verdict) == (11, 0, 5, "ok")


def test_a_session_without_a_key_has_seen_nothing() -> None:
    player = Player(ZEN)
    assert (player.session.seen, player.session.taken) == (False, False)
    assert player.session.answer() == Answer(Word.HELD)
    player = typed()
    player.session = rebuilt(player.claim(receipt=None), player.options, now_ms=player.now_ms)
    assert (player.session.seen, player.session.taken) == (False, True)
    player.session = rebuilt(player.claim(), player.options, now_ms=player.now_ms, conflict=True)
    assert player.session.seen


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"receipt": None}, True),
        ({"n": 12}, True),
        ({"n": 10}, False),
        ({"ticket_hash": bytes(16)}, False),
        ({"receipt": (4, bytes(16))}, False),
        ({"n": 12, "receipt": (12, bytes(16))}, True),  # whoever saw more than this copy has the last word
    ],
)
def test_whether_a_claim_is_about_what_was_seen(changes: dict[str, Any], same: bool) -> None:
    player = typed()
    assert player.session.answer(replace(asked(player), **changes)).conflict is not same


def test_an_account_goes_on_from_the_one_before() -> None:
    """What was unseen at one takeover stays so at the next, and epochs go on."""
    player = typed()
    player.note(400, "x")
    player.client_ms -= 400
    assert taken(player, player.session.answer(asked(player)), after_ms=2_000) is None
    assert player.type("y", dt=400) is None
    account = player.session.answer(asked(player)).account
    assert account is not None
    assert (account.n, account.unseen_events, account.unseen_ms) == (13, 1, 400)
    assert player.session.epoch == 5
    assert taken(player, player.session.answer(asked(player, epoch=6)), epoch=6) is None
    assert player.session.epoch == 6
    player.session.finish(13, now_ms=player.now_ms)
    assert player.session.settle(node="n").unseen_ms == 400


@pytest.mark.parametrize("events", [0, 4, 7, 10], ids=["none", "before", "between", "almost all"])
def test_in_the_middle_of_a_replay_what_was_seen_before_stands(events: int) -> None:
    """However much of the log has come by now: it was not seen here."""
    player = typed(tick_at=7)
    player.session = rebuilt(player.claim(), player.options, now_ms=player.now_ms + 500)
    if events:
        player.session.keys(0, player.log[: 2 * events], None, now_ms=player.now_ms + 500)
    assert player.session.replaying
    assert player.session.seen
    answer = player.session.answer(asked(player))
    assert answer.account == player.claim().receipt
    assert not answer.conflict
    assert player.session.answer(replace(asked(player), n=max(6, events - 1))).conflict
    assert taken(player, answer) is None
    player.session.finish(11, now_ms=player.now_ms)
    assert player.session.settle(node="n").seen_live == 7


def test_in_the_middle_of_a_replay_after_a_return_to_the_same_process() -> None:
    """What was here before the return stands, and not what the client says that it typed meanwhile."""
    player = typed()
    for key in "offline":
        player.note(100, key)
    assert held(player, away_ms=800) is not None
    answer = player.session.answer(asked(player))
    assert answer.account is not None
    assert answer.account.n == 11
    player.send(5, late_ms=100)
    answer = player.session.answer(asked(player))
    assert answer.account is not None
    assert (answer.account.n, answer.account.unseen_events) == (18, 7)


def test_a_second_resume_in_the_middle_of_a_replay_cannot_shorten_the_log() -> None:
    """What the receipt vouches for is still to come: a log without it conflicts, here as elsewhere."""
    player = typed(tick_at=7)
    player.session = rebuilt(player.claim(), player.options, now_ms=player.now_ms)
    player.session.detach(now_ms=player.now_ms)
    for n in (6, 7):
        assert player.session.reattach(player.claim(n=n), now_ms=player.now_ms) is None
        assert player.session.answer(asked(player, n=n)).conflict is (n < 7)


def test_a_conflict_is_handed_on() -> None:
    player = typed()
    player.log[3] = "x"
    assert refusal(player.move()) == "conflict"
    answer = player.session.answer(asked(player))
    assert answer.conflict
    taken(player, answer)
    player.session.finish(11, now_ms=player.now_ms)
    assert player.session.settle(node="n").verdict == "void"


def test_who_saw_the_end_leaves_no_slack() -> None:
    """However long after the test's end its client comes back; the same core comes of it."""
    player = Player(TIME_15)
    player.type(list(player.material.text[:90]), dt=160)
    assert player.session.finish(90, now_ms=player.now_ms) is None
    first = player.session.settled(node="n")
    account = Receipt(first.n, int(EPOCH_MS + player.now_ms), first.result.log_digest)
    taken(player, Answer(Word.FINISHED, account), after_ms=600_000)
    assert player.session.finish(90, now_ms=player.now_ms) is None
    second = player.session.settle(node="m")
    assert (second.slack_ms, second.unseen_ms) == (0, 0)
    assert (second.core_hash, second.seen_live) == (first.result.core_hash, first.result.seen_live)


def elsewhere(player: Player, keys: str) -> TypingSession:
    """The test goes on at another process, that heard nothing of this one's copy; the copy."""
    copy = player.session
    player.tick()
    copy.detach(now_ms=player.now_ms)
    assert player.move(after_ms=100) is None
    player.type(list(keys))
    player.tick()
    return copy


def test_a_copy_that_is_outdated_is_no_authority() -> None:
    """The test went on elsewhere, as the receipt says: nothing conflicts, and what was seen does not count anew."""
    player = typed()
    copy = elsewhere(player, "there")
    assert copy.reattach(player.claim(), now_ms=player.now_ms) is None
    answer = copy.answer(asked(player))
    assert (answer.conflict, answer.account is not None and answer.account.n) == (False, 11)
    assert taken(player, answer) is None
    player.session.finish(16, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.verdict, result.seen_live, result.unseen_ms) == ("ok", 16, 0)


@pytest.mark.parametrize("at", [1, 5, 10])
def test_a_log_is_held_to_an_outdated_copy_as_well(at: int) -> None:
    """What it saw is not in the log that was seen elsewhere: the result is void."""
    player = typed(tick_at=at)
    copy = player.session
    player.log[2 * at + 1] = "#"  # better, and no receipt that the client shows is against it
    assert player.move(after_ms=100) is None
    player.type(list("there"))
    player.tick()
    assert refusal(taken(player, copy.answer(asked(player)))) == "conflict"
    player.session.finish(16, now_ms=player.now_ms)
    result = player.session.settle(node="n")
    assert (result.verdict, result.seen_live) == ("void", 0)


# --- on the wire ---

BYTES = st.binary(min_size=16, max_size=16)
WHOLE = st.integers(0, (1 << 53) - 1)
QUESTIONS = st.builds(Question, BYTES, WHOLE, BYTES, WHOLE, st.none() | st.tuples(WHOLE, BYTES))
RECEIPTS = st.builds(Receipt, WHOLE, WHOLE, BYTES, WHOLE, WHOLE, WHOLE, st.booleans())
ANSWERS = st.builds(Answer, st.sampled_from(Word), st.none() | RECEIPTS, conflict=st.booleans(), epoch=WHOLE)


@given(QUESTIONS, ANSWERS, st.lists(st.integers(), max_size=2))
def test_what_is_said_is_heard(question: Question, answer: Answer, more: list[int]) -> None:
    """And a newer version may say more at the end."""
    assert Question.of_wire(question.to_wire() + more) == question
    if answer.account is not None:
        assert Answer.of_wire(answer.to_wire() + more) == answer
    assert Answer.of_wire(answer.to_wire()) == answer


def test_a_word_that_is_not_known_is_as_if_there_was_nothing() -> None:
    assert Answer.of_wire(["hibernated", 3, False]) == replace(NOTHING, epoch=3)


GOOD = Question(b"s" * 16, 1, b"t" * 16, 9, (3, b"d" * 16)).to_wire()
SAID = Answer(Word.HELD, ACCOUNT).to_wire()


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("odd", [None, "x", -1, 1 << 53, True, 1.5, b"", []])
def test_no_question(at: int, odd: Any) -> None:
    with pytest.raises(ValueError, match=r"no |bytes"):
        Question.of_wire([*GOOD[:at], odd, *GOOD[at + 1 :]])


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize("odd", [None, -1, 1 << 53, 1.5, b"", []])
def test_no_answer(at: int, odd: Any) -> None:
    with pytest.raises(ValueError, match=r"no |bytes"):
        Answer.of_wire([*SAID[:at], odd, *SAID[at + 1 :]])


@pytest.mark.parametrize("odd", [None, "held", 3, [], ["held"], SAID[:7]])
def test_neither(odd: Any) -> None:
    with pytest.raises(ValueError, match="no "):
        Answer.of_wire(odd)
    with pytest.raises(ValueError, match="no "):
        Question.of_wire(odd)


def test_limits_hold_for_an_account_too() -> None:
    """A claim beyond the longest log is cut to it, whoever vouches for more."""
    claim = typed().claim(n=LIMITS.events + 5)
    assert grounds(claim, Answer(Word.HELD, ACCOUNT)).claim.n == LIMITS.events + 5
