"""`typegate worker`: stores what Kafka has, and reads it again after a database lost something."""

import asyncio
import re
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, Unstartable, examples, read_settings, servable, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.worker import WorkerProcess as Process

__all__ = ["worker"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Since(click.ParamType[float]):
    """How long ago: a number and a unit."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        found = re.fullmatch(r"([1-9]\d{0,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time; write 90s, 15m, 2h or 1d", param, ctx)
        return int(found[1]) * UNITS[found[2]]


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "typegate worker --config /etc/typegate.toml",
        "typegate worker --admin-port 0 --node worker-7 --log-format json",
        "TYPEGATE_RESCORE_WHICH=always typegate worker",
        "typegate worker rewind --since 15m      after a failover of a database",
    ),
)
@settings_flags
@click.option("--admin-port", type=int, metavar="PORT", help="Port of /metrics and /readyz; 0: a free one [9081].")
@click.option("--admin/--no-admin", default=None, help="Whether there is an admin port [--admin].")
@click.option("--node", metavar="NAME", help="This worker's name in dead letters and logs [the host's].")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error [info].")
@click.option("--log-format", metavar="FORM", help="human, json or auto [auto].")
@click.pass_context
def worker(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    admin_port: int | None,
    admin: bool | None,
    node: str | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Store results: take them from Kafka, play doubtful ones again, write them to MySQL, and do all that follows.

    One process, which nothing supervises; start as many as there is work for, up to the topic's partitions. Stop one
    with Ctrl-C: it finishes its batch, and the others have its partitions.
    """
    flags: dict[str, tuple[str, object]] = {
        "admin.worker_port": ("--admin-port", admin_port),
        "admin.enabled": ("--admin", admin),
        "node.data": ("--data", data),
        "node.name": ("--node", node),
        "log.level": ("--log-level", log_level),
        "log.format": ("--log-format", log_format),
    }
    context.obj = (config, flags)
    if context.invoked_subcommand is None:
        _work(_settings(config, flags))


def _settings(config: Path | None, flags: dict[str, tuple[str, object]]) -> "Settings":
    settings = servable(read_settings(config, flags))
    if not settings.kafka.enabled:
        raise Unstartable(
            "A worker stores what Kafka has, and there is none: set kafka.servers, mysql.shards and redis.url. "
            "Without them `typegate serve` stores results itself."
        )
    return settings


def _work(settings: "Settings") -> None:
    import structlog

    from config.logs import set_up
    from gateway.opening import CannotStart
    from gateway.process import run
    from gateway.worker import WorkerProcess

    set_up(settings.log)
    log = structlog.get_logger("worker")
    for note in settings.notes():
        log.warning(note)

    def announce(process: "Process") -> None:
        click.echo(f"The worker {settings.node.name} is ready  (Ctrl-C stops it)")
        log.info("working", admin=process.admin_url, group=settings.feed.group)

    try:
        run(lambda: WorkerProcess(settings), announce=announce, grace_s=settings.worker.patience_ms / 1000)
    except CannotStart as fault:
        raise Unstartable(f"Cannot start: {fault}") from None


@worker.command(
    epilog=examples(
        "typegate worker rewind --since 15m",
        "typegate worker rewind --since 2h --config /etc/typegate.toml",
    )
)
@settings_flags
@click.option("--since", type=Since(), required=True, help="How far back, such as 90s, 15m, 2h or 1d.")
@click.pass_obj
def rewind(
    given: tuple[Path | None, dict[str, tuple[str, object]]], config: Path | None, data: Path | None, since: float
) -> None:
    """Read what Kafka has since then once more, and write what MySQL has not.

    For after a failover that may have lost the database's last commits. It runs beside the workers and moves nothing of
    theirs; what is there already stays as it is. It ends with what Kafka had when it began.
    """
    config_before, flags = given
    settings = _settings(config or config_before, flags if data is None else flags | {"node.data": ("--data", data)})
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from config.logs import set_up
    from gateway.worker import Rewind
    from persistence.errors import StoreError
    from persistence.results import Written
    from persistence.workers.feed import Record
    from persistence.workers.meter import Meter
    from session.result import Result

    class Outcomes(Meter):
        """Counts what writing came to."""

        def __init__(self) -> None:
            self.outcomes: Counter[str] = Counter()
            self.letters = 0

        def stored(self, record: Record, result: Result, written: Written) -> None:
            """A result is in the store."""
            self.outcomes[written.outcome.value] += 1

        def dead(self, reason: str) -> None:
            """A record is among the dead letters."""
            self.letters += 1

    set_up(settings.log)
    meter = Outcomes()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    async def read_again() -> None:
        again = Rewind(settings, meter, since_ms=int((time.time() - since) * 1000))
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("results read again", total=None)
            work = asyncio.get_running_loop().create_task(again.run())
            while not work.done():
                await asyncio.wait([work], timeout=0.2)
                progress.update(bar, total=again.range.total, completed=again.range.done)
            await work

    try:
        asyncio.run(read_again())
    except StoreError as fault:
        raise Failed(f"{fault}.") from None
    inserted, total = meter.outcomes["inserted"], meter.outcomes.total()
    other = meter.outcomes["attested"] + meter.outcomes["conflict"]
    click.echo(
        f"{total:,} results read again: {inserted:,} had been missing, {other:,} were changed, "
        f"{meter.outcomes['repeated']:,} were there; {meter.letters:,} are dead letters."
    )
