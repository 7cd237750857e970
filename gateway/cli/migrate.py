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
    """Make the tables of every shard and of the content database, or bring them up to date.

    Shards get partitions ahead, and the content database the tests and word lists that come with Typegate.

    Run it before the first start and after each upgrade, with the settings that all processes have: a new database is
    made the shard that they say, for good. Two runs at once do no harm.
    """
    settings = mysql_settings(config, data, content=True)
    if settings.mysql.enabled:
        from persistence.results.mysql import Upkeep

        async def shards() -> dict[str, "list[Migration]"]:
            async with Upkeep(settings.mysql) as upkeep:
                return await upkeep.migrate()

        for shard, done in run(shards()).items():
            click.echo(f"shard {shard}: {_titles(done)}")
    if settings.mysql.content:
        from persistence.catalogue.upkeep import migrate_content

        done, seeded = run(migrate_content(settings.mysql, settings.catalogue))
        put = f"; {seeded.new} built-in tests and word lists put in" if seeded.new else ""
        click.echo(f"content: {_titles(done)}{put}")


def _titles(done: "list[Migration]") -> str:
    return ", ".join(one.title for one in done) or "is up to date"


@migrate.command(epilog=examples("typegate migrate status"))
@settings_flags
def status(config: Path | None, data: Path | None) -> None:
    """Show which migrations every database has, and which it lacks. Ends with 1 where one lacks any."""
    settings = mysql_settings(config, data, content=True)
    from rich.console import Console
    from rich.table import Table

    found: dict[str, tuple[list[Applied], list[Migration]]] = {}
    if settings.mysql.enabled:
        from persistence.results.mysql import Upkeep

        async def shards() -> "dict[str, tuple[list[Applied], list[Migration]]]":
            async with Upkeep(settings.mysql) as upkeep:
                return await upkeep.status()

        found.update((f"shard {shard}", state) for shard, state in run(shards()).items())
    if settings.mysql.content:
        from persistence.catalogue.upkeep import content_status

        found["content"] = run(content_status(settings.mysql))
    table = Table("database", "migration", "applied (UTC)")
    for database, (applied, missing) in found.items():
        for one in applied:
            table.add_row(database, one.title, one.at)
        for migration in missing:
            table.add_row(database, migration.title, "[yellow]missing[/]")
    Console().print(table)
    if any(missing for _, missing in found.values()):
        raise Failed("Run `typegate migrate up`.")
