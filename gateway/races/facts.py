"""What a node counts of its rooms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["RoomFacts"]


@dataclass(slots=True)
class RoomFacts:
    """Totals since the start. The event loop's own; a scrape reads it."""

    phases: Counter[str] = field(default_factory=Counter)
    """Races that this node brought into each phase."""
    progress: int = 0
    """Frames of progress sent to those who are here."""
    posted: int = 0
    """Messages of progress to other nodes, each with all rooms of a moment."""
    states: int = 0
    """Frames of state sent."""
    frozen: int = 0
    """Times that a room found the store away."""
    records: Counter[str] = field(default_factory=Counter)
    """Records of races: spooled, refused by the spool, and missed: those that another node should have spooled."""
    misheard: int = 0
    """Messages of other nodes that made no sense, or were of a newer version."""
