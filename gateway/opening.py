"""What the composition roots share: how a port is opened, work that runs beside, what a start fails with."""

import asyncio
import errno
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog

from config.edge import EdgeOptions
from config.gateway import AdminOptions
from config.settings import Settings
from gateway.api import Scraped, admin_app
from gateway.api.health import Health
from gateway.bus import Bus, Directory, Exchange, LeasedDirectory, LocalDirectory, Node, RedisCarrier
from gateway.connection import Connection
from gateway.edge import Edge
from gateway.exposition import Exposition
from gateway.handshake import Refusal
from gateway.heads import Request
from persistence.catalogue import Catalogue, CatalogueError
from persistence.catalogue.texts import Texts
from persistence.errors import FolderError
from persistence.keys import KeyFile
from persistence.redis import RedisServers
from session.receipt import KeyRing

__all__ = [
    "CLOSE_S",
    "CannotStart",
    "admin_port",
    "bus_over",
    "directory_over",
    "listen",
    "listening",
    "measuring_lag",
    "owned",
    "refreshing",
    "renewing",
    "url_of",
]

REFRESH_S = 5.0
"""How often it is looked whether tests were imported or the keys rotated; a short query and a stat when not."""
LAG_PERIOD_S = 0.25
CLOSE_S = 2.0
"""Time for close frames to be answered and running HTTP requests to end."""

log = structlog.get_logger(__name__)


class CannotStart(Exception):
    """The server cannot start; the message is one sentence with what to do."""


async def listen(
    edge: Edge,
    app: object,
    peers: Callable[[Request], Connection | Refusal],
    *,
    setting: str,
    flag: str,
    ssl: ssl.SSLContext | None = None,
) -> None:
    """Have an edge listen. Raises CannotStart, with what to do, where it cannot."""
    with listening(edge.options.host, edge.options.port, setting=setting, flag=flag):
        await edge.start(app, peers, ssl=ssl)


@contextmanager
def listening(host: str, port: int, *, setting: str, flag: str) -> Iterator[None]:
    """Raise CannotStart, with what to do, where what is within fails to listen."""
    try:
        yield
    except OSError as fault:
        match fault.errno:
            case errno.EADDRINUSE:
                what = (
                    f"port {port} on {host} is in use; stop what uses it, or choose another with {flag} (0: a free one)"
                )
            case errno.EACCES:
                what = f"port {port} may not be had by this user; choose one above 1023 with {flag}"
            case errno.EADDRNOTAVAIL:
                what = f"{host} is no address of this machine; set {setting.partition('.')[0]}.host (0.0.0.0: all)"
            case _:
                what = f"cannot listen on {host} port {port}: {fault.strerror or fault}"
        raise CannotStart(f"{what}.") from None


@asynccontextmanager
async def admin_port(
    options: AdminOptions, metrics: Scraped, health: Health, *, worker: bool = False
) -> AsyncIterator[Edge]:
    """The port for the people who run it, a server or a worker, as long as the context is open."""
    port = options.worker_port if worker else options.port
    edge = Edge(EdgeOptions(host=options.host, port=port, connections=256))
    try:
        await listen(
            edge,
            admin_app(metrics, health),
            lambda _: Refusal(404, "There is no WebSocket on the admin port."),
            setting="admin.worker_port" if worker else "admin.port",
            flag="--admin-port",
        )
        yield edge
    finally:
        await edge.close(timeout_s=CLOSE_S)


def bus_over(servers: RedisServers | None, settings: Settings, *, marks: Sequence[bytes] = ()) -> Bus:
    """The bus of this process, to be opened: through Redis where there is one, else within the process."""
    carrier = Exchange().carrier() if servers is None else RedisCarrier(servers, settings.redis)
    return Bus(carrier, settings.bus, marks=marks)


def directory_over(
    servers: RedisServers | None, bus: Bus, node: Node, settings: Settings
) -> AbstractAsyncContextManager[Directory]:
    """The directory that this process is in, to be opened."""
    return LocalDirectory(node) if servers is None else LeasedDirectory(servers, bus, node, settings.bus)


def url_of(edge: Edge, *, tls: bool = False) -> str:
    """The address to open in a browser of this machine."""
    host, port = edge.addresses[0]
    return f"{'https' if tls else 'http'}://{_browsable(host)}:{port}/"


def _browsable(host: str) -> str:
    """A host as a browser on this machine can open it."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def owned(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run work beside, as long as the context is open."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def refreshing(catalogue: Catalogue, texts: Texts) -> None:
    """See what `typegate tests import` writes while the server runs, on this node or another."""
    told: str | None = None
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            changed = await catalogue.refresh()
        except CatalogueError as fault:
            if told != (told := str(fault)):
                log.warning("the catalogue cannot be read again; what was read before stays", fault=told)
            continue
        if told is not None:
            log.info("the catalogue can be read again")
            told = None
        if changed:
            await texts.warm()
            log.info("took in new tests", tests=len(catalogue.shelf))


async def renewing(keys: KeyFile, take: Callable[[KeyRing], None], look: asyncio.Event) -> None:
    """See what `typegate keys rotate` writes while the server runs; at once where `look` is set."""
    told: str | None = None
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(look.wait(), REFRESH_S)
        look.clear()
        try:
            ring = await asyncio.to_thread(keys.look, now_ms=time.time_ns() // 1_000_000)
        except FolderError as fault:
            if told != (told := str(fault)):
                log.error("the keys cannot be read again; those read before stay", fault=told)
            continue
        told = None
        if ring is not None:
            take(ring)
            log.info("took in other keys", sealing=ring.ids[0], opening=list(ring.ids))


async def measuring_lag(metrics: Exposition) -> None:
    """Measure how late the loop wakes up."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_PERIOD_S
        await asyncio.sleep(LAG_PERIOD_S)
        metrics.lag(max(0.0, loop.time() - due))
