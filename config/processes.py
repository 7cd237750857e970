"""The options of `typegate serve` as several processes."""

from dataclasses import dataclass

from config.gateway import between

__all__ = ["ADMIN_STEP", "ProcessesOptions"]

LEAST_HUNG_S = 5.0
"""A process says that it is alive every second."""

ADMIN_STEP = 100
"""So far from admin.port is the first process's own; between them are those of workers and of other servers."""


@dataclass(frozen=True, slots=True)
class ProcessesOptions:
    """Several processes of one server: one port or one each, and what happens when one dies."""

    count: int = 1
    """Processes that serve, one for each core; more than one need a Redis, in which they share what they keep."""
    own_ports: bool = False
    """Each listens on its own port, server.port + 0, 1, 2 ..., behind a balancer; else all on one (SO_REUSEPORT)."""
    young_s: float = 10.0
    """One that ends before it is ready, or so soon after, has died at once."""
    most_deaths: int = 5
    """So often in a row one may die at once; then all are stopped, and the reason is told."""
    again_min_ms: int = 500
    """First wait before a process that died is started again; doubles each time that it dies at once, with jitter."""
    again_max_ms: int = 30_000
    """Longest such wait."""

    hung_s: float = 30.0
    """One of which nothing is heard for so long hangs: it is killed, and started again. 0 waits for ever."""

    def __post_init__(self) -> None:
        between("count", self.count, 1, 256)
        between("young_s", self.young_s, 0, 3600)
        between("most_deaths", self.most_deaths, 1, 1_000_000)
        between("again_min_ms", self.again_min_ms, 1, 600_000)
        between("again_max_ms", self.again_max_ms, self.again_min_ms, 3_600_000)
        if self.hung_s:
            between("hung_s", self.hung_s, LEAST_HUNG_S, 3600)
