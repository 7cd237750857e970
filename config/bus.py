"""The bus's options: what the processes of a cluster say to each other, and how long one may be silent."""

from dataclasses import dataclass

from config.gateway import between

__all__ = ["BusOptions"]


@dataclass(frozen=True, slots=True)
class BusOptions:
    """The bus between processes: how much may wait on it, and when one counts as gone."""

    gather_ms: int = 5
    """Rest after a sending, in which the next one gathers; what comes later is sent at once."""
    message_bytes: int = 65_536
    """Longest message, packed."""
    sending_messages: int = 10_000
    """Messages that may wait to be sent; beyond them a message is lost, and its channel's subscribers are told."""
    sending_bytes: int = 8_388_608
    """Bytes that may wait to be sent, likewise."""
    waiting_messages: int = 1_000
    """Messages that may wait for one subscriber; beyond them its oldest are lost, and it is told."""
    waiting_bytes: int = 1_048_576
    """Bytes that may wait for one subscriber, likewise."""
    lease_ms: int = 5_000
    """A process that has not renewed its lease for so long counts as gone; it does so five times as often."""
    answer_ms: int = 300
    """Who takes a test over asks its former process what it saw; one that says nothing for so long counts as gone."""

    def __post_init__(self) -> None:
        between("gather_ms", self.gather_ms, 0, 1_000)
        between("message_bytes", self.message_bytes, 1_024, 16 << 20)
        for name in ("sending", "waiting"):
            between(f"{name}_messages", getattr(self, f"{name}_messages"), 1, 10_000_000)
            between(f"{name}_bytes", getattr(self, f"{name}_bytes"), self.message_bytes, 1 << 30)
        between("answer_ms", self.answer_ms, 10, 10_000)
        between("lease_ms", self.lease_ms, 500, 600_000)
