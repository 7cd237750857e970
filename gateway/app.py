"""The composition root: opens every resource of one process in one place, and closes them in reverse.

    folder ─ keys ─ authenticator ─ catalogue ─ store ─ front ─ bus ─ spool ─ hub ─ bans ─ sink ─ stream ─ edge ─ agent
    ─ admin ─ directory

Nothing else opens anything, and nothing is opened at import. Stopping: not ready → clients are told → what is spooled
goes on to the store → connections close with 1012 → resources close. Each step is bounded; what a bound cuts short is
safe: results are in the spool, running tests with their clients.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from config.settings import Settings
from gateway import bus_metrics, front_metrics, watch_metrics
from gateway.agent import Load, agent_port
from gateway.api import Parts, public_app
from gateway.api.health import Health
from gateway.api.pages import Pages
from gateway.auth import Authenticator
from gateway.bans import Bans, sending_off
from gateway.bans import families as ban_families
from gateway.bus import Bus, Directory, Node
from gateway.ceiling import Ceiling
from gateway.ceiling import families as ceiling_families
from gateway.chance import Chance
from gateway.codec import CODECS
from gateway.connection import Connection
from gateway.edge import Edge
from gateway.handshake import Refusal
from gateway.heads import Request
from gateway.hub import Hub
from gateway.jwks import Unreadable
from gateway.metrics import Metrics, SpoolFigures, StreamFigures
from gateway.names import Names
from gateway.notices import CHANNEL, BusNotices, hearing
from gateway.offline import OfflineResults
from gateway.opening import (
    CLOSE_S,
    CannotStart,
    admin_port,
    bus_over,
    directory_over,
    listen,
    measuring_lag,
    owned,
    refreshing,
    renewing,
    url_of,
)
from gateway.places import Places
from gateway.places import families as place_families
from gateway.races import Racing, Rooms
from gateway.races import metrics as race_metrics
from gateway.races.ghosts import Ghosts
from gateway.races.speeds import Speeds
from gateway.sign_ins import SignIns
from gateway.starts import SharedCredits
from gateway.stores import ban_copy_of, bans_of, catalogue_of, store_of
from gateway.takeovers import Takeovers
from gateway.topics import look_at_topics, look_until_seen
from gateway.version import version
from gateway.watching import Watching
from persistence.catalogue import CatalogueError
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.folder import DataFolder
from persistence.front import Front, in_front_of
from persistence.holders import RedisHolders
from persistence.keys import KeyFile
from persistence.notices import Notices
from persistence.races import MemoryRaces, Races, RedisRaces
from persistence.redis import RedisServers
from persistence.results import ResultStore
from persistence.stream import Drain, Sink, Spool, StoreSink, Stream
from persistence.workers.effects import Effects
from persistence.workers.meter import Meter
from session.receipt import KeyRing
from session.settling import Finished

__all__ = ["WEB", "CannotStart", "Gateway", "tls_context"]

WEB = Path(__file__).parent / "web"

log = structlog.get_logger(__name__)


class Gateway:
    """One process's server. An async context manager: entering listens, leaving stops without grace.

    `process`: its number among the processes of one server, whose data folder is held for all of them; None where it is
    alone.
    """

    def __init__(self, settings: Settings, *, process: int | None = None) -> None:
        self.settings = settings
        self.name = settings.node.name if process is None else f"{settings.node.name}-{process}"
        """Who it is among all processes of the cluster."""
        self._process = process
        self.hub: Hub
        self.metrics = Metrics(node=settings.node.name, process=str(process or 0), rows=not settings.kafka.enabled)
        self.health: Health
        self.agent_address: tuple[str, int] | None = None
        """Where the balancer's question is answered; None where it is not."""
        self._edge: Edge
        self._admin: Edge | None = None
        self._bus: Bus
        self._spool: Spool
        self._stream: Stream
        self._directory: Directory | None = None
        self._tls: ssl.SSLContext | None = None
        self._look = asyncio.Event()  # whether the keys were rotated
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open everything. Raises CannotStart."""
        async with AsyncExitStack() as opening:
            try:
                await self._open(opening)
            except (StoreError, CatalogueError, Unreadable) as fault:
                raise CannotStart(f"{fault}.") from fault
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything in reverse."""
        await self._opened.aclose()

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return url_of(self._edge, tls=self._tls is not None)

    @property
    def admin_url(self) -> str | None:
        """The admin port's address; None where it is off."""
        return None if self._admin is None else url_of(self._admin)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Send clients away and pass on what is spooled, within the settings' times; `hurry` cuts the waiting short."""
        stop = self.settings.stop
        self.health.draining = True
        self._edge.begin_drain()
        if self._edge.options.reuse_port:  # whoever comes now comes to the others at this port
            self._edge.leave()
        log.info(
            "stopping: running tests may finish, a second signal ends them",
            websockets=self._edge.websockets,
            grace_s=stop.grace_s,
        )
        await _unless(hurry, self.hub.drain(grace_s=stop.grace_s))
        if hurry.is_set():
            await self.hub.drain(grace_s=0)
        flushed = await _unless(hurry, self._stream.flush(timeout_ms=round(stop.flush_s * 1000)))
        if not flushed and (rows := self._spool.facts().rows):
            log.warning("some results are not in the store yet; they are safe in the spool", rows=rows)

    def reload(self) -> None:
        """Read certificate and key files again (SIGHUP); what cannot be read leaves the old ones in place."""
        self._look.set()
        try:
            self._authenticator.load()
            if self._tls is not None:
                tls = self.settings.tls
                assert tls.cert is not None
                self._tls.load_cert_chain(tls.cert, tls.key, password=_no_password)
        except (Unreadable, OSError, ValueError) as fault:
            log.error("certificate and keys were not read again; the old ones stay", fault=str(fault))
        else:
            log.info("read certificate and keys again")

    def _take_keys(self, ring: KeyRing) -> None:
        """Seal and open by these from now on. Tests under way go on with those that they began with."""
        self.hub.ring = self._authenticator.ring = ring
        self._bus.marks = ring.marks

    def _runs(self) -> Collection[str] | None:
        """The processes that are there, each with its run: one started anew is another. None: not known yet."""
        directory = self._directory
        if directory is None or not directory.learnt:
            return None
        return {f"{node.id}/{node.run}" for node in directory.nodes.values()}

    def _is_there(self, node: str) -> bool:
        """Whether another process is there, as far as this one knows."""
        return self._directory is None or node in self._directory.nodes

    async def _known(self) -> None:
        """Raise `StoreError` where the other processes do not know of this one."""
        if self._directory is None:
            raise StoreError("it is still starting", retriable=True)
        await self._directory.ping()

    async def _open(self, opening: AsyncExitStack) -> None:
        settings, metrics = self.settings, self.metrics
        loop = asyncio.get_running_loop()
        enter = opening.enter_async_context
        chance = Chance()
        self._tls = tls_context(settings)
        edge_options = settings.edge

        if settings.kafka.enabled and not await look_at_topics(settings.kafka, settings.topics):
            await enter(owned(look_until_seen(settings.kafka, settings.topics), name="look at Kafka's topics"))
        node = settings.node
        folder = await enter(
            DataFolder(
                node.data,
                keys=node.keys_file,
                min_free_bytes=settings.spool.min_free_bytes,
                held=self._process is not None,
            )
        )
        keys = KeyFile(folder.keys)
        ring = await asyncio.to_thread(keys.load, now_ms=_epoch_ms(), entropy=os.urandom)
        authenticator = self._authenticator = await enter(Authenticator(settings.auth, ring, chance=chance))
        catalogue = await enter(catalogue_of(settings, serving=True, make=True))
        texts = Texts(catalogue, limits=settings.session)
        await texts.warm()
        store = await enter(store_of(settings, texts=texts, wrote=metrics.db_write))
        front = await enter(
            in_front_of(
                store,
                redis=settings.redis,
                cache=settings.cache,
                boards=settings.boards,
                alone=not settings.kafka.enabled,
                catalogue=catalogue,
            )
        )
        bus = self._bus = await enter(bus_over(front.redis, settings, marks=ring.marks))
        races = await enter(_races(front.redis, settings))
        spool = self._spool = await enter(Spool(folder.spool, settings.spool))

        hub = self.hub = Hub(
            loop=loop,
            node=self.name,
            options=settings.connection,
            limits=settings.session,
            ring=ring,
            authenticator=authenticator,
            texts=texts,
            spool=spool,
            store=store,
            metrics=metrics,
            frame_bytes=settings.wire.message_bytes,
            epoch_ms=_epoch_ms,
            random_bits=chance,
        )
        hub.start()
        opening.push_async_callback(hub.stop)
        bus.subscribe(CHANNEL, hearing(hub.deliver))
        run = os.urandom(8).hex()
        rooms = Rooms(
            hub, bus, races, store.races, node=f"{self.name}/{run}", rules=settings.race, options=settings.rooms
        )
        names = Names(store, shown=bool(settings.auth.name_claim))
        await enter(owned(names.run(), name="write names"))
        hub.named = names.heard
        ghosts = Ghosts(store, front.guests, front.public, names, texts, rooms)
        hub.racing = Racing(rooms, Speeds(front.recent, front.guests), ghosts)
        hub.races_ms = rooms.now_ms
        rooms.start()
        opening.callback(rooms.stop)
        watching = Watching(bus, hub, settings.watch, node=self.name)
        opening.callback(watching.close)
        bans = await enter(
            Bans(
                await enter(bans_of(settings)),
                bus,
                settings.bans,
                copy=ban_copy_of(settings),
                told=settings.redis.enabled,
                epoch_ms=_epoch_ms,
                new=partial(sending_off, hub),
            )
        )
        hub.ban_of = bans.user
        if settings.connection.sign_ins == "newest":
            SignIns(bus, hub, node=self.name, epoch_ms=_epoch_ms)
        places = await enter(
            Places(hub, settings.connection, front.redis, bus, this=f"{self.name}/{run}", alive=self._runs)
        )
        if front.redis is not None:
            Takeovers(
                bus,
                hub,
                await enter(RedisHolders(front.redis)),
                node=self.name,
                present=self._is_there,
                epoch_ms=_epoch_ms,
                answer_ms=settings.bus.answer_ms,
            )
        limits = settings.connection
        if front.redis is not None:
            starts = partial(SharedCredits, front.redis, clock_ms=lambda: hub.clock() * 1000)
            hub.starts = await enter(starts(rate_per_s=limits.starts_per_s, burst=limits.starts_burst))
            if hub.address_starts is not None:
                hub.address_starts = await enter(
                    starts(rate_per_s=limits.address_starts_per_s, burst=limits.address_starts_burst)
                )
        if limits.tests:
            hub.ceiling = await enter(
                Ceiling(
                    hub,
                    front.redis,
                    tests=limits.tests,
                    this=f"{self.name}/{run}",
                    processes=lambda: len(self._runs() or ()),
                )
            )
            metrics.ask(partial(ceiling_families, hub.ceiling))
        sink = await enter(_sink(settings, store, front, BusNotices(bus), node=self.name))
        stream = self._stream = await enter(Drain(spool, sink, hub.submissions.stored, settings.stream))

        self.health = Health(
            {
                "data folder": folder.ping,
                "keys": authenticator.ping,
                "catalogue": catalogue.ping,
                "store": store.ping,
                "caches": front.ping,
                "spool": spool.ping,
                "stream": stream.ping,
                "bus": bus.ping,
                "bans": bans.ping,
                "directory": self._known,
                "races": races.ping,
            },
            # what is taken is in the spool, and passages and lists are in memory; one can type without other processes
            behind=("catalogue", "store", "caches", "stream", "bus", "bans", "directory", "races"),
            one_of_several=self._process is not None,
        )
        app = public_app(
            Parts(
                serves_api="api" in settings.node.roles,
                catalogue=catalogue,
                store=store,
                front=front,
                names=names,
                offline=OfflineResults(hub),
                underway=_underway(hub),
                texts=texts,
                authenticator=authenticator,
                slices=hub.slices,
                metrics=metrics,
                bans=bans,
                health=self.health,
                pages=await asyncio.to_thread(Pages, WEB),
                rooms=rooms,
            ),
            options=settings.http,
            origins=edge_options.origins,
            tls=settings.tls.enabled,
        )
        edge = self._edge = Edge(edge_options, subprotocols=tuple(CODECS))
        opening.push_async_callback(edge.close, timeout_s=CLOSE_S)
        await listen(
            edge, app, _peers(hub, bans, settings.node.roles), setting="server.port", flag="--port", ssl=self._tls
        )
        hub.stalls.behind = lambda: bool(edge.wires.put_off)

        def spool_figures() -> SpoolFigures:
            spooled = spool.facts()
            return SpoolFigures(
                rows=spooled.rows,
                oldest_age_s=spooled.oldest_age_ms / 1000,
                refused=spooled.refused_rows,
                conflicts=store.facts().conflicts,
            )

        def stream_figures() -> StreamFigures:
            facts, place = stream.facts(), sink.facts()
            return StreamFigures(
                up=facts.fault is None and place.fault is None,
                held=facts.held,
                failures=facts.failures,
                reopened=place.reopened,
            )

        metrics.watch(
            connections=lambda: edge.websockets,
            sessions=hub.sessions,
            spool=spool_figures,
            stream=stream_figures,
            edge=lambda: edge.tally,
        )
        metrics.ask(partial(front_metrics.families, front))
        metrics.ask(partial(race_metrics.families, rooms))
        metrics.ask(partial(watch_metrics.families, watching))
        metrics.ask(partial(ban_families, bans))
        metrics.ask(partial(place_families, places))
        if settings.agent.enabled:
            load = Load(lambda: edge.connections, edge.most_connections)
            self.agent_address = await enter(agent_port(settings.agent, self.health, load))
        if settings.admin.enabled:
            self._admin = await enter(admin_port(settings.admin, metrics, self.health))
        this = Node(
            id=self.name,
            run=run,
            version=version(),
            url=self.url,
            admin_url=self.admin_url or "",
            since_ms=_epoch_ms(),
        )
        self._directory = await enter(directory_over(front.redis, bus, this, settings))
        rooms.watch(self._directory)
        metrics.ask(lambda: bus_metrics.families(bus.facts(), self._directory))
        await enter(owned(refreshing(catalogue, texts), name="refresh the catalogue"))
        await enter(owned(renewing(keys, self._take_keys, self._look), name="see whether the keys were rotated"))
        await enter(owned(measuring_lag(metrics), name="measure the loop's lag"))


