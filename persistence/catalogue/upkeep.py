"""What is done to the content database by those who run it: its schema made, and brought up to date."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from persistence.catalogue.entries import Added
from persistence.catalogue.mysql import MysqlCatalogue, naming_the_database
from persistence.catalogue.options import CatalogueOptions
from persistence.mysql.migrating import Applied, Migration, migrate, status
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["content_status", "migrate_content"]

_LONGEST_MS: Final = 24 * 3_600_000
"""Migrations take as long as they take."""


async def migrate_content(
    mysql: MysqlOptions, options: CatalogueOptions | None = None
) -> tuple[list[Migration], Added]:
    """Bring the schema up to date, and put in what is built in and missing. Raises `StoreError`; may be run again."""
    async with _connection(mysql) as connection:
        done = await migrate(connection, "content")
    async with MysqlCatalogue(mysql, options) as catalogue:
        return done, await catalogue.seed(created_at_ms=time.time_ns() // 1_000_000)


async def content_status(mysql: MysqlOptions) -> tuple[list[Applied], list[Migration]]:
    """The migrations that the content database has, and those that it lacks. Raises `StoreError`."""
    async with _connection(mysql) as connection:
        return await status(connection, "content")


@asynccontextmanager
async def _connection(mysql: MysqlOptions) -> AsyncIterator[Connection]:
    with naming_the_database():
        pool = Pool(mysql.content_dsn(), mysql)
        try:
            async with pool.connection(_LONGEST_MS) as connection:
                yield connection
        finally:
            await pool.close()
