"""What operators see of the bus: facts, asked for at each scrape."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.bus import BusFacts, Directory

__all__ = ["families"]


def families(facts: BusFacts, directory: Directory | None = None) -> Iterable[Metric]:
    """The figures of a process's bus, and how many processes it knows."""
    for name, text, sent, heard in (
        ("messages", "Messages on the bus", facts.messages_sent, facts.messages_heard),
        ("frames", "Frames that these went in", facts.frames_sent, facts.frames_heard),
        ("bytes", "Bytes of these frames", facts.bytes_sent, facts.bytes_heard),
    ):
        family = CounterMetricFamily(f"typegate_bus_{name}", text, labels=["direction"])
        family.add_metric(["out"], sent)
        family.add_metric(["in"], heard)
        yield family
    lost = CounterMetricFamily("typegate_bus_lost", "Messages given up, by why", labels=["why"])
    lost.add_metric(["unsent"], facts.unsent)
    lost.add_metric(["slow"], facts.dropped)
    yield lost
    refused = CounterMetricFamily("typegate_bus_refused", "Frames passed over, by why", labels=["why"])
    refused.add_metric(["malformed"], facts.malformed)
    refused.add_metric(["newer"], facts.newer)
    refused.add_metric(["repeated"], facts.repeated)
    refused.add_metric(["foreign"], facts.foreign)
    yield refused
    yield CounterMetricFamily(
        "typegate_bus_gaps",
        "Times that a channel's subscribers began anew, having perhaps missed something",
        value=facts.gaps,
    )
    yield CounterMetricFamily("typegate_bus_failures", "Messages that a subscriber failed at", value=facts.failures)
    yield GaugeMetricFamily("typegate_bus_subscriptions", "Subscriptions", value=facts.subscriptions)
    yield GaugeMetricFamily("typegate_bus_channels", "Channels listened to", value=facts.channels)
    if directory is not None:
        yield GaugeMetricFamily(
            "typegate_bus_nodes", "Processes of the cluster that are there", value=len(directory.nodes)
        )
