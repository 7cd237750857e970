"""A small client to play tests with: it keeps its log, ticket and last receipt, as a page does."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from scoring.replay import decode
from scoring.scorer import Scorer
from scoring.slices import at_once
from session.holder import Grounds, Question, weigh
from session.machine import Outcome, Refused, TypingSession
from session.messages import Resume, Resumed
from session.options import SessionLimits, TestOptions
from session.passages import Material, Vocabulary, free, generating, practising, quoting
from session.receipt import KeyRing, Seat, Ticket
from session.resume import Claim

T = TypeVar("T")

RING = KeyRing([(7, bytes(range(32)))])
LIMITS = SessionLimits()
EPOCH_MS = 1_790_000_000_000
"""The wall clock at the monotonic clock's 0, in all plays."""
WORDS = ("the", "of", "and", "to", "in", "you", "that", "it", "he", "was", "for", "on", "are", "with", "as", "his")
VOCABULARY = Vocabulary(WORDS, language="en", version=3, direction="ltr")
QUOTE = "A short passage, typed with care."
USER = 41


def material_for(options: TestOptions, *, seed: int = 1, text: str | None = None) -> Material:
    match options.mode:
        case "words" | "time":
            return at_once(generating(VOCABULARY, options, seed=seed))
        case "quote":
            return at_once(quoting(QUOTE, test=9, version=2, title="Care", language="en", direction="ltr"))
        case "text":
            return at_once(
                practising(
                    options.text or text or "",
                    timed=options.seconds is not None,
                    language="en",
                    direction="ltr",
                    limits=LIMITS,
                )
            )
        case _:
            return free(language="en", direction="ltr")


def session_id(number: int = 0) -> bytes:
    return bytes.fromhex("0190163d8694739b") + (0x8000000000000000 + number).to_bytes(8, "big")


@dataclass
class Player:
    """One test: the client's side and whatever server has the session now."""

    options: TestOptions
    limits: SessionLimits = LIMITS
    seed: int = 1
    started_ms: float = 1000.0
    log: list[Any] = field(default_factory=list)
    receipt: bytes | None = None
    zero_ms: float | None = None
    """Server's monotonic clock at the log's first event."""
    client_ms: float = 0.0
    """Client time of the last event."""
    seat: Seat | None = None
    """In a race; its start instant is time zero."""

    def __post_init__(self) -> None:
        self.material = material_for(self.options, seed=self.seed)
        self.session = TypingSession.begin(
            self.options,
            self.material,
            session=session_id(self.seed),
            user=USER,
            seed=self.seed,
            ref=1,
            ring=RING,
            limits=self.limits,
            now_ms=self.started_ms,
            epoch_ms=EPOCH_MS + int(self.started_ms),
            node="n1",
            seat=self.seat,
        )
        if self.seat is not None:
            self.zero_ms = self.seat.start_ms - EPOCH_MS
        self.ticket = self.session.ticket

    @property
    def n(self) -> int:
        return len(self.log) // 2

    @property
    def now_ms(self) -> float:
        """Server's clock when the last event arrived, on a network that takes no time."""
        assert self.zero_ms is not None
        return self.zero_ms + self.client_ms

    def note(self, dt: int, key: str) -> None:
        """Type a key without sending it."""
        if self.zero_ms is None:
            self.zero_ms = self.started_ms + dt
        else:
            self.client_ms += dt
        self.log += (dt, key)

    def send(self, since: int, *, late_ms: float = 0.0) -> Outcome:
        """Send the log from event `since` on."""
        return self.session.keys(since, self.log[2 * since :], None, now_ms=self.now_ms + late_ms)

    def type(self, keys: str | list[str], *, dt: int = 120) -> Outcome:
        """Type keys, each in a frame of its own; the first outcome that says anything."""
        for key in keys:
            since = self.n
            self.note(dt, key)
            outcome = self.send(since)
            if outcome is not None:
                return outcome
        return None

    def tick(self) -> dict[str, Any] | None:
        wire = self.session.tick(now_ms=self.now_ms)
        if wire is not None:
            self.receipt = wire["r"]
        return wire

    def resume_message(self, **changes: Any) -> Resume:
        values: dict[str, Any] = {
            "session": self.session.id,
            "ticket": self.ticket,
            "n": self.n,
            "receipt": self.receipt,
            "text": self.options.text,
            "ref": 2,
        }
        return Resume(**values | changes)

    def claim(self, *, after_ms: float = 0.0, **changes: Any) -> Claim:
        claim = Claim.open(
            self.resume_message(**changes),
            user=USER,
            ring=RING,
            limits=self.limits,
            epoch_ms=EPOCH_MS + int(self.now_ms + after_ms),
        )
        assert isinstance(claim, Claim), claim
        return claim

    def move(self, *, after_ms: float = 0.0, batch: int = 700, conflict: bool = False, **changes: Any) -> Outcome:
        """Lose the process; resume on another one `after_ms` later, and send the log again."""
        claim = self.claim(after_ms=after_ms, **changes)
        now_ms = (self.now_ms if self.zero_ms is not None else self.started_ms) + after_ms
        # another process: its monotonic clock has nothing to do with the old one's
        self.session = rebuilt(
            claim, self.options, now_ms=now_ms, seed=self.seed, limits=self.limits, conflict=conflict
        )
        return self.send_again(batch=batch, now_ms=now_ms)

    def send_again(self, *, batch: int, now_ms: float) -> Outcome:
        """Send the log from where the session has it."""
        said: Outcome = None
        for at in range(self.session.resumed().n, self.n, batch):
            outcome = at_once(self.session.feeding(at, self.log[2 * at : 2 * (at + batch)], None, now_ms=now_ms))
            said = said or outcome
        return said


