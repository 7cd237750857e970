"""Texts as the scorer sees them: NFC, single spaces, words of grapheme clusters. (Signatures; the body follows.)"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

__all__ = ["Passage", "TextError", "TextLimits", "Word", "clusters", "is_key", "normalise", "prepare", "preparing"]

Word = str | tuple[str, ...]


class TextError(ValueError):
    """A text that nobody could type, with the reason in words."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long a text may be."""

    graphemes: int = 20_000
    """Grapheme clusters, spaces included."""
    bytes: int = 48 * 1024
    """UTF-8 bytes, as it came."""


class Passage:
    """A prepared text; immutable."""

    __slots__ = ("_breaks", "_lengths", "text", "words")
    text: str
    words: tuple[Word, ...]

    @classmethod
    def of_words(cls, words: Iterable[Word]) -> "Passage":
        """Make a passage of words already prepared (closing spaces and all), sharing their objects."""
        raise NotImplementedError

    @property
    def breaks(self) -> list[int] | None:
        """Code-point length of each cluster over the whole text, in order; None where every one is 1."""
        raise NotImplementedError

    @property
    def word_lengths(self) -> list[int] | None:
        """Clusters of each word, closing space included; None where words are just what spaces separate."""
        raise NotImplementedError


def normalise(text: str) -> str:
    """NFC with each run of white space folded to one U+0020 and none at the ends."""
    raise NotImplementedError


def clusters(text: str) -> list[str]:
    """Extended grapheme clusters (UAX 29)."""
    raise NotImplementedError


def is_key(key: str) -> bool:
    """Whether this is one key: one cluster (or a lone continuing mark) of at most 64 bytes, or a delete key."""
    raise NotImplementedError


def preparing(text: str, *, timed: bool, limits: TextLimits = TextLimits()) -> Generator[None, None, Passage]:
    """Prepare in slices: yields after less than a millisecond of work, returns the passage. Raises TextError."""
    raise NotImplementedError
    yield


def prepare(text: str, *, timed: bool, limits: TextLimits = TextLimits()) -> Passage:
    """Prepare at once; a timed text gets a closing space after its last word, so that it can repeat."""
    raise NotImplementedError
