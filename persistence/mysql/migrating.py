"""Brings a database's schema up to date: the numbered files of `persistence.migrations`, under a lock.

Two runs at once do no harm: the second waits for the first and finds nothing left to do.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from re import compile as pattern
from typing import Final, Literal

from persistence.errors import StoreError
from persistence.mysql.literals import blob, instant, text
from persistence.mysql.pool import Connection

__all__ = ["Applied", "Migration", "Schema", "applied", "check_schema", "locked", "migrate", "migrations", "status"]

Schema = Literal["results", "content"]

_FILE = pattern(r"(\d{4})_([a-z0-9_]+)\.sql")
_COMMENT = pattern(r"(?m)^\s*--.*$")
_QUOTED = pattern(r"(?m)(?<=^    )`(\w+)`(?= [A-Z])")
_LOCK_S: Final = 60
_LOG: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INT UNSIGNED NOT NULL PRIMARY KEY,
        name VARCHAR(80) NOT NULL,
        digest BINARY(16) NOT NULL,
        applied_at DATETIME(3) NOT NULL
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def title(self) -> str:
        """Number and name, as the file is called."""
        return f"{self.version:04}_{self.name}"

    @property
    def digest(self) -> bytes:
        """16 bytes that change with the file, though not with the quotes of a column's name: it is the same column."""
        return blake2b(_QUOTED.sub(r"\1", self.sql).encode(), digest_size=16).digest()

    @property
    def statements(self) -> list[str]:
        """What is to be run, one by one."""
        return [part.strip() for part in _COMMENT.sub("", self.sql).split(";\n") if part.strip()]


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that a database has."""

    version: int
    name: str
    digest: bytes
    at: str
    """UTC."""

    @property
    def title(self) -> str:
        """Number and name, as its file is called."""
        return f"{self.version:04}_{self.name}"


def migrations(schema: Schema) -> list[Migration]:
    """All migrations of a schema that this version knows, in their order."""
    found = []
    for file in (files("persistence.migrations") / schema).iterdir():
        name = _FILE.fullmatch(file.name)
        if name is not None:
            found.append(Migration(int(name[1]), name[2], file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


async def applied(connection: Connection) -> list[Applied]:
    """The migrations that a database has; none for one that was never migrated."""
    if not await connection.ask("SHOW TABLES LIKE 'schema\\_migrations'"):
        return []
    rows = await connection.ask("SELECT version, name, digest, applied_at FROM schema_migrations ORDER BY version")
    return [Applied(*row) for row in rows]


async def migrate(connection: Connection, schema: Schema) -> list[Migration]:
    """Apply what is missing; what was applied now. Raises `StoreError` for a database that is not ours to change."""
    async with locked(connection, "migrations", wait_s=_LOCK_S):
        await connection.run(_LOG)
        missing = _missing(await applied(connection), migrations(schema))
        for migration in missing:
            for statement in migration.statements:
                await connection.run(statement)
            await connection.run(
                "INSERT INTO schema_migrations (version, name, digest, applied_at) VALUES "
                f"({migration.version}, {text(migration.name)}, {blob(migration.digest)}, "
                f"{instant(time.time_ns() // 1_000_000)})"
            )
    return missing


async def status(connection: Connection, schema: Schema) -> tuple[list[Applied], list[Migration]]:
    """The migrations that a database has, and those that it lacks."""
    there = await applied(connection)
    have = {one.version for one in there}
    return there, [migration for migration in migrations(schema) if migration.version not in have]


async def check_schema(connection: Connection, schema: Schema) -> None:
    """Raise `StoreError` where a database is not as this version expects it."""
    missing = _missing(await applied(connection), migrations(schema))
    if missing:
        names = ", ".join(migration.title for migration in missing)
        raise StoreError(f"the database lacks {names}; run `typegate migrate up`", retriable=True)


@asynccontextmanager
async def locked(connection: Connection, name: str, *, wait_s: int) -> AsyncIterator[None]:
    """Hold a lock of this database's; the server lets it go when the connection ends. Raises `StoreError`."""
    # a lock's name is the whole server's, and of 64 characters at most
    held = f"CONCAT('typegate ', LEFT(SHA2(DATABASE(), 256), 16), {text(' ' + name)})"
    ((got,),) = await connection.ask(f"SELECT GET_LOCK({held}, {wait_s})")
    if got != 1:
        raise StoreError(f"another process has the lock {name!r} of this database", retriable=True)
    yield
    await connection.ask(f"SELECT RELEASE_LOCK({held})")


def _missing(there: Sequence[Applied], known: Sequence[Migration]) -> list[Migration]:
    by_version = {migration.version: migration for migration in known}
    for one in there:
        migration = by_version.get(one.version)
        if migration is None:
            raise StoreError(
                f"the database was migrated to version {one.version} ({one.name}) by a newer Typegate; this one knows "
                f"up to {max(by_version)}",
                retriable=True,
            )
        if migration.digest != one.digest:
            raise StoreError(
                f"migration {one.title} was changed after it was applied to the database",
                retriable=True,
            )
    have = {one.version for one in there}
    return [migration for migration in known if migration.version not in have]
