"""One typing session, live: starts, keys, ticks, every way to end, and what closes a connection."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from scoring import SCORING_VERSION
from scoring.replay import decode
from scoring.slices import at_once
from session.history import encode
from session.machine import SLICED_EVENTS, Breach, Due, Gap, Refused, TypingSession
from session.messages import CloseCode
from session.options import SessionLimits, TestOptions
from session.receipt import Receipt, hash_of
from session.state import Illegal, State
from tests.session.play import (
    EPOCH_MS,
    QUOTE,
    RING,
    USER,
    Player,
    code_of,
    rescored,
    session_id,
    ticket_of,
)

WORDS_5 = TestOptions("words", count=5)
TIME_10 = TestOptions("time", seconds=10)
TEXT = TestOptions("text", text="abc def")
ZEN = TestOptions("zen")


# --- start ---


@pytest.mark.parametrize(
    ("options", "text", "cyclic"),
    [
        (WORDS_5, None, False),
        (TIME_10, None, True),
        (TestOptions("quote"), QUOTE, False),
        (TEXT, "abc def", False),
        (replace(TEXT, seconds=15), "abc def ", True),
        (ZEN, "", False),
        (replace(ZEN, input="ime", tags=("a",), numbers=True), "", False),
    ],
    ids=["words", "time", "quote", "text", "timed text", "zen", "zen with all"],
)
def test_started(options: TestOptions, text: str | None, cyclic: bool) -> None:
    """`started` says what to type; its ticket says all that it takes to make the test again."""
    player = Player(options)
    started = player.session.started(player.material)
    assert started.text == (player.material.text if text is None else text)
    assert (started.session, started.ref, started.mode, started.cyclic) == (session_id(1), 1, options.mode, cyclic)
    assert (started.count, started.seconds, started.input) == (options.count, options.seconds, options.input)
    assert started.title == ("Care" if options.mode == "quote" else None)
    ticket = ticket_of(player)
    assert ticket.user == USER
    assert ticket.options == replace(options, text=None, language="en", test=9 if options.mode == "quote" else None)
    assert ticket.text_hash == hash_of(started.text.encode())
    assert ticket.scoring_version == SCORING_VERSION
    assert ticket.started_ms == EPOCH_MS + 1000
    assert (ticket.test_version, ticket.list_version, ticket.generator) == {
        "quote": (2, 0, 0),
        "words": (0, 3, 1),
        "time": (0, 3, 1),
    }.get(options.mode, (0, 0, 0))
    assert player.session.state is State.CREATED
    assert player.session.deadline_ms == inf
    assert player.session.tick(now_ms=2000.0) is None


# --- keys ---


def test_ticks_acknowledge_what_is_there() -> None:
    player = Player(TIME_10)
    typed = player.material.text[:8]
    assert player.type(typed[:3]) is None
    tick = player.tick()
    assert tick is not None
    assert (tick["t"], tick["n"], tick["acc"], tick["err"], tick["pos"]) == ("tick", 3, 100.0, 0, [1, 0])
    assert tick["wpm"] == tick["raw"] == 150.0
    receipt = Receipt.open(RING, tick["r"], hash_of(player.ticket))
    history = bytearray()
    encode(player.log, history)
    assert receipt == Receipt(3, EPOCH_MS + int(player.now_ms), hash_of(history))
    assert player.tick() is None, "nothing changed"
    assert player.type("#") is None
    tick = player.tick()
    assert tick is not None
    assert (tick["n"], tick["err"]) == (4, 1)


def test_resent_events_are_skipped_and_gaps_are_told() -> None:
    player = Player(TIME_10)
    assert player.type("abcd") is None
    assert player.session.keys(0, player.log, None, now_ms=player.now_ms) is None
    assert player.session.n == 4
    outcome = player.session.keys(6, [5, "x"], None, now_ms=player.now_ms)
    assert outcome == Gap(4)
    assert player.session.n == 4
    error = outcome.error(9)
    assert (error.code, error.expected, error.retry, error.ref) == ("gap", 4, 0, 9)
    player.note(50, "e")
    player.note(50, "f")
    assert player.send(2) is None, "an overlap takes what is new"
    assert player.session.n == 6


def test_frames_without_events() -> None:
    """Holds may come alone; before the first key an empty frame changes nothing."""
    player = Player(TIME_10)
    assert player.session.keys(0, [], None, now_ms=1500.0) is None
    assert player.session.state is State.CREATED
    assert player.type("ab") is None
    assert player.session.keys(2, [], [1, 80], now_ms=player.now_ms) is None
    assert player.session.n == 2


FRAMES: list[tuple[Any, Any, Any]] = [
    (True, [5, "a"], None),
    (2.0, [5, "a"], None),
    (-1, [5, "a"], None),
    ("2", [5, "a"], None),
    (None, [5, "a"], None),
    (10**30, [5, "a"], "h"),
    (2, None, None),
    (2, "ab", None),
    (2, [5], None),
    (2, [5, "a", 6], None),
    (2, {5: "a"}, None),
    (2, [True, "a"], None),
    (2, [5.0, "a"], None),
    (2, [nan, "a"], None),
    (2, [inf, "a"], None),
    (2, [-1, "a"], None),
    (2, [2**31, "a"], None),
    (2, [10**400, "a"], None),
    (2, ["5", "a"], None),
    (2, [None, "a"], None),
    (2, [[5], "a"], None),
    (2, [5, "ab"], None),
    (2, [5, ""], None),
    (2, [5, 5], None),
    (2, [5, None], None),
    (2, [5, ["a"]], None),
    (2, [5, {}], None),
    (2, [5, "\x00"], None),
    (2, [5, "e" + "\u0301" * 5000], None),
    (2, [5, "a", 5, "b", -5, "c"], None),
    (2, [5, "a"], "x"),
    (2, [5, "a"], [1]),
    (2, [5, "a"], [1, 2.0]),
    (2, [5, "a"], [1.0, 2]),
    (2, [5, "a"], [True, 2]),
    (2, [5, "a"], [1, True]),
    (2, [5, "a"], [3, 80]),
    (2, [5, "a"], [-1, 80]),
    (2, [5, "a"], [1, -1]),
    (2, [5, "a"], [1, 2**31]),
    (2, [5, "a"], [[], 5]),
]


def _taken_for_whole(e: Any, h: Any) -> bool:
    """Whether all that is wrong is what Python takes for whole numbers: the codec's to refuse, before the short way."""
    return any(type(value) is bool or (value == 5.0 and type(value) is float) for value in [*(e or []), *(h or [])])


