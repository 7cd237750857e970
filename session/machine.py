"""One typing session: keystrokes in, figures and receipts out, a result at the end. Pure: clocks are arguments.

How a connection uses it::

    chosen = start.choose(limits)                      # TestOptions, or the Error to send
    material = yield from passages.generating(...)     # or quoting, practising, free
    session = TypingSession.begin(options, material, ...)
    send(session.started(material))

    outcome = session.keys(n, e, h, now_ms=now)        # None: all well; else perform it
    if session.ended: settle                           # the text is typed to its end, or a limit was met
    wire = session.tick(now_ms=now)                    # once a second; None where nothing changed
    outcome = session.finish(n, now_ms=now)            # None: `ended` by now (or long since: send the same result)
    if now >= session.deadline_ms: session.due(now_ms=now)
    settled = session.settled(node=..., ping_ms=...)   # durable, `accepted`; later:
    result = yield from settled.judging()

    session.detach(now_ms=now)                         # the connection is lost; hold the session until FORGET

    claim = Claim.open(resume, user=..., ...)          # Claim, or the Error to send
    # the session is held here:
    answer = held.reattach(claim, now_ms=now)          # Resumed: send it; what comes again is held to what is here
                                                       # None: drop `held`, weigh held.answer(question), go on below
    # it is not: build the material of claim.ticket anew (its options, seed and versions), then
    session = TypingSession.rebuild(claim, material, conflict=..., ...)   # or the Error to send
    send(session.resumed())
    # `keys` frames of the log follow; over SLICED_EVENTS in a frame use `feeding`

Whatever an input came to, look at `ended` and `state` afterwards: the last key of a text may also be what shows that
the log differs from what was seen. After `Differs` go on as after None of `reattach`.
"""

from collections.abc import Generator
from math import ceil, inf
from typing import Any, Final, TypeVar

from scoring.drift import Drift
from scoring.slices import at_once
from session import beginning
from session.history import CODES, SHORT_GAPS, encode, events_of, offset_after
from session.holder import Question, outdated
from session.messages import ERRORS, CloseCode, Error, Resumed, Started
from session.options import SessionLimits, TestOptions
from session.outcome import Breach, Differs, Due, Gap, Outcome, Refused
from session.passages import Material
from session.receipt import ALL_SEEN, KeyRing, Seat, Ticket, hash_of, seal_receipt
from session.result import Result
from session.resume import Claim, Compared, Takeover
from session.state import FINAL, Illegal, Input, State, next_state
from session.typed import SLICED_EVENTS, Typed

__all__ = [
    "SLICED_EVENTS",
    "Breach",
    "Claim",
    "Differs",
    "Due",
    "Gap",
    "Outcome",
    "Refused",
    "TypingSession",
]

_RUNNING: Final = State.RUNNING  # a look at an Enum's member takes a tenth of a microsecond

T = TypeVar("T")


