"""Taking a test over: what a client's `resume` claims, and the account of how much of the test was seen.

Two things are held against a log that comes back. *Unseen* is the client time in events that no server of ours had
seen when they were typed. *Slack* is server time, between the last event seen and the first one seen again, that the
log does not account for: who types offline at leisure, or goes back to an old receipt, has some. Both add up over
every resume of a test, since receipts carry them on.

Slack is measured as a shift of d = server's clock - client's time: d at the last event that was seen, and d at the
first one that arrives live again (or, where none does, at the resume).
"""

from dataclasses import dataclass
from typing import Final

from session.messages import Error, Resume
from session.options import SessionLimits
from session.receipt import Forged, KeyRing, Receipt, Ticket, hash_of

__all__ = ["Claim", "Compared", "Takeover"]

_FORGED: Final = "ticket and receipt must be those that this test was given"


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
    older: tuple[int, bytes] | None = None
    """Events and digest of what was seen by a copy that the receipt has outdated: the log must have these too."""

    @classmethod
    def open(cls, resume: Resume, *, user: int, ring: KeyRing, limits: SessionLimits, epoch_ms: int) -> "Claim | Error":
        """Check a `resume`: seals, session, user, age. The error is what to send."""
        try:
            ticket = Ticket.open(ring, resume.ticket)
            ticket_hash = hash_of(resume.ticket)
            receipt = None if resume.receipt is None else Receipt.open(ring, resume.receipt, ticket_hash)
        except Forged:
            return Error("ticket", _FORGED, ref=resume.ref)
        if ticket.session != resume.session:
            return Error("ticket", _FORGED, ref=resume.ref)
        if ticket.user != user:
            return Error("foreign", "the test was started by another user", ref=resume.ref)
        if epoch_ms - ticket.started_ms > limits.ticket_ms:
            days = limits.ticket_ms / 86_400_000
            return Error("stale", f"a test can be resumed for {days:g} days", ref=resume.ref)
        if ticket.options.mode == "text" and resume.text is None:
            return Error("text", "a test of one's own text is resumed with that text", ref=resume.ref)
        return cls(ticket, resume.ticket, ticket_hash, receipt, resume.n, resume.ref, resume.text)


@dataclass(slots=True)
class Compared:
    """How much of a log that comes again, to a process that has it, was the same so far."""

    claim: Claim
    """By which it comes."""
    n: int
    """Events that were; at first those that the claim's receipt vouches for."""
    at: int
    """Byte of the history after them."""


