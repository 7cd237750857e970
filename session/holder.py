"""Taking a test over from a process that has it: what is asked, what is answered, and what that comes to.

The holder is the truth, the receipt its stand-in. Who is asked to let a session go says what it saw of it, in the form
of a receipt, and that stands in the receipt's place; only where nobody answers does the client's own receipt count.

    asked, and there is       what the claim comes to
    ------------------------  ----------------------------------------------------------------------------------
    a copy, live or held      it goes on from what that copy saw; a log that differs: `conflict`, the result is void
    one that is outdated      the receipt vouches for more and stands; what the copy saw must be in the log as well
    one that has finished     likewise, and all of it was seen: without slack. Both results have one core, so one row
    one that was aborted      `error gone`
    one taken over later      the asker has asked too late, and takes it once more
    none                      the receipt alone counts
    no answer                 the receipt alone counts: its process is gone, hangs, or answers too late

*Epochs* order those who take one session over: the greater is the later, 0 is where it began. They are taken from a
record of all processes; where that is away or has lost its data, from a clock that is never behind any epoch heard of.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeAlias

from session.messages import ERRORS, Error
from session.receipt import Receipt
from session.resume import Claim

__all__ = ["NOTHING", "Answer", "Grounds", "Question", "Verdict", "Word", "outdated", "weigh"]

_SESSION_BYTES: Final = 16
_DIGEST_BYTES: Final = 16
_MOST: Final = 1 << 53
"""No number in these messages is so great."""


class Word(Enum):
    """What somebody who is asked has of a session. The values are those on the wire."""

    HELD = "held"
    FINISHED = "finished"
    ABORTED = "aborted"
    LATER = "later"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Question:
    """Let a session go, and say what was seen of it."""

    session: bytes
    epoch: int
    """At which the asker took it."""
    ticket_hash: bytes
    n: int
    """Events in the client's log."""
    receipt: tuple[int, bytes] | None
    """Events and digest of the client's receipt."""

    @classmethod
    def of(cls, claim: Claim, *, epoch: int) -> "Question":
        """The question about a claim."""
        receipt = claim.receipt
        return cls(
            claim.ticket.session,
            epoch,
            claim.ticket_hash,
            claim.n,
            None if receipt is None else (receipt.n, receipt.digest),
        )

    def to_wire(self) -> list[Any]:
        """As a list of what msgpack knows."""
        n, digest = self.receipt or (None, None)
        return [self.session, self.epoch, self.ticket_hash, self.n, n, digest]

    @classmethod
    def of_wire(cls, parts: Any) -> "Question":
        """The question in such a list, which a newer version may have made longer. Raises ValueError."""
        match parts:
            case [bytes(session), epoch, bytes(ticket_hash), n, None, None, *_]:
                receipt = None
            case [bytes(session), epoch, bytes(ticket_hash), n, seen, bytes(digest), *_]:
                receipt = (_whole(seen), _sized(digest, _DIGEST_BYTES))
            case _:
                raise ValueError(f"no question: {parts!r:.100}")
        return cls(
            _sized(session, _SESSION_BYTES), _whole(epoch), _sized(ticket_hash, _DIGEST_BYTES), _whole(n), receipt
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody had of a session, who has nothing of it any more."""

    word: Word
    account: Receipt | None = None
    """What was seen of it, where it is HELD or FINISHED; None: nothing was."""
    conflict: bool = False
    """The claim is not about what was seen."""
    epoch: int = 0
    """At which that copy was taken."""

    def to_wire(self) -> list[Any]:
        """As a list of what msgpack knows."""
        parts: list[Any] = [self.word.value, self.epoch, self.conflict]
        account = self.account
        if account is not None:
            parts += [
                account.n,
                account.clock_ms,
                account.digest,
                account.unseen_events,
                account.unseen_ms,
                account.slack_ms,
                account.conflict,
            ]
        return parts

    @classmethod
    def of_wire(cls, parts: Any) -> "Answer":
        """The answer in such a list, which a newer version may have made longer; what it says that we do not know is
        as if it had nothing. Raises ValueError."""
        match parts:
            case [str(word), epoch, bool(conflict)]:
                account = None
            case [
                str(word), epoch, bool(conflict),
                n, clock_ms, bytes(digest), unseen_events, unseen_ms, slack_ms, bool(seen_conflict), *_,
            ]:  # fmt: skip
                account = Receipt(
                    _whole(n),
                    _whole(clock_ms),
                    _sized(digest, _DIGEST_BYTES),
                    _whole(unseen_events),
                    _whole(unseen_ms),
                    _whole(slack_ms),
                    seen_conflict,
                )
            case _:
                raise ValueError(f"no answer: {parts!r:.100}")
        known = word in Word._value2member_map_
        return cls(Word(word) if known else Word.NOTHING, account, conflict, _whole(epoch))


NOTHING: Final = Answer(Word.NOTHING)


@dataclass(frozen=True, slots=True)
class Grounds:
    """On what a session is made anew."""

    claim: Claim
    """With the holder's account in the receipt's place, where there was a holder and it saw as much."""
    epoch: int
    conflict: bool = False
    """The claim is not about what the holder saw; the client is to be told."""
    finished: bool = False
    """The holder saw the test's end."""


Verdict: TypeAlias = Grounds | Error
"""How a claim goes on, or the error to send."""


def weigh(claim: Claim, answer: Answer | None, *, epoch: int) -> Verdict:
    """What a claim comes to, by what its session's holder said; None: there is none, or it did not answer."""
    if answer is None or answer.word in (Word.NOTHING, Word.LATER):
        return Grounds(claim, epoch)
    if answer.word is Word.ABORTED:
        return Error("gone", ERRORS["gone"], ref=claim.ref)
    account = answer.account
    if not outdated(claim, answer):
        claim = replace(claim, receipt=account)
    elif account is not None:
        claim = replace(claim, older=(account.n, account.digest))
    return Grounds(
        claim,
        epoch,
        conflict=answer.conflict or (account is not None and claim.n < account.n),
        finished=answer.word is Word.FINISHED,
    )


def outdated(claim: Claim, answer: Answer | None) -> bool:
    """Whether others of this cluster saw more of it than who answered: the claim's receipt says so, and is ours."""
    if answer is None or claim.receipt is None or answer.word not in (Word.HELD, Word.FINISHED):
        return False
    return answer.account is None or answer.account.n < claim.receipt.n


def _whole(number: Any) -> int:
    if type(number) is not int or not 0 <= number < _MOST:
        raise ValueError(f"no whole number: {number!r:.40}")
    return number


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes where {size} should be")
    return data
