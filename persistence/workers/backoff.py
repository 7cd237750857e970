"""Waiting longer and longer before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["BackOff"]


@dataclass(frozen=True, slots=True)
class BackOff:
    """Waits that double from `least_ms` to `most_ms`, with full jitter but never a hot loop."""

    least_ms: int
    most_ms: int
    chance: random.Random

    def seconds(self, tries: int) -> float:
        """How long to wait after so many tries in vain."""
        longest_ms = min(self.most_ms, self.least_ms << min(tries, 20))
        half_ms = self.least_ms / 2
        return (half_ms + self.chance.random() * (longest_ms - half_ms)) / 1000
