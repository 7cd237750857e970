"""`typegate migrate`: the schemas of the databases."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.databases import mysql_settings, run
from gateway.cli.options import Failed, examples, settings_flags

if TYPE_CHECKING:
    from persistence.mysql.migrating import Applied, Migration

__all__ = ["migrate"]


@click.group(epilog=examples("typegate migrate status", "typegate migrate up --config /etc/typegate.toml"))
def migrate() -> None:
    """Bring the databases of [mysql] up to date, and say how far they are."""


@migrate.command(epilog=examples("typegate migrate up", "typegate migrate up --config /etc/typegate.toml"))
@settings_flags
def up(config: Path | None, data: Path | None) -> None:
    """Make every shard's tables, or bring them up to date, and make partitions ahead.

    Run it before the first start and after each upgrade, with the settings that all processes have: a new database is
    made the shard that they say, for good. Two runs at once do no harm.
    """
    settings = mysql_settings(config, data)
    from persistence.results.mysql import Upkeep

    async def work() -> dict[str, "list[Migration]"]:
        async with Upkeep(settings.mysql) as upkeep:
            return await upkeep.migrate()

    for shard, done in run(work()).items():
        click.echo(f"shard {shard}: {', '.join(one.title for one in done) or 'is up to date'}")


@migrate.command(epilog=examples("typegate migrate status"))
@settings_flags
def status(config: Path | None, data: Path | None) -> None:
    """Show which migrations every database has, and which it lacks. Ends with 1 where one lacks any."""
    settings = mysql_settings(config, data)
    from rich.console import Console
    from rich.table import Table

    from persistence.results.mysql import Upkeep

    async def work() -> "dict[str, tuple[list[Applied], list[Migration]]]":
        async with Upkeep(settings.mysql) as upkeep:
            return await upkeep.status()

    table = Table("shard", "migration", "applied (UTC)")
    found = run(work())
    for shard, (applied, missing) in found.items():
        for one in applied:
            table.add_row(shard, one.title, one.at)
        for migration in missing:
            table.add_row(shard, migration.title, "[yellow]missing[/]")
    Console().print(table)
    if any(missing for _, missing in found.values()):
        raise Failed("Run `typegate migrate up`.")
