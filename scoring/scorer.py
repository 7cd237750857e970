"""The incremental scorer. (Signatures; the body follows.)"""

from collections.abc import Sequence

from scoring.summary import Summary
from scoring.text import Word

__all__ = ["LONGEST_MS", "Scorer"]

LONGEST_MS = 3_600_000
"""No test is longer: an event at or after this client time ends it, unscored."""


class Scorer:
    """Scores one test key by key."""

    __slots__ = ("elapsed_ms", "ended", "n")
    n: int
    elapsed_ms: float
    ended: bool

    def __init__(
        self,
        words: Sequence[Word],
        *,
        limit_ms: float | None = None,
        zen: bool = False,
        cyclic: bool = False,
        exact_duration: bool = False,
        longest_ms: float = LONGEST_MS,
    ) -> None:
        raise NotImplementedError

    def feed(self, events: Sequence[float | str], start: int = 0) -> None:
        """Score events `[dt, key, dt, key, ...]` from index `start` (even) on. dt >= 0 in ms, key as `is_key` says."""
        raise NotImplementedError

    @property
    def pos(self) -> tuple[int, int]:
        """The active word (counted on through repeats) and the clusters typed in it."""
        raise NotImplementedError

    def figures(self) -> tuple[float, float, float, int, int, int]:
        """(wpm, raw, acc, word, cluster, err) up to the last event: what a tick shows."""
        raise NotImplementedError

    def summary(self, stop_ms: float | None = None, *, gave_up: bool = False) -> Summary:
        """Say how the test went. `stop_ms`: when it ended, where that is not the limit or the last event."""
        raise NotImplementedError
