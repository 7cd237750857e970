"""What a catalogue holds: tests and word lists, each version of them for ever, and what one adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Difficulty = Literal["easy", "medium", "hard"]
Direction = Literal["ltr", "rtl"]

DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")

# Three ranges of test ids that never meet. An old installation counted its tests from 1, and its results name them.
GIVEN_IDS = range(1, 1_000_000_000)
"""Ids that an imported row may give itself."""
BUILT_IN_IDS = range(1_000_000_000, 2_000_000_000)
"""Ids of the tests that come with Typegate."""
ASSIGNED_IDS = range(2_000_000_000, 3_000_000_000)
"""Ids that the catalogue gives to imported rows without one."""

FIRST_IMPORTED_VERSION = 1001
"""Where an import changes something built in, its versions start here, so that Typegate's own never meet them."""


@dataclass(frozen=True, slots=True)
class Test:
    """One version of a passage to type.

    `text` is prepared (NFC, single spaces); `words` counts its words; `language` is a BCP 47 tag; `category` a
    lower-case word; `source` says where an imported text came from, None for our own.
    """

    __test__ = False  # not a class of tests, whatever pytest thinks of its name

    id: int
    version: int
    title: str
    text: str
    category: str
    difficulty: Difficulty
    language: str
    words: int
    created_at_ms: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class WordList:
    """One version of a language's common words, the commonest first.

    `language` is a BCP 47 tag, `name` what its speakers call it; words are NFC, without white space, each once.
    """

    language: str
    version: int
    name: str
    direction: Direction
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a listing, in the order of ids; `next` is the cursor of the following one, None at the end."""

    tests: tuple[Test, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class NewTest:
    """A test to add; the catalogue gives it its id and version.

    `id`: the id the row gave itself (in `GIVEN_IDS`, or that of an existing test), or None. `origin`: without an id,
    what makes two imports of a row the same row (`"quotes/monkeytype:english:17"`); None takes the language and the
    text for that.
    """

    title: str
    text: str
    category: str
    difficulty: Difficulty
    language: str
    words: int
    source: str | None = None
    id: int | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class NewWordList:
    """A word list to add; the catalogue gives it its version."""

    language: str
    name: str
    direction: Direction
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """What an addition did: tests and lists that are new, that are new versions, and that were there already."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
