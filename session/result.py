"""What a finished test comes to: a core that any honest replay of the log gives again, and what this node attests.

Two nodes that settle the same log make the same core, to the bit: it holds nothing of clocks, and holds (which come
late, and are advisory) are kept out of its hash. What a node saw of the test live is the attestation.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from operator import attrgetter
from struct import Struct
from typing import Any

import msgpack

from scoring.drift import DriftReading
from scoring.plausibility import Reason
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.identity import created_at_ms, session_to_text
from session.options import Input, Mode

__all__ = ["Damaged", "Result", "core_hash_of", "pack_values"]

_PLAIN, _OF_RACE = 1, 3
"""Versions of the packed form: without the field `race`, and with it. (2 is `session.settling`'s.)"""
_FIGURES = Struct(">16sq16s16s9d6Q?")


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
    """BLAKE2b-128 of the core, by `core_hash_of`."""

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
    race: str | None = None
    """The id of the race that it was typed in: its time began at the start instant, before the first event."""

    @property
    def created_at_ms(self) -> int:
        """When the test was started (epoch ms), from the id."""
        return created_at_ms(self.session)

    @property
    def attestation_rank(self) -> tuple[int, int, int, int]:
        """Orders attestations of one core: the greater is the better, and among equal ones a later takeover's."""
        return (self.seen_live, -self.unseen_ms, -self.slack_ms, self.epoch)

    def pack(self) -> bytes:
        """The result as bytes, for spool and stream: msgpack of [version, fields in their order]."""
        return pack_values((_PLAIN if self.race is None else _OF_RACE, *self.values()))

    @classmethod
    def unpack(cls, data: bytes) -> "Result":
        """What `pack` packed. Raises `Damaged`."""
        try:
            version, *values = msgpack.unpackb(data)
        except (ValueError, TypeError) as exc:  # msgpack's own errors are ValueErrors
            raise Damaged(f"no packed result: {exc}") from None
        if version not in (_PLAIN, _OF_RACE):
            raise Damaged(f"a packed result of version {version!r:.20}; known are {_PLAIN} and {_OF_RACE}")
        return cls.of_values(values)

    def values(self) -> tuple[Any, ...]:
        """The fields in their order, for `pack_values`; without `race`, the last one, where there is none."""
        return _plain_values_of(self) if self.race is None else _values_of(self)

    @classmethod
    def of_values(cls, values: Sequence[Any]) -> "Result":
        """What `values` were packed of, unpacked again. Raises `Damaged`."""
        try:
            found = dict(zip(_FIELDS if len(values) == len(_FIELDS) else _FIELDS[:-1], values, strict=True))
            figures = dict(zip(_SUMMARY, found["summary"], strict=True))
            figures["chars"] = CharCounts(*figures["chars"])
            figures["inserts"] = InsertCounts(*figures["inserts"])
            figures["series"] = Series(*figures["series"])
            found["summary"] = Summary(**figures)
            found["tags"] = tuple(found["tags"])
            found["reasons"] = tuple(Reason(*reason) for reason in found["reasons"])
            return cls(**found)
        except (ValueError, TypeError) as exc:
            raise Damaged(f"no packed result: {exc}") from None

    def to_wire(self, *, ref: int | None = None) -> dict[str, Any]:
        """The `result` message as a map."""
        summary = self.summary
        chars, series = summary.chars, summary.series
        wire: dict[str, Any] = {
            "t": "result",
            "session": session_to_text(self.session),
            "wpm": summary.wpm,
            "raw": summary.raw,
            "acc": summary.acc,
            "consistency": summary.consistency,
            "key_consistency": summary.key_consistency,
            "chars": [chars.correct, chars.incorrect, chars.extra, chars.missed],
            "duration_ms": summary.duration_ms,
            "afk_ms": summary.afk_ms,
            "series": {"wpm": series.wpm, "raw": series.raw, "burst": series.burst, "err": series.err},
            "verdict": self.verdict,
            "state": "accepted",
        }
        if ref is not None:
            wire["ref"] = ref
        return wire


_FIELDS = tuple(field.name for field in fields(Result))
_SUMMARY = tuple(field.name for field in fields(Summary))
_values_of, _plain_values_of = attrgetter(*_FIELDS), attrgetter(*_FIELDS[:-1])
# dataclasses.astuple would copy every list deeply: 180 µs a result instead of 8
_PARTS: dict[type, Callable[[Any], Any]] = {
    kind: attrgetter(*(field.name for field in fields(kind)))
    for kind in (Summary, CharCounts, InsertCounts, Series, Reason, DriftReading)
}
_PARTS[array] = array.tolist


def pack_values(values: Sequence[Any]) -> bytes:
    """Values as msgpack; dataclasses that are part of a result go as their fields, arrays as lists."""
    packed: bytes = msgpack.packb(values, default=_parts)
    return packed


def _parts(value: object) -> Any:
    """What msgpack does not know."""
    return _PARTS[type(value)](value)


def core_hash_of(
    *,
    session: bytes,
    user: int,
    ticket_hash: bytes,
    log_digest: bytes,
    summary: Summary,
    gave_up: bool,
    scoring_version: str,
) -> bytes:
    """BLAKE2b-128 over what makes two copies of a result the same; the ticket's hash stands for all that was chosen."""
    chars, inserts = summary.chars, summary.inserts
    figures = _FIGURES.pack(
        session,
        user,
        ticket_hash,
        log_digest,
        summary.wpm,
        summary.raw,
        summary.acc,
        summary.consistency,
        summary.key_consistency,
        summary.wpm_consistency,
        summary.duration_ms,
        summary.seconds,
        summary.afk_ms,
        chars.correct,
        chars.incorrect,
        chars.extra,
        chars.missed,
        inserts.correct,
        inserts.wrong,
        gave_up,
    )
    return blake2b(figures + scoring_version.encode(), digest_size=16, person=b"typegate core").digest()