@pytest.mark.parametrize("live", [True, False], ids=["short way", "long way"])
@pytest.mark.parametrize(("n", "e", "h"), FRAMES, ids=[repr(frame)[:40] for frame in FRAMES])
def test_wrong_types_close(n: Any, e: Any, h: Any, live: bool) -> None:
    """Each wrong value closes as `protocol`, on the short and on the long way, and leaves the log whole."""
    player = Player(TIME_10)
    player.type("ab")
    if n == 10**30:
        assert player.session.keys(n, e, h, now_ms=player.now_ms) == Gap(2)
        return
    live = live and not _taken_for_whole(e, h)
    outcome = (
        player.session.keys(n, e, h, now_ms=player.now_ms)
        if live
        else at_once(player.session.feeding(n, e, h, now_ms=player.now_ms))
    )
    assert isinstance(outcome, Breach), outcome
    assert outcome.close_code is CloseCode.PROTOCOL
    assert outcome.reason
    n_now = player.session.n
    assert n_now in (2, 3)
    assert player.session.tick(now_ms=player.now_ms) is not None
    assert len(at_once(module_events(player.session))) == 2 * n_now


def module_events(session: TypingSession) -> Any:
    from session.history import events_of

    return events_of(session._history)


def test_large_frames_take_breath() -> None:
    player = Player(TestOptions("time", seconds=600))
    for _ in range(2000):
        player.note(60, "a")
    steps = player.session.feeding(0, player.log, None, now_ms=player.now_ms)
    assert sum(1 for _ in steps) >= 2000 // SLICED_EVENTS - 1
    assert player.session.n == 2000


