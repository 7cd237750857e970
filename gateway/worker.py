"""The composition root of a worker: opens every resource of one process in one place, and closes them in reverse.

    catalogue ─ store ─ front (caches, boards) ─ bus ─ sender ─ feed ─ worker ─ webhook ─ admin port ─ upkeep

A worker keeps nothing on its own disk, and needs none of the others to begin: while one is away it waits, says so, and
goes on when that is back. Stopping: the batch under way is finished, its offsets are committed, the group is left.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

import structlog

from config.settings import Settings
from gateway import bus_metrics, front_metrics
from gateway.api.health import Health
from gateway.bus import Bus
from gateway.edge import Edge
from gateway.notices import BusNotices
from gateway.opening import CannotStart, admin_port, bus_over, measuring_lag, owned, refreshing, url_of
from gateway.stores import catalogue_of, store_of
from gateway.webhook import Webhook
from gateway.worker_metrics import WorkerMetrics, partitions_ahead
from persistence.catalogue import Catalogue, CatalogueError
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.front import Front, in_front_of
from persistence.results.mysql import Upkeep
from persistence.workers.batch import DeadLetter, Pipeline
from persistence.workers.decoding import decode
from persistence.workers.effects import Effects
from persistence.workers.kafka import KafkaFeed
from persistence.workers.kafka_range import KafkaRange
from persistence.workers.meter import Meter
from persistence.workers.outgoing import KafkaAnalytics, KafkaLetters, Sender
from persistence.workers.rescore import Rescorer
from persistence.workers.worker import Worker

__all__ = ["Rewind", "WorkerProcess"]

UPKEEP_S = 3600.0
"""How often it is looked whether partitions are to be made and old bests to be deleted, by each worker."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """One process's worker. An async context manager: entering begins the work, leaving finishes the batch."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = WorkerMetrics()
        self.health: Health
        self._admin: Edge | None = None
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open everything. Raises CannotStart."""
        async with AsyncExitStack() as opening:
            try:
                await self._open(opening)
            except (StoreError, CatalogueError) as fault:
                raise CannotStart(f"{fault}.") from fault
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything in reverse."""
        await self._opened.aclose()

    @property
    def admin_url(self) -> str | None:
        """The admin port's address; None where it is off."""
        return None if self._admin is None else url_of(self._admin)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Say that it goes; closing finishes the batch."""
        self.health.draining = True
        log.info("stopping: the batch under way is finished")

    def reload(self) -> None:
        """There is nothing to read again."""

    async def _open(self, opening: AsyncExitStack) -> None:
        settings, metrics = self.settings, self.metrics
        enter = opening.enter_async_context
        kafka = settings.kafka
        bench = await enter(_bench(settings, metrics, wrote=metrics.db_write))
        connection = await asyncio.to_thread(kafka.client, f"typegate-worker-{settings.node.name}")
        feed = await enter(KafkaFeed(kafka.results_topic, connection, settings.feed))
        worker = await enter(Worker(feed, bench.pipeline, settings.worker, meter=metrics))
        pings: dict[str, Callable[[], Awaitable[None]]] = {
            **bench.pings,
            "Kafka": feed.ping,
            "results": worker.ping,
            "worker": worker.alive,
        }
        if settings.webhook.enabled:
            group = replace(settings.feed, group=settings.webhook.group)
            # one that is switched on for the first time tells what is news, and not all that Kafka has
            since_ms = partial(_ago_ms, settings.webhook.give_up_s)
            news = await enter(KafkaFeed(kafka.analytics_topic, connection, group, since_ms=since_ms))
            letters = KafkaLetters(bench.sender, kafka, worker=settings.node.name)
            pings["webhook"] = (await enter(Webhook(news, settings.webhook, letters, metrics))).ping
        self.health = Health(pings, behind=pings.keys() - {"worker"})
        metrics.watch(feed=feed.facts, worker=worker.facts)
        metrics.ask(partial(front_metrics.families, bench.front))
        metrics.ask(lambda: bus_metrics.families(bench.bus.facts()))
        if settings.admin.enabled:
            self._admin = await enter(admin_port(settings.admin, metrics, self.health, worker=True))
        await enter(owned(refreshing(bench.catalogue, bench.texts), name="refresh the catalogue"))
        await enter(owned(measuring_lag(metrics), name="measure the loop's lag"))
        upkeep = await enter(Upkeep(settings.mysql))
        metrics.ask(lambda: partitions_ahead(upkeep.ahead))
        await enter(owned(_keeping_up(upkeep), name="upkeep"))


class Rewind:
    """Reads what Kafka has since an instant once more, beside the workers that run; a process that comes to an end.

    Rows that are missing are written, and lists and boards told of them. Notices, events and dead letters went out the
    first time, and do not again.
    """

    def __init__(self, settings: Settings, meter: Meter, *, since_ms: int) -> None:
        self._settings = settings
        self._meter = meter
        kafka = settings.kafka
        self.range = KafkaRange(kafka.results_topic, kafka.client("typegate-rewind"), since_ms=since_ms)

    async def run(self) -> None:
        """Do it. Raises StoreError where it cannot begin; later it waits for whoever is away."""
        async with (
            _bench(self._settings, self._meter, quiet=True) as bench,
            self.range,
            Worker(self.range, bench.pipeline, self._settings.worker, meter=self._meter),
        ):
            await self.range.finished()


@dataclass(frozen=True, slots=True)
class _Bench:
    """What a worker works with, open."""

    pipeline: Pipeline
    catalogue: Catalogue
    texts: Texts
    front: Front
    bus: Bus
    sender: Sender
    pings: Mapping[str, Callable[[], Awaitable[None]]]


@asynccontextmanager
async def _bench(
    settings: Settings, meter: Meter, *, quiet: bool = False, wrote: Callable[[str, float], None] | None = None
) -> AsyncIterator[_Bench]:
    """Open it. `quiet`: nothing goes out, no notices, events and dead letters."""
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        kafka, name = settings.kafka, settings.node.name
        catalogue = await enter(catalogue_of(settings, serving=True))
        texts = Texts(catalogue, limits=settings.session)
        await texts.warm()
        store = await enter(store_of(settings, wrote=wrote))
        front = await enter(
            in_front_of(store, redis=settings.redis, cache=settings.cache, boards=settings.boards, alone=False)
        )
        bus = await enter(bus_over(front.redis, settings))
        sender = await enter(Sender(kafka, client_id=f"typegate-worker-{name}"))
        effects = Effects(
            meter,
            recent=front.recent,
            boards=front.boards,
            notices=None if quiet or front.redis is None else BusNotices(bus),
            analytics=None if quiet else KafkaAnalytics(sender, kafka),
        )
        pipeline = Pipeline(
            decode=decode,
            rescorer=Rescorer(texts, settings.rescore, refresh=catalogue.refresh, meter=meter),
            store=store,
            dead_letters=_Nowhere() if quiet else KafkaLetters(sender, kafka, worker=name),
            effects=effects,
            meter=meter,
        )
        pings = {"catalogue": catalogue.ping, "store": store.ping, "caches": front.ping}
        yield _Bench(pipeline, catalogue, texts, front, bus, sender, pings)


class _Nowhere:
    """Where dead letters go that lie in their topic already."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep nothing."""


def _ago_ms(seconds: float) -> int:
    """The instant so long ago, epoch ms."""
    return int((time.time() - seconds) * 1000)


async def _keeping_up(upkeep: Upkeep) -> None:
    """Have the shards' upkeep done from time to time; of all workers one is at it."""
    while True:
        await upkeep.scheduled()
        await asyncio.sleep(UPKEEP_S * random.uniform(0.5, 1.0))
