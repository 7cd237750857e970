"""What an input to a session came to: small values, performed by whoever holds the connection."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from session.messages import CloseCode, Error
from session.resume import Claim

__all__ = ["Breach", "Differs", "Due", "Gap", "Outcome", "Refused"]


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

    @classmethod
    def of_protocol(cls, reason: str) -> "Breach":
        """It broke the protocol."""
        return cls(CloseCode.PROTOCOL, reason)


@dataclass(frozen=True, slots=True)
class Differs:
    """What came again is not what is here: `error conflict`, and the session is made anew of the claim's log."""

    claim: Claim


Outcome: TypeAlias = Gap | Refused | Breach | Differs | None
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
