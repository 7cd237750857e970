"""What a process's CPU time goes into: the program's stack, looked at every so often of CPU time.

The kernel counts the time that the process runs (ITIMER_PROF), so nothing is seen of its waiting. Each look is put down
to the innermost frame whose module says whose it is.
"""

from __future__ import annotations

import signal
from collections import Counter
from types import FrameType

__all__ = ["SHARES", "Shares"]

LOOK_S = 0.001

SHARES: dict[str, tuple[str, ...]] = {
    "scoring": ("scoring.", "session.passages", "session.history", "persistence.rescoring", "persistence.catalogue"),
    "MySQL driver": ("aiomysql.", "pymysql.", "persistence.mysql."),
    "rows and SQL": ("persistence.results.",),
    "Kafka client": ("aiokafka.", "persistence.kafka.", "persistence.workers.kafka", "persistence.stream."),
    "Redis": ("redis.", "persistence.redis.", "persistence.cache.", "persistence.boards."),
    "own code": ("persistence.", "gateway.", "session.", "config.", "structlog.", "prometheus_client."),
    "event loop": ("asyncio.", "selectors", "uvloop."),
}
"""Whose a module is, by how its name begins; the first that fits."""


class Shares:
    """Counts looks by share, from `start` to `stop`."""

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()
        self._known: dict[str, str | None] = {}

    def start(self) -> None:
        """Begin to look."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, LOOK_S, LOOK_S)

    def stop(self) -> dict[str, float]:
        """Stop looking; the share of each in per cent."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        total = self.looks.total() or 1
        return {name: 100 * count / total for name, count in self.looks.most_common()}

    def _look(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            share = self._share(frame.f_globals.get("__name__", ""))
            if share is not None:
                self.looks[share] += 1
                return
            frame = frame.f_back
        self.looks["other"] += 1

    def _share(self, module: str) -> str | None:
        if module not in self._known:
            name = module + "."
            self._known[module] = next(
                (share for share, heads in SHARES.items() if any(name.startswith(head) for head in heads)), None
            )
        return self._known[module]
