"""The old installation's database: read alone, by primary key, a page at a time.

What its tables look like is asked of the server. A row's checksum is computed over there, over all its columns and the
rules that it is read by: so whether anything has changed is found out without reading it all again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from persistence.errors import StoreError
from persistence.importing.fields import MOST_BYTES, Column, Kind, fields_of
from persistence.importing.values import Bad
from persistence.mysql.dsn import Dsn
from persistence.mysql.literals import text
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["SUMS", "OldRow", "OldSite", "OldTable", "Sums", "Table"]

Table = Literal["tests", "test_results"]

_LONGEST_MS: Final = 3_600_000
_EXCERPT: Final = 300
_BYTES_AT_ONCE: Final = 32 * 2**20
_LEAST_AT_ONCE: Final = 100
_WHOLE_NUMBERS: Final = ("tinyint", "smallint", "mediumint", "int", "bigint")
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys((*_WHOLE_NUMBERS, "decimal", "float", "double"), "number"),
    **dict.fromkeys(("date", "datetime"), "date"),
    "timestamp": "utc",
    **dict.fromkeys(("char", "varchar", "enum"), "line"),
    **dict.fromkeys(("json", "tinytext", "text", "mediumtext", "longtext"), "document"),
    **dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob", "varbinary"), "document"),
}
_READABLE: Final = (None, "binary", "ascii", "utf8", "utf8mb3", "utf8mb4")
_EXPECTED: Final = (
    "a table with a whole number `id` as its primary key, and the rest in columns of JSON or of their own"
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Count and checksums of rows: equal only if the rows are."""

    rows: int = 0
    mixed: int = 0
    """Exclusive or of their checksums."""
    added: int = 0
    """Sum of their checksums' low halves."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows, self.mixed ^ other.mixed, self.added + other.added)

    @classmethod
    def of(cls, row: Sequence[Any]) -> Sums:
        """The sums that a row of `SUMS` is."""
        rows, mixed, added = row
        return cls(rows, mixed or 0, int(added or 0))


SUMS: Final = "COUNT(*), BIT_XOR(seen), CAST(SUM(seen & 4294967295) AS CHAR)"
"""What one selects of checksums called `seen`. A sum is read as text: a float would not hold it."""


class OldRow(NamedTuple):
    """A row as it was read."""

    id: int
    seen: int
    """Its checksum, 64 bits."""
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class OldTable:
    """One of the old tables."""

    name: Table
    columns: tuple[Column, ...]
    """Those that are read."""
    checksum: str
    """SQL of a row's checksum."""
    updated_at: bool
    """Whether there is a column that tells when a row was changed."""
    at_once: int
    """Rows that may be read at once: fewer where they are large."""

    def fields(self, row: OldRow) -> dict[str, object]:
        """A row's fields. Raises `Bad`."""
        *values, longest = row.values
        if longest is not None and longest > MOST_BYTES:
            raise Bad("the row", f"has {longest:,} bytes in one column", f"at most {MOST_BYTES:,}")
        return fields_of(self.columns, values)

    def excerpt(self, row: OldRow) -> str:
        """The beginning of what stands in a row."""
        parts = []
        for column, value in zip(self.columns, row.values, strict=False):  # the last value is no column's
            if value is not None:
                shown = value[:_EXCERPT].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
                parts.append(f"{column.name}={shown}")
        return " ".join(parts).replace("\x00", "\\x00")[:_EXCERPT]

    def select(self, where: str, limit: int) -> str:
        """Read rows, by their ids."""
        read = []
        lengths = []
        for name, kind, recode in self.columns:
            column = _quoted(name)
            if kind in ("line", "document"):
                # bytes, whatever the character set: what is no text harms its own row alone
                value = f"CONVERT({column} USING utf8mb4)" if recode else column
                read.append(f"IF(LENGTH({column}) > {MOST_BYTES}, NULL, CAST({value} AS BINARY))")
                lengths.append(f"COALESCE(LENGTH({column}), 0)")
            else:
                read.append(column)
        longest = f"GREATEST(0, {', '.join(lengths)})" if lengths else "0"
        return (
            f"SELECT id, {self.checksum}, {', '.join([*read, longest])} FROM {self.name} WHERE {where} "
            f"ORDER BY id LIMIT {limit}"
        )


