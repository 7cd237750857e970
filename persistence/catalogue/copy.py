"""What a server last read of the content database, in a file of its own: with it one can begin while that is away.

The file is written anew whenever the server has read something new, and read when the server begins. It is a copy and
nothing else: one that is missing, damaged, of another layout or of another database is as good as none, and the
database's own history (`tables.Revision`) tells whether what it holds is still what is there.

Layout, msgpack values one after the other:   [layout, database, number, mark], then pieces of some hundred rows
    ["t", rows of tests] or ["l", rows of word lists]; then BLAKE2b-128 of all bytes before
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from hashlib import blake2b
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgpack
import structlog

from persistence.catalogue.entries import Test, WordList
from persistence.catalogue.tables import Revision

__all__ = ["CatalogueCopy", "Contents"]

log = structlog.get_logger(__name__)

_LAYOUT: Final = 1
_TESTS_AT_ONCE: Final = 64
"""Rows packed in one call, in which nothing else of the process runs: under a millisecond."""
_LISTS_AT_ONCE: Final = 1
_DIGEST_BYTES: Final = 16


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
        self._path = path
        self._database = database

    def load(self) -> Contents | None:
        """What was saved last; None where there is nothing of use."""
        try:
            return self._read(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except _Foreign:
            log.warning("the copy of tests and word lists is of another database or version; it is not used")
        except (OSError, ValueError, TypeError) as fault:
            log.warning("the copy of tests and word lists is damaged; it is not used", why=str(fault))
        return None

    def save(self, contents: Contents) -> None:
        """Put this in the file's place, whole or not at all; without its folder, or room, there is no copy."""
        if not self._path.parent.is_dir():
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")  # other processes have the same folder
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                digest = blake2b(digest_size=_DIGEST_BYTES)
                for piece in self._pieces(contents):
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as fault:
            log.warning("tests and word lists could not be copied for the next start", why=fault.strerror)
            with suppress(OSError):
                fresh.unlink()

    def _pieces(self, contents: Contents) -> Iterator[bytes]:
        number, mark = contents.revision
        yield msgpack.packb([_LAYOUT, self._database, number, mark])
        yield from (msgpack.packb(["t", some]) for some in _parts(contents.tests.values(), _TESTS_AT_ONCE))
        yield from (msgpack.packb(["l", some]) for some in _parts(contents.word_lists.values(), _LISTS_AT_ONCE))

    def _read(self, data: bytes) -> Contents:
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
            raise ValueError("its digest is another one")
        pieces = msgpack.Unpacker(BytesIO(body))
        layout, database, *revision = next(pieces)
        if (layout, database) != (_LAYOUT, self._database):
            raise _Foreign
        tests: dict[tuple[int, int], Test] = {}
        word_lists: dict[tuple[str, int], WordList] = {}
        for kind, rows in pieces:
            if kind == "t":
                tests.update(((test.id, test.version), test) for test in (Test(*row) for row in rows))
            else:
                for language, version, name, direction, words in rows:
                    word_lists[language, version] = WordList(language, version, name, direction, tuple(words))
        number, mark = revision
        return Contents(tests, word_lists, (number, mark))


class _Foreign(Exception):
    """A copy that says nothing about this database."""


def _parts(rows: Iterable[Test | WordList], most: int) -> Iterator[list[tuple[Any, ...]]]:
    left = iter(rows)
    while part := [astuple(row) for row in islice(left, most)]:
        yield part
