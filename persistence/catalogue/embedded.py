"""The embedded catalogue: Typegate's own content, and imported rows in a SQLite file beside the other data.

Everything is read into memory when it opens (bounded by `CatalogueOptions`). Another process that imports commits to
the same file; `refresh` asks SQLite's `data_version`, which moves when another connection has committed, and only then
reads again. The gateway calls it every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from persistence.catalogue.builtin import built_in_tests, built_in_word_lists
from persistence.catalogue.entries import Added, NewTest, NewWordList
from persistence.catalogue.options import CatalogueOptions, shelf_within
from persistence.catalogue.port import CatalogueError
from persistence.catalogue.shelf import Shelf
from persistence.catalogue.sqlite import CatalogueFile
from persistence.catalogue.versions import plan

T = TypeVar("T")


class EmbeddedCatalogue:
    """`Catalogue` on one machine. `path` is its SQLite file (made when missing); None serves what is built in alone.

    The file's work happens in one thread of the catalogue's own.
    """

    def __init__(self, path: str | PathLike[str] | None, options: CatalogueOptions | None = None) -> None:
        self._options = options or CatalogueOptions()
        self._path = None if path is None else Path(path)
        self._file: CatalogueFile | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._shelf: Shelf | None = None
        self._readings = 0
        self._seen: int | None = None
        """The file's `data_version` that the shelf has; taken over only once the shelf does."""

    @property
    def shelf(self) -> Shelf:
        """The present picture; reading it does no I/O."""
        assert self._shelf is not None, "the catalogue is not open"
        return self._shelf

    @property
    def readings(self) -> int:
        """How often it was looked what others had added."""
        return self._readings

    async def __aenter__(self) -> Self:
        """Open the file, read everything. Raises `CatalogueError` for a file that cannot be used."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        try:
            await self._in_thread(self._open)
        except BaseException:
            await self._close()
            raise
        self._readings += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; the shelf stays readable."""
        await self._close()

    async def refresh(self) -> bool:
        """Take in what other processes wrote; True if the shelf was replaced. Cheap when nothing happened."""
        changed = await self._in_thread(self._refresh)
        self._readings += 1
        return changed

    async def add(
        self, tests: Sequence[NewTest] = (), word_lists: Sequence[NewWordList] = (), *, created_at_ms: int
    ) -> Added:
        """Add all of it or nothing, in one transaction; see the port."""
        return await self._in_thread(lambda: self._add(tests, word_lists, created_at_ms))

    async def origins(self) -> list[tuple[str, int]]:
        """Where tests were imported from (`NewTest.origin`), and which they are."""

        def read() -> list[tuple[str, int]]:
            if self._file is None:
                return []
            with self._file.reading():
                return self._file.origins()

        return await self._in_thread(read)

    async def ping(self) -> None:
        """Return when the file answers; raise `CatalogueError` when not."""
        await self._in_thread(self._ping)

    # In the thread.

    def _open(self) -> None:
        if self._path is not None:
            self._file = CatalogueFile(self._path, busy_ms=self._options.busy_ms)
        self._read()

    def _read(self) -> None:
        """Make the shelf anew, from everything."""
        if self._file is None:
            self._shelf = shelf_within(self._options, built_in_tests(), built_in_word_lists())
        else:
            with self._file.reading():
                self._shelf = self._shelf_of_file(self._file)

    def _shelf_of_file(self, file: CatalogueFile) -> Shelf:
        """What is built in and what the file holds; inside a transaction."""
        version = file.data_version()
        tests, word_lists = file.contents(
            max_tests=self._options.max_tests, max_word_lists=self._options.max_word_lists
        )
        shelf = shelf_within(self._options, [*built_in_tests(), *tests], [*built_in_word_lists(), *word_lists])
        self._seen = version
        return shelf

    def _refresh(self) -> bool:
        if self._file is None or self._file.data_version() == self._seen:
            return False
        self._read()
        return True

    def _add(self, tests: Sequence[NewTest], word_lists: Sequence[NewWordList], created_at_ms: int) -> Added:
        if self._file is None:
            raise CatalogueError("this catalogue has no file, so nothing can be added to it")
        with self._file.writing():
            if self._file.data_version() != self._seen:  # nobody else writes from here on, so this is what there is
                self._shelf = self._shelf_of_file(self._file)
            planned = plan(self.shelf, tests, word_lists, id_of=self._file.id_of, created_at_ms=created_at_ms)
            shelf = shelf_within(
                self._options,
                [*self.shelf.versions(), *planned.tests],
                [*self.shelf.list_versions(), *planned.word_lists],
            )
            self._file.insert(planned.tests, planned.origins, planned.word_lists, created_at_ms)
        self._shelf = shelf
        return planned.added

    def _ping(self) -> None:
        if self._file is not None:
            self._file.ping()

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
            try:
                await self._in_thread(self._close_file)
            finally:
                self._thread.shutdown(wait=False)
                self._thread = None
