"""`typegate shards`: which shard has which users, and moving them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.databases import mysql_settings, run
from gateway.cli.options import examples, settings_flags

if TYPE_CHECKING:
    from persistence.mysql.shards import Routes
    from persistence.results.mysql.moving import Moved

__all__ = ["shards"]


@click.group(epilog=examples("typegate shards list", "typegate shards move 17 b"))
def shards() -> None:
    """Show which shard has which buckets of users, and move a bucket.

    A user's bucket, one of 4096, follows from the user's id for good.
    """


@shards.command("list", epilog=examples("typegate shards list"))
@settings_flags
def list_(config: Path | None, data: Path | None) -> None:
    """List the shards with their buckets, and the moves that are under way."""
    settings = mysql_settings(config, data)
    from rich.console import Console
    from rich.table import Table

    from persistence.mysql.shards import Phase, buckets_text
    from persistence.results.mysql.moving import Mover

    async def work() -> "Routes":
        async with Mover(settings.mysql, settings.bests) as mover:
            return await mover.routes()

    routes = run(work())
    table = Table("shard", "buckets", "of them moved here")
    for name in routes.shard_map.names:
        here = routes.buckets(name)
        moved = [bucket for bucket in here if routes.shard_map.owners[bucket] != name]
        table.add_row(name, f"{len(here)}: {buckets_text(here)}", buckets_text(moved))
    Console().print(table)
    for move in routes.moves.values():
        if move.phase is not Phase.DONE:
            click.echo(
                f"Bucket {move.bucket} is on its way from {move.source} to {move.target} ({move.phase.value}): "
                f"`typegate shards move {move.bucket} {move.target}` takes it up if nobody is at it."
            )


@shards.command(
    epilog=examples(
        "typegate shards move 17 b",
        "typegate shards move 17 a        and back again",
    )
)
@click.argument("bucket", type=int)
@click.argument("shard")
@settings_flags
def move(bucket: int, shard: str, config: Path | None, data: Path | None) -> None:
    """Move BUCKET to SHARD while everything runs, and verify it user by user; then delete it where it was.

    Workers and gateways need not be told: each learns of it from the shards. A move that was cut off is taken up by the
    same command; a bucket on its way goes back where the command names the shard that it came from. A new shard is
    added to mysql.shards, with - for its buckets, of every process before anything is moved to it.
    """
    settings = mysql_settings(config, data)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from persistence.results.mysql.moving import Mover

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking", total=None)

        async def work() -> "Moved":
            async with Mover(settings.mysql, settings.bests) as mover:
                return await mover.move(
                    bucket,
                    shard,
                    progress=lambda step, done, total: bar.update(
                        task, description=f"{step} users", completed=done, total=total
                    ),
                )

        moved = run(work())
    click.echo(
        f"Bucket {bucket} is in shard {moved.target}: {moved.results:,} results were the same in both, and "
        f"{moved.users:,} users' rows are deleted from shard {moved.source}."
    )
