"""What operators see of a gateway, counted at the edge.

The hot path adds to plain integers of `Counts` (20 ns each); a scrape reads them. Everything rarer goes through
the methods of `Metrics`, whose children for hot labels are bound once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.exposition import RESULT_BUCKETS, Exposition

__all__ = ["Counts", "Metrics", "SpoolFigures", "StreamFigures"]

HTTP_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.15, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Counts:
    """Plain totals that the hot path adds to; read at each scrape. Single-threaded: the event loop's own."""

    frames_in: int = 0
    """Whole WebSocket data messages received."""
    bytes_in: int = 0
    """Payload bytes of WebSocket messages received."""
    frames_out: int = 0
    """Whole WebSocket data messages sent."""
    bytes_out: int = 0
    """Payload bytes of WebSocket messages sent."""
    events: int = 0
    """Keystroke events scored."""
    ticks: int = 0
    """Ticks sent."""
    ticks_dropped: int = 0
    """Ticks not sent because the reader was slow."""
    starts: int = 0
    """Tests started."""
    resumes: int = 0
    """Tests taken up again after a lost connection."""


_COUNTS = {
    "frames_in": ("typegate_ws_frames", {"direction": "in"}, "WebSocket data messages"),
    "frames_out": ("typegate_ws_frames", {"direction": "out"}, "WebSocket data messages"),
    "bytes_in": ("typegate_ws_bytes", {"direction": "in"}, "Payload bytes of WebSocket data messages"),
    "bytes_out": ("typegate_ws_bytes", {"direction": "out"}, "Payload bytes of WebSocket data messages"),
    "events": ("typegate_events_scored", {}, "Keystroke events scored"),
    "ticks": ("typegate_ticks", {"outcome": "sent"}, "Ticks by what became of them"),
    "ticks_dropped": ("typegate_ticks", {"outcome": "dropped"}, "Ticks by what became of them"),
    "starts": ("typegate_tests_started", {}, "Tests started"),
    "resumes": ("typegate_tests_resumed", {}, "Tests taken up again after a lost connection"),
}
assert set(_COUNTS) == {field.name for field in fields(Counts)}


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """What a scrape wants to know of the spool and the stream behind it."""

    rows: int
    """Results accepted and not yet stored."""
    oldest_age_s: float
    """Age of the oldest of them; 0 when there is none."""
    refused: int = 0
    """Of these, such as the store will never take."""
    conflicts: int = 0
    """Results since start that met another core of the same session in the store."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What a scrape wants to know of the way from the spool to the place that confirms results."""

    up: bool
    """Whether results are taken there now."""
    held: int
    """Results that could not be taken just now, and those that wait behind them for their users' order."""
    failures: int
    """Tries that failed since start."""
    reopened: int
    """How often since start the connection had to begin anew."""


class EdgeFigures(Protocol):
    """What the edge counts itself, since its start."""

    accepted: int
    websockets: int
    refused_handshakes: int
    refused_full: int
    refused_address: int
    heads_overdue: int
    proxy_untrusted: int
    proxy_malformed: int
    proxy_late: int