# --- the end: words and quote ---


def test_the_last_word_ends_the_test() -> None:
    player = Player(WORDS_5)
    text = player.material.text
    assert player.type(text[:-1]) is None
    assert not bool(player.session.ended)
    assert player.type(text[-1]) is None
    assert player.session.ended
    assert player.session.state is State.FINISHED
    assert player.session.deadline_ms == inf
    result = player.session.settle(node="n9", ping_ms=20.0)
    assert result.summary.acc == 100.0
    assert result.summary.chars.correct == len(text)
    assert (result.mode, result.count, result.user, result.node, result.epoch) == ("words", 5, USER, "n9", 0)
    assert (result.seen_live, result.unseen_ms, result.slack_ms, result.verdict) == (len(text), 0, 0, "ok")
    assert result.summary == rescored(player, result.replay, gave_up=result.gave_up)
    assert player.session.finish(player.n, now_ms=player.now_ms) is None, "answered by the same result"
    assert player.session.finish(99, now_ms=player.now_ms) is None


def test_a_quote_is_ended_by_a_space_after_its_last_word() -> None:
    player = Player(TestOptions("quote"))
    assert player.type(QUOTE[:-3] + "x ") is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert (result.test, result.test_version, result.text) == (9, 2, None)
    assert result.summary.chars.missed > 0


@pytest.mark.parametrize("extra", [0, 1, 120], ids=["in the same ms", "at once", "later"])
@pytest.mark.parametrize("before", [0, 120], ids=["last two in one ms", "last two apart"])
def test_what_comes_after_the_end_in_one_frame_is_no_part_of_it(extra: int, before: int) -> None:
    """The log ends with the key that ended the test, also where others came in the same millisecond."""
    results = []
    for trailing in ("", "xyz"):
        player = Player(WORDS_5)
        text = player.material.text
        player.type(text[:-2])
        since = player.n
        player.note(120, text[-2])
        player.note(before, text[-1])
        for key in trailing:
            player.note(extra, key)
        assert player.send(since) is None
        assert player.session.ended
        assert player.session.n == len(text)
        results.append(player.session.settle(node="n").core_hash)
    assert results[0] == results[1]


@pytest.mark.parametrize("options", [WORDS_5, TestOptions("quote")], ids=["words", "quote"])
def test_finish_before_the_end_is_an_error(options: TestOptions) -> None:
    """`abort` is for giving up; the test goes on."""
    player = Player(options)
    assert code_of(player.session.finish(0, now_ms=1500.0)) == "unfinished"
    player.type("ab")
    assert code_of(player.session.finish(2, now_ms=player.now_ms)) == "unfinished"
    assert player.session.state is State.RUNNING
    assert player.type("c") is None


@pytest.mark.parametrize("options", [WORDS_5, TestOptions("quote")], ids=["words", "quote"])
def test_words_and_quotes_expire(options: TestOptions) -> None:
    """At the longest duration they are abandoned: by the server's clock, or by an event at that client time."""
    player = Player(options)
    player.type("ab")
    assert player.session.deadline_ms == pytest.approx((player.zero_ms or 0) + 3_600_000)
    assert player.session.due(now_ms=player.session.deadline_ms - 1) is Due.NOTHING
    assert player.session.due(now_ms=player.session.deadline_ms) is Due.EXPIRED
    assert player.session.state is State.ABANDONED
    assert player.session.deadline_ms == inf
    assert code_of(player.session.finish(2, now_ms=player.now_ms)) == "idle"

    player = Player(options)
    player.type("ab")
    assert code_of(player.type("c", dt=3_600_000)) == "expired"
    assert player.session.state is State.ABANDONED
    assert player.type("d") is None, "late keys are dropped silently"


# --- the end: text and zen ---


