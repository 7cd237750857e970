"""The tables of the content database, as statements: rows that are only ever added, numbered by the change that did.

Whatever asks is given as a function, so that it may be one connection in its transaction, or a new one for each page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from persistence.catalogue.entries import Test, WordList
from persistence.mysql.literals import blob, instant, text

__all__ = ["FIRST", "Revision", "inserts", "latest", "lists_since", "locked", "origins", "test", "tests_since"]

Ask: TypeAlias = Callable[[str], Awaitable[Sequence[tuple[Any, ...]]]]
Revision: TypeAlias = tuple[int, bytes]
"""A change's number, and its mark."""

FIRST: Final[Revision] = (0, bytes(16))
"""Before any change; its row is there from the beginning, and is what additions lock."""

_TESTS_AT_ONCE: Final = 64
"""Rows read between two turns of the loop: a millisecond's work."""
_LISTS_AT_ONCE: Final = 4
_ORIGINS_AT_ONCE: Final = 500
_STATEMENT_CHARACTERS: Final = 500_000
"""A server takes statements of 16 MiB, or of 4 where it is old."""

_CREATED_MS: Final = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created_at) DIV 1000"
_TEST: Final = f"id, version, title, text, category, difficulty, language, words, {_CREATED_MS}, source"
_LIST: Final = "language, version, name, direction, words"


async def locked(ask: Ask) -> None:
    """Wait until no other transaction adds anything, and let none begin before this one ends."""
    await ask("SELECT revision FROM catalogue_revisions WHERE revision = 0 FOR UPDATE")


async def latest(ask: Ask, known: Revision) -> tuple[Revision | None, Revision | None]:
    """The change of the number that one knows, as it is there, and the last one; None where there is none."""
    rows = await ask(
        f"SELECT revision, mark FROM catalogue_revisions WHERE revision = {known[0]} "
        "OR revision = (SELECT MAX(revision) FROM catalogue_revisions) ORDER BY revision"
    )
    there: list[Revision] = [(revision, mark) for revision, mark in rows]
    return (there[0] if there and there[0][0] == known[0] else None), (there[-1] if there else None)


async def tests_since(ask: Ask, since: int, until: int) -> AsyncIterator[list[Test]]:
    """All versions of tests that changes after `since`, up to `until`, have added; page by page."""
    beyond = f"revision > {since}"
    while True:
        # without an upper bound: where both bounds are equal a server sorts the rest of the table for each page
        rows = await ask(
            f"SELECT revision, {_TEST} FROM tests FORCE INDEX (of_revision) WHERE {beyond} "
            f"ORDER BY revision, id, version LIMIT {_TESTS_AT_ONCE}"
        )
        yield [Test(*row[1:]) for row in rows if row[0] <= until]
        if len(rows) < _TESTS_AT_ONCE or rows[-1][0] > until:
            return
        revision, id_, version = rows[-1][:3]
        beyond = (
            f"(revision = {revision} AND id = {id_} AND version > {version}) OR "
            f"(revision = {revision} AND id > {id_}) OR revision > {revision}"
        )


async def lists_since(ask: Ask, since: int, until: int) -> AsyncIterator[list[WordList]]:
    """The same of word lists."""
    beyond = f"revision > {since}"
    while True:
        rows = await ask(
            f"SELECT revision, {_LIST} FROM word_lists FORCE INDEX (of_revision) WHERE {beyond} "
            f"ORDER BY revision, language, version LIMIT {_LISTS_AT_ONCE}"
        )
        yield [
            WordList(language, version, name, direction, tuple(words.split("\n")))
            for revision, language, version, name, direction, words in rows
            if revision <= until
        ]
        if len(rows) < _LISTS_AT_ONCE or rows[-1][0] > until:
            return
        revision, language, version = rows[-1][:3]
        beyond = (
            f"(revision = {revision} AND language = {text(language)} AND version > {version}) OR "
            f"(revision = {revision} AND language > {text(language)}) OR revision > {revision}"
        )


async def test(ask: Ask, test_id: int, version: int | None) -> Test | None:
    """A version of a test, or the latest."""
    which = "" if version is None else f" AND version = {version}"
    rows = await ask(f"SELECT {_TEST} FROM tests WHERE id = {test_id}{which} ORDER BY version DESC LIMIT 1")
    return Test(*rows[0]) if rows else None


async def origins(ask: Ask, wanted: Iterable[str]) -> dict[str, int]:
    """The tests that were imported from these origins before."""
    found: dict[str, int] = {}
    digests_wanted = [blob(_digest(origin)) for origin in wanted]
    for first in range(0, len(digests_wanted), _ORIGINS_AT_ONCE):
        digests = ", ".join(digests_wanted[first : first + _ORIGINS_AT_ONCE])
        found.update(await ask(f"SELECT origin, id FROM test_origins WHERE digest IN ({digests})"))
    return found


def inserts(
    revision: Revision,
    tests: Iterable[Test],
    origins: Iterable[tuple[str, int]],
    word_lists: Iterable[WordList],
    *,
    at_ms: int,
) -> Iterator[str]:
    """The statements that add a change and its rows."""
    number, mark = revision
    values = f"({number}, {blob(mark)}, {instant(at_ms)})"
    yield f"INSERT INTO catalogue_revisions (revision, mark, created_at) VALUES {values}"
    yield from _inserts(
        "tests (id, version, title, text, category, difficulty, language, words, created_at, source, revision)",
        (
            f"({one.id}, {one.version}, {text(one.title)}, {text(one.text)}, {text(one.category)}, "
            f"{text(one.difficulty)}, {text(one.language)}, {one.words}, {instant(one.created_at_ms)}, "
            f"{text(one.source)}, {number})"
            for one in tests
        ),
    )
    yield from _inserts(
        "test_origins (digest, origin, id)",
        (f"({blob(_digest(origin))}, {text(origin)}, {id_})" for origin, id_ in origins),
    )
    yield from _inserts(
        "word_lists (language, version, name, direction, words, created_at, revision)",
        (
            f"({text(one.language)}, {one.version}, {text(one.name)}, {text(one.direction)}, "
            f"{text(chr(10).join(one.words))}, {instant(at_ms)}, {number})"
            for one in word_lists
        ),
    )


def _inserts(into: str, rows: Iterable[str]) -> Iterator[str]:
    """Statements of bounded length."""
    some: list[str] = []
    size = 0
    for row in rows:
        if some and size + len(row) > _STATEMENT_CHARACTERS:
            yield f"INSERT INTO {into} VALUES {', '.join(some)}"
            some, size = [], 0
        some.append(row)
        size += len(row)
    if some:
        yield f"INSERT INTO {into} VALUES {', '.join(some)}"


def _digest(origin: str) -> bytes:
    return blake2b(origin.encode(), digest_size=16).digest()
