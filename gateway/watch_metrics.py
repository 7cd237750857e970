"""What operators see of looking on: facts, asked for at each scrape."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.watching import Watching

__all__ = ["families"]


def families(watching: Watching) -> Iterable[Metric]:
    """Who looks on and what is shown now, and what was told since the start."""
    facts, now = watching.facts, watching.figures()
    yield GaugeMetricFamily("typegate_watchers", "Connections that look on at a test", value=now["watchers"])
    yield GaugeMetricFamily("typegate_watched", "Typists that they look on at", value=now["watched"])
    yield GaugeMetricFamily("typegate_watch_shown", "Typists here that somebody looks on at", value=now["shown"])
    told = CounterMetricFamily("typegate_watch_frames", "Messages to those who look on", labels=["outcome"])
    told.add_metric(["sent"], facts.sent)
    told.add_metric(["dropped"], facts.dropped)
    yield told
    yield CounterMetricFamily("typegate_watch_encoded", "Encodings made of these messages", value=facts.encoded)
    yield CounterMetricFamily(
        "typegate_watch_posted", "Messages about tests of this process that are watched", value=facts.posted
    )
    refused = CounterMetricFamily("typegate_watch_refused", "Messages between processes of no use", labels=["why"])
    refused.add_metric(["long"], facts.unsaid)
    refused.add_metric(["malformed"], facts.misheard)
    yield refused
