"""Importing files: what an import takes, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from persistence.catalogue.entries import Added
from persistence.catalogue.port import Catalogue

Format = Literal["auto", "json", "jsonl", "csv", "paragraphs", "lines", "words"]
Progress = Callable[[int, int], None]
"""Called now and then with rows done and rows in all."""


class ImportRefused(Exception):
    """The file as a whole cannot be imported: missing, too large, no text, no format that is known, malformed JSON.

    The message says where, what was wrong, and what is allowed.
    """


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be imported. `row` counts from 1; `line` is the file's, where the format has rows on lines."""

    row: int
    line: int | None
    field: str | None
    problem: str
    allowed: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an import found and did. `written` is False where bad rows kept it from writing anything."""

    format: str
    rows: int
    good: int
    bad: tuple[BadRow, ...]
    notes: tuple[str, ...]
    written: bool
    added: Added


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the person who imports may say, and the limits of a file."""

    format: Format = "auto"
    """What the file is; `auto` looks at its name and content."""
    language: str | None = None
    """BCP 47 tag for rows that do not say theirs (and over the name that a typing site's file gives)."""
    category: str | None = None
    """Category for rows that do not say theirs."""
    max_file_bytes: int = 64 * 1024 * 1024
    """Larger files are refused."""
    max_bad_rows: int = 10_000
    """A file with more is given up, also where the good rows were wanted: it is not what it was taken for."""


async def import_file(
    path: str | PathLike[str],
    catalogue: Catalogue,
    *,
    partial: bool,
    created_at_ms: int,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Import a file into the catalogue; everything in one transaction, and nothing if a row is bad unless `partial`.

    `created_at_ms` is the wall clock (epoch). Raises `ImportRefused` for the file, `CatalogueError` for the catalogue.
    """
    raise ImportRefused("being built")
