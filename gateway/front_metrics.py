"""What operators see of caches, leaderboards and Redis: facts, asked for at each scrape."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from persistence.boards import BoardsFacts
from persistence.cache import CacheFacts
from persistence.front import Front
from persistence.redis import RedisFacts

__all__ = ["families"]


def families(front: Front) -> Iterable[Metric]:
    """The figures of what stands in front of the store."""
    facts = {name: cache.facts() for name, cache in front.caches.items()}
    if front.contents is not None:
        facts["content"] = front.contents.facts()
    yield _caches(facts)
    yield from _boards(front.boards.facts())
    if front.redis is not None:
        yield from _redis(front.redis.facts())


def _caches(facts: Mapping[str, CacheFacts]) -> Metric:
    family = CounterMetricFamily("typegate_cache_requests", "Lookups by outcome", labels=["cache", "outcome"])
    for name, counts in facts.items():
        family.add_metric([name, "hit"], counts.hits)
        family.add_metric([name, "miss"], counts.misses)
        family.add_metric([name, "stale"], counts.stale)
        family.add_metric([name, "error"], counts.errors)
    return family


def _boards(facts: BoardsFacts) -> Iterable[Metric]:
    reads = CounterMetricFamily("typegate_board_reads", "Leaderboards read, by what answered", labels=["by"])
    reads.add_metric(["board"], facts.reads - facts.fallbacks)
    reads.add_metric(["store"], facts.fallbacks)
    fillings = CounterMetricFamily("typegate_board_fillings", "Leaderboards read from the store", labels=["outcome"])
    fillings.add_metric(["done"], facts.fillings)
    fillings.add_metric(["failed"], facts.failures)
    bests = CounterMetricFamily("typegate_board_bests", "Bests brought to leaderboards", value=facts.submitted)
    return [reads, fillings, bests]


def _redis(facts: RedisFacts) -> Iterable[Metric]:
    calls = CounterMetricFamily("typegate_redis_calls", "Calls to Redis by outcome", labels=["outcome"])
    calls.add_metric(["ok"], facts.calls - facts.failures)
    calls.add_metric(["failed"], facts.failures)
    return [
        calls,
        GaugeMetricFamily("typegate_redis_away", "Servers of Redis that do not answer", value=len(facts.away)),
    ]
