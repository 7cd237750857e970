"""What a server last read of the content database, in a file of its own: with it one can begin while that is away.

The file is written anew whenever the server has read something new, and read when the server begins. It is a copy and
nothing else: one that is no good (`persistence.copyfile`) is as good as none, and the database's own history
(`tables.Revision`) tells whether what it holds is still what is there.

After the head [number, mark] come pieces of some rows: ["t", rows of tests] or ["l", rows of word lists].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from persistence.catalogue.entries import Test, WordList
from persistence.catalogue.tables import Revision
from persistence.copyfile import CopyFile

__all__ = ["CatalogueCopy", "Contents"]

_LAYOUT: Final = 1
_TESTS_AT_ONCE: Final = 64
"""Rows packed in one call, in which nothing else of the process runs: under a millisecond."""
_LISTS_AT_ONCE: Final = 1


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a content database had at one moment."""

    tests: Mapping[tuple[int, int], Test]
    """By id and version."""
    word_lists: Mapping[tuple[str, int], WordList]
    """By language and version."""
    revision: Revision
    """The last change that is in it."""


class CatalogueCopy:
    """The file at `path`, of what the database that is called `database` had. Nothing here raises for a bad disk.

    Both methods take a while (a second for fifty thousand tests): they are for a thread.
    """

    def __init__(self, path: Path, *, database: str) -> None:
        self._file = CopyFile(path, what="tests and word lists", layout=_LAYOUT, database=database)

    def load(self) -> Contents | None:
        """What was saved last; None where there is nothing of use."""
        found = self._file.load()
        if found is None:
            return None
        try:
            return _contents(*found)
        except (ValueError, TypeError) as fault:
            self._file.damaged(fault)
            return None

    def save(self, contents: Contents) -> None:
        """Put this in the file's place, whole or not at all; without its folder, or room, there is no copy."""
        tests = (["t", some] for some in _parts(contents.tests.values(), _TESTS_AT_ONCE))
        word_lists = (["l", some] for some in _parts(contents.word_lists.values(), _LISTS_AT_ONCE))
        self._file.save(contents.revision, chain(tests, word_lists))


def _contents(head: list[Any], pieces: Iterator[Any]) -> Contents:
    tests: dict[tuple[int, int], Test] = {}
    word_lists: dict[tuple[str, int], WordList] = {}
    for kind, rows in pieces:
        if kind == "t":
            tests.update(((test.id, test.version), test) for test in (Test(*row) for row in rows))
        else:
            for language, version, name, direction, words in rows:
                word_lists[language, version] = WordList(language, version, name, direction, tuple(words))
    number, mark = head
    return Contents(tests, word_lists, (number, mark))


def _parts(rows: Iterable[Test | WordList], most: int) -> Iterator[list[tuple[Any, ...]]]:
    left = iter(rows)
    while part := [astuple(row) for row in islice(left, most)]:
        yield part
