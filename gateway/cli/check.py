"""`typegate check`: reads the settings, then tries each part; every fault at once, each with what to do."""

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from rich.table import Table

    from config.settings import Settings
    from gateway.bus import Bus
    from persistence.folder import DataFolder
    from persistence.redis import RedisServers

__all__ = ["check"]

State = Literal["ok", "note", "fault"]
PASSWORD = re.compile(r"(?<=:)[^:/@\s]+(?=@)")
"""The password in an address: `mysql://user:password@host`."""
HEAR_S = 5.0
"""Time until something that is said on the bus must be heard."""
CERTIFICATE_DAYS = 14
"""A certificate that ends sooner is worth a note; issuers renew at 30."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What trying a part came to."""

    part: str
    state: State
    detail: str


@click.command(
    epilog=examples(
        "typegate check",
        "typegate check --config /etc/typegate.toml --data /var/lib/typegate",
        "typegate check --settings               also show what is not the default, and who set it",
    )
)
@settings_flags
@click.option("--settings", "show_settings", is_flag=True, help="Show every setting that is not the default.")
def check(config: Path | None, data: Path | None, show_settings: bool) -> None:
    """Read the settings and try each part: files, folder, store, keys, TLS, ports. It starts nothing.

    Ends with 0 when all is well, 1 when a part does not work, 2 when the settings themselves are faulty.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if show_settings:
        console.print(_origins(settings))
    table = Table("part", "", "what was found")
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fault": "[red]fault[/]"}
    found = [finding for probe in PROBES for finding in probe(settings)]
    for finding in found:
        table.add_row(finding.part, marks[finding.state], escape(finding.detail))
    console.print(table)
    faults = sum(finding.state == "fault" for finding in found)
    if faults:
        raise Failed(f"{faults} part{'' if faults == 1 else 's'} would not work; see above.")
    click.echo("All parts work.")


def _origins(settings: "Settings") -> "Table":
    from dataclasses import fields

    from rich.markup import escape
    from rich.table import Table

    table = Table("setting", "value", "from", title="Settings that are not the default", title_justify="left")
    for section in type(settings).model_fields:
        options = getattr(settings, section)
        for field in fields(options):
            origin = settings.origin(f"{section}.{field.name}")
            if origin != "default":
                value = PASSWORD.sub("***", str(getattr(options, field.name)))
                table.add_row(f"{section}.{field.name}", escape(value), escape(origin))
    return table


def _environment(settings: "Settings") -> Iterator[Finding]:
    from config.settings import unservable

    for note in settings.notes():
        yield Finding("settings", "note", note)
    for fault in unservable(settings):
        yield Finding("settings", "fault", str(fault))
    from gateway.process import RESERVED_FILES, raise_file_limit

    files, wanted = raise_file_limit(), settings.server.connections + RESERVED_FILES
    if files < wanted:
        yield Finding(
            "open files",
            "note",
            f"the limit is {files:,}: {files - RESERVED_FILES:,} connections fit of the "
            f"{settings.server.connections:,} allowed; raise it with ulimit -n, or LimitNOFILE in systemd",
        )
    else:
        yield Finding("open files", "ok", f"the limit is {files:,}" if files < 1 << 40 else "no limit")


def _data(settings: "Settings") -> Iterator[Finding]:
    """Folder, keys, spool, store and catalogue, without changing any."""
    from persistence.errors import FolderError
    from persistence.folder import DataFolder
    from persistence.lock import FileLock

    path = settings.node.data
    folder = DataFolder(path, keys=settings.node.keys_file)
    if not path.exists():
        parent = next(above for above in path.absolute().parents if above.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data folder", "ok", f"{path} does not exist yet and will be made")
        else:
            yield Finding("data folder", "fault", f"{path} cannot be made: {parent} may not be written by this user")
        return
    try:
        folder.open()
    except FolderError as fault:
        yield Finding("data folder", "fault", str(fault))
        return
    free = folder.free_bytes()
    if free < settings.spool.min_free_bytes:
        yield Finding("data folder", "fault", f"only {free >> 20} MiB are free in {path}; results could not be kept")
        return
    lock = FileLock.take(path / "lock")
    if lock is None:
        yield Finding("data folder", "note", f"{path} is in use by {FileLock.holder(path / 'lock')}: the server runs")
    else:
        lock.release()
        yield Finding("data folder", "ok", f"{path}, {free >> 30} GiB free")
    yield _tried("spool", lambda: _durable_write(path))
    yield _tried("keys", lambda: _keys(folder))
    if not settings.mysql.enabled:
        yield _tried("store", lambda: asyncio.run(_store(folder, settings)))
    if not settings.mysql.content:
        yield _tried("catalogue", lambda: asyncio.run(_catalogue(settings)))


def _durable_write(folder: Path) -> str:
    """Write and sync a small file, as the spool does for each batch; say how long it took."""
    path = folder / f".check-{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, bytes(4096))
            began = time.perf_counter()
            os.fsync(descriptor)
            took_ms = (time.perf_counter() - began) * 1000
        finally:
            os.close(descriptor)
    finally:
        path.unlink(missing_ok=True)
    return f"a durable write takes {took_ms:.1f} ms"


def _keys(folder: "DataFolder") -> str:
    from persistence.keys import load_keys

    if not folder.keys.exists():
        return "none yet; they are made at the first start"
    ring = load_keys(folder.keys, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom)
    return f"{len(ring.ids)} in {folder.keys.name}"


async def _store(folder: "DataFolder", settings: "Settings") -> str:
    from persistence.results import SqliteResults

    if not folder.results.exists():
        return "none yet; it is made at the first start"
    async with SqliteResults(folder.results, settings.results, settings.bests) as store:
        await store.ping()
    return f"{folder.results.name}, {folder.results.stat().st_size >> 20} MiB"


async def _catalogue(settings: "Settings") -> str:
    from gateway.stores import catalogue_of

    async with catalogue_of(settings) as catalogue:
        shelf = catalogue.shelf
        return f"{len(shelf)} passages, {len(shelf.word_lists)} word lists"


def _auth(settings: "Settings") -> Iterator[Finding]:
    from gateway.auth import Authenticator
    from gateway.jwks import fetch, parse_jwks, parse_subjects
    from session.receipt import KeyRing

    options = settings.auth
    who = "guests" if options.guests else "no guests"
    accounts = f"accounts by {options.algorithm}" if options.algorithm else "no accounts"
    yield Finding("who may type", "ok", f"{who}, {accounts}")
    if options.key_file is not None or options.admin_token_file is not None:
        # a ring of no meaning: nothing is sealed here
        load = Authenticator(options, KeyRing([(0, bytes(32))])).load
        yield _tried("key files", lambda: (load(), "can be read")[1])
    if options.jwks_url and options.algorithm:

        def keys() -> str:
            body = fetch(options.jwks_url, timeout_s=options.jwks_timeout_s, max_bytes=options.jwks_bytes)
            count = len([kid for kid in parse_jwks(body, algorithm=options.algorithm) if kid is not None])
            return f"{count or 1} for {options.algorithm} at {options.jwks_url}"

        yield _tried("issuer's keys", keys)
    if options.subjects_file is not None:
        path = options.subjects_file
        yield _tried("subjects", lambda: f"{len(parse_subjects(path))} in {path}")


def _tls(settings: "Settings") -> Iterator[Finding]:
    if not settings.tls.enabled:
        open_to_all = not _loopback(settings.server.host)
        note = "off; browsers of other machines will send keystrokes in the clear" if open_to_all else "off"
        yield Finding("TLS", "note" if open_to_all else "ok", note)
        return
    from cryptography import x509

    from gateway.app import tls_context
    from gateway.opening import CannotStart

    try:
        tls_context(settings)
        assert settings.tls.cert is not None
        chain = x509.load_pem_x509_certificates(settings.tls.cert.read_bytes())
    except CannotStart as fault:
        yield Finding("TLS", "fault", str(fault))
        return
    days = int((chain[0].not_valid_after_utc.timestamp() - time.time()) // 86_400)
    if days < 0:
        yield Finding("TLS", "fault", f"the certificate ended {-days} days ago")
    else:
        yield Finding("TLS", "note" if days < CERTIFICATE_DAYS else "ok", f"the certificate is good for {days} days")


def _loopback(host: str) -> bool:
    return host in ("::1", "localhost") or host.startswith("127.")


def _ports(settings: "Settings") -> Iterator[Finding]:
    from gateway.supervisor import share_of

    count = settings.processes.count
    several = [share_of(settings, number) for number in range(count)] if count > 1 else []
    served = dict.fromkeys(one.server.port for one in several or [settings])
    ports = [("port", settings.server.host, port, "--port") for port in served]
    if settings.admin.enabled:
        admins = dict.fromkeys(one.admin.port for one in [settings, *several])
        ports += [("admin port", settings.admin.host, port, "--admin-port") for port in admins]
    if settings.agent.enabled:
        ports.append(("agent port", settings.agent.host, settings.agent.port, "agent.port"))
    for part, host, port, flag in ports:
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                with contextlib.closing(socket.socket(family, kind, protocol)) as listener:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(address)
                    listener.listen(1)
        except OSError as fault:
            yield Finding(part, "fault", f"{host} port {port}: {fault.strerror}; choose another with {flag}")
        else:
            bare = part == "admin port" and not _loopback(host)
            where = f"{host} port {port or '(a free one)'}"
            yield Finding(part, "note" if bare else "ok", where + "; it has no password" * bare)


def _kafka(settings: "Settings") -> Iterator[Finding]:
    if not settings.kafka.enabled:
        return
    from persistence.errors import StoreError
    from persistence.kafka.admin import check_topics

    try:
        reports = asyncio.run(check_topics(settings.kafka, settings.topics))
    except StoreError as fault:
        yield Finding("Kafka", "fault", str(fault))
        return
    weak: State = "fault" if settings.kafka.production else "note"
    for report in reports:
        for weakness in report.faults:
            yield Finding("Kafka", weak, weakness)
        if not report.faults:
            yield Finding("Kafka", "ok", f"topic {report.topic} is as it should be")


def _page(settings: "Settings") -> Iterator[Finding]:
    from gateway.api.pages import Pages
    from gateway.app import WEB

    pages = Pages(WEB)
    if pages.get("index.html") is None:
        yield Finding("page", "fault", f"there is no index.html in {WEB}; install the package again")
    else:
        yield Finding("page", "ok", f"{len(pages)} files")


def _tried(part: str, probe: Callable[[], str]) -> Finding:
    """What `probe` says, or why it failed."""
    from gateway.jwks import Unreadable
    from persistence.catalogue import CatalogueError
    from persistence.errors import StoreError

    expected = (OSError, StoreError, CatalogueError, Unreadable)
    try:
        return Finding(part, "ok", probe())
    except expected as fault:
        return Finding(part, "fault", str(fault))


def _redis(settings: "Settings") -> Iterator[Finding]:
    """Whether Redis answers and takes what is written, and whether processes hear each other through it."""
    if not settings.redis.enabled:
        return

    async def look() -> str:
        from persistence.redis import Call, RedisServers

        async with RedisServers(settings.redis) as servers:
            began = time.perf_counter()
            await servers.ping()
            took_ms = (time.perf_counter() - began) * 1000
            key = f"{servers.prefix}check"
            await servers.ask(Call(key, ("SET", key, "", "PX", 1)))  # a replica, or one that is full, refuses
            await _hear(servers, settings)
        return f"{', '.join(settings.redis.nodes) or settings.redis.url} answers in {took_ms:.1f} ms"

    yield _tried("Redis", lambda: asyncio.run(look()))


def _post(bus: "Bus") -> None:
    bus.post("check", "hello")


async def _hear(servers: "RedisServers", settings: "Settings") -> None:
    """Say something on the bus and hear it."""
    from gateway.opening import bus_over
    from persistence.errors import StoreError

    async with bus_over(servers, settings) as bus:
        heard = asyncio.Event()
        # said when we listen: first of all, and again after a connection was lost
        bus.subscribe("check", lambda _: heard.set(), resync=partial(_post, bus))
        try:
            async with asyncio.timeout(HEAR_S):
                await heard.wait()
        except TimeoutError:
            await bus.ping()
            raise StoreError("what is said on a channel of Redis is not heard", retriable=True) from None


def _mysql(settings: "Settings") -> Iterator[Finding]:
    """Whether every shard answers, is one of ours, and has the buckets that the settings say; and so its replicas."""
    if not settings.mysql.enabled:
        return
    from persistence.results.mysql import MysqlResults

    async def look() -> str:
        async with MysqlResults(settings.mysql) as store:
            began = time.perf_counter()
            await store.ping()
            took_ms = (time.perf_counter() - began) * 1000
        return f"{', '.join(settings.mysql.shard_map().names)} answer in {took_ms:.1f} ms"

    async def look_at_replicas() -> str:
        async with MysqlResults(settings.mysql) as store:
            await store.check_replicas()
        return f"{len(settings.mysql.replicas)} follow their shards"

    primaries = _tried("MySQL", lambda: asyncio.run(look()))
    yield primaries
    if settings.mysql.replicas and primaries.state == "ok":
        yield _tried("replicas", lambda: asyncio.run(look_at_replicas()))


def _content(settings: "Settings") -> Iterator[Finding]:
    """Whether the content database answers and can be read."""
    if settings.mysql.content:
        yield _tried("content database", lambda: asyncio.run(_catalogue(settings)))


def _bans(settings: "Settings") -> Iterator[Finding]:
    """Whether the bans can be read, and how many there are."""
    from gateway.stores import bans_of
    from persistence.folder import DataFolder

    if not settings.mysql.content and not DataFolder(settings.node.data).bans.exists():
        return

    async def look() -> str:
        async with bans_of(settings) as store:
            bans = await store.read(now_ms=time.time_ns() // 1_000_000)
        return f"{len(bans)} of at most {settings.bans.most}"

    yield _tried("bans", lambda: asyncio.run(look()))


def _webhook(settings: "Settings") -> Iterator[Finding]:
    """Whether its secret can be read; nothing is posted."""
    if not settings.webhook.enabled:
        return
    from gateway.webhook import read_secret

    file = settings.webhook.secret_file
    assert file is not None, "the options say so"
    yield _tried("webhook", lambda: f"a secret of {len(read_secret(file))} bytes for {settings.webhook.url}")


PROBES: tuple[Callable[["Settings"], Iterator[Finding]], ...] = (
    _environment,
    _data,
    _auth,
    _tls,
    _kafka,
    _mysql,
    _content,
    _bans,
    _redis,
    _webhook,
    _ports,
    _page,
)
