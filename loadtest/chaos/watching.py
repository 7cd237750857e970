"""What a run looked like from second to second: people, results, spools."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import ceil
from time import monotonic
from typing import Any

from loadtest.chaos.typing import People
from loadtest.cluster.cluster import Cluster
from loadtest.cluster.programs import Program
from loadtest.cluster.scraping import total

__all__ = ["Moment", "Watch"]

_EVERY_S = 1.0
_ASK_S = 0.8
MOST_MOMENTS = 90_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One second."""

    at_s: float
    typing: int
    """Who types, connected."""
    away: int
    """Who has a test under way and no connection that goes on with it."""
    events: float
    """Keys sent, a second."""
    accepted: float
    stored: float
    reconnects: float
    tick_age_p99_ms: float | None
    """How long ago the server last said that a test goes on: of a hundred tests under way the second longest."""
    spooled: int
    """Results in spools of nodes that answered."""
    silent: int
    """Nodes that did not."""
    lag: int
    """Records that workers have not taken yet."""


class Watch:
    """Looks once a second, in a thread of its own, from `begin` to `stop`. `clock` gives s since the typists came."""

    def __init__(self, people: People, cluster: Cluster, *, clock: Callable[[], float]) -> None:
        self.moments: list[Moment] = []
        self._people = people
        self._cluster = cluster
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._before = (0.0, 0, 0, 0, 0)

    def begin(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def facts(self) -> list[dict[str, Any]]:
        """All moments, for a report."""
        return [asdict(moment) for moment in self.moments]

    def _run(self) -> None:
        programs, nodes = self._cluster.programs, len(self._cluster.nodes)
        with ThreadPoolExecutor(len(programs)) as threads:
            due_s = monotonic()
            while not self._stopping.wait(max(0.0, due_s - monotonic())) and len(self.moments) < MOST_MOMENTS:
                due_s = max(due_s + _EVERY_S, monotonic())
                figures = list(threads.map(_figures, programs))
                self.moments.append(self._moment(figures[:nodes], figures[nodes:]))

    def _moment(self, nodes: list[dict[str, float] | None], workers: list[dict[str, float] | None]) -> Moment:
        meters, clients = self._people.meters, self._people.clients
        at_s, now_ms = self._clock(), monotonic() * 1000
        counts = (at_s, meters.events, meters.accepted, meters.stored, meters.reconnects)
        before, self._before = self._before, counts
        seconds = max(0.001, at_s - before[0])
        events, accepted, stored, reconnects = (
            round((now - then) / seconds, 1) for now, then in zip(counts[1:], before[1:], strict=True)
        )
        underway = [client for client in clients if client.underway]
        typing = sum(client.typing for client in underway)
        ages = sorted(now_ms - client.live_ms for client in underway)
        return Moment(
            at_s=round(at_s, 2),
            typing=typing,
            away=len(underway) - typing,
            events=events,
            accepted=accepted,
            stored=stored,
            reconnects=reconnects,
            tick_age_p99_ms=round(max(0.0, ages[ceil(0.99 * len(ages)) - 1])) if ages else None,
            spooled=int(sum(total(node, "typegate_queue_depth") for node in nodes if node is not None)),
            silent=sum(node is None for node in nodes),
            lag=int(sum(total(worker, "typegate_worker_lag") for worker in workers if worker is not None)),
        )


def _figures(program: Program) -> dict[str, float] | None:
    return program.figures(within_s=_ASK_S) if program.alive and not program.paused else None
