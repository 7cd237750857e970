"""The options of a node's rooms: races with somebody who is connected here."""

from dataclasses import dataclass

from config.gateway import between

__all__ = ["RoomOptions"]


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """A node's rooms: the races of those who are connected to it."""

    most: int = 5_000
    """Rooms that a node has at a time; who would need another is told `races_full`."""
    watchers: int = 2_000
    """Connections of a node that may look on at one race."""
    per_s: float = 0.5
    """Races that a user may open, or be found, per second, in the long run."""
    burst: int = 10
    """Races that a user may open, or be found, at once."""
    retry_ms: int = 1_000
    """While Redis is away a frozen room tries again so often."""
    record_ms: int = 15_000
    """A race that another server settled is looked for in the store about so long after, and recorded from here where
    that one was killed before it could."""

    def __post_init__(self) -> None:
        between("most", self.most, 1, 1_000_000)
        between("watchers", self.watchers, 0, 1_000_000)
        between("per_s", self.per_s, 0.001, 10_000)
        between("burst", self.burst, 1, 100_000)
        between("retry_ms", self.retry_ms, 10, 60_000)
        between("record_ms", self.record_ms, 10, 600_000)
