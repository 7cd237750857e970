"""The embedded catalogue: Typegate's own content, and imported rows in a SQLite file beside the other data.

Everything is read into memory when it opens (bounded by `CatalogueOptions`). Another process that imports commits to the
same file; `refresh` asks SQLite's `data_version`, which moves when another connection has committed, and only then reads
again. The gateway calls it every few seconds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from persistence.catalogue.builtin import built_in_tests, built_in_word_lists
from persistence.catalogue.entries import (
    Added,
    NewTest,
    NewWordList,
)
from persistence.catalogue.port import CatalogueError
from persistence.catalogue.rows import CatalogueFile
from persistence.catalogue.shelf import Shelf

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """Limits of the embedded catalogue: all of it is in memory."""

    max_tests: int = 50_000
    """Versions of tests, the built-in ones counted; an import that would go over it is refused."""
    max_word_lists: int = 500
    """Versions of word lists, likewise."""
    max_bytes: int = 128 * 1024 * 1024
    """UTF-8 bytes of all texts and words, likewise."""
    busy_ms: int = 5_000
    """How long an addition waits for another process that is writing."""

    def __post_init__(self) -> None:
        for name in ("max_tests", "max_word_lists", "max_bytes", "busy_ms"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"catalogue.{name} is {value}; at least 1 is allowed")


class EmbeddedCatalogue:
    """`Catalogue` on one machine. `path` is the SQLite file (made when missing); None serves the built-in content alone.

    The file's work happens in one thread of the catalogue's own.
    """

    def __init__(self, path: str | PathLike[str] | None, options: CatalogueOptions | None = None) -> None:
        self._options = options or CatalogueOptions()
        self._path = None if path is None else Path(path)
        self._file: CatalogueFile | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._shelf: Shelf | None = None

    @property
    def shelf(self) -> Shelf:
        """The present picture; reading it does no I/O."""
        assert self._shelf is not None, "the catalogue is not open"
        return self._shelf

    async def __aenter__(self) -> Self:
        """Open the file, read everything. Raises `CatalogueError` for a file that cannot be used."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        try:
            await self._in_thread(self._open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; the shelf stays readable."""
        await self._close()

    async def refresh(self) -> bool:
        """Take in what other processes wrote; True if the shelf was replaced. Cheap when nothing happened."""
        return await self._in_thread(self._refresh)

    async def add(
        self, tests: Sequence[NewTest] = (), word_lists: Sequence[NewWordList] = (), *, created_at_ms: int
    ) -> Added:
        """Add all of it or nothing, in one transaction; see the port."""
        return await self._in_thread(lambda: self._add(tests, word_lists, created_at_ms))

    async def ping(self) -> None:
        """Return when the file answers; raise `CatalogueError` when not."""
        await self._in_thread(self._ping)

    # In the thread.

    def _open(self) -> None:
        if self._path is not None:
            self._file = CatalogueFile(self._path, busy_ms=self._options.busy_ms)
        self._shelf = self._read()

    def _read(self) -> Shelf:
        tests = list(built_in_tests())
        word_lists = list(built_in_word_lists())
        if self._file is not None:
            tests += self._file.tests(limit=self._options.max_tests)
            word_lists += self._file.word_lists(limit=self._options.max_word_lists)
        self._check(
            len(tests),
            len(word_lists),
            sum(len(test.text.encode()) for test in tests)
            + sum(len(word.encode()) for words in word_lists for word in words.words),
        )
        return Shelf(tests, word_lists)

    def _check(self, tests: int, word_lists: int, size_bytes: int) -> None:
        """Raise where the catalogue would be over a limit."""
        for what, found, name in (
            ("versions of tests", tests, "max_tests"),
            ("versions of word lists", word_lists, "max_word_lists"),
            ("bytes of text", size_bytes, "max_bytes"),
        ):
            allowed: int = getattr(self._options, name)
            if found > allowed:
                raise CatalogueError(
                    f"the catalogue would hold {found:,} {what}; at most {allowed:,} are allowed (catalogue.{name})"
                )

    def _refresh(self) -> bool:
        if self._file is None or not self._file.changed():
            return False
        self._shelf = self._read()
        return True

    def _add(self, tests: Sequence[NewTest], word_lists: Sequence[NewWordList], created_at_ms: int) -> Added:
        if self._file is None:
            raise CatalogueError("this catalogue has no file, so nothing can be added to it")
        raise CatalogueError("being built")

    def _ping(self) -> None:
        if self._file is not None:
            self._file.changed()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # On the event loop.

    async def _in_thread(self, work: Callable[[], T]) -> T:
        assert self._thread is not None, "the catalogue is not open"
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _close(self) -> None:
        if self._thread is not None:
            await self._in_thread(self._close_file)
            self._thread.shutdown(wait=False)
            self._thread = None