class Metrics(Exposition):
    """A gateway's figures. `rows`: whether what is confirmed stored is a row; else a worker makes it one."""

    def __init__(
        self, *, node: str, process: str = "0", rows: bool = True, registry: CollectorRegistry | None = None
    ) -> None:
        super().__init__(registry=registry)
        registry = self.registry
        self.counts = Counts()
        self._node = node
        self._process = process
        self._rows = rows
        self._closes = Counter("typegate_ws_closes", "Ended WebSockets by close code", ["code"], registry=registry)
        self._errors = Counter("typegate_errors", "`error` messages sent, by code", ["code"], registry=registry)
        self._errors.labels("full")  # what availability is reckoned by must be seen to begin at 0
        self._closes.labels("4000")
        self._takeovers = Counter(
            "typegate_takeovers",
            "Tests taken over from other processes, by what became of the question to their holder",
            ["outcome", "recorded"],
            registry=registry,
        )
        self._given = Counter(
            "typegate_takeovers_given",
            "Tests that others took over, by what was here of them",
            ["what"],
            registry=registry,
        )
        self._auths: dict[tuple[str, str], int] = defaultdict(int)  # a guest's is counted in each handshake
        self._started = Histogram(
            "typegate_started_seconds", "From a `start` to its `started`", buckets=RESULT_BUCKETS, registry=registry
        )
        self._submitted = cache(
            Counter("typegate_results_submitted", "Results handed to the spool", ["mode"], registry=registry).labels
        )
        self._confirmed = cache(
            Counter(
                "typegate_results_stored",
                "Results confirmed stored, by their final verdict; those of earlier processes too",
                ["mode", "verdict"],
                registry=registry,
            ).labels
        )
        self._accepted = Histogram(
            "typegate_accepted_seconds",
            "From a test's finish to its result being durable in the spool",
            buckets=RESULT_BUCKETS,
            registry=registry,
        )
        self._stored = Histogram(
            "typegate_stored_seconds",
            "From a test's finish to its result being confirmed stored, by Kafka where there is one",
            buckets=RESULT_BUCKETS,
            registry=registry,
        )
        self._http = Histogram(
            "typegate_http_seconds",
            "HTTP requests by route, method and class of status",
            ["route", "method", "status"],
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        registry.register(_Totals(self.counts, self._auths))

    def watch(
        self,
        *,
        connections: Callable[[], int] | None = None,
        sessions: Callable[[], Mapping[str, int]] | None = None,
        spool: Callable[[], SpoolFigures] | None = None,
        stream: Callable[[], StreamFigures] | None = None,
        edge: Callable[[], EdgeFigures] | None = None,
    ) -> None:
        """Take functions that a scrape asks on the loop.

        They give the open WebSockets, the sessions by where they are, the figures of spool, stream and edge.
        """
        if connections is not None:
            self.ask(lambda: [self._connections(connections())])
        if sessions is not None:
            self.ask(lambda: [_gauge("typegate_sessions", "Sessions by state", "state", sessions())])
        if spool is not None:
            self.ask(lambda: _spool(spool()))
        if stream is not None:
            self.ask(lambda: _stream(stream()))
        if edge is not None:
            self.ask(lambda: _edge(edge()))

    def closed(self, code: int) -> None:
        """Count a WebSocket connection that ended with this close code; codes of the client's invention as one."""
        known = 1000 <= code <= 1015 or 4000 <= code <= 4005 or 4500 <= code <= 4505
        self._closes.labels(str(code) if known else "other").inc()

    def error(self, code: str) -> None:
        """Count an `error` message sent, by its code."""
        self._errors.labels(code).inc()

    def takeover(self, outcome: str, *, recorded: bool = True) -> None:
        """Count a takeover by what became of the question to its holder, and whether it was recorded."""
        self._takeovers.labels(outcome, "yes" if recorded else "no").inc()

    def given(self, what: str) -> None:
        """Count a session that another process asked for, or told us that it has, by what we had of it."""
        self._given.labels(what).inc()

    def auth(self, kind: str, outcome: str) -> None:
        """Count an identification: kind `guest` or `jwt`, outcome `ok` or the refusal's code."""
        self._auths[kind, outcome] += 1

    def started(self, seconds: float) -> None:
        """Observe the time from a `start` to its `started`."""
        self._started.observe(seconds)

    def submitted(self, mode: str) -> None:
        """Count a result handed to the spool."""
        self._submitted(mode).inc()

    def confirmed(self, mode: str, verdict: str) -> None:
        """Count a result confirmed stored, by its final verdict."""
        self._confirmed(mode, verdict).inc()

    def accepted(self, seconds: float) -> None:
        """Observe the time from a test's finish to its result being durable in the spool."""
        self._accepted.observe(seconds)

    def stored(self, seconds: float) -> None:
        """Observe the time from a test's finish to its result being confirmed stored."""
        self._stored.observe(seconds)
        if self._rows:
            self.processed(seconds)

    def http(self, route: str, method: str, status: int, seconds: float) -> None:
        """Observe an answered HTTP request by its route's template (a closed set) and status class."""
        method = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        self._http.labels(route, method, f"{status // 100}xx").observe(seconds)

    def _connections(self, count: int) -> Metric:
        family = GaugeMetricFamily("typegate_ws_connections", "Open WebSockets", labels=["node", "process"])
        family.add_metric([self._node, self._process], count)
        return family


class _Totals(Collector):
    """Shows `Counts`, and identifications by kind and outcome, as counters."""

    def __init__(self, counts: Counts, auths: Mapping[tuple[str, str], int]) -> None:
        self._counts = counts
        self._auths = auths

    def collect(self) -> Iterable[Metric]:
        """One family a name; the two directions of one thing are its labels."""
        families: dict[str, CounterMetricFamily] = {}
        for attribute, (name, labels, text) in _COUNTS.items():
            family = families.setdefault(name, CounterMetricFamily(name, text, labels=list(labels)))
            family.add_metric(list(labels.values()), getattr(self._counts, attribute))
        auths = CounterMetricFamily("typegate_auth", "Identifications", labels=["kind", "outcome"])
        for key, count in list(self._auths.items()):  # a scrape is made in a thread
            auths.add_metric(key, count)
        return [*families.values(), auths]


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _spool(figures: SpoolFigures) -> list[Metric]:
    return [
        GaugeMetricFamily("typegate_queue_depth", "Results accepted and not yet stored", value=figures.rows),
        GaugeMetricFamily("typegate_spool_oldest_seconds", "Age of the oldest such", value=figures.oldest_age_s),
        GaugeMetricFamily("typegate_spool_refused_rows", "Those the store will never take", value=figures.refused),
        CounterMetricFamily(
            "typegate_conflicts", "Results that met another core of the same session", value=figures.conflicts
        ),
    ]


def _stream(figures: StreamFigures) -> list[Metric]:
    return [
        GaugeMetricFamily("typegate_stream_up", "Whether results are taken where they are confirmed", value=figures.up),
        GaugeMetricFamily("typegate_stream_held_rows", "Results that could not be taken just now", value=figures.held),
        CounterMetricFamily("typegate_stream_failures", "Tries to hand on that failed", value=figures.failures),
        CounterMetricFamily("typegate_stream_reopened", "Connections that began anew", value=figures.reopened),
    ]


def _edge(figures: EdgeFigures) -> list[Metric]:
    handshakes = CounterMetricFamily("typegate_ws_handshakes", "Upgrade requests by outcome", labels=["outcome"])
    handshakes.add_metric(["accepted"], figures.websockets)
    handshakes.add_metric(["refused"], figures.refused_handshakes)
    refused = CounterMetricFamily(
        "typegate_connections_refused",
        "Connections refused: full, address busy, late head, PROXY header",
        labels=["why"],
    )
    refused.add_metric(["full"], figures.refused_full)
    refused.add_metric(["address"], figures.refused_address)
    refused.add_metric(["late"], figures.heads_overdue)
    for why in ("untrusted", "malformed", "late"):
        refused.add_metric([f"proxy_{why}"], getattr(figures, f"proxy_{why}"))
    accepted = CounterMetricFamily("typegate_connections", "Connections taken, HTTP and WebSocket")
    accepted.add_metric([], figures.accepted)
    return [accepted, handshakes, refused]
