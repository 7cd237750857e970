"""The rule for several copies of one session: which is the row, which are conflicts, what the verdict becomes.

A node that was thought dead may finish a test that another one took over, a client may resume a finished log, a stream
delivers at least once: so copies come in any order and any number. The rule is a maximum over a total order, so the
outcome depends on the set of copies alone:

1. Of the copies of one core the one with the best attestation stands for it.
2. Of the cores the one with more events seen live is the row; the order of attestations, then the core's hash, decide
   between equals, so that every store that ever saw these copies chooses the same.
3. The other cores are conflicts, the best ones kept; while there is one, the verdict is at least `review`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from scoring.plausibility import Reason
from session.result import Result

VERDICTS = ("ok", "review", "void")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a session's result, as far as the rule looks at it."""

    core_hash: bytes
    rank: tuple[int, ...]
    """`Result.attestation_rank`: the greater is the better; it begins with the events seen live."""
    verdict: str
    """What its own node said."""
    packed: bytes
    """The whole of it; the last word between attestations of equal rank."""

    @classmethod
    def of(cls, result: Result, packed: bytes) -> Copy:
        """The copy that a result is; `packed` are its bytes, as they came or lie in the store."""
        return cls(result.core_hash, result.attestation_rank, result.verdict, packed)

    @property
    def order(self) -> tuple[tuple[int, ...], int, bytes]:
        """Orders copies of one core: the greater is the better; of equal ranks the stricter verdict stands."""
        return self.rank, VERDICTS.index(self.verdict), self.packed


@dataclass(frozen=True, slots=True)
class Standing:
    """What is kept of a session."""

    row: Copy
    conflicts: tuple[Copy, ...]
    """The other cores, best first."""

    @property
    def verdict(self) -> str:
        """The verdict that holds: the row's own, at least `review` where copies disagree."""
        return max(self.row.verdict, "review", key=VERDICTS.index) if self.conflicts else self.row.verdict


def as_it_stands(result: Result, verdict: str, conflicts: int) -> Result:
    """A session's row with the verdict that holds, and why it is not its node's: that copies disagree."""
    if verdict == result.verdict:
        return result
    disagreement = Reason("copies", float(1 + conflicts), 1.0)
    return replace(result, verdict=verdict, reasons=(*result.reasons, disagreement))


def settle(copies: Iterable[Copy], *, max_conflicts: int) -> Standing:
    """Apply the rule to all copies known of one session (at least one)."""
    best: dict[bytes, Copy] = {}
    for copy in copies:
        known = best.get(copy.core_hash)
        if known is None or copy.order > known.order:
            best[copy.core_hash] = copy
    ordered = sorted(best.values(), key=lambda copy: (copy.rank, copy.core_hash), reverse=True)
    return Standing(ordered[0], tuple(ordered[1 : 1 + max_conflicts]))
