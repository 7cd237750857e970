"""A worker's figures as Prometheus reads them."""

from gateway.worker_metrics import WorkerMetrics, partitions_ahead
from persistence.results import Outcome, Written
from persistence.workers.feed import FeedFacts
from persistence.workers.worker import WorkerFacts
from tests.persistence.samples import sample
from tests.persistence.workers.memory import MemoryRecord


def record(accepted: bytes) -> MemoryRecord:
    return MemoryRecord("test-results", 0, 0, 5, b"7", b"", (("accepted", accepted),))


async def test_everything_that_a_worker_tells_is_shown() -> None:
    metrics = WorkerMetrics(clock=lambda: 1000.0)
    result = sample(1)
    metrics.batch(70)
    metrics.step("store", 0.004)
    for outcome, verdict in ((Outcome.INSERTED, "ok"), (Outcome.CONFLICT, "review"), (Outcome.REPEATED, "ok")):
        metrics.stored(record(b"999800"), result, Written(result.session, outcome, verdict, {}))
    metrics.rescored("differs")
    metrics.dead("malformed")
    metrics.troubled(3, "a shard is away")
    metrics.posted("delivered")
    metrics.posted("dead")
    metrics.db_write("s1", 0.02)
    metrics.lag(0.001)
    metrics.watch(
        feed=lambda: FeedFacts(frozenset({1, 2}), {1: 30, 2: 0}, 4, None),
        worker=lambda: WorkerFacts({1: "away"}, 2, None),
    )
    lines = (await metrics.scrape()).decode().splitlines()
    for line in (
        'typegate_worker_batch_records_bucket{le="100.0"} 1.0',
        'typegate_worker_step_seconds_count{step="store"} 1.0',
        'typegate_worker_results_total{outcome="inserted",verdict="ok"} 1.0',
        'typegate_worker_results_total{outcome="conflict",verdict="review"} 1.0',
        "typegate_conflicts_total 1.0",
        "typegate_processing_seconds_count 1.0",
        'typegate_worker_rescored_total{outcome="differs"} 1.0',
        'typegate_worker_rescored_total{outcome="agrees"} 0.0',
        'typegate_dead_letters_total{reason="malformed"} 1.0',
        'typegate_dead_letters_total{reason="webhook"} 1.0',
        "typegate_worker_troubles_total 1.0",
        'typegate_webhook_posts_total{outcome="delivered"} 1.0',
        'typegate_db_write_seconds_count{shard="s1"} 1.0',
        "typegate_loop_lag_last_seconds 0.001",
        'typegate_worker_lag{partition="1"} 30.0',
        "typegate_worker_partitions 2.0",
        "typegate_worker_rebalances_total 4.0",
        'typegate_worker_waiting_partitions{why="trouble"} 1.0',
        'typegate_worker_waiting_partitions{why="owing"} 2.0',
    ):
        assert line in lines, line
    (total,) = [line for line in lines if line.startswith("typegate_processing_seconds_sum")]
    assert abs(float(total.split()[1]) - 0.2) < 1e-6


async def test_what_alarms_compare_is_shown_before_there_is_any() -> None:
    """Nothing is more than what was never shown: an alarm on a site that never took a post would be mute."""
    lines = (await WorkerMetrics().scrape()).decode().splitlines()
    for outcome in ("delivered", "failed", "dead"):
        assert f'typegate_webhook_posts_total{{outcome="{outcome}"}} 0.0' in lines


def test_partitions_ahead_are_shown_by_shard() -> None:
    (ahead,) = partitions_ahead({"a": 3, "b": 0})
    assert [(sample.labels["shard"], sample.value) for sample in ahead.samples] == [("a", 3), ("b", 0)]


async def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    metrics = WorkerMetrics(clock=lambda: 10.0)
    result = sample(1)
    metrics.stored(record(b"999800"), result, Written(result.session, Outcome.INSERTED, "ok", {}))
    metrics.stored(record(b"rubbish"), result, Written(result.session, Outcome.INSERTED, "ok", {}))
    assert b"typegate_processing_seconds_sum 0.0" in await metrics.scrape()