class OldSite:
    """The old database. Every method raises `StoreError`; nothing is ever written."""

    tests: OldTable
    results: OldTable

    def __init__(self, dsn: Dsn, options: MysqlOptions, *, salt: str) -> None:
        self.address = str(dsn)
        # a page of it may take long, and nobody else waits
        self._pool = Pool(dsn, replace(options, connections=2, wait_ms=60_000))
        self._salt = salt

    async def __aenter__(self) -> Self:
        """See what there is. Raises `StoreError` for a database that cannot be imported."""
        try:
            self.tests = await self._table("tests")
            self.results = await self._table("test_results")
        except BaseException:
            await self._pool.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def bounds(self, table: OldTable, above: int | None) -> tuple[int, int | None]:
        """How many rows have greater ids than `above`, and the greatest id of all; None where there is no row."""
        where = "" if above is None else f" WHERE id > {above}"
        ((last,),) = await self._ask(f"SELECT MAX(id) FROM {table.name}")
        if last is not None and last >= 2**63:
            raise StoreError(f"{table.name} has the id {last}; allowed are those of a BIGINT", retriable=False)
        ((count,),) = await self._ask(f"SELECT COUNT(*) FROM {table.name}{where}")
        return count, last

    async def changed_to(self) -> str | None:
        """The latest change of a result, as the old database tells time; None where it does not tell."""
        if not self.results.updated_at:
            return None
        ((last,),) = await self._ask("SELECT MAX(updated_at) FROM test_results")
        return last  # type: ignore[no-any-return]  # a date is read as text

    async def page(self, table: OldTable, *, above: int | None, to: int, limit: int) -> list[OldRow]:
        """Rows with ids above one and up to another."""
        return await self._rows(table.select(_between(above, to), limit))

    async def rows(self, table: OldTable, ids: Sequence[int]) -> list[OldRow]:
        """The rows with these ids, as far as they are there."""
        return await self._rows(table.select(f"id IN ({', '.join(map(str, ids))})", len(ids))) if ids else []

    async def sums(self, table: OldTable, above: int | None, limit: int, to: int) -> tuple[Sums, int]:
        """Sums of the next rows, and the last id among them; `to` where there are no more."""
        ((*sums, last),) = await self._ask(
            f"SELECT {SUMS}, MAX(id) FROM (SELECT id, {table.checksum} AS seen FROM {table.name} "
            f"WHERE {_between(above, to)} ORDER BY id LIMIT {limit}) AS some"
        )
        return Sums.of(sums), last if sums[0] == limit else to

    async def checksums(
        self, table: OldTable, above: int | None, to: int, *, limit: int, changed_since: str | None = None
    ) -> dict[int, int]:
        """Checksums of the next rows, by id. `changed_since`: of those alone that were changed then or later."""
        where = _between(above, to)
        if changed_since is not None:
            # a change is told by the instant of its statement, and seen when its transaction ends
            where += f" AND updated_at >= {text(changed_since)} - INTERVAL 1 HOUR"
        return dict(
            await self._ask(f"SELECT id, {table.checksum} FROM {table.name} WHERE {where} ORDER BY id LIMIT {limit}")
        )

    async def _rows(self, select: str) -> list[OldRow]:
        return [OldRow(id_, seen, tuple(values)) for id_, seen, *values in await self._ask(select)]

    async def _ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        async with self._connection() as connection:
            return await connection.ask(statement)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.connection(_LONGEST_MS) as connection:
                yield connection
        except StoreError as error:
            raise StoreError(f"the old database: {error}", retriable=error.retriable) from error

    async def _table(self, name: Table) -> OldTable:
        found = await self._ask(
            "SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_KEY, CHARACTER_SET_NAME FROM information_schema.COLUMNS "
            f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {text(name)} ORDER BY ORDINAL_POSITION"
        )
        if not found:
            raise StoreError(f"the old database {self.address} has no table {name}", retriable=False)
        key = [column for column, _, of_key, _ in found if of_key == "PRI"]
        types = {column: kind for column, kind, *_ in found}
        if key != ["id"] or types["id"] not in _WHOLE_NUMBERS:
            raise StoreError(
                f"the primary key of the old {name} is {', '.join(key) or 'none'}; expected is {_EXPECTED}",
                retriable=False,
            )
        ((mean,),) = await self._ask(
            f"SELECT AVG_ROW_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
            f"AND TABLE_NAME = {text(name)}"
        )
        columns = [
            Column(column, _KINDS[kind], charset not in _READABLE)
            for column, kind, _, charset in found
            if column != "id" and kind in _KINDS
        ]
        all_of_it = ", ".join(f"COALESCE({_whole(column, _KINDS.get(kind))}, x'00')" for column, kind in types.items())
        digest = f"LEFT(SHA2(CONCAT_WS('|', {text(self._salt)}, {all_of_it}), 256), 16)"
        return OldTable(
            name,
            tuple(columns),
            f"CAST(CONV({digest}, 16, 10) AS UNSIGNED)",
            types.get("updated_at") in ("datetime", "timestamp"),
            max(_LEAST_AT_ONCE, _BYTES_AT_ONCE // max(1, int(mean or 0))),
        )


def _whole(column: str, kind: Kind | None) -> str:
    """SQL of what stands in a column, for a checksum; of what is too long to be read, its digest.

    A server makes no text of more than `max_allowed_packet`: it would have no checksum for such a row.
    """
    name = _quoted(column)
    plain = f"CAST({name} AS BINARY)"
    return f"IF(LENGTH({name}) > {MOST_BYTES}, SHA2({name}, 256), {plain})" if kind == "document" else plain


def _between(above: int | None, to: int) -> str:
    return f"id <= {to}" if above is None else f"id > {above} AND id <= {to}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
