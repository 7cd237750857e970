"""Ways between two parts of a cluster, through Toxiproxy: what one part reaches another by."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.servers.toxiproxy import Way

__all__ = ["Link"]


class Link:
    """One part's way to another, which may have several ports (brokers). What is done to it holds until `heal`."""

    def __init__(self, part: str, to: str, ways: Sequence[Way]) -> None:
        self.part = part
        self.to = to
        self.ways = list(ways)

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.part} → {self.to}"

    @property
    def addresses(self) -> list[str]:
        """`127.0.0.1:port` of each way, for the part that goes over it."""
        return [way.address for way in self.ways]

    def slow(self, latency_ms: int, *, jitter_ms: int = 0) -> None:
        """Let everything take so much longer, each way."""
        for way in self.ways:
            way.slow(latency_ms, jitter_ms=jitter_ms)

    def narrow(self, kib_per_s: int) -> None:
        """Let no more through than this, each way and for each connection."""
        for way in self.ways:
            way.narrow(kib_per_s)

    def silence(self) -> None:
        """Let nothing through while connections stay open."""
        for way in self.ways:
            way.silence()

    def reset(self) -> None:
        """End every connection as soon as anything is said on it."""
        for way in self.ways:
            way.reset()

    def cut(self) -> None:
        """Break all connections, and let nobody connect."""
        for way in self.ways:
            way.cut()

    def heal(self) -> None:
        """Take everything back."""
        for way in self.ways:
            way.heal()
