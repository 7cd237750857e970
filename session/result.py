"""What a finished test comes to: a core that any honest replay of the log gives again, and what this node attests."""

from dataclasses import dataclass
from typing import Any

from scoring.plausibility import Reason
from scoring.summary import Summary
from session.identity import created_at_ms
from session.options import Input, Mode


class Damaged(ValueError):
    """Bytes that are no packed result of a version that this build knows."""


@dataclass(frozen=True, slots=True)
class Result:
    """One finished test. The core first, then the attestation."""

    session: bytes
    """16 bytes, a UUIDv7; the result's id."""
    user: int
    ticket_hash: bytes
    replay: bytes
    """The log as `scoring.replay` packs it: the scored events, their holds unless dropped."""
    log_digest: bytes
    """BLAKE2b-128 of the canonical history of the scored events."""
    summary: Summary
    mode: Mode
    count: int | None
    seconds: int | None
    test: int | None
    test_version: int
    language: str
    list_version: int
    generator: int
    punctuation: bool
    numbers: bool
    tags: tuple[str, ...]
    input: Input
    seed: int
    text_hash: bytes
    scoring_version: str
    gave_up: bool
    """Whether an own text or zen was given up before its end (zen always is)."""
    core_hash: bytes
    """BLAKE2b-128 over session, user, ticket's hash, log's digest, figures and scoring version (`core_hash_of`)."""

    node: str
    epoch: int
    """Which takeover of the session this was; 0 without a cluster."""
    seen_live: int
    """Events that arrived as they were typed."""
    unseen_ms: int
    """Client time in events that were never attested live."""
    slack_ms: int
    """Server time before resumes that the log does not account for."""
    lag_ms: float
    """Worst lag of the network."""
    drift_ms: float
    """How far the client's clock fell behind the server's (negative: ran ahead)."""
    verdict: str
    """ok, review or void."""
    features: dict[str, float]
    reasons: tuple[Reason, ...]
    text: str | None = None
    """The own text in mode `text`, so that it can be replayed; None else."""

    @property
    def created_at_ms(self) -> int:
        """When the test was started (epoch ms), from the id."""
        return created_at_ms(self.session)

    @property
    def attestation_rank(self) -> tuple[int, int, int]:
        """Orders attestations of one core: the greater is the better."""
        raise NotImplementedError

    def pack(self) -> bytes:
        """The result as bytes, for spool and stream: versioned msgpack."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, data: bytes) -> "Result":
        """What `pack` packed. Raises `Damaged`."""
        raise NotImplementedError

    def to_wire(self, *, ref: int | None = None) -> dict[str, Any]:
        """The `result` message as a map."""
        raise NotImplementedError
