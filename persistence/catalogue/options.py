"""The limits of a catalogue, and a shelf within them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from persistence.catalogue.entries import Test, WordList
from persistence.catalogue.port import CatalogueError
from persistence.catalogue.shelf import Shelf

__all__ = ["CatalogueOptions", "shelf_within"]


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """Limits of the catalogue: each process has all of it in memory."""

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


def shelf_within(options: CatalogueOptions, tests: Collection[Test], word_lists: Collection[WordList]) -> Shelf:
    """A shelf with these. Raises `CatalogueError` where it would be over a limit."""
    size_bytes = sum(len(test.text.encode()) for test in tests)
    size_bytes += sum(len(" ".join(words.words).encode()) for words in word_lists)
    for what, found, name in (
        ("versions of tests", len(tests), "max_tests"),
        ("versions of word lists", len(word_lists), "max_word_lists"),
        ("bytes of text", size_bytes, "max_bytes"),
    ):
        allowed: int = getattr(options, name)
        if found > allowed:
            raise CatalogueError(
                f"the catalogue would hold {found:,} {what}; at most {allowed:,} are allowed (catalogue.{name})"
            )
    return Shelf(tests, word_lists)