class TypingSession(Typed):
    """One typing test of one user; made by `begin` or `rebuild`."""

    __slots__ = ("_pinged",)

    def __init__(
        self,
        ticket: Ticket,
        sealed: bytes,
        material: Material,
        *,
        ref: int | None,
        ring: KeyRing,
        limits: SessionLimits,
        now_ms: float,
        epoch_ms: int,
        race_ms: int | None,
    ) -> None:
        super().__init__(
            ticket, sealed, material, ring=ring, limits=limits, now_ms=now_ms, epoch_ms=epoch_ms, race_ms=race_ms
        )
        self.ref = ref
        """The client's number for the test; the connection drops `keys` of an older one."""
        self.state = State.CREATED
        self.deadline_ms = inf
        """When `due` wants to be asked (server's monotonic clock); infinite where nothing is due."""
        self._live = False
        """Whether `keys` may go the short way: running, something typed, nothing to be caught up with, not over."""
        self._pinged = False

    @classmethod
    def begin(
        cls,
        options: TestOptions,
        material: Material,
        *,
        session: bytes,
        user: int,
        seed: int,
        ref: int | None,
        ring: KeyRing,
        limits: SessionLimits,
        now_ms: float,
        epoch_ms: int,
        node: str = "",
        seat: Seat | None = None,
        race_ms: int | None = None,
        epoch: int = 0,
    ) -> "TypingSession":
        """Make the session of a new test: `session` is a minted id, `seed` what the material was made by.

        `node` is the one it begins on; `seat` its place in a race, whose start instant may be still to come; `race_ms`
        the race's clock (`epoch_ms` if left out); `epoch` that at which it was taken from a node where nothing of it
        was typed.
        """
        ticket = beginning.ticket_of(
            options, material, session=session, user=user, seed=seed, epoch_ms=epoch_ms, node=node, seat=seat
        )
        begun = cls(
            ticket,
            ticket.seal(ring),
            material,
            ref=ref,
            ring=ring,
            limits=limits,
            now_ms=now_ms,
            epoch_ms=epoch_ms,
            race_ms=race_ms,
        )
        if seat is None:
            begun._drift = Drift(now_ms)  # no key of it was typed before this
        if epoch:
            begun._takeover = Takeover(seen_n=0, offset_ms=0, log_n=0, resumed_ms=now_ms)
            begun._takeover.epoch = epoch
        return begun

    @classmethod
    def rebuild(
        cls,
        claim: Claim,
        material: Material,
        *,
        ring: KeyRing,
        limits: SessionLimits,
        now_ms: float,
        epoch_ms: int,
        conflict: bool = False,
        epoch: int = 0,
        finished: bool = False,
        race_ms: int | None = None,
    ) -> "TypingSession | Error":
        """Make the session of a claim anew, its log to come from event 0.

        `conflict`, `epoch` and `finished` are as in `holder.Grounds`; `race_ms` is the race's clock, in a race
        (`epoch_ms` if left out).
        """
        ticket = claim.ticket
        if hash_of(material.text.encode()) != ticket.text_hash:
            if ticket.options.mode == "text":
                return Error("text", "this is not the text that the test was started with", ref=claim.ref)
            return Error("stale", "the test's text is no longer to be had here", ref=claim.ref)
        session = cls(
            ticket,
            claim.sealed,
            material,
            ref=claim.ref,
            ring=ring,
            limits=limits,
            now_ms=now_ms,
            epoch_ms=epoch_ms,
            race_ms=race_ms,
        )
        session._takeover = Takeover.of_claim(
            claim,
            now_ms=now_ms,
            epoch_offset_ms=session._epoch_offset_ms,
            conflict=conflict,
            limits=limits,
            start_ms=session._start_ms,
            epoch=epoch,
            finished=finished,
        )
        return session

    # --- what the client is told ---

    def started(self, material: Material) -> Started:
        """The answer to `start`."""
        return beginning.started(Ticket.read(self.ticket[1:-16]), self.ticket, material, ref=self.ref)

    def resumed(self) -> Resumed:
        """The answer to `resume`."""
        return Resumed(session=self.id, n=self._expected(), ref=self.ref)

    def tick(self, *, now_ms: float) -> dict[str, Any] | None:
        """The `tick` message as a map, or None where `n` did not change since the last one."""
        n = self.n
        if n == self._ticked or self.state is not _RUNNING:
            return None
        takeover = self._takeover
        if takeover is not None and (n < takeover.log_n or takeover.compared is not None):
            return None  # a receipt vouches for what was seen; this is still being looked at
        self._ticked = n
        wpm, raw, acc, word, cluster, err = self._scorer.figures()
        return {
            "t": "tick",
            "n": n,
            "r": seal_receipt(
                self._ring,
                self._ticket_hash,
                n,
                int(self._seen_ms + self._epoch_offset_ms),
                self._digest_now(),
                ALL_SEEN if takeover is None else takeover.account(),
            ),
            "wpm": wpm,
            "raw": raw,
            "acc": acc,
            "pos": [word, cluster],
            "err": err,
        }

    # --- keystrokes ---

    def keys(self, n: Any, e: Any, h: Any, *, now_ms: float) -> Outcome:
        """Take one `keys` frame. The hot path: frames of one or two events.

        Types are the codec's to check (what Python takes for a whole number, such as True, is taken here); values are
        checked here. `feeding` checks both.
        """
        if not self._live or n != self.n or type(n) is not int or type(e) is not list:
            return at_once(self.feeding(n, e, h, now_ms=now_ms))
        size = len(e)
        after = n + (size >> 1)
        if not size or size & 1 or after >= self._check_at:  # without events: holds alone, which say nothing of clocks
            return at_once(self.feeding(n, e, h, now_ms=now_ms))
        history = self._history
        mark = len(history)
        try:
            events = iter(e)
            for dt in events:
                history += SHORT_GAPS[dt] + CODES[next(events)]
        except (KeyError, TypeError):  # a key not met before, a long pause, or nothing of the kind: the long way tells
            del history[mark:]
            return at_once(self.feeding(n, e, h, now_ms=now_ms))
        scorer = self._scorer
        scorer.feed(e)
        self.n = scorer.n
        self._seen_ms = now_ms
        drift = self._drift
        if not drift.low <= now_ms - scorer.elapsed_ms <= drift.high or scorer.ended:
            drift.arrived(scorer.elapsed_ms, now_ms=now_ms)
        if scorer.ended:
            fault = self._over(n, mark)
            if fault is not None:
                return fault
        if h is not None:
            return self._hold(h)
        return None

    def feeding(self, n: Any, e: Any, h: Any, *, now_ms: float) -> Generator[None, None, Outcome]:
        """Like `keys`, for a large frame: stops for breath after each slice of under a millisecond."""
        if type(n) is not int or n < 0:
            return Breach.of_protocol("keys.n must be a whole number from 0 up")
        if type(e) is not list or len(e) % 2:
            return Breach.of_protocol("keys.e must be a flat list of dt and key in turn")
        after = next_state(self.state, Input.KEYS)
        if after in FINAL:
            return None  # sent before the client could know
        if self._start_ms is not None and now_ms < self._start_ms:
            return Refused(_early(self._start_ms - now_ms, self.ref))
        expected = self._expected()
        if n > expected:
            return Gap(expected)
        at = 2 * (expected - n)
        if at < len(e):
            self.state = after
        before = self.n
        scoring = self._scored is None
        while at < len(e):
            some = e[at : at + 2 * self._room()]
            fault = self._take(some, now_ms=now_ms)
            if fault is not None:
                return fault
            at += len(some)
            if self.state in FINAL:
                break
            if at < len(e):
                yield
        takeover = self._takeover
        if scoring and self.n > before and (takeover is None or self.n > takeover.log_n):
            self._arrived(now_ms)
        if h is not None:
            fault = self._hold(h if type(h) is list and {*map(type, h)} <= {int} else None)
            if fault is not None:
                return fault
        self._live = (
            self.state is State.RUNNING
            and self.n > 0
            and self._scored is None
            and (takeover is None or not (takeover.measuring or self.replaying))
        )
        if takeover is not None and takeover.conflict and not takeover.said:
            takeover.said = True
            if self.ended:
                self.deadline_ms = now_ms  # nobody looks for an end behind an error: `due` tells of it
            return Refused(Error("conflict", ERRORS["conflict"], ref=self.ref))
        return None

    def _take(self, events: list[Any], *, now_ms: float) -> Outcome:
        """Take some events that follow the log, or are to be compared with it."""
        takeover = self._takeover
        if takeover is not None and takeover.compared is not None:
            return self._compare(takeover, takeover.compared, events, now_ms=now_ms)
        n = self.n
        mark = len(self._history)
        wrong = encode(events, self._history)
        if wrong is not None:
            return Breach.of_protocol(wrong)
        if takeover is not None and n == 0 and self._start_ms is None:
            takeover.began(events[0])
        self.n += len(events) // 2
        if self._scored is None:
            self._scorer.feed(events)
            if self._scorer.ended:
                fault = self._over(n, mark)
                if fault is not None:
                    return fault
        if takeover is not None and n < takeover.log_n:
            self._catch_up(takeover, now_ms=now_ms)
        if self.n == self._check_at and self.state not in FINAL:
            return self._look()
        return None

    def _compare(self, takeover: Takeover, compared: Compared, events: list[Any], *, now_ms: float) -> Outcome:
        """Hold events that come again to those that are here."""
        came = bytearray()
        wrong = encode(events, came)
        if wrong is not None:
            return Breach.of_protocol(wrong)
        end = compared.at + len(came)
        if self._history[compared.at : end] != came:
            takeover.conflict = True
            return Differs(compared.claim)
        compared.n += len(events) // 2
        compared.at = end
        if compared.n == self.n:
            takeover.compared = None
            if self.n == takeover.log_n:
                self._catch_up(takeover, now_ms=now_ms)
        return None

    def _catch_up(self, takeover: Takeover, *, now_ms: float) -> None:
        """Hold what came again to what was seen; when all of it is in, time goes on."""
        over = self.state in FINAL
        if self._look_back(takeover, over=over, now_ms=now_ms) and not over:
            # the last key was typed by now at the latest; when exactly is another server's clock to know, if any's
            self._arm(now_ms, zero_ms=now_ms - self._scorer.elapsed_ms)

    def _arrived(self, now_ms: float) -> None:
        """Note when live events came."""
        client_ms = self._scorer.elapsed_ms
        if self._takeover is not None:
            self._takeover.arrived(now_ms - client_ms)
        self._seen_ms = now_ms
        self._drift.arrived(client_ms, now_ms=now_ms)
        if self.deadline_ms == inf and not self._pinged:
            self._arm(now_ms, zero_ms=now_ms - client_ms)

    def _arm(self, now_ms: float, *, zero_ms: float) -> None:
        """Set the deadline by the test's time zero on the server's clock; where that is not known, by its latest."""
        if self._start_ms is not None:
            zero_ms = self._start_ms  # by a clock that is the same for all servers
        grace_ms = self._limits.grace_ms
        if self._limit_ms is None:
            self.deadline_ms = max(zero_ms + self._limits.untimed_ms, now_ms + grace_ms)
        else:
            self.deadline_ms = max(zero_ms + self._limit_ms, now_ms) + grace_ms

    # --- the end ---

    def _over(self, n: int, mark: int) -> Outcome:
        """Find out where the scorer ended among the events from number n, at byte `mark`, on."""
        self._live = False
        scored = self._scorer.scored
        size = offset_after(self._history, scored - n, mark)
        if self._limit_ms is not None:
            self._scored = (scored, size)
            return None
        self.n = scored  # what comes after the end is no part of the log
        del self._history[size:]
        self._summary = self._scorer.summary()
        if self._summary.duration_ms < self._limits.untimed_ms:
            return self._over_by(Input.COMPLETE)
        self._scorer = self._new_scorer()  # as if it had never seen the event beyond the limit
        self._scorer.feed(at_once(events_of(self._history)))
        return self._at_limit()

    def _at_limit(self) -> Outcome:
        """End at the longest duration or log: as it stands, where the mode allows that."""
        if self._limit_ms is None and self._mode not in ("text", "zen"):
            self.state = next_state(self.state, Input.EXPIRE)
            self.deadline_ms = inf
            return Refused(Error("expired", ERRORS["expired"], ref=self.ref))
        return self._end(Input.COMPLETE)

    def _end(self, by: Input) -> Outcome:
        """End as it stands, with a result if something was typed."""
        if self._live:
            self._drift.arrived(self._scorer.elapsed_ms, now_ms=self._seen_ms)  # the last batch
        self._gave_up = self._limit_ms is None
        self._summary = self._scorer.summary(gave_up=self._gave_up)
        inserts = self._summary.inserts
        if inserts.correct + inserts.wrong:
            return self._over_by(by)
        self._live = False
        self.deadline_ms = inf
        self.state = next_state(self.state, Input.EMPTY)
        return Refused(Error("empty", ERRORS["empty"], ref=self.ref))

    def _over_by(self, by: Input) -> Breach | None:
        """End with a result, unless it was faster than anybody types."""
        self._live = False
        self.deadline_ms = inf
        fault = self._too_fast()
        if fault is None:
            self.state = next_state(self.state, by)
            self.ended = True
        return fault

    def _look(self) -> Outcome:
        """Look at a log that has become long: is it faster than anybody types, is it too large?"""
        fault = self._too_fast()
        if fault is not None:
            return fault
        if self._is_full():
            return self._at_limit()
        self._looked()
        return None

    def _too_fast(self) -> Breach | None:
        """Close where more was claimed than anybody types."""
        if not self._is_too_fast():
            return None
        self._live = False
        self.deadline_ms = inf
        self.state = next_state(self.state, Input.BREACH)
        limits = self._limits
        seconds = limits.rate_window_ms / 1000
        return Breach(CloseCode.LIMITS, f"over {limits.close_keys_per_s} keys a second over {seconds:g} s")

    def finish(self, n: Any, *, now_ms: float) -> Outcome:
        """Take `finish`. None: the test is over; settle, or where it was over before send the same result again.

        `Refused` with code `empty` means over without a result: `state` is ABANDONED. `Gap`: events are missing.
        """
        if type(n) is not int or n < 0:
            return Breach.of_protocol("finish.n must be a whole number from 0 up")
        if self.state is State.FINISHED:
            return None
        if self.state is State.ABANDONED:
            return Refused(Error("idle", "the test is over without a result", ref=self.ref))
        if self.state is State.DETACHED:
            raise Illegal("a detached session hears no finish")
        expected = self._expected()
        if n > expected:
            return Gap(expected)
        if n < expected or self.replaying:
            return Breach.of_protocol(f"finish.n is {n}, but the log has more events")
        if self._limit_ms is None and self._mode not in ("text", "zen"):
            return Refused(Error("unfinished", ERRORS["unfinished"], ref=self.ref))
        return self._end(Input.FINISH)

    def pong(self, *, now_ms: float) -> Outcome:
        """The ping that `due` asked for was answered: the timed test is over, `ended` is set (or `error empty`)."""
        if not self._pinged or self.state is not State.RUNNING:
            return None  # it finished meanwhile
        self._pinged = False
        return self._end(Input.LIMIT)

    def abort(self) -> None:
        """Take `abort`, or a `start` of another test: over without a result, unless it has one already."""
        self.state = next_state(self.state, Input.ABORT)
        self._live = False
        if not self.ended:
            self.deadline_ms = inf

    def due(self, *, now_ms: float) -> Due:
        """Say what is due now; call it once `deadline_ms` has passed."""
        if now_ms < self.deadline_ms:
            return Due.NOTHING
        self.deadline_ms = inf
        if self.ended:
            return Due.SETTLE
        if self.state is State.DETACHED:
            self.state = next_state(self.state, Input.FORGET)
            return Due.FORGET
        if self._limit_ms is not None:
            self._pinged = True
            return Due.PING
        return Due.SETTLE if self._at_limit() is None else Due.EXPIRED

    # --- away and back ---

    def detach(self, *, now_ms: float) -> None:
        """The connection is lost; a test that is not over is held for a while."""
        before = self.state
        self.state = next_state(before, Input.DETACH)
        if self.state is State.DETACHED and before is not State.DETACHED:
            self._live = self._pinged = False
            self.deadline_ms = now_ms + self._limits.detached_ms

    def reattach(self, claim: Claim, *, now_ms: float) -> Resumed | None:
        """Go on over another connection (`detach` first where the old one is still there).

        What the receipt does not vouch for comes again, and is compared with what is here. None: the test does not go
        on from this copy: the claim is not about it, or it went on elsewhere, or was not looked at to its end here.
        """
        said = self.answer(Question.of(claim, epoch=self.epoch))
        if said.conflict or self.replaying or outdated(claim, said):
            return None
        self.state = next_state(self.state, Input.REATTACH)
        self.ref = claim.ref
        self.deadline_ms = inf
        elapsed_ms = self._scorer.elapsed_ms
        takeover = self._takeover
        if takeover is None:
            takeover = self._takeover = Takeover(seen_n=0, offset_ms=0, log_n=0, resumed_ms=now_ms)
        takeover.standing = said.account
        takeover.again(
            seen_n=self.n,
            seen_client_ms=self._client_ms(),
            offset_ms=self._seen_ms - elapsed_ms,
            log_n=min(claim.n, self._limits.events),
            resumed_ms=now_ms,
        )
        self._drift.resumed()
        known = 0 if claim.receipt is None else claim.receipt.n
        if known < self.n:
            takeover.compared = Compared(claim, known, offset_after(self._history, known))
        elif self.n and self.n == takeover.log_n:
            self._catch_up(takeover, now_ms=now_ms)
        return self.resumed()

    # --- the result ---

    def settle(self, *, node: str, ping_ms: float = 0.0, stall_ms: float = 0.0) -> Result:
        """Settle and judge at once."""
        return at_once(self.settled(node=node, ping_ms=ping_ms, stall_ms=stall_ms).judging())


def _early(wait_ms: float, ref: int | None) -> Error:
    return Error("early", "the race has not begun; nothing of this was taken", ceil(wait_ms), 0, ref)
