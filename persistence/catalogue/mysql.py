"""The catalogue in a MySQL database that all nodes share (`mysql.content`).

Each process has all of it in memory, as the embedded catalogue does, so that nothing that is typed waits for the
database. Changes are numbered: `refresh` asks for the last number, and reads the rows that are newer than its shelf.

What comes with Typegate lies in the database too, for other programs to read and so that, while nodes are upgraded one
after the other, all of them have the same present versions, on which choosing by seed depends.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from persistence.catalogue import tables
from persistence.catalogue.builtin import built_in_tests, built_in_word_lists
from persistence.catalogue.copy import CatalogueCopy, Contents
from persistence.catalogue.entries import Added, NewTest, NewWordList, Test, WordList
from persistence.catalogue.options import CatalogueOptions, shelf_within
from persistence.catalogue.port import CatalogueError
from persistence.catalogue.shelf import Shelf
from persistence.catalogue.tables import FIRST, Ask, Revision
from persistence.catalogue.versions import Plan, plan
from persistence.errors import StoreError
from persistence.mysql.errors import MysqlError
from persistence.mysql.migrating import check_schema
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["MysqlCatalogue", "naming_the_database"]

log = structlog.get_logger(__name__)

_ADD_MS: Final = 120_000
"""Longest time of an addition's transaction; fifty thousand tests at once took seven seconds."""

