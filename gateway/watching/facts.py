"""What a node counts of looking on."""

from dataclasses import dataclass

__all__ = ["WatchFacts"]


@dataclass(slots=True)
class WatchFacts:
    """Totals since the start. The event loop's own; a scrape reads it."""

    posted: int = 0
    """Messages on the bus about tests of this node that are watched."""
    encoded: int = 0
    """Messages encoded for watchers: once for each encoding, however many were told."""
    sent: int = 0
    """Messages sent to watchers."""
    dropped: int = 0
    """Messages left out for watchers who read too slowly; what was in them comes with a later one."""
    unsaid: int = 0
    """Messages that were longer than the bus takes."""
    misheard: int = 0
    """Messages of other nodes that made no sense."""
