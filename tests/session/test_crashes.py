"""Whatever happens to connections and processes, the result's core is that of the same keys typed in peace."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scoring.replay import decode
from session.history import encode
from session.machine import Gap
from session.options import SessionLimits, TestOptions
from session.receipt import Receipt, hash_of
from session.result import Result
from session.state import State
from tests.session.play import EPOCH_MS, RING, Player, anew, held

LIMITS = SessionLimits(events=120)
"""Small, so that plays meet the most events."""
OPTIONS = [
    TestOptions("words", count=3),
    TestOptions("time", seconds=5),
    TestOptions("quote"),
    TestOptions("text", text="ab cd 한글 e\u0301"),
    TestOptions("text", text="ab cd", seconds=5),
    TestOptions("zen"),
]
TYPOS = st.sampled_from(["x", " ", "\b", "\x17", "é", "\u0301", "한", "ab"[0]])
GAPS = st.sampled_from([0, 1, 40, 90, 127, 128, 250, 1900, 5000])


class Crashes(RuleBasedStateMachine):
    """A typist, a network that loses frames, connections and processes, and a model: the log itself."""

    @initialize(options=st.sampled_from(OPTIONS))
    def start(self, options: TestOptions) -> None:
        self.player = Player(options, limits=LIMITS)
        self.sent = 0
        """Events that the client has sent on this connection, or before."""
        self.unseen = 0
        """Events that were typed but not seen when their connection was lost."""
        self.away_ms = 0.0
        """How far the server's clock has gone on while nothing was typed."""
        self.result: Result | None = None

    @property
    def session(self) -> Any:
        return self.player.session

    def over(self) -> bool:
        return self.result is not None or self.session.state in (State.FINISHED, State.ABANDONED)

    def server_ms(self) -> float:
        zero_ms = self.player.started_ms if self.player.zero_ms is None else self.player.zero_ms
        return zero_ms + self.player.client_ms + self.away_ms

    def heard(self, outcome: Any) -> None:
        """Nothing but the end is ever said to an honest client."""
        if outcome is not None:
            assert not isinstance(outcome, Gap)
            assert outcome.error.code in ("expired", "empty"), outcome
            assert self.session.state is State.ABANDONED
        elif self.session.ended and self.result is None:
            self.result = self.session.settle(node="n")

    # --- typing ---

    @precondition(lambda self: not self.over())
    @rule(count=st.integers(1, 12), gap=GAPS)
    def types_on(self, count: int, gap: int) -> None:
        """Keys that the text asks for, as far as one can tell from their number."""
        text = self.player.material.text or "free as air "
        for at in range(self.player.n, self.player.n + count):
            self.player.note(gap, text[at % len(text)])

    @precondition(lambda self: not self.over())
    @rule(keys=st.lists(st.tuples(GAPS, TYPOS), min_size=1, max_size=4))
    def types_something(self, keys: list[tuple[int, str]]) -> None:
        for gap, key in keys:
            self.player.note(gap, key)

    @precondition(lambda self: not self.over() and self.sent < self.player.n)
    @rule(size=st.integers(1, 300), again=st.integers(0, 5))
    def sends(self, size: int, again: int) -> None:
        """A frame, which may begin with what was sent before."""
        since = max(0, self.sent - again)
        events = self.player.log[2 * since : 2 * (since + size)]
        self.sent = max(self.sent, since + len(events) // 2)
        self.heard(self.session.keys(since, events, None, now_ms=self.server_ms()))

    @precondition(lambda self: not self.over() and self.sent < self.player.n)
    @rule(ahead=st.integers(1, 9))
    def a_frame_is_lost(self, ahead: int) -> None:
        since = self.sent + ahead
        outcome = self.session.keys(since, self.player.log[2 * since :], None, now_ms=self.server_ms())
        assert outcome == Gap(self.session.resumed().n)

    @precondition(lambda self: not self.over())
    @rule()
    def ticks(self) -> None:
        wire = self.session.tick(now_ms=self.server_ms())
        if wire is not None:
            self.player.receipt = wire["r"]
            receipt = Receipt.open(RING, wire["r"], hash_of(self.player.ticket))
            history = bytearray()
            assert encode(self.player.log[: 2 * receipt.n], history) is None
            assert (receipt.digest, receipt.conflict) == (hash_of(history), False)
            assert receipt.clock_ms <= EPOCH_MS + self.server_ms()

    # --- losing ---

    @precondition(lambda self: not self.over())
    @rule(away_ms=st.sampled_from([0.0, 30.0, 4000.0]))
    def the_connection_is_lost(self, away_ms: float) -> None:
        self.session.detach(now_ms=self.server_ms())
        self.away_ms += away_ms
        replaying = self.session.replaying
        if self.session.reattach(self.claim(), now_ms=self.server_ms()) is None:
            assert replaying
            anew(self.player, away_ms=self.away_ms)
        n = self.session.resumed().n
        assert n <= self.session.n <= self.sent or n == 0
        self.sent = n

    def claim(self) -> Any:
        self.player.zero_ms = self.player.zero_ms if self.player.n else None
        if self.player.zero_ms is None:
            self.player.zero_ms = self.player.started_ms
            claim = self.player.claim()
            self.player.zero_ms = None
            return claim
        return self.player.claim(after_ms=self.away_ms)

    @precondition(lambda self: not self.over() and self.player.n)
    @rule(after_ms=st.sampled_from([0.0, 500.0, 3_600_000.0]), batch=st.sampled_from([1, 7, 300]))
    def the_process_is_killed(self, after_ms: float, batch: int) -> None:
        """Ticket, last receipt and log make the session anew."""
        self.away_ms += after_ms
        self.sent = self.player.n
        self.heard(self.player.move(after_ms=self.away_ms, batch=batch))

    # --- ending ---

    @precondition(lambda self: not self.over() and self.sent == self.player.n)
    @rule(by_clock=st.booleans())
    def finishes(self, by_clock: bool) -> None:
        options = self.player.options
        if options.seconds is not None and by_clock and self.session.n:
            self.session.due(now_ms=1e12)
            self.heard(self.session.pong(now_ms=1e12))
        else:
            outcome = self.session.finish(self.sent, now_ms=self.server_ms())
            if options.mode in ("words", "quote"):
                assert outcome.error.code == "unfinished"
            else:
                self.heard(outcome)

    @precondition(lambda self: self.over())
    @rule()
    def comes_too_late(self) -> None:
        """What arrives after the end changes nothing."""
        before = (self.session.state, self.session.n)
        assert self.session.keys(self.player.n, [5, "a"], [0, 90], now_ms=self.server_ms()) is None
        assert self.session.tick(now_ms=self.server_ms()) is None
        self.session.abort()
        self.session.detach(now_ms=self.server_ms())
        assert (self.session.state, self.session.n) == before
        outcome = self.session.finish(self.player.n, now_ms=self.server_ms())
        assert (outcome is None) == (self.result is not None)

    @invariant()
    def the_server_has_what_was_sent(self) -> None:
        if not self.over():
            history = bytearray()
            assert encode(self.player.log[: 2 * self.session.n], history) is None
            assert self.session._history == history

    @invariant()
    def the_result_is_that_of_peace(self) -> None:
        """The uninterrupted test of the same keys, a frame a key, has the same core."""
        if self.result is None:
            return
        result, player = self.result, self.player
        peace = Player(player.options, limits=LIMITS)
        for at in range(0, len(player.log), 2):
            peace.note(player.log[at], player.log[at + 1])
            peace.send(peace.n - 1)
        if not peace.session.ended:
            assert peace.session.finish(peace.session.n, now_ms=peace.now_ms) is None
        expected = peace.session.settle(node="n")
        assert result.core_hash == expected.core_hash
        assert decode(result.replay).events == decode(expected.replay).events
        assert result.summary == expected.summary
        assert "conflict" not in [reason.name for reason in result.reasons]
        assert expected.seen_live == len(decode(expected.replay).events) // 2 >= result.seen_live


Crashes.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestCrashes = Crashes.TestCase


def test_the_play_itself() -> None:
    """A play that loses everything once, by hand."""
    player = Player(TestOptions("text", text="ab cd"))
    player.type("ab")
    player.tick()
    player.note(100, " ")
    assert held(player, away_ms=50) is not None
    assert player.send(2) is None
    assert player.move(after_ms=100) is None
    assert player.type("cd") is None
    assert player.session.settle(node="n").summary.chars.correct == 5