Planning = Callable[["_Known", Ask], Awaitable[Plan]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read, up to a change."""

    tests: Mapping[tuple[int, int], Test]
    word_lists: Mapping[tuple[str, int], WordList]
    revision: Revision
    shelf: Shelf
    """With what is built in, whether the database has it or not."""


class MysqlCatalogue:
    """`Catalogue` in the database that `mysql.content` names; it must have been migrated.

    `serving`: of a server. It opens also while the database is away, with what the file `copy` says of it, or what is
    built in alone, and each `refresh` tries to read the rest; and it puts into the database what is built in and
    missing there. `added` is told of tests that this process has added, once they are there.
    """

    def __init__(
        self,
        mysql: MysqlOptions,
        options: CatalogueOptions | None = None,
        *,
        serving: bool = False,
        copy: Path | None = None,
        added: Callable[[Collection[Test]], Awaitable[None]] | None = None,
    ) -> None:
        self._mysql = mysql
        self._options = options or CatalogueOptions()
        self._serving = serving
        self._copy_path = copy
        self._copy: CatalogueCopy | None = None
        self._copied = FIRST
        """Up to which change the copy has all."""
        self._added = added
        self._pool: Pool
        self._known: _Known | None = None
        self._readings = 0
        self._seeded = not serving
        self._fault: str | None = None
        """Why the last reading failed."""
        self._lock = asyncio.Lock()

    @property
    def shelf(self) -> Shelf:
        """The present picture; reading it does no I/O."""
        assert self._known is not None, "the catalogue is not open"
        return self._known.shelf

    @property
    def readings(self) -> int:
        """How often the database was asked for what is new."""
        return self._readings

    async def __aenter__(self) -> Self:
        """Read everything. Raises `CatalogueError` where that cannot be, and the server is not just away."""
        with naming_the_database():
            self._pool = Pool(self._mysql.content_dsn(), self._mysql)
        try:
            if self._copy_path is not None:
                self._copy = CatalogueCopy(self._copy_path, database=self._pool.name)
            self._known = await asyncio.to_thread(self._begun)
            self._copied = self._known.revision
            try:
                await self.refresh()
            except CatalogueError as fault:
                if not (self._serving and isinstance(fault.__cause__, MysqlError)):
                    raise
                log.error(
                    "tests and word lists cannot be read; until they can there are those of the last time, if there "
                    "was one, and what is built in",
                    added=len(self._known.tests),
                    why=str(fault),
                )
        except BaseException:
            await self._pool.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; the shelf stays readable."""
        await self._pool.close()

    async def refresh(self) -> bool:
        """Take in what other processes wrote; True if the shelf was replaced. One short query when nothing happened."""
        async with self._lock:
            before = self._known
            assert before is not None, "the catalogue is not open"
            try:
                with naming_the_database():
                    if not self._readings:
                        async with self._pool.connection(self._mysql.read_ms) as connection:
                            await check_schema(connection, "content")
                    self._known = await self._caught_up(before, self._ask)
            except CatalogueError as fault:
                self._fault = str(fault)
                raise
            self._fault = None
            self._readings += 1
            if not self._seeded:
                self._seeded = True
                try:
                    await self._seed(time.time_ns() // 1_000_000)
                except StoreError as error:
                    log.warning("what is built in was not put into the content database", why=str(error))
            await self._keep()
            return self._known is not before

    async def add(
        self, tests: Sequence[NewTest] = (), word_lists: Sequence[NewWordList] = (), *, created_at_ms: int
    ) -> Added:
        """Add all of it or nothing, in one transaction; see the port."""

        async def planning(known: _Known, ask: Ask) -> Plan:
            ids = await tables.origins(ask, {test.origin for test in tests if test.id is None and test.origin})
            return await asyncio.to_thread(
                plan, known.shelf, tests, word_lists, id_of=ids.get, created_at_ms=created_at_ms
            )

        async with self._lock:
            with naming_the_database():
                return (await self._change(planning, created_at_ms)).added

    async def take(
        self,
        tests: Sequence[Test],
        word_lists: Sequence[WordList],
        origins: Sequence[tuple[str, int]],
        *,
        created_at_ms: int,
    ) -> Added:
        """Add what another catalogue has as it is there, ids and versions too; what is here already stays.

        All of it or nothing. Raises as `add` does, and where another test or list has the id and version of one.
        """

        async def planning(known: _Known, ask: Ask) -> Plan:
            there = await tables.origins(ask, {origin for origin, _ in origins})
            return _brought(known, tests, word_lists, [one for one in origins if one[0] not in there])

        async with self._lock:
            with naming_the_database():
                return (await self._change(planning, created_at_ms)).added

    async def seed(self, *, created_at_ms: int) -> Added:
        """Put what is built in into the database where it is missing. Raises as `add` does."""
        async with self._lock:
            with naming_the_database():
                return await self._seed(created_at_ms)

    async def find(self, test_id: int, version: int | None = None) -> Test | None:
        """A version of a test, or the present one, as the database has it now. Raises `CatalogueError`."""
        with naming_the_database():
            return await tables.test(self._ask, test_id, version)

    async def ping(self) -> None:
        """Return when the database answers and all of it was read; raise `CatalogueError` when not."""
        with naming_the_database():
            await self._ask("SELECT 1 FROM catalogue_revisions WHERE revision = 0")
        if self._fault is not None:
            raise CatalogueError(self._fault, retriable=True)

    async def _keep(self) -> None:
        """Have a copy of what is known."""
        known = self._known
        if self._copy is not None and known is not None and known.revision != self._copied:
            self._copied = known.revision
            await asyncio.to_thread(self._copy.save, Contents(known.tests, known.word_lists, known.revision))

    # -- reading -------------------------------------------------------------------------------------------------

    async def _ask(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """Ask on a connection of the pool's."""
        async with self._pool.connection(self._mysql.read_ms) as connection:
            return await connection.ask(statement)

    async def _caught_up(self, known: _Known, ask: Ask) -> _Known:
        """What is known once the changes since are; as it was where there are none."""
        there, last = await tables.latest(ask, known.revision)
        if last is None:
            raise CatalogueError("the content database lacks catalogue_revisions' row 0; restore it", retriable=True)
        if there != known.revision:
            # a failover, or a restored copy: what has this number is another change than the one that was read
            log.warning("the content database has another history than it had; all of it is read again")
            known = await asyncio.to_thread(self._built, {}, {}, FIRST)
        if last == known.revision:
            return known
        tests, word_lists = dict(known.tests), dict(known.word_lists)
        async for some in tables.tests_since(ask, known.revision[0], last[0]):
            tests.update(((test.id, test.version), test) for test in some)
            if len(tests) > self._options.max_tests:
                break  # the shelf says so
        async for lists in tables.lists_since(ask, known.revision[0], last[0]):
            word_lists.update(((words.language, words.version), words) for words in lists)
            if len(word_lists) > self._options.max_word_lists:
                break
        return await asyncio.to_thread(self._built, tests, word_lists, last)

    def _begun(self) -> _Known:
        """What is known before the database was asked."""
        copied = None if self._copy is None else self._copy.load()
        if copied is not None:
            try:
                return self._built(copied.tests, copied.word_lists, copied.revision)
            except CatalogueError as fault:  # of other limits; the database will say what there is
                log.warning("the copy of tests and word lists is not used", why=str(fault))
        return self._built({}, {}, FIRST)

    def _built(
        self, tests: Mapping[tuple[int, int], Test], word_lists: Mapping[tuple[str, int], WordList], revision: Revision
    ) -> _Known:
        """What is known, with a shelf of it. Takes a moment: not for the event loop."""
        every_test = {(test.id, test.version): test for test in built_in_tests()} | dict(tests)
        every_list = {(words.language, words.version): words for words in built_in_word_lists()} | dict(word_lists)
        shelf = shelf_within(self._options, every_test.values(), every_list.values())
        return _Known(tests, word_lists, revision, shelf)

    # -- writing -------------------------------------------------------------------------------------------------

    async def _seed(self, at_ms: int) -> Added:
        async def planning(known: _Known, _: Ask) -> Plan:
            return _missing(known)

        assert self._known is not None, "the catalogue is not open"
        if not _missing(self._known).added.new:
            return Added()
        return (await self._change(planning, at_ms)).added

    async def _change(self, planning: Planning, at_ms: int) -> Plan:
        """Add what is planned, knowing all that others have added. Raises `CatalogueError`."""
        until_s = time.monotonic() + self._options.busy_ms / 1000
        while True:
            try:
                async with self._pool.transaction(_ADD_MS) as connection:
                    await tables.locked(connection.ask)
                    planned, known = await self._add(connection, planning, at_ms)
            except MysqlError as error:
                if not error.passing:
                    raise
                if time.monotonic() >= until_s:
                    raise CatalogueError(
                        f"another process is writing to the content database {self._pool.name}; try again when it has "
                        "finished",
                        retriable=True,
                    ) from error
            else:
                self._known = known
                if self._added is not None and planned.tests:
                    await self._added(planned.tests)
                return planned

    async def _add(self, connection: Connection, planning: Planning, at_ms: int) -> tuple[Plan, _Known]:
        """Insert what is planned; what is known once that is committed."""
        assert self._known is not None, "the catalogue is not open"
        known = await self._caught_up(self._known, connection.ask)
        planned = await planning(known, connection.ask)
        if not planned.tests and not planned.word_lists and not planned.origins:
            return planned, known
        revision = (known.revision[0] + 1, os.urandom(16))
        after = await asyncio.to_thread(
            self._built,
            {**known.tests, **{(test.id, test.version): test for test in planned.tests}},
            {**known.word_lists, **{(words.language, words.version): words for words in planned.word_lists}},
            revision,
        )
        for statement in tables.inserts(revision, planned.tests, planned.origins, planned.word_lists, at_ms=at_ms):
            await connection.run(statement)
        return planned, after


@contextmanager
def naming_the_database() -> Iterator[None]:
    """Turn errors of the database into ours."""
    try:
        yield
    except CatalogueError:
        raise
    except StoreError as error:
        raise CatalogueError(f"the content database: {error}", retriable=error.retriable) from error


def _missing(known: _Known) -> Plan:
    """What is built in and not in the database."""
    tests = tuple(test for test in built_in_tests() if (test.id, test.version) not in known.tests)
    word_lists = tuple(
        words for words in built_in_word_lists() if (words.language, words.version) not in known.word_lists
    )
    return Plan(tests, (), word_lists, Added(new=len(tests) + len(word_lists)))


def _brought(
    known: _Known, tests: Sequence[Test], word_lists: Sequence[WordList], origins: Sequence[tuple[str, int]]
) -> Plan:
    """What is not there yet of another catalogue's rows. Raises `CatalogueError` where they cannot be beside ours."""
    new_tests, new_lists, others = [], [], []
    for test in tests:
        ours = known.tests.get((test.id, test.version))
        if ours is None:
            new_tests.append(test)
        elif ours != test:
            others.append(f"test {test.id} version {test.version}")
    for words in word_lists:
        list_of_ours = known.word_lists.get((words.language, words.version))
        if list_of_ours is None:
            new_lists.append(words)
        elif list_of_ours != words:
            others.append(f"word list {words.language} version {words.version}")
    if others:
        raise CatalogueError(
            f"{len(others)} are others here: {', '.join(others[:5])}{', ...' if len(others) > 5 else ''}; results name "
            "them by these numbers, so they cannot be given others: bring them into a content database of its own, "
            "before anything is imported there"
        )
    new = len(new_tests) + len(new_lists)
    unchanged = len(tests) + len(word_lists) - new
    return Plan(tuple(new_tests), tuple(origins), tuple(new_lists), Added(new=new, unchanged=unchanged))
