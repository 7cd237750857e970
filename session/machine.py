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

from array import array
from collections.abc import Generator
from hashlib import blake2b
from math import ceil, inf
from typing import Any, Final, TypeVar
from zlib import compress

from scoring import SCORING_VERSION
from scoring.drift import DEFAULT_LIMITS, Drift
from scoring.scorer import Scorer
from scoring.summary import Summary
from session.history import CODES, MAX_DT_MS, SHORT_GAPS, encode, events_of, keys_of, offset_after, too_fast
from session.holder import Answer, Question, Word, outdated
from session.messages import ERRORS, CloseCode, Error, Resumed, Started
from session.options import SessionLimits, TestOptions
from session.outcome import Breach, Differs, Due, Gap, Outcome, Refused
from session.passages import Material
from session.receipt import ALL_SEEN, KeyRing, Receipt, Seat, Ticket, hash_of, seal_receipt
from session.result import Result
from session.resume import Claim, Compared, Takeover
from session.settling import FinishedTest, Settled
from session.state import FINAL, Illegal, Input, State, next_state

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

SLICED_EVENTS: Final = 250
"""A frame with more events than this goes through `feeding`, so that nobody else waits for it."""
CHECK_EVENTS: Final = 2048
"""A log is looked at (speed, size) each time it has so many more events: at the same ones however they were batched."""
HASHED_WHOLE_BYTES: Final = 2048
"""A history up to this long is hashed anew for each receipt: that takes a microsecond, a kept state 448 bytes."""
FITS_BYTES: Final = 40 * 1024
"""A history up to this long always fits its replay: the codec adds at most half."""

LONGEST_HOLD_MS: Final = 65_534
"""Holds are kept in 16 bits, plus one; a longer one is as long as this."""

_RUNNING: Final = State.RUNNING  # a look at an Enum's member takes a tenth of a microsecond
_NO_HOLDS: Final = bytes(64)  # of the next 32 events

T = TypeVar("T")


class _OfEachFrame:
    """What each frame looks at, side by side: a base's slots come first, and ten thousand sessions fit no cache."""

    __slots__ = (
        "_check_at",
        "_drift",
        "_history",
        "_holds",
        "_live",
        "_scorer",
        "_seen_ms",
        "ended",
        "n",
        "ref",
        "state",
    )


class _OfEachTick(_OfEachFrame):
    """What each tick looks at as well, next to it."""

    __slots__ = (
        "_digest",
        "_digested",
        "_epoch_offset_ms",
        "_ring",
        "_takeover",
        "_ticked",
        "_ticket_hash",
        "deadline_ms",
    )


