"""Which result store, catalogue and bans the settings name: MySQL's databases, or files of the data folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from persistence.bans import BanCopy, BanStore, SqliteBans
from persistence.catalogue import Catalogue, EmbeddedCatalogue
from persistence.folder import DataFolder
from persistence.results import ResultStore, SqliteResults

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.catalogue.texts import Texts

__all__ = ["ban_copy_of", "bans_of", "catalogue_of", "missing_store", "store_of"]


def store_of(
    settings: Settings, *, texts: Texts | None = None, wrote: Callable[[str, float], None] | None = None
) -> ResultStore:
    """The store, to be opened. `texts`: what MySQL makes series of; `wrote(shard, seconds)` hears of each batch."""
    if settings.mysql.enabled:
        from persistence.results.mysql import MysqlResults  # loads aiomysql

        return MysqlResults(settings.mysql, settings.bests, texts=texts, wrote=wrote)
    told = None if wrote is None else lambda seconds: wrote("0", seconds)
    return SqliteResults(DataFolder(settings.node.data).results, settings.results, settings.bests, wrote=told)


def missing_store(settings: Settings) -> str | None:
    """Why there is no store that a command could read, in a sentence; None where there should be one."""
    results = DataFolder(settings.node.data).results
    if settings.mysql.enabled or results.exists():
        return None
    return f"There is no store at {results}; name the server's folder with --data."


def bans_of(settings: Settings) -> BanStore:
    """Where bans are kept, to be opened: in the content database where there is one."""
    if settings.mysql.content:
        from persistence.bans.mysql import MysqlBans  # loads aiomysql

        return MysqlBans(settings.mysql, settings.bans)
    return SqliteBans(DataFolder(settings.node.data).bans, settings.bans)


def ban_copy_of(settings: Settings) -> BanCopy | None:
    """Where a server keeps what it last read of them; None where they are in its own data folder anyway."""
    if not settings.mysql.content:
        return None
    return BanCopy(DataFolder(settings.node.data).bans_copy, database=str(settings.mysql.content_dsn()))


def catalogue_of(settings: Settings, *, serving: bool = False, make: bool = False) -> Catalogue:
    """The catalogue, to be opened.

    `serving`: of a server or worker, which begins also while the content database is away. `make`: have a file where
    there is none yet, so that something can be added; else there is what is built in.
    """
    if settings.mysql.content:
        from persistence.cache.contents import forgetting
        from persistence.catalogue.mysql import MysqlCatalogue  # loads aiomysql

        added = forgetting(settings.redis, settings.cache) if settings.redis.enabled else None
        copy = DataFolder(settings.node.data).catalogue_copy if serving else None
        return MysqlCatalogue(settings.mysql, settings.catalogue, serving=serving, copy=copy, added=added)
    path = DataFolder(settings.node.data).catalogue
    return EmbeddedCatalogue(path if make or path.exists() else None, settings.catalogue)
