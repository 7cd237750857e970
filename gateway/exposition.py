"""What every process of ours shows to Prometheus: one registry, injected, and figures that are asked for at a scrape.

Labels are closed vocabularies, so the number of series is bounded. Names stay as they are: dashboards and alarms hang
on them.
"""

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "RESULT_BUCKETS", "Exposition", "Given"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

LAG_BUCKETS = (0.001, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Around the 3 ms that nothing on the loop may exceed and the 50 ms that a typist's tick may take."""
RESULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Around the targets: accepted within 25 ms, stored within 50 ms, processed within 5 s (critical 10 s)."""
WRITE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Around the target of 50 ms and the warning at 100 ms."""


class Exposition:
    """The figures of one process; `scrape()` is the text that Prometheus reads."""

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry
        self._asked: list[Callable[[], Iterable[Metric]]] = []
        self._processed = Histogram(
            "typegate_processing_seconds",
            "From a test's finish to its result being a row of the store",
            buckets=RESULT_BUCKETS,
            registry=registry,
        )
        self._writes = Histogram(
            "typegate_db_write_seconds",
            "Writing one batch of results to the store",
            ["shard"],
            buckets=WRITE_BUCKETS,
            registry=registry,
        )
        self._lag = Histogram(
            "typegate_loop_lag_seconds", "How late the event loop wakes up", buckets=LAG_BUCKETS, registry=registry
        )
        self._lag_now = Gauge("typegate_loop_lag_last_seconds", "The last such lag", registry=registry)
        # memory, CPU, open files, collector runs: under the names that every Python service has
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def ask(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Take a function that each scrape calls, on the loop, for what is a fact of the moment."""
        self._asked.append(families)

    def processed(self, seconds: float) -> None:
        """Observe the time from a test's finish to its result being a row of the store."""
        self._processed.observe(max(0.0, seconds))

    def db_write(self, shard: str, seconds: float) -> None:
        """Observe the writing of one batch to the store; the embedded store is shard 0 of itself."""
        self._writes.labels(shard).observe(seconds)

    def lag(self, seconds: float) -> None:
        """Observe how late the event loop woke up."""
        self._lag.observe(seconds)
        self._lag_now.set(seconds)

    async def scrape(self) -> bytes:
        """All figures in Prometheus' text format: facts are asked for here, the text is made in a thread."""
        asked = [metric for families in self._asked for metric in families()]
        return await asyncio.to_thread(self._render, asked)

    def _render(self, asked: list[Metric]) -> bytes:
        momentary = CollectorRegistry()
        momentary.register(Given(asked))
        return generate_latest(self.registry) + generate_latest(momentary)


class Given(Collector):
    """Shows families that were made before."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """As given."""
        return self._metrics
