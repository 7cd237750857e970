"""What is typed of a test: its log, its score, when it came, and how much of it was seen by whom.

Here is what a test *is* so far, and never what may be done with it: no state, no deadline, no client. These are the
machine's (`session.machine`), which takes the keystrokes in and says what each input comes to.
"""

from array import array
from hashlib import blake2b
from typing import Any, Final
from zlib import compress

from scoring.drift import DEFAULT_LIMITS, Drift
from scoring.scorer import Scorer
from scoring.summary import Summary
from session.history import MAX_DT_MS, keys_of, offset_after, too_fast
from session.holder import Answer, Question, Word
from session.options import SessionLimits
from session.outcome import Breach
from session.passages import Material
from session.receipt import ALL_SEEN, KeyRing, Receipt, Ticket, hash_of
from session.resume import Takeover
from session.settling import FinishedTest, Settled

__all__ = ["SLICED_EVENTS", "Typed"]

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

_NO_HOLDS: Final = bytes(64)  # of the next 32 events


class _OfEachFrame:
    """What each frame looks at, side by side: a base's slots come first, and ten thousand sessions fit no cache.

    Some of it is the machine's, which is built on this.
    """

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


class Typed(_OfEachTick):
    """What is typed of one test. The machine is built on it: each frame looks at both, and one more step is felt.

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
        ring: KeyRing,
        limits: SessionLimits,
        now_ms: float,
        epoch_ms: int,
        race_ms: int | None,
    ) -> None:
        """Arguments as in `TypingSession.begin`; `sealed` is the sealed ticket."""
        options = ticket.options
        self.id = ticket.session
        """16 bytes."""
        self.user = ticket.user
        self.watch = options.watch
        """Whether whoever has its id may look on."""
        self.n = 0
        """Events in the log so far."""
        self.ended = False
        """It is over, with a result: time to settle (once; the state is FINISHED)."""
        self.ticket = sealed
        """The sealed ticket."""
        self._ticket_hash = hash_of(sealed)
        self._mode = options.mode
        self._limit_ms = options.limit_ms
        self._start_ms: float | None = None
        """In a race its start instant, on the server's monotonic clock: the test's time zero."""
        self._text = material.text if options.mode == "text" else None
        self._words = material.words
        self._ring = ring
        self._limits = limits
        self._epoch_offset_ms = epoch_ms - now_ms
        """Of the server's two clocks, for receipts: they are read by other processes."""
        if ticket.seat is not None:
            self._start_ms = now_ms + ticket.seat.start_ms - (epoch_ms if race_ms is None else race_ms)
        self._scorer = self._new_scorer()
        self._history = bytearray()
        self._holds: array[int] | None = None
        """Hold in ms plus one by event, 0 where it is not known."""
        self._drift = Drift() if self._start_ms is None else Drift.of_start(self._start_ms)
        self._seen_ms = now_ms
        """When the last scored event arrived, or would have, had the clocks gone on as before a resume."""
        self._check_at = min(CHECK_EVENTS, limits.events)
        """The log is due for a look when it has so many events."""
        self._looks: tuple[int, ...] = (0,)
        """Size of the history at each look so far, one every CHECK_EVENTS."""
        self._scored: tuple[int, int] | None = None
        """Events and bytes of the history that count, once the end was met; None while all do."""
        self._summary: Summary | None = None
        """Made once, at the end."""
        self._gave_up = False
        self._ticked = 0
        self._digest: blake2b | None = None
        """State over the first `_digested` bytes of a history that is too long to be hashed anew at each tick."""
        self._digested = 0
        self._takeover: Takeover | None = None
        """What resumes came to; None in a test that saw none."""

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
    def taken(self) -> bool:
        """Whether it was made anew here, or begun for what another process had."""
        return self._takeover is not None

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

    def _agrees(self, n: int, digest: bytes) -> bool:
        """Whether what a receipt vouches for is what was seen here, as far as that is in yet and not outdated."""
        if self.replaying or n > self.n:
            return True
        last = self._digested if n == self._ticked else offset_after(self._history, n)
        return digest == hash_of(self._history[:last])

    # --- a log that comes again ---

    @property
    def replaying(self) -> bool:
        """Whether the log that the client had at `resume` is still coming in; no ticks meanwhile."""
        takeover = self._takeover
        return takeover is not None and (self.n < takeover.log_n or takeover.compared is not None)

    @property
    def returning(self) -> bool:
        """Whether it was resumed, and nothing live has come since."""
        return self._takeover is not None and self._takeover.measuring

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

    def _client_ms(self) -> float:
        """Client time up to the last event, as far as the test goes."""
        end_ms = self._limit_ms if self._summary is None else self._summary.duration_ms
        return self._scorer.elapsed_ms if end_ms is None else min(self._scorer.elapsed_ms, end_ms)

    def _look_back(self, takeover: Takeover, *, over: bool, now_ms: float) -> bool:
        """Hold what came again to what was seen; True once all of it is in, or the test is over in it."""
        if takeover.older is not None and self.n == takeover.older[0]:
            takeover.check_older(self._digest_now())
        if takeover.digest is not None and (over or self.n == takeover.seen_n):
            self._ticked = self.n  # the client has a receipt for these
            takeover.check(self._digest_now(), elapsed_ms=self._scorer.elapsed_ms, client_ms=self._client_ms())
        caught_up = over or self.n == takeover.log_n
        if caught_up:
            scored = self.n if self._scored is None else self._scored[0]
            takeover.caught_up(self.n, scored=scored, client_ms=self._client_ms())
            # a receipt given before anything live has come must not hide the time since
            self._seen_ms = min(takeover.offset_ms + self._scorer.elapsed_ms, now_ms)
        return caught_up

    # --- the log ---

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

    def _hold(self, h: Any) -> Breach | None:
        """Take how long keys were held."""
        if type(h) is not list or len(h) & 1:
            return Breach.of_protocol("keys.h must be a flat list of event and hold in turn")
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
                elif self.ended:
                    return None  # of keys after the end
                else:
                    return Breach.of_protocol("keys.h has numbers of events sent before, and whole ms")
        except TypeError:
            return Breach.of_protocol("keys.h has whole numbers, of events sent before and of ms")
        return None

    def _is_too_fast(self) -> bool:
        """Whether more was claimed than anybody types, in any window that ends after the last look."""
        limits = self._limits
        keys = limits.close_keys_per_s * limits.rate_window_ms // 1000
        if self.n <= keys:
            return False
        start = self._looks[max(0, len(self._looks) - 2 - keys // CHECK_EVENTS)]
        return too_fast(self._history, keys=keys, window_ms=limits.rate_window_ms, start=start)

    def _is_full(self) -> bool:
        """Whether the log is as long as any may be."""
        limits, size = self._limits, len(self._history)
        return (
            self.n >= limits.events
            or size > limits.history_bytes
            # what deflate makes of the whole is more than what the replay codec makes of its parts
            or (size > FITS_BYTES and len(compress(self._history, 1)) > limits.replay_bytes)
        )

    def _looked(self) -> None:
        """The log was looked at, and may grow."""
        self._looks = (*self._looks, len(self._history))
        self._check_at = min(self.n + CHECK_EVENTS, self._limits.events)

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