class Takeover:
    """What the resumes of one test came to, and how far the present one is."""

    __slots__ = (
        "compared",
        "conflict",
        "digest",
        "epoch",
        "log_n",
        "measuring",
        "offline",
        "offset_ms",
        "older",
        "resumed_ms",
        "said",
        "seen_client_ms",
        "seen_n",
        "slack_ms",
        "standing",
        "unseen_events",
        "unseen_ms",
    )

    def __init__(self, *, seen_n: int, offset_ms: float, log_n: int, resumed_ms: float) -> None:
        self.seen_n = seen_n
        """Events that were seen before, live or accounted for by earlier resumes."""
        self.seen_client_ms: float = 0
        """Client time of the last of them."""
        self.offset_ms = offset_ms
        """d at the last of them: server's monotonic clock less client time."""
        self.digest: bytes | None = None
        """What their history must have; None where they are here, or there are none."""
        self.older: tuple[int, bytes] | None = None
        """Fewer events, and what their history must have as well; see `Claim.older`."""
        self.log_n = log_n
        """Events that the client had at `resume`: up to here they are not live."""
        self.resumed_ms = resumed_ms
        """Server's monotonic clock at `resume`."""
        self.measuring = log_n > 0
        """Whether slack is still to be measured; with nothing typed yet there is none."""
        self.unseen_events = 0
        self.unseen_ms: float = 0
        self.slack_ms: float = 0
        self.offline = False
        """The last event that counts of the log at `resume` had not been seen before."""
        self.conflict = False
        """The log differs from what was seen."""
        self.epoch = 0
        """At which the session was taken from whoever had it before; 0 where it has never left its process."""
        self.standing: Receipt | None = None
        """What was seen before the log that the client had at `resume`; None: nothing was."""
        self.said = False
        """The client was told."""
        self.compared: Compared | None = None
        """How far it is compared with what is here; None where all was, or nothing need be."""

    @classmethod
    def of_claim(
        cls,
        claim: Claim,
        *,
        now_ms: float,
        epoch_offset_ms: float,
        conflict: bool,
        limits: SessionLimits,
        start_ms: float | None = None,
        epoch: int = 0,
        finished: bool = False,
    ) -> "Takeover":
        """Take over what another process had: the claim's receipt says what it saw, its own or the holder's account.

        `start_ms` is a race's start instant (server's monotonic clock); None in any other test. `finished`: that one
        saw the test's end, so no time has passed that the log does not account for.
        """
        receipt = claim.receipt
        log_n = min(claim.n, limits.events)
        if receipt is None or receipt.n > claim.n or conflict:
            takeover = cls(
                seen_n=0,
                offset_ms=claim.ticket.started_ms - epoch_offset_ms if start_ms is None else start_ms,
                log_n=log_n,
                resumed_ms=now_ms,
            )
            takeover.conflict = conflict or receipt is not None
        else:
            takeover = cls(
                seen_n=receipt.n,
                offset_ms=receipt.clock_ms - epoch_offset_ms,  # less the client time there, once that is known
                log_n=log_n,
                resumed_ms=now_ms,
            )
            takeover.digest = receipt.digest
            takeover.older = claim.older
        if receipt is not None:
            takeover.unseen_events = receipt.unseen_events
            takeover.unseen_ms = receipt.unseen_ms
            takeover.slack_ms = receipt.slack_ms
            takeover.conflict |= receipt.conflict
        takeover.said = conflict or (receipt is not None and receipt.conflict)
        takeover.standing = receipt
        takeover.epoch = epoch
        takeover.measuring &= not finished
        return takeover

    def again(self, *, seen_n: int, seen_client_ms: float, offset_ms: float, log_n: int, resumed_ms: float) -> None:
        """Another resume, of a test that this process has held."""
        self.seen_n = seen_n
        self.seen_client_ms = seen_client_ms
        self.offset_ms = offset_ms
        self.digest = None
        self.log_n = log_n
        self.resumed_ms = resumed_ms
        self.measuring = log_n > 0

    def began(self, reaction_ms: float) -> None:
        """The log's first event is in: its `dt` counts from `started`, and is no part of the test."""
        if not self.seen_n:
            self.offset_ms += reaction_ms

    def check(self, digest: bytes, *, elapsed_ms: float, client_ms: float) -> None:
        """The `seen_n` events that a receipt vouches for are in: hold the log to it.

        `elapsed_ms` is the client's clock at the last of them, `client_ms` the same as far as the test goes.
        """
        self.offset_ms -= elapsed_ms
        self.seen_client_ms = client_ms
        if digest != self.digest:
            self.differs()
        self.digest = None

    def check_older(self, digest: bytes) -> None:
        """The events that an outdated copy saw are in: hold the log to that one as well."""
        assert self.older is not None
        if digest != self.older[1]:
            self.conflict = True
            self.digest = b""  # as no history has: what the receipt vouches for is another log
        self.older = None

    def differs(self) -> None:
        """The log is not what was seen: then nothing of it was."""
        self.conflict = True
        self.seen_n = 0
        self.seen_client_ms = 0

    def caught_up(self, n: int, *, scored: int, client_ms: float) -> None:
        """The log that the client had at `resume` is in, n events of it; `scored` of these count."""
        self.offline = scored > self.seen_n
        self.unseen_events += max(0, scored - self.seen_n)
        self.unseen_ms += max(0, client_ms - self.seen_client_ms)
        self.log_n = self.seen_n = n
        self.seen_client_ms = client_ms

    def arrived(self, offset_ms: float) -> None:
        """The first live event is in, with its d; or there will be none, and d is the resume's."""
        if self.measuring:
            self.measuring = False
            self.slack_ms += max(0, offset_ms - self.offset_ms)

    def account(self) -> tuple[int, int, int, bool]:
        """For a receipt: unseen events, unseen ms, slack ms, conflict; whole, and within a receipt's 32 bits."""
        return (self.unseen_events, _whole(self.unseen_ms), _whole(self.slack_ms), self.conflict)


def _whole(ms: float) -> int:
    return min(round(ms), 0xFFFFFFFF)
