"""What the commands on MySQL's databases share."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.cli.options import Failed, read_settings

if TYPE_CHECKING:
    from config.settings import Settings

__all__ = ["mysql_settings", "run"]

T = TypeVar("T")


def mysql_settings(config: Path | None, data: Path | None, *, content: bool = False) -> "Settings":
    """The settings, with shards in them, or, where `content`, with a content database at least."""
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.mysql.enabled and not (content and settings.mysql.content):
        raise Failed(
            f"There is no MySQL: {'mysql.shards and mysql.content are' if content else 'mysql.shards is'} empty."
        )
    return settings


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do it, and say why where it cannot be done."""
    from persistence.errors import StoreError

    try:
        return asyncio.run(work)
    except StoreError as fault:
        raise Failed(f"{fault}.") from None