class TypingSession(_OfEachTick):
    """One typing test of one user; made by `begin` or `rebuild`.

    Four numbers may look alike. `n` events are in the log. The scorer's clock says how much client time they took. Of
    them `_scored` count: in a timed test there may be some after its end, which belong to the log and to nothing else.
    `_ticked` events were acknowledged by a receipt.
    """

    __slots__ = (
        "_gave_up",
        "_limit_ms",
        "_limits",
        "_looks",
        "_mode",
        "_pinged",
        "_scored",
        "_start_ms",
        "_summary",
        "_text",
        "_words",
        "id",
        "ticket",
        "user",
        "watch",
    )

    def __init__(
        self,
        ticket: Ticket,
        sealed: bytes,
        material: Material,
        *,
        ref: int | None,
        text: str | None,
        ring: KeyRing,
        limits: SessionLimits,
        now_ms: float,
        epoch_ms: int,
        race_ms: int | None,
    ) -> None:
        options = ticket.options
        self.id = ticket.session
        """16 bytes."""
        self.user = ticket.user
        self.watch = options.watch
        """Whether whoever has its id may look on."""
        self.ref = ref
        """The client's number for the test; the connection drops `keys` of an older one."""
        self.state = State.CREATED
        self.n = 0
        """Events in the log so far."""
        self.ended = False
        """It is time to settle (once; the state is FINISHED)."""
        self.deadline_ms = inf
        """When `due` wants to be asked (server's monotonic clock); infinite where nothing is due."""
        self.ticket = sealed
        """The sealed ticket."""
        self._ticket_hash = hash_of(sealed)
        self._mode = options.mode
        self._limit_ms = options.limit_ms
        self._start_ms: float | None = None
        """In a race its start instant, on the server's monotonic clock: the test's time zero."""
        self._text = text
        self._words = material.words
        self._ring = ring
        self._limits = limits
        self._epoch_offset_ms = epoch_ms - now_ms
        """Of the server's two clocks, for receipts: they are read by other processes."""
        if ticket.seat is not None:
            self._start_ms = now_ms + ticket.seat.start_ms - (epoch_ms if race_ms is None else race_ms)
        self._scorer = self._new_scorer()
        self._live = False
        """Whether `keys` may go the short way: running, something typed, nothing to be caught up with, not over."""
        self._history = bytearray()
        self._holds: array[int] | None = None
        """Hold in ms plus one by event, 0 where it is not known."""
        self._drift = Drift() if self._start_ms is None else Drift.of_start(self._start_ms)
        self._seen_ms = now_ms
        """When the last scored event arrived, or would have, had the clocks gone on as before a resume."""
        self._check_at = min(CHECK_EVENTS, limits.events)
        """No short way to this many events or beyond: there the log is due for a look."""
        self._looks: tuple[int, ...] = (0,)
        """Size of the history at each look so far, one every CHECK_EVENTS."""
        self._scored: tuple[int, int] | None = None
        """Events and bytes of the history that count, once the end was met; None while all do."""
        self._gave_up = False
        self._pinged = False
        self._summary: Summary | None = None
        """Made once, at the end."""
        self._ticked = 0
        self._digest: blake2b | None = None
        """State over the first `_digested` bytes of a history that is too long to be hashed anew at each tick."""
        self._digested = 0
        self._takeover: Takeover | None = None
        """What resumes came to; None in a test that saw none."""

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
        ticket = Ticket(
            session=session,
            user=user,
            options=TestOptions(
                mode=options.mode,
                count=options.count,
                seconds=options.seconds,
                test=material.test,
                language=material.language,
                punctuation=options.punctuation,
                numbers=options.numbers,
                tags=options.tags,
                input=options.input,
                watch=options.watch,
            ),
            seed=seed,
            test_version=material.test_version,
            list_version=material.list_version,
            generator=material.generator,
            text_hash=hash_of(material.text.encode()),
            scoring_version=SCORING_VERSION,
            started_ms=epoch_ms,
            node=node,
            seat=seat,
        )
        begun = cls(
            ticket,
            ticket.seal(ring),
            material,
            ref=ref,
            text=material.text if options.mode == "text" else None,
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
            text=material.text if ticket.options.mode == "text" else None,
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
        ticket = Ticket.read(self.ticket[1:-16])
        options, seat = ticket.options, ticket.seat
        return Started(
            session=self.id,
            ref=self.ref,
            mode=options.mode,
            count=options.count,
            seconds=options.seconds,
            test=options.test,
            title=material.title,
            text=material.text,
            seed=ticket.seed,
            ticket=self.ticket,
            language=material.language,
            direction=material.direction,
            breaks=material.breaks,
            word_lengths=material.word_lengths,
            cyclic=material.cyclic,
            input=options.input,
            punctuation=options.punctuation,
            numbers=options.numbers,
            race=None if seat is None else seat.race,
            lane=None if seat is None else seat.lane,
            start_ms=None if seat is None else seat.start_ms,
        )

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

    def _digest_now(self) -> bytes:
        """The digest of the whole history."""
        history = self._history
        digest = self._digest
        if digest is None:
            if len(history) <= HASHED_WHOLE_BYTES:
                self._digested = len(history)
                return hash_of(history)
            digest = self._digest = blake2b(digest_size=16)
            self._digested = 0
        digest.update(history[self._digested :])
        self._digested = len(history)
        return digest.digest()

    # --- what those see who look on ---

    def shows(self, *, own: bool) -> bool:
        """Whether one may look on: its own user always, others where they are let; nobody at an own text."""
        return self._mode != "text" and (own or self.watch)

    def typed_since(self, mark: int, *, most: int) -> tuple[list[str], int]:
        """Keys that count, from byte `mark` of the history on, so many at most; and the byte after the last of them."""
        return keys_of(self._history, mark, len(self._history) if self._scored is None else self._scored[1], most=most)

    def figures(self) -> tuple[float, float, float, int, int, int]:
        """(wpm, raw, acc, word, cluster, err) after the last event: those of a tick."""
        return self._scorer.figures()

    def running_ms(self, *, now_ms: float) -> int:
        """The test's time so far, as far as can be told from here; once it is over, how long it took."""
        if self._summary is not None:
            return round(self._summary.duration_ms)
        return max(0, round(now_ms - self._seen_ms + self._scorer.elapsed_ms)) if self.n else 0

    @property
    def seen_ms(self) -> float:
        """When the last batch that counts was read (server's monotonic clock); see `_seen_ms` for resumes."""
        return self._seen_ms

    def late_ms(self, *, ping_ms: float, stall_ms: float = 0.0) -> float:
        """In a race that is over for it: how much later than it claims its last event came, beyond what lag explains.

        What was typed without a connection came with the resume: nobody knows when else. `stall_ms` is as in `settled`.
        """
        assert self._start_ms is not None, "time zero of others is the client's"
        takeover, seen_ms = self._takeover, self._seen_ms
        if takeover is not None and takeover.offline and (self._scored or (self.n,))[0] <= takeover.log_n:
            seen_ms = takeover.resumed_ms
        elapsed_ms = self._scorer.elapsed_ms
        behind_ms = seen_ms - self._start_ms - elapsed_ms
        return max(0.0, behind_ms - DEFAULT_LIMITS.lag_ms(elapsed_ms, ping_ms=ping_ms, stall_ms=stall_ms))

    @property
    def summary(self) -> Summary | None:
        """Its figures, once it is over."""
        return self._summary

    # --- for another process that takes it over ---

    @property
    def epoch(self) -> int:
        """At which it came to this process; 0 where it began here."""
        return 0 if self._takeover is None else self._takeover.epoch

    @property
    def seen(self) -> bool:
        """Whether anything of it was, here or before it came here."""
        takeover = self._takeover
        return self.n > 0 or (takeover is not None and (takeover.standing is not None or takeover.conflict))

    def answer(self, question: Question | None = None) -> Answer:
        """What was seen of it, and whether the claim asked about is of that. Whoever says so to another lets it go."""
        conflict = self._takeover is not None and self._takeover.conflict
        if question is not None:
            receipt = question.receipt
            conflict |= (
                question.ticket_hash != self._ticket_hash
                or question.n < self._least_n()
                or not (receipt is None or self._agrees(*receipt))
            )
        return Answer(Word.HELD, self._account(), conflict=conflict, epoch=self.epoch)

    def _account(self) -> Receipt | None:
        """All that was seen, as a receipt says it; of a log that is still being looked at, what was seen before it."""
        takeover = self._takeover
        if takeover is not None and self.replaying:
            return takeover.standing
        if not self.n:
            return None
        clock_ms = int(self._seen_ms + self._epoch_offset_ms)
        account = ALL_SEEN if takeover is None else takeover.account()
        return Receipt(self.n, clock_ms, hash_of(self._history), *account)

    def _least_n(self) -> int:
        """Events that a client's log must have: those that are in, and those that are to come since they were seen."""
        return self.n if self._takeover is None else max(self.n, self._takeover.seen_n)

    # --- keystrokes ---

    @property
    def replaying(self) -> bool:
        """Whether the log that the client had at `resume` is still coming in; no ticks meanwhile."""
        takeover = self._takeover
        return takeover is not None and (self.n < takeover.log_n or takeover.compared is not None)

    @property
    def returning(self) -> bool:
        """Whether it was resumed, and nothing live has come since."""
        return self._takeover is not None and self._takeover.measuring

    def keys(self, n: Any, e: Any, h: Any, *, now_ms: float) -> Outcome:
        """Take one `keys` frame. The hot path: frames of one or two events.

        Types are the codec's to check (what Python takes for a whole number, such as True, is taken here); values are
        checked here. `feeding` checks both.
        """
        if not self._live or n != self.n or type(n) is not int or type(e) is not list:
            return _run(self.feeding(n, e, h, now_ms=now_ms))
        size = len(e)
        after = n + (size >> 1)
        if not size or size & 1 or after >= self._check_at:  # without events: holds alone, which say nothing of clocks
            return _run(self.feeding(n, e, h, now_ms=now_ms))
        history = self._history
        mark = len(history)
        try:
            events = iter(e)
            for dt in events:
                history += SHORT_GAPS[dt] + CODES[next(events)]
        except (KeyError, TypeError):  # a key not met before, a long pause, or nothing of the kind: the long way tells
            del history[mark:]
            return _run(self.feeding(n, e, h, now_ms=now_ms))
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
            return _protocol("keys.n must be a whole number from 0 up")
        if type(e) is not list or len(e) % 2:
            return _protocol("keys.e must be a flat list of dt and key in turn")
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

    def _expected(self) -> int:
        """The number of the event that is to come next."""
        takeover = self._takeover
        return self.n if takeover is None or takeover.compared is None else takeover.compared.n

    def _room(self) -> int:
        """Events that may be taken at once: up to the next number at which something is looked at."""
        n = self.n
        room = min(SLICED_EVENTS, self._check_at - n)
        takeover = self._takeover
        if takeover is not None:
            if takeover.compared is not None:
                return min(SLICED_EVENTS, n - takeover.compared.n)
            older = takeover.older
            for stop in (0 if older is None else older[0], takeover.seen_n, takeover.log_n):
                if n < stop:
                    room = min(room, stop - n)
        return room

    def _take(self, events: list[Any], *, now_ms: float) -> Outcome:
        """Take some events that follow the log, or are to be compared with it."""
        takeover = self._takeover
        if takeover is not None and takeover.compared is not None:
            return self._compare(takeover, takeover.compared, events, now_ms=now_ms)
        n = self.n
        mark = len(self._history)
        wrong = encode(events, self._history)
        if wrong is not None:
            return _protocol(wrong)
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
            return _protocol(wrong)
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
        """Hold what came again to what was seen."""
        over = self.state in FINAL
        if takeover.older is not None and self.n == takeover.older[0]:
            takeover.check_older(self._digest_now())
        if takeover.digest is not None and (over or self.n == takeover.seen_n):
            self._ticked = self.n  # the client has a receipt for these
            takeover.check(self._digest_now(), elapsed_ms=self._scorer.elapsed_ms, client_ms=self._client_ms())
        if over or self.n == takeover.log_n:
            scored = self.n if self._scored is None else self._scored[0]
            takeover.caught_up(self.n, scored=scored, client_ms=self._client_ms())
            # a receipt given before anything live has come must not hide the time since
            self._seen_ms = min(takeover.offset_ms + self._scorer.elapsed_ms, now_ms)
            if not over:
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

    def _client_ms(self) -> float:
        """Client time up to the last event, as far as the test goes."""
        end_ms = self._limit_ms if self._summary is None else self._summary.duration_ms
        return self._scorer.elapsed_ms if end_ms is None else min(self._scorer.elapsed_ms, end_ms)

    def _hold(self, h: Any) -> Breach | None:
        """Take how long keys were held."""
        if type(h) is not list or len(h) & 1:
            return _protocol("keys.h must be a flat list of event and hold in turn")
        holds = self._holds
        n = self.n
        if holds is None:
            holds = self._holds = array("H")
        while len(holds) < n:
            holds.frombytes(_NO_HOLDS)
        pairs = iter(h)
        try:
            for event in pairs:
                hold = next(pairs)
                if 0 <= event < n and 0 <= hold <= MAX_DT_MS:
                    holds[event] = hold + 1 if hold < LONGEST_HOLD_MS else LONGEST_HOLD_MS + 1
                elif self.state in FINAL:
                    return None  # of keys after the end
                else:
                    return _protocol("keys.h has numbers of events sent before, and whole ms")
        except TypeError:
            return _protocol("keys.h has whole numbers, of events sent before and of ms")
        return None

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
        self._scorer.feed(_run(events_of(self._history)))
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
        limits = self._limits
        fault = self._too_fast()
        if fault is not None:
            return fault
        size = len(self._history)
        if (
            self.n >= limits.events
            or size > limits.history_bytes
            # what deflate makes of the whole is more than what the replay codec makes of its parts
            or (size > FITS_BYTES and len(compress(self._history, 1)) > limits.replay_bytes)
        ):
            return self._at_limit()
        self._looks = (*self._looks, size)
        self._check_at = min(self.n + CHECK_EVENTS, limits.events)
        return None

    def _too_fast(self) -> Breach | None:
        """Close where more was claimed than anybody types, in any window that ends after the last look."""
        limits = self._limits
        keys = limits.close_keys_per_s * limits.rate_window_ms // 1000
        if self.n <= keys:
            return None
        start = self._looks[max(0, len(self._looks) - 2 - keys // CHECK_EVENTS)]
        if not too_fast(self._history, keys=keys, window_ms=limits.rate_window_ms, start=start):
            return None
        self._live = False
        self.deadline_ms = inf
        self.state = next_state(self.state, Input.BREACH)
        seconds = limits.rate_window_ms / 1000
        return Breach(CloseCode.LIMITS, f"over {limits.close_keys_per_s} keys a second over {seconds:g} s")

    def finish(self, n: Any, *, now_ms: float) -> Outcome:
        """Take `finish`. None: the test is over; settle, or where it was over before send the same result again.

        `Refused` with code `empty` means over without a result: `state` is ABANDONED. `Gap`: events are missing.
        """
        if type(n) is not int or n < 0:
            return _protocol("finish.n must be a whole number from 0 up")
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
            return _protocol(f"finish.n is {n}, but the log has more events")
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

    def _agrees(self, n: int, digest: bytes) -> bool:
        """Whether what a receipt vouches for is what was seen here, as far as that is in yet and not outdated."""
        if self.replaying or n > self.n:
            return True
        last = self._digested if n == self._ticked else offset_after(self._history, n)
        return digest == hash_of(self._history[:last])

    # --- the result ---

    def settled(self, *, node: str, ping_ms: float = 0.0, stall_ms: float = 0.0) -> Settled:
        """Settle a session that has `ended`: its result, to be judged.

        `ping_ms`: the connection's latest ping time; `stall_ms`: how long what was read at `seen_ms` may have waited
        for this process.
        """
        assert self.ended, "only a session that has ended has a result"
        summary, takeover = self._summary, self._takeover
        assert summary is not None, "the end makes it"
        if takeover is not None:
            end_ms = summary.duration_ms if self._limit_ms is None else self._limit_ms
            takeover.arrived(takeover.resumed_ms - end_ms)
        count, size = self._scored or (self.n, len(self._history))
        over = FinishedTest(
            ticket=Ticket.read(self.ticket[1:-16]),
            ticket_hash=self._ticket_hash,
            n=count,
            history=bytes(self._history[:size]),
            held=array("H") if self._holds is None else self._holds[:count],
            summary=summary,
            gave_up=self._gave_up,
            account=ALL_SEEN if takeover is None else takeover.account(),
            clocks=self._drift.reading(ping_ms=ping_ms, stall_ms=stall_ms),
            text=self._text,
        )
        return over.settle(node=node, epoch=self.epoch, limits=self._limits)

    def settle(self, *, node: str, ping_ms: float = 0.0, stall_ms: float = 0.0) -> Result:
        """Settle and judge at once."""
        return _run(self.settled(node=node, ping_ms=ping_ms, stall_ms=stall_ms).judging())

    def _new_scorer(self) -> Scorer:
        limits = self._limits
        return Scorer(
            self._words,
            limit_ms=self._limit_ms,
            zen=self._mode == "zen",
            cyclic=self._limit_ms is not None,
            exact_duration=self._mode == "text",
            longest_ms=limits.untimed_ms,
            from_start=self._start_ms is not None,
        )


def _early(wait_ms: float, ref: int | None) -> Error:
    return Error("early", "the race has not begun; nothing of this was taken", ceil(wait_ms), 0, ref)


def _protocol(reason: str) -> Breach:
    return Breach(CloseCode.PROTOCOL, reason)


def _run(steps: Generator[None, None, T]) -> T:
    """Drive a generator to its end without a break and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
