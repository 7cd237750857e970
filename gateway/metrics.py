"""What operators see: one registry, injected, its figures counted at the edge.

The hot path adds to plain integers of `Counts` (20 ns each); a scrape reads them. Everything rarer goes through
the methods of `Metrics`. Names and labels are DESIGN'd to stay: dashboards and alarms hang on them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

__all__ = ["Counts", "Metrics"]


@dataclass(slots=True)
class Counts:
    """Plain totals that the hot path adds to; read at each scrape. Single-threaded: the event loop's own."""

    frames_in: int = 0
    """Whole WebSocket data messages received."""
    bytes_in: int = 0
    """Their payload bytes."""
    frames_out: int = 0
    """Whole WebSocket data messages sent."""
    bytes_out: int = 0
    """Their payload bytes."""
    events: int = 0
    """Keystroke events scored."""
    ticks: int = 0
    """Ticks sent."""
    ticks_dropped: int = 0
    """Ticks not sent because the reader was slow."""


class Metrics:
    """The process's figures; `render()` is the text that Prometheus reads."""

    def __init__(self, *, node: str, process: str = "0", registry: CollectorRegistry | None = None) -> None:
        self.counts = Counts()
        raise NotImplementedError

    def watch(
        self,
        *,
        connections: Callable[[], int] | None = None,
        sessions: Callable[[], Mapping[str, int]] | None = None,
        spool: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        """Take functions that a scrape asks: open connections, sessions by state, spool rows and oldest row's age in s."""
        raise NotImplementedError

    def closed(self, code: int) -> None:
        """Count a WebSocket connection that ended with this close code."""
        raise NotImplementedError

    def error(self, code: str) -> None:
        """Count an `error` message sent, by its code."""
        raise NotImplementedError

    def handshake(self, outcome: str) -> None:
        """Count an upgrade request: `accepted`, or the HTTP status that refused it."""
        raise NotImplementedError

    def auth(self, kind: str, outcome: str) -> None:
        """Count an identification: kind `guest` or `jwt`, outcome `ok` or the refusal's code."""
        raise NotImplementedError

    def result(self, mode: str, verdict: str) -> None:
        """Count a result handed to the spool."""
        raise NotImplementedError

    def accepted(self, seconds: float) -> None:
        """Observe the time from a test's finish to its result being durable in the spool."""
        raise NotImplementedError

    def stored(self, seconds: float) -> None:
        """Observe the time from a test's finish to its result being in the store."""
        raise NotImplementedError

    def lag(self, seconds: float) -> None:
        """Observe how late the event loop woke up."""
        raise NotImplementedError

    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        """Observe an answered HTTP request by its route's template."""
        raise NotImplementedError

    def render(self) -> bytes:
        """Write all figures in Prometheus' text format; takes milliseconds, so call it in a thread."""
        raise NotImplementedError
