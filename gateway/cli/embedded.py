"""`typegate migrate embedded`: from one process with everything in its data folder to the distributed set-up."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.bar import bar
from gateway.cli.databases import mysql_settings, run
from gateway.cli.options import Failed, examples, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.catalogue import Added
    from persistence.folder import DataFolder
    from persistence.importing.embedded import Moved

__all__ = ["embedded"]

SHOWN = 20


@click.command(
    epilog=examples(
        "typegate migrate embedded /var/lib/typegate --config cluster.toml",
        "typegate leaderboards rebuild --config cluster.toml         afterwards, with Redis",
    )
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@settings_flags
def embedded(folder: Path, config: Path | None, data: Path | None) -> None:
    """Bring over what a server with everything embedded has in FOLDER, its data folder.

    Its server must have been stopped. Results, which of them are public, accounts' names, races, guests' links to
    accounts, tests, word lists and bans go to the databases that the settings name, all with the ids that they have;
    FOLDER is left as it is. Run it before the new servers start, or while they run: lists of recent results are then
    whole within the hour. It may be broken off and run again.
    """
    settings = mysql_settings(config, data)
    from persistence.errors import FolderError
    from persistence.folder import DataFolder
    from persistence.stream.spoolfile import survey

    old = DataFolder(folder, min_free_bytes=0)
    if not old.results.exists():
        raise Failed(f"There is no store in {folder}: it is no data folder of an embedded server.")
    if old.spool.is_dir() and any(one.rows or one.fault for one in survey(old.spool)):
        raise Failed(
            f"Results still wait in {old.spool}. Run `typegate spool drain --data {folder}` first, with the settings "
            "that its server had."
        )
    try:
        added, bans, moved = run(_move(settings, old))
    except FolderError as fault:
        raise Failed(f"{fault}.") from None
    if added is None:
        click.echo("tests and word lists: left where they are, since mysql.content is empty")
    else:
        click.echo(f"tests and word lists: {added.new:,} new, {added.unchanged:,} were there")
    if bans is None:
        click.echo("bans: left where they are, since mysql.content is empty: the new servers know nothing of them")
    else:
        click.echo(f"bans: {bans[0]:,} new, {bans[1]:,} were there")
    click.echo(f"results: {moved.results:,} new, {moved.known:,} were there")
    click.echo(f"public results: {moved.public:,}")
    click.echo(f"races: {moved.races:,}")
    click.echo(f"guests of accounts: {moved.links:,}")
    click.echo(
        f"So that guests and tests under way are known to the new servers, copy {old.keys} to each of them, and name "
        "it in node.keys_file."
    )
    if settings.redis.enabled:
        click.echo("For the leaderboards now run `typegate leaderboards rebuild`.")
    for guest, why in list(moved.refused.items())[:SHOWN]:
        click.echo(f"guest {guest}: not linked, {why}", err=True)
    if moved.damaged_races:
        click.echo(f"{len(moved.damaged_races):,} races cannot be read and were left behind", err=True)
    if moved.damaged:
        raise Failed(
            f"{len(moved.damaged):,} results cannot be read and were left behind: "
            + ", ".join(one.hex() for one in moved.damaged[:SHOWN])
            + (", ..." if len(moved.damaged) > SHOWN else ".")
        )
    if moved.refused:
        raise Failed(f"{len(moved.refused):,} guests could not be linked.")


async def _move(settings: "Settings", folder: "DataFolder") -> "tuple[Added | None, tuple[int, int] | None, Moved]":
    from gateway.stores import catalogue_of, store_of
    from persistence.bans import SqliteBans
    from persistence.bans.mysql import MysqlBans
    from persistence.catalogue import EmbeddedCatalogue
    from persistence.catalogue.mysql import MysqlCatalogue
    from persistence.importing.embedded import move_bans, move_catalogue, move_results
    from persistence.results import SqliteResults

    added = None
    bans: tuple[int, int] | None = None if folder.bans.exists() else (0, 0)
    now_ms = time.time_ns() // 1_000_000
    async with folder, SqliteResults(folder.results, settings.results, settings.bests) as results:
        path = folder.catalogue
        if settings.mysql.content:  # first: results name tests, and are played again with them
            async with (
                EmbeddedCatalogue(path if path.exists() else None, settings.catalogue) as old,
                catalogue_of(settings) as new,
            ):
                assert isinstance(new, MysqlCatalogue)
                added = await move_catalogue(old, new, now_ms=now_ms)
            if bans is None:
                async with SqliteBans(folder.bans) as banned, MysqlBans(settings.mysql, settings.bans) as shared:
                    bans = await move_bans(banned, shared, now_ms=now_ms)
        async with store_of(settings) as store:
            with bar() as progress:
                return added, bans, await move_results(results, store, progress=progress)