def rebuilt(
    claim: Claim,
    options: TestOptions,
    *,
    now_ms: float,
    seed: int = 1,
    limits: SessionLimits = LIMITS,
    conflict: bool = False,
    epoch: int = 0,
    finished: bool = False,
) -> TypingSession:
    session = TypingSession.rebuild(
        claim,
        material_for(claim.ticket.options, seed=seed, text=options.text),
        ring=RING,
        limits=limits,
        now_ms=now_ms,
        epoch_ms=EPOCH_MS + int(now_ms),
        conflict=conflict,
        epoch=epoch,
        finished=finished,
    )
    assert isinstance(session, TypingSession), session
    return session


def held(player: Player, *, away_ms: float, **changes: Any) -> Resumed | None:
    """Lose the connection; resume on the same process `away_ms` later."""
    lost_ms = player.now_ms
    player.session.detach(now_ms=lost_ms)
    return player.session.reattach(player.claim(**changes), now_ms=lost_ms + away_ms)


def back(player: Player, *, away_ms: float, **changes: Any) -> Outcome:
    """Likewise, and send what is to come again, and what was typed meanwhile."""
    assert held(player, away_ms=away_ms, **changes) is not None
    return player.send_again(batch=4, now_ms=player.now_ms + away_ms)


def anew(player: Player, *, away_ms: float, epoch: int = 0, **changes: Any) -> None:
    """The process that has it makes it anew of what it saw, and of the client's log."""
    claim = player.claim(after_ms=away_ms, **changes)
    found = weigh(claim, player.session.answer(Question.of(claim, epoch=epoch)), epoch=epoch)
    assert isinstance(found, Grounds)
    player.session = rebuilt(
        found.claim,
        player.options,
        now_ms=player.now_ms + away_ms,
        seed=player.seed,
        limits=player.limits,
        conflict=found.conflict,
        epoch=found.epoch,
        finished=found.finished,
    )


def ticket_of(player: Player) -> Ticket:
    return Ticket.open(RING, player.ticket)


def code_of(outcome: object) -> str:
    """The code of the error that an input was refused with."""
    assert isinstance(outcome, Refused), outcome
    return outcome.error.code


def rescored(player: Player, blob: bytes, *, gave_up: bool) -> Any:
    """What a reader of the result makes of its replay."""
    options = player.options
    scorer = Scorer(
        player.material.words,
        limit_ms=options.limit_ms,
        zen=options.mode == "zen",
        cyclic=options.seconds is not None,
        exact_duration=options.mode == "text",
    )
    scorer.feed(decode(blob).events)
    return scorer.summary(gave_up=gave_up)
