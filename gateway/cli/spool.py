"""`typegate spool`: results that are accepted and not stored yet, as they lie on this machine's disk."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.stream import Sink

__all__ = ["spool"]

LOOK_MS = 500
"""So often a drain's progress is looked at."""
REASONS_SHOWN = 20


@click.group(epilog=examples("typegate spool list", "typegate spool drain --data /var/lib/typegate"))
def spool() -> None:
    """List and hand on results that are accepted and not stored yet."""


@spool.command("list", epilog=examples("typegate spool list", "typegate spool list --data /var/lib/typegate"))
@settings_flags
def list_(config: Path | None, data: Path | None) -> None:
    """List the spools of the data folder: how many results wait in each, and since when. Nothing is changed.

    Records of races that are over are counted with them. The results of a server that runs are its own to tell: see
    typegate_queue_depth among its metrics.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from persistence.errors import StoreError
    from persistence.folder import DataFolder
    from persistence.stream.spoolfile import survey

    folder = DataFolder(settings.node.data).spool
    if not folder.is_dir():
        click.echo(f"There is no spool in {folder.parent}: nothing waits.")
        return
    try:
        found = survey(folder)
    except (StoreError, OSError) as fault:
        raise Failed(f"{fault}.") from None
    table = Table("spool", "results", "KiB", "oldest", "set aside", "")
    now_ms = time.time_ns() // 1_000_000
    for one in found:
        if one.holder is not None or one.fault is not None:
            table.add_row(one.path.name, "", "", "", "", escape(one.fault or f"in use by {one.holder}"))
            continue
        oldest = "" if one.oldest_ms is None else _age(now_ms - one.oldest_ms)
        aside = one.set_aside.values()
        table.add_row(one.path.name, str(one.rows), str(-(-one.bytes // 1024)), oldest, str(sum(aside) or ""), "")
    Console().print(table)
    click.echo(f"{sum(one.rows for one in found)} results wait.")
    reasons = Counter[str]()
    for one in found:
        reasons.update(one.set_aside)
    for why, count in reasons.most_common(REASONS_SHOWN):
        click.echo(f"{count} set aside: {why}.")
    if len(reasons) > REASONS_SHOWN:
        click.echo(f"... and others for {len(reasons) - REASONS_SHOWN} reasons more.")


@spool.command(epilog=examples("typegate spool drain", "typegate spool drain --data /var/lib/typegate --timeout 600"))
@settings_flags
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after so long [never].",
)
def drain(config: Path | None, data: Path | None, timeout: float | None) -> None:
    """Hand on all that lies in the spools of a stopped server until nothing is left.

    It goes where the server's settings say: to Kafka, else to MySQL, else to the store in the data folder. Do this
    before a node or its disk is removed for good. Ends with 0 when every result is stored, with 1 when some are not:
    they are still there. It may be broken off (Ctrl-C) and begun again at any time.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    from config.logs import set_up
    from persistence.errors import StoreError
    from persistence.folder import DataFolder
    from persistence.stream.spoolfile import survey

    set_up(settings.log)
    path = DataFolder(settings.node.data).spool
    if not path.is_dir():
        click.echo(f"There is no spool in {path.parent}: nothing waits.")
        return
    place = _place(settings)
    try:
        handed_on, fault = asyncio.run(_drain(settings, timeout))
        left = survey(path)  # what lies on the disk is what counts
    except StoreError as error:
        raise Failed(f"{error}.") from None
    click.echo(f"Handed on to {place}: {handed_on}.")
    waiting, aside = sum(one.rows for one in left), sum(sum(one.set_aside.values()) for one in left)
    unread = [one.path.name for one in left if one.fault is not None]
    if waiting:
        raise Failed(f"{waiting} results still wait in {path}" + (f": {fault}." if fault else "."))
    if aside:
        raise Failed(f"{aside} results were refused and are set aside in {path}; `typegate spool list` says why.")
    if unread:
        raise Failed(f"What could not be read of {', '.join(unread)} is still in {path}; keep it.")
    click.echo("Nothing is left in the spools.")


async def _drain(settings: "Settings", timeout_s: float | None) -> tuple[int, str | None]:
    """Results handed on, and what is in the way of the others."""
    from persistence.folder import DataFolder
    from persistence.stream import Drain, Spool

    until = None if timeout_s is None else time.monotonic() + timeout_s
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        folder = await enter(DataFolder(settings.node.data, min_free_bytes=0))
        spool = await enter(Spool(folder.spool, settings.spool))
        sink = await enter(await _sink(settings, opened))
        stream = await enter(Drain(spool, sink, lambda _: None, settings.stream))
        told: str | None = None
        while not await stream.flush(timeout_ms=LOOK_MS):
            fault = stream.facts().fault
            if fault is not None and fault != told:
                click.echo(f"waiting: {fault}", err=True)
            told = fault
            if until is not None and time.monotonic() >= until:
                break
        return stream.facts().stored, stream.facts().fault


def _place(settings: "Settings") -> str:
    """Where the server of these settings brings its results. Raises Failed where there was no such server here."""
    from gateway.stores import missing_store
    from persistence.folder import DataFolder

    if settings.kafka.enabled:
        return f"Kafka's topic {settings.kafka.results_topic}"
    if settings.mysql.enabled:
        return "MySQL"
    if missing_store(settings) is not None:  # on a disk that is to be thrown away results must not end in a new file
        raise Failed(
            f"The settings name neither Kafka nor MySQL, and {settings.node.data} has no store of its own: its server "
            "brought results elsewhere. Name the settings that it had, with --config or in the environment."
        )
    return str(DataFolder(settings.node.data).results)


async def _sink(settings: "Settings", opened: AsyncExitStack) -> "Sink":
    """The way there, as the server has it; shared lists and leaderboards are told what is new."""
    if settings.kafka.enabled:
        from persistence.stream.kafka import KafkaSink

        return KafkaSink(settings.kafka, node=settings.node.name)
    from gateway.stores import store_of
    from persistence.front import in_front_of
    from persistence.stream import StoreSink
    from persistence.workers.effects import Effects
    from persistence.workers.meter import Meter

    store = await opened.enter_async_context(store_of(settings))
    if not settings.redis.enabled:
        return StoreSink(store)
    front = await opened.enter_async_context(
        in_front_of(store, redis=settings.redis, cache=settings.cache, boards=settings.boards, alone=True)
    )
    return StoreSink(store, follow=Effects(Meter(), recent=front.recent, boards=front.boards).follow)


def _age(ms: int) -> str:
    seconds = max(0, ms) // 1000
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7_200 else f"{seconds // 3_600} h ago"
