"""What is counted comes out in Prometheus' format, under the names that dashboards hang on."""

from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway.edge import Tally
from gateway.exposition import Exposition
from gateway.metrics import Counts, Metrics, SpoolFigures, StreamFigures


async def figures(metrics: Exposition) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await metrics.scrape()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


async def test_what_is_counted_is_shown() -> None:
    metrics = Metrics(node="a", process="1")
    metrics.closed(1000)
    metrics.error("gap")
    metrics.auth("guest", "ok")
    metrics.submitted("time")
    metrics.confirmed("time", "review")
    metrics.accepted(0.004)
    metrics.stored(0.2)
    metrics.lag(0.002)
    metrics.http("/v1/tests", "GET", 304, 0.001)
    shown = await figures(metrics)
    assert shown["typegate_ws_closes_total", labels(code="1000")] == 1
    assert shown["typegate_errors_total", labels(code="gap")] == 1
    assert shown["typegate_auth_total", labels(kind="guest", outcome="ok")] == 1
    assert shown["typegate_results_submitted_total", labels(mode="time")] == 1
    assert shown["typegate_results_stored_total", labels(mode="time", verdict="review")] == 1
    assert shown["typegate_accepted_seconds_bucket", labels(le="0.005")] == 1
    assert shown["typegate_processing_seconds_bucket", labels(le="0.1")] == 0
    assert shown["typegate_processing_seconds_count", labels()] == 1
    assert shown["typegate_loop_lag_seconds_bucket", labels(le="0.003")] == 1
    assert shown["typegate_loop_lag_last_seconds", labels()] == 0.002
    assert shown["typegate_http_seconds_count", labels(route="/v1/tests", method="GET", status="3xx")] == 1


async def test_every_plain_count_is_shown() -> None:
    metrics = Metrics(node="a")
    before = await figures(metrics)
    for number, field in enumerate(fields(Counts)):
        setattr(metrics.counts, field.name, 1000 + number)
    after = await figures(metrics)
    changed = {after[key] for key in after if after[key] != before[key] and key[0].startswith("typegate_")}
    assert changed == {1000.0 + number for number in range(len(fields(Counts)))}


async def test_what_is_watched_is_asked_at_each_scrape() -> None:
    metrics = Metrics(node="n", process="2")
    connections = 3
    tally = Tally(accepted=9, websockets=5, refused_handshakes=2, refused_full=1, refused_address=4, heads_overdue=6)
    metrics.watch(
        connections=lambda: connections,
        sessions=lambda: {"live": 2, "held": 1},
        spool=lambda: SpoolFigures(rows=4, oldest_age_s=1.5, refused=1, conflicts=2),
        stream=lambda: StreamFigures(up=True, held=7, failures=8, reopened=9),
        edge=lambda: tally,
    )
    shown = await figures(metrics)
    assert shown["typegate_ws_connections", labels(node="n", process="2")] == 3
    assert shown["typegate_sessions", labels(state="live")] == 2
    assert shown["typegate_queue_depth", labels()] == 4
    assert shown["typegate_spool_oldest_seconds", labels()] == 1.5
    assert shown["typegate_conflicts_total", labels()] == 2
    assert shown["typegate_stream_up", labels()] == 1
    assert shown["typegate_stream_held_rows", labels()] == 7
    assert shown["typegate_stream_failures_total", labels()] == 8
    assert shown["typegate_stream_reopened_total", labels()] == 9
    assert shown["typegate_ws_handshakes_total", labels(outcome="accepted")] == 5
    assert shown["typegate_connections_refused_total", labels(why="late")] == 6
    connections = 4
    assert (await figures(metrics))["typegate_ws_connections", labels(node="n", process="2")] == 4


async def test_two_servers_in_one_process_share_nothing() -> None:
    first, second = Metrics(node="a"), Metrics(node="b", registry=CollectorRegistry())
    first.error("gap")
    assert ("typegate_errors_total", labels(code="gap")) not in await figures(second)


async def test_what_availability_is_reckoned_by_is_shown_before_there_is_any() -> None:
    """A rate sees nothing of what a figure is at its first sight."""
    shown = await figures(Metrics(node="a"))
    assert shown["typegate_errors_total", labels(code="full")] == 0
    assert shown["typegate_ws_closes_total", labels(code="4000")] == 0


@pytest.mark.parametrize("code", [999, 3000, 4100, 4999])
async def test_codes_of_a_client_s_invention_make_no_series_of_their_own(code: int) -> None:
    metrics = Metrics(node="a")
    metrics.closed(code)
    metrics.http("/", f"X{code}", 200, 0.0)
    shown = await figures(metrics)
    assert shown["typegate_ws_closes_total", labels(code="other")] == 1
    assert shown["typegate_http_seconds_count", labels(route="/", method="other", status="2xx")] == 1


async def test_the_process_itself_is_shown() -> None:
    shown = await figures(Metrics(node="a"))
    assert shown["process_resident_memory_bytes", labels()] > 1 << 20
    assert shown["process_open_fds", labels()] > 2
    assert ("python_gc_collections_total", labels(generation="2")) in shown