def _sink(settings: Settings, store: ResultStore, front: Front, notices: Notices, *, node: str) -> Sink:
    """Where the drain brings results: to Kafka where there is one, else to the store of this process."""
    if not settings.kafka.enabled:
        effects = Effects(Meter(), recent=front.recent, boards=front.boards, notices=notices)
        return StoreSink(store, follow=effects.follow)
    from persistence.stream.kafka import KafkaSink  # loads aiokafka

    return KafkaSink(settings.kafka, node=node)


def _races(servers: RedisServers | None, settings: Settings) -> AbstractAsyncContextManager[Races]:
    """Where races are, to be opened: in Redis where there is one, else in this process."""
    return MemoryRaces(settings.races) if servers is None else RedisRaces(servers, settings.races)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the settings; None without TLS. Raises CannotStart."""
    tls = settings.tls
    if tls.cert is None or tls.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("certificate", tls.cert), ("key", tls.key)):
        try:
            path.read_bytes()
        except OSError as fault:
            raise CannotStart(f"the TLS {name} {path} cannot be read: {fault.strerror}.") from None
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (ssl.SSLError, ValueError) as fault:
        raise CannotStart(
            f"the TLS certificate {tls.cert} and key {tls.key} are not a pair of PEM files: {_reason(fault)}."
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password; remove it, nobody is here to type it")


def _reason(fault: Exception) -> str:
    return (getattr(fault, "reason", None) or str(fault)).replace("_", " ").lower()


def _peers(hub: Hub, bans: Bans, roles: Collection[str]) -> Callable[[Request], Connection | Refusal]:
    """The edge's peer factory: a server that goes takes nobody in, nor does one that serves the API alone.

    Banned addresses are refused here; that costs others nothing while there are none.
    """
    if "ws" not in roles:
        return lambda _: Refusal(404, "This server takes no WebSocket; another one does (node.roles).")

    def connect(request: Request) -> Connection | Refusal:
        if hub.draining:
            return Refusal(503, "The server is stopping; come back in a moment.", (("Retry-After", "2"),))
        if (ban := bans.address(request.address)) is not None:
            return Refusal(403, f"Your address is banned {ban.told}")
        return hub.connect(request)

    return connect


def _underway(hub: Hub) -> Callable[[bytes], Finished | None]:
    """Results durable in the spool and not yet in the store."""

    def finished(session: bytes) -> Finished | None:
        submission = hub.submissions.of(session)
        return submission.finished if submission is not None and submission.accepted else None

    return finished


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, bool | None]) -> bool:
    """Do `work` unless or until `event` is set; whether it ended, and well."""
    task = asyncio.get_running_loop().create_task(work)
    waiting = asyncio.get_running_loop().create_task(event.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
    return not task.cancelled() and task.result() is not False


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000
