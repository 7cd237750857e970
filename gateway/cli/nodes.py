"""`typegate nodes`: the processes that serve, as they know each other."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.bus import Node

__all__ = ["nodes"]


@click.group(epilog=examples("typegate nodes list", "typegate nodes list --config /etc/typegate.toml"))
def nodes() -> None:
    """Show the processes of the cluster ([redis] of the settings)."""


@nodes.command("list", epilog=examples("typegate nodes list"))
@settings_flags
def list_(config: Path | None, data: Path | None) -> None:
    """List the servers that hold a lease in Redis: where each serves, its version, since when.

    One that died is listed until its lease has run out (bus.lease_ms).
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.redis.enabled:
        raise Failed("There is no Redis: redis.url and redis.nodes are empty, so each server is alone.")
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from persistence.errors import StoreError

    try:
        found = asyncio.run(_read(settings))
    except StoreError as fault:
        raise Failed(f"{fault}.") from None
    table = Table("node", "serves at", "admin port", "version", "up for")
    now_ms = time.time_ns() // 1_000_000
    for node in found:
        up_s = max(0, now_ms - node.since_ms) // 1000
        up = (
            f"{up_s // 86_400} d {up_s // 3600 % 24:02} h" if up_s >= 86_400 else f"{up_s // 3600}:{up_s // 60 % 60:02}"
        )
        table.add_row(*map(escape, (node.id, node.url, node.admin_url, node.version, up)))
    Console().print(table)
    click.echo(f"{len(found)} {'serves' if len(found) == 1 else 'serve'}.")


async def _read(settings: "Settings") -> "list[Node]":
    from gateway.bus.lease import read_nodes
    from persistence.redis import RedisServers

    async with RedisServers(settings.redis) as servers:
        return await read_nodes(servers)
