"""The few texts that a world types: short words, short quotes, the same on every node."""

from __future__ import annotations

from functools import cache
from typing import Any

from persistence.catalogue import Catalogue, Shelf, WordList
from persistence.catalogue.entries import Test

_WORDS = (
    *("a", "an", "as", "at", "be", "by", "do", "go", "he", "if", "in", "is", "it", "me", "my", "no", "of", "on", "or"),
    *("so", "to", "up", "us", "we", "and", "are", "but", "can", "for", "had", "has", "her", "him", "his", "how", "its"),
    *("may", "new", "not", "now", "old", "one", "our", "out", "see", "she", "the", "two", "was", "way", "who", "you"),
)
_QUOTES = ("To be, or not.", "I am so. We go on.", "It is I.")


class Library:
    """A `Catalogue` in memory that nobody adds to."""

    def __init__(self) -> None:
        tests = [
            Test(number, 1, f"Quote {number}", text, "quotes", "easy", "en", text.count(" ") + 1, 0)
            for number, text in enumerate(_QUOTES, 1)
        ]
        self.shelf = Shelf(tests, [WordList("en", 1, "English", "ltr", _WORDS)])
        self.readings = 1


@cache
def library() -> Catalogue:
    """The one for all worlds: it never changes."""
    catalogue: Any = Library()
    return catalogue  # type: ignore[no-any-return]  # as much of one as `Texts` reads
