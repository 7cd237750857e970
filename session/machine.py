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
    result = yield from session.settling(node=..., epoch=..., ping_ms=...)

    session.detach(now_ms=now)                         # the connection is lost; hold the session until FORGET

    claim = Claim.open(resume, user=..., ...)          # Claim, or the Error to send
    # the session is held here:
    answer = held.reattach(claim, now_ms=now)          # Resumed, or Error conflict: send it, drop `held`, go on below
    # it is not: build the material of claim.ticket anew (its options, seed and versions), then
    session = TypingSession.rebuild(claim, material, conflict=..., ...)   # or the Error to send
    send(session.resumed())
    # `keys` frames of the log follow; over SLICED_EVENTS in a frame use `feeding`
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from session.messages import CloseCode, Error, Resume, Resumed, Started
from session.options import SessionLimits, TestOptions
from session.passages import Material
from session.receipt import KeyRing, Receipt, Ticket
from session.result import Result
from session.state import State

SLICED_EVENTS: Final = 250
"""A frame with more events than this goes through `feeding`, so that nobody else waits for it."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing: answer `error gap` with the number expected; nothing was taken."""

    expected: int

    def error(self, ref: int | None) -> Error:
        """The message that says so."""
        return Error("gap", f"events before n are missing; send again from {self.expected}", 0, self.expected, ref)


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer with this error; the connection goes on."""

    error: Error


@dataclass(frozen=True, slots=True)
class Breach:
    """The peer broke the protocol or a hard limit: close with this code."""

    close_code: CloseCode
    reason: str


Outcome: TypeAlias = Gap | Refused | Breach | None
"""What an input came to; None: all well, nothing to say."""


class Due(Enum):
    """What `due` asks for."""

    NOTHING = "nothing"
    PING = "ping"
    """Ping the client; at the pong call `pong`. All that it sent before has arrived by then."""
    SETTLE = "settle"
    """`ended` is set: settle."""
    EXPIRED = "expired"
    """Over without a result: send `error expired`, forget the session."""
    FORGET = "forget"
    """Held long enough without a connection: forget the session, send nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A `resume` whose ticket and receipt are ours and whose user is the right one."""

    ticket: Ticket
    sealed: bytes
    """The ticket as it is sealed."""
    ticket_hash: bytes
    receipt: Receipt | None
    n: int
    """Events in the client's log."""
    ref: int | None
    text: str | None
    """The own text, not yet checked."""

    @classmethod
    def open(cls, resume: Resume, *, user: int, ring: KeyRing, limits: SessionLimits, epoch_ms: int) -> "Claim | Error":
        """Check a `resume`: seals, session, user, age. The error is what to send."""
        raise NotImplementedError


class TypingSession:
    """One typing test of one user."""

    __slots__ = ("deadline_ms", "ended", "id", "n", "ref", "state", "ticket", "user")

    id: bytes
    """16 bytes."""
    user: int
    ref: int | None
    """The client's number for the test; the connection drops `keys` of an older one."""
    state: State
    n: int
    """Events in the log so far."""
    ended: bool
    """It is time to settle (once; the state is FINISHED)."""
    deadline_ms: float
    """When `due` wants to be asked (server's monotonic clock); infinite where nothing is due."""
    ticket: bytes
    """The sealed ticket."""

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
    ) -> "TypingSession":
        """Make the session of a new test: `session` is a minted id, `seed` what the material was made by."""
        raise NotImplementedError

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
    ) -> "TypingSession | Error":
        """Make the session of a claim anew, its log to come from event 0. `conflict`: `reattach` said so."""
        raise NotImplementedError

    def started(self, material: Material) -> Started:
        """The answer to `start`."""
        raise NotImplementedError

    def resumed(self) -> Resumed:
        """The answer to `resume`."""
        raise NotImplementedError

    @property
    def replaying(self) -> bool:
        """Whether the log that the client had at `resume` is still coming in; no ticks meanwhile."""
        raise NotImplementedError

    def keys(self, n: int, e: list[Any], h: list[Any] | None, *, now_ms: float) -> Outcome:
        """Take one `keys` frame (values as decoded, unchecked). The hot path."""
        raise NotImplementedError

    def feeding(self, n: int, e: list[Any], h: list[Any] | None, *, now_ms: float) -> Generator[None, None, Outcome]:
        """Like `keys`, for a large frame: stops for breath after each slice of under a millisecond."""
        raise NotImplementedError
        yield

    def tick(self, *, now_ms: float) -> dict[str, Any] | None:
        """The `tick` message as a map, or None where `n` did not change since the last one."""
        raise NotImplementedError

    def finish(self, n: int, *, now_ms: float) -> Outcome:
        """Take `finish`. None: the test is over; settle, or where it was over before send the same result again.

        `Refused` with code `empty` means over without a result: `state` is ABANDONED. `Gap`: events are missing.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Take `abort`, or a `start` of another test: over without a result."""
        raise NotImplementedError

    def detach(self, *, now_ms: float) -> None:
        """The connection is lost; a running test is held for a while."""
        raise NotImplementedError

    def reattach(self, claim: Claim, *, now_ms: float) -> "Resumed | Error":
        """Go on over another connection (`detach` first where the old one is still there).

        `Error` with code `conflict`: the client's log is not the one that was seen here; see the module's head.
        """
        raise NotImplementedError

    def due(self, *, now_ms: float) -> Due:
        """Say what is due now; call it once `deadline_ms` has passed."""
        raise NotImplementedError

    def pong(self, *, now_ms: float) -> Outcome:
        """The ping that `due` asked for was answered: the timed test is over, `ended` is set (or `error empty`)."""
        raise NotImplementedError

    def settling(self, *, node: str, epoch: int = 0, ping_ms: float = 0.0) -> Generator[None, None, Result]:
        """Make the result of a session that has `ended`; stops for breath after each slice of under a millisecond."""
        raise NotImplementedError
        yield

    def settle(self, *, node: str, epoch: int = 0, ping_ms: float = 0.0) -> Result:
        """Make the result at once."""
        raise NotImplementedError