def test_giving_up() -> None:
    """`finish` before the end scores text and zen as they stand, up to their last event."""
    for options in (TEXT, ZEN):
        player = Player(options)
        player.type("abx")
        assert player.session.finish(3, now_ms=player.now_ms + 5000) is None
        assert player.session.ended
        result = player.session.settle(node="n")
        assert result.gave_up
        assert result.summary.duration_ms == 240
        assert result.summary == rescored(player, result.replay, gave_up=True)
        assert result.text == options.text


def test_a_text_typed_to_its_end_was_not_given_up() -> None:
    player = Player(TEXT)
    player.type("abc def")
    assert player.session.ended
    assert not player.session.settle(node="n").gave_up


@pytest.mark.parametrize("options", [TEXT, ZEN, TIME_10], ids=["text", "zen", "time"])
def test_without_an_insert_there_is_no_result(options: TestOptions) -> None:
    player = Player(options)
    assert code_of(player.session.finish(0, now_ms=1500.0)) == "empty"
    assert player.session.state is State.ABANDONED
    player = Player(options)
    player.type(["\b", "\b"])
    assert code_of(player.session.finish(2, now_ms=player.now_ms)) == "empty"
    assert player.session.state is State.ABANDONED
    assert player.session.deadline_ms == inf
    assert not bool(player.session.ended)


@pytest.mark.parametrize("options", [TEXT, ZEN], ids=["text", "zen"])
def test_text_and_zen_are_scored_at_the_longest_duration(options: TestOptions) -> None:
    player = Player(options)
    player.type("ab")
    assert player.session.due(now_ms=player.session.deadline_ms) is Due.SETTLE
    by_clock = player.session.settle(node="n")

    player = Player(options)
    player.type("ab")
    player.note(3_600_000, "c")
    player.note(10, "d")
    assert player.send(2) is None
    assert player.session.ended
    assert player.session.n == 2, "what lies beyond is no part of the log"
    by_event = player.session.settle(node="n")
    assert by_event.core_hash == by_clock.core_hash
    assert by_event.summary == rescored(player, by_event.replay, gave_up=True)
    assert by_event.gave_up


def test_the_longest_duration_without_an_insert() -> None:
    player = Player(ZEN)
    player.type(["\b"])
    assert player.session.due(now_ms=player.session.deadline_ms) is Due.EXPIRED
    assert player.session.state is State.ABANDONED
    player = Player(ZEN)
    player.type(["\b"])
    assert code_of(player.type("a", dt=3_600_000)) == "empty"


# --- the end: timed ---


@pytest.mark.parametrize("options", [TIME_10, replace(TEXT, seconds=10)], ids=["time", "timed text"])
def test_timed_tests_are_settled_by_finish(options: TestOptions) -> None:
    """Events at the limit and later belong to the log that `finish` counts, and are not scored."""
    player = Player(options)
    assert player.type("abcde", dt=1000) is None
    player.note(6000, "f")
    player.note(1, "g")
    assert player.send(5) is None
    assert player.type("h") is None
    assert not bool(player.session.ended)
    tick = player.tick()
    assert tick is not None
    assert tick["n"] == 8
    assert player.session.finish(9, now_ms=player.now_ms) == Gap(8)
    assert isinstance(player.session.finish(7, now_ms=player.now_ms), Breach)
    assert player.session.finish(8, now_ms=player.now_ms) is None
    assert player.session.ended
    result = player.session.settle(node="n")
    assert decode(result.replay).events == player.log[:10]
    assert result.summary.duration_ms == 10_000
    assert result.summary == rescored(player, result.replay, gave_up=False)
    assert result.seen_live == 5
    assert not result.gave_up


def test_an_event_just_below_the_limit_counts_and_one_at_it_does_not() -> None:
    for last, scored in ((9999, 2), (10_000, 1)):
        player = Player(TIME_10)
        player.type("a")
        player.type("b", dt=last)
        player.session.finish(2, now_ms=player.now_ms)
        assert len(decode(player.session.settle(node="n").replay).events) == 2 * scored


