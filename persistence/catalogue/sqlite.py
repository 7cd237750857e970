"""The catalogue's SQLite file: rows that are only ever added, and the question whether somebody else added some."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persistence.catalogue.entries import Test, WordList
from persistence.catalogue.port import CatalogueError

_SCHEMA_VERSION = 1

# "TgCt": lets `file` and us tell this database from another one that was put in its place.
_APPLICATION_ID = 0x54674374

# The triggers keep immutability even from a hand with a SQL prompt.
_SCHEMA = """
CREATE TABLE tests (
    id            INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    title         TEXT    NOT NULL,
    text          TEXT    NOT NULL,
    category      TEXT    NOT NULL,
    difficulty    TEXT    NOT NULL CHECK (difficulty IN ('easy', 'medium', 'hard')),
    language      TEXT    NOT NULL,
    words         INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    source        TEXT,
    PRIMARY KEY (id, version)
);
CREATE TABLE origins (
    origin TEXT    PRIMARY KEY,
    id     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE word_lists (
    language      TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    direction     TEXT    NOT NULL CHECK (direction IN ('ltr', 'rtl')),
    words         TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (language, version)
);
CREATE TRIGGER tests_stay BEFORE UPDATE ON tests
    BEGIN SELECT RAISE(ABORT, 'a version of a test never changes'); END;
CREATE TRIGGER tests_are_kept BEFORE DELETE ON tests
    BEGIN SELECT RAISE(ABORT, 'a version of a test is kept for ever'); END;
CREATE TRIGGER word_lists_stay BEFORE UPDATE ON word_lists
    BEGIN SELECT RAISE(ABORT, 'a version of a word list never changes'); END;
CREATE TRIGGER word_lists_are_kept BEFORE DELETE ON word_lists
    BEGIN SELECT RAISE(ABORT, 'a version of a word list is kept for ever'); END;
"""


class CatalogueFile:
    """One connection to the file, for one thread. Every method raises `CatalogueError` where SQLite fails."""

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self._path = path
        with self._naming_the_file():
            self._connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None)
        try:
            with self._naming_the_file():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        """Check whose file it is, and make the tables where it is new."""
        connection = self._connection
        # Importing is rare and must last: WAL lets servers read meanwhile, FULL survives a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if version == 0 and application == 0:
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                if tables:
                    raise CatalogueError(f"{self._path} is a database, but no Typegate catalogue")
                for statement in _statements(_SCHEMA):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif application != _APPLICATION_ID:
                raise CatalogueError(f"{self._path} is a database, but no Typegate catalogue")
            elif version > _SCHEMA_VERSION:
                raise CatalogueError(
                    f"{self._path} has schema version {version}; this Typegate knows versions up to {_SCHEMA_VERSION}"
                )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def data_version(self) -> int:
        """A number that is another one when another connection has committed since (our own commits leave it)."""
        with self._naming_the_file():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        assert isinstance(version, int)
        return version

    def ping(self) -> None:
        """Return when a row can be read."""
        with self._naming_the_file():
            self._connection.execute("SELECT id FROM tests LIMIT 1").fetchone()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One read transaction: what is read inside is as of one moment."""
        with self._naming_the_file(), self._transaction("BEGIN"):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write transaction: no other process writes meanwhile; all of it is committed, or nothing."""
        with self._naming_the_file(), self._transaction("BEGIN IMMEDIATE"):
            yield

    def contents(self, *, max_tests: int, max_word_lists: int) -> tuple[list[Test], list[WordList]]:
        """All versions, inside `reading` or `writing`; over a limit one row more, so that the caller sees it."""
        tests = self._connection.execute(
            "SELECT id, version, title, text, category, difficulty, language, words, created_at_ms, source"
            " FROM tests LIMIT ?",
            (max_tests + 1,),
        )
        word_lists = self._connection.execute(
            "SELECT language, version, name, direction, words FROM word_lists LIMIT ?", (max_word_lists + 1,)
        )
        return (
            [Test(*row) for row in tests],
            [
                WordList(language, version, name, direction, tuple(words.split("\n")))
                for language, version, name, direction, words in word_lists
            ],
        )

    def id_of(self, origin: str) -> int | None:
        """The test that was imported from there before."""
        row = self._connection.execute("SELECT id FROM origins WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else int(row[0])

    def origins(self) -> list[tuple[str, int]]:
        """Where tests were imported from, and which they are."""
        return self._connection.execute("SELECT origin, id FROM origins ORDER BY origin").fetchall()

    def insert(
        self, tests: Iterable[Test], origins: Iterable[tuple[str, int]], word_lists: Iterable[WordList], at_ms: int
    ) -> None:
        """Add rows, inside `writing`."""
        self._connection.executemany(
            "INSERT INTO tests (id, version, title, text, category, difficulty, language, words, created_at_ms, source)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    test.id,
                    test.version,
                    test.title,
                    test.text,
                    test.category,
                    test.difficulty,
                    test.language,
                    test.words,
                    test.created_at_ms,
                    test.source,
                )
                for test in tests
            ),
        )
        self._connection.executemany("INSERT INTO origins (origin, id) VALUES (?, ?)", origins)
        self._connection.executemany(
            "INSERT INTO word_lists (language, version, name, direction, words, created_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                (words.language, words.version, words.name, words.direction, "\n".join(words.words), at_ms)
                for words in word_lists
            ),
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, with the file's name."""
        try:
            yield
        except sqlite3.Error as error:
            # The primary code is the low byte: SQLITE_BUSY_SNAPSHOT and the like are kinds of SQLITE_BUSY.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise CatalogueError(
                    f"another process is writing to {self._path}; try again when it has finished", retriable=True
                ) from error
            raise CatalogueError(f"the catalogue's file {self._path} cannot be used: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one (`executescript` would commit the transaction that they belong to)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
