"""The report on bad rows: a file of JSON lines, written as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import orjson

from persistence.importing.source import Table
from persistence.importing.target import Fault, Target

__all__ = ["bad_rows", "write_report"]

_AT_ONCE: Final = 1_000
_TABLES: Final[tuple[Table, ...]] = ("tests", "test_results")


async def bad_rows(target: Target) -> AsyncIterator[Fault]:
    """Every bad row that an import keeps."""
    for table in _TABLES:
        last: int | None = None
        while faults := await target.faults(table, above=last, limit=_AT_ONCE):
            for fault in faults:
                yield fault
            last = faults[-1].id


async def write_report(path: Path, faults: AsyncIterator[Fault]) -> int:
    """Write a line a bad row; how many. Who killed in the middle finds the report before. Raises OSError."""
    part = path.with_name(path.name + ".part")
    count = 0
    # users' data: for whoever runs the import alone
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        async for fault in faults:
            line: dict[str, object] = {"table": fault.table, "id": fault.id, "reason": fault.reason}
            if fault.imported:
                line["imported"] = "an earlier form of it"
            file.write(orjson.dumps(line | {"excerpt": fault.excerpt}, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    part.replace(path)
    return count