def test_the_server_ends_a_timed_test_by_ping_and_pong() -> None:
    player = Player(TIME_10)
    player.type("abc")
    deadline_ms = player.session.deadline_ms
    assert deadline_ms == (player.zero_ms or 0) + 12_000
    assert player.session.pong(now_ms=deadline_ms) is None, "nobody asked"
    assert player.session.due(now_ms=deadline_ms) is Due.PING
    assert player.session.deadline_ms == inf
    assert player.session.due(now_ms=deadline_ms) is Due.NOTHING
    assert player.type("é") is None, "on its way since before the ping"
    assert player.session.deadline_ms == inf
    assert player.session.pong(now_ms=deadline_ms + 80) is None
    assert player.session.ended
    assert player.session.pong(now_ms=deadline_ms + 90) is None
    assert len(decode(player.session.settle(node="n").replay).events) == 8


def test_the_servers_end_of_a_timed_test_without_an_insert() -> None:
    player = Player(TIME_10)
    player.type(["\b"])
    player.session.due(now_ms=player.session.deadline_ms)
    assert code_of(player.session.pong(now_ms=20_000.0)) == "empty"
    assert player.session.state is State.ABANDONED


def test_a_pong_after_finish_changes_nothing() -> None:
    player = Player(TIME_10)
    player.type("a")
    player.session.due(now_ms=player.session.deadline_ms)
    assert player.session.finish(1, now_ms=14_000.0) is None
    assert player.session.pong(now_ms=14_001.0) is None
    assert player.session.state is State.FINISHED


# --- finish, abort, late input ---


@pytest.mark.parametrize("n", [-1, True, 1.0, "1", None, nan])
def test_finish_of_a_wrong_type_closes(n: Any) -> None:
    player = Player(TIME_10)
    player.type("a")
    outcome = player.session.finish(n, now_ms=player.now_ms)
    assert isinstance(outcome, Breach)
    assert outcome.close_code is CloseCode.PROTOCOL


def test_abort() -> None:
    for keys in ("", "abc"):
        player = Player(TIME_10)
        player.type(keys)
        player.session.abort()
        assert player.session.state is State.ABANDONED
        assert player.session.deadline_ms == inf
        assert player.type("late") is None
        assert player.session.tick(now_ms=99_000.0) is None
        player.session.abort()


def test_abort_after_the_end_comes_too_late() -> None:
    player = Player(TEXT)
    player.type("abc def")
    player.session.abort()
    assert player.session.ended
    assert player.session.state is State.FINISHED
    assert player.type("late") is None
    assert player.session.keys(0, [1, "a"], [500, 1], now_ms=9000.0) is None


def test_holds_of_keys_after_the_end_say_nothing() -> None:
    player = Player(TEXT)
    player.type("abc de")
    assert player.session.keys(6, [100, "f", 90, "x"], [6, 80, 7, 80], now_ms=player.now_ms + 190) is None
    assert player.session.ended
    assert decode(player.session.settle(node="n").replay).holds == {6: 80}


# --- speed and size ---


def test_the_longest_duration_met_while_typing() -> None:
    """A frame like any other, whose key comes too late: no result."""
    player = Player(TestOptions("words", count=50), limits=SessionLimits(untimed_ms=60_000))
    for at, key in enumerate(player.material.text[:61]):
        player.note(1_000, key)
        outcome = player.send(at)
    assert isinstance(outcome, Refused)
    assert outcome.error.code == "expired"
    assert player.session.state is State.ABANDONED


def test_an_expired_log_by_the_clock_that_was_too_fast_has_no_result() -> None:
    player = Player(ZEN)
    for _ in range(2600):
        player.note(1, "a")
    assert player.send(0) is None or player.session.state is State.ABANDONED
    if player.session.state is State.RUNNING:
        assert player.session.due(now_ms=inf) is Due.EXPIRED


def test_detached_sessions_hear_nothing() -> None:
    """Whoever lets a detached session hear something has a fault."""
    player = Player(TIME_10)
    player.type("a")
    player.session.detach(now_ms=player.now_ms)
    with pytest.raises(Illegal):
        player.session.keys(1, [5, "b"], None, now_ms=player.now_ms)
    with pytest.raises(Illegal):
        player.session.finish(1, now_ms=player.now_ms)
