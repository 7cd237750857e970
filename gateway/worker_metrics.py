"""What operators see of a worker."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.exposition import Exposition
from persistence.results import Written
from persistence.stream.record import accepted_of
from persistence.workers.feed import FeedFacts, Record
from persistence.workers.meter import Meter
from persistence.workers.worker import WorkerFacts
from session.race_record import RaceRecord
from session.result import Result

__all__ = ["WorkerMetrics", "partitions_ahead"]

BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
STEP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Around the time that a batch of 100 has, a step of it a few milliseconds."""


class WorkerMetrics(Exposition, Meter):
    """A worker's figures, of its webhook too. `clock` is the wall clock (epoch s)."""

    def __init__(self, *, registry: CollectorRegistry | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(registry=registry)
        registry = self.registry
        self._clock = clock
        self._batches = Histogram(
            "typegate_worker_batch_records", "Records in a batch", buckets=BATCH_BUCKETS, registry=registry
        )
        self._steps = cache(
            Histogram(
                "typegate_worker_step_seconds",
                "Time that a step takes for a batch",
                ["step"],
                buckets=STEP_BUCKETS,
                registry=registry,
            ).labels
        )
        self._results = cache(
            Counter(
                "typegate_worker_results",
                "Results stored, by the verdict that holds and what writing them came to",
                ["verdict", "outcome"],
                registry=registry,
            ).labels
        )
        self._conflicts = Counter(
            "typegate_conflicts", "Results that met another core of the same session", registry=registry
        )
        self._rescored = Counter(
            "typegate_worker_rescored", "Results played again, by what came of it", ["outcome"], registry=registry
        )
        self._dead = Counter(
            "typegate_dead_letters", "Records that could not be processed, by reason", ["reason"], registry=registry
        )
        self._races = Counter("typegate_worker_races", "Records of races stored", registry=registry)
        self._troubles = Counter(
            "typegate_worker_troubles", "Times that a partition had to wait for the store", registry=registry
        )
        self._posts = Counter(
            "typegate_webhook_posts", "Posts to the webhook by outcome", ["outcome"], registry=registry
        )
        for outcome in ("agrees", "differs", "unreplayable", "other version"):
            self._rescored.labels(outcome)  # an alarm on an increase must see it begin at 0
        for reason in ("malformed", "implausible", "newer", "refused", "fault", "webhook"):
            self._dead.labels(reason)
        for outcome in ("delivered", "failed", "dead"):
            self._posts.labels(outcome)  # nor is more than nothing more than what there is not

    def watch(self, *, feed: Callable[[], FeedFacts], worker: Callable[[], WorkerFacts]) -> None:
        """Take functions that a scrape asks for the state of the feed and of the worker."""
        self.ask(lambda: _feed(feed()))
        self.ask(lambda: _worker(worker()))

    # -- what a worker tells -------------------------------------------------------------------------------------

    def batch(self, records: int) -> None:
        """A batch was taken."""
        self._batches.observe(records)

    def step(self, name: str, seconds: float) -> None:
        """A step of a batch is done."""
        self._steps(name).observe(seconds)

    def stored(self, record: Record, result: Result, written: Written) -> None:
        """A result is in the store."""
        outcome = written.outcome.value
        self._results(written.verdict, outcome).inc()
        if outcome == "conflict":
            self._conflicts.inc()
        elif outcome == "inserted":
            accepted_ms = accepted_of(record.headers)
            if accepted_ms is not None:
                self.processed(self._clock() - accepted_ms / 1000)

    def raced(self, record: Record, race: RaceRecord) -> None:
        """A race that is over is in the store."""
        self._races.inc()

    def rescored(self, outcome: str) -> None:
        """A result was played again."""
        self._rescored.labels(outcome).inc()

    def dead(self, reason: str) -> None:
        """A record is among the dead letters."""
        self._dead.labels(reason).inc()

    def troubled(self, partition: int, fault: str) -> None:
        """A partition waits."""
        self._troubles.inc()

    def posted(self, outcome: str) -> None:
        """A post to the webhook came to this."""
        self._posts.labels(outcome).inc()
        if outcome == "dead":
            self.dead("webhook")


def partitions_ahead(by_shard: Mapping[str, int]) -> Iterable[Metric]:
    """What `Upkeep.ahead` says."""
    ahead = GaugeMetricFamily(
        "typegate_partitions_ahead", "Partitions that a shard has beyond the present one", labels=["shard"]
    )
    for shard, count in by_shard.items():
        ahead.add_metric([shard], count)
    return [ahead]


def _feed(facts: FeedFacts) -> Iterable[Metric]:
    lag = GaugeMetricFamily("typegate_worker_lag", "Records not yet taken, by partition held", labels=["partition"])
    for partition, records in facts.lag.items():
        lag.add_metric([str(partition)], records)
    return [
        lag,
        GaugeMetricFamily("typegate_worker_partitions", "Partitions held", value=len(facts.held)),
        CounterMetricFamily("typegate_worker_rebalances", "Rebalances seen", value=facts.rebalances),
    ]


def _worker(facts: WorkerFacts) -> Iterable[Metric]:
    waiting = GaugeMetricFamily(
        "typegate_worker_waiting_partitions",
        "Partitions that wait: in trouble with the store, or owing what follows",
        labels=["why"],
    )
    waiting.add_metric(["trouble"], len(facts.troubled))
    waiting.add_metric(["owing"], facts.owing)
    return [waiting]
