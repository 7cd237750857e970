"""`typegate partitions`: the shards' partitions by time."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.databases import mysql_settings, run
from gateway.cli.options import examples, settings_flags

if TYPE_CHECKING:
    from persistence.results.mysql.partitions import Partition

__all__ = ["partitions"]


@click.group(epilog=examples("typegate partitions list", "typegate partitions ensure"))
def partitions() -> None:
    """Look after the partitions that results lie in, by month or by day."""


@partitions.command(
    epilog=examples(
        "typegate partitions ensure",
        "TYPEGATE_MYSQL_PARTITION=day TYPEGATE_MYSQL_PARTITIONS_AHEAD=14 typegate partitions ensure",
    )
)
@settings_flags
def ensure(config: Path | None, data: Path | None) -> None:
    """Make the partitions that are missing: `mysql.partitions_ahead` of them beyond the present one, in every shard.

    Workers do so every hour; this is for before they start, and for whoever wants to see it done.
    """
    settings = mysql_settings(config, data)
    from persistence.results.mysql import Upkeep

    async def work() -> dict[str, list[str]]:
        async with Upkeep(settings.mysql) as upkeep:
            return await upkeep.ensure_partitions()

    for shard, new in run(work()).items():
        click.echo(f"shard {shard}: {'made ' + ', '.join(new) if new else 'all are there'}")


@partitions.command("list", epilog=examples("typegate partitions list"))
@settings_flags
def list_(config: Path | None, data: Path | None) -> None:
    """List the partitions of every shard, with their size by the database's own estimate."""
    settings = mysql_settings(config, data)
    from datetime import date, timedelta

    from rich.console import Console
    from rich.table import Table

    from persistence.results.mysql import Upkeep

    async def work() -> "dict[str, list[Partition]]":
        async with Upkeep(settings.mysql) as upkeep:
            return await upkeep.partitions()

    table = Table("shard", "partition", "results before (UTC)")
    table.add_column("about rows", justify="right")
    table.add_column("MiB", justify="right")
    for shard, found in run(work()).items():
        for one in found:
            until = "" if one.until is None else str(date(1970, 1, 1) + timedelta(days=one.until))
            table.add_row(shard, one.name, until, f"{one.rows:,}", f"{one.bytes / 2**20:,.1f}")
    Console().print(table)
