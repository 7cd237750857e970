"""What there is to type, generated or chosen by seed: the same for ever for the same (generator, list, seed)."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from scoring.text import Word
from session.options import SessionLimits, TestOptions

Direction = Literal["ltr", "rtl"]

GENERATOR_VERSION: Final = 1
"""Changes with anything that would make another text of the same list and seed; older versions go on working."""


class Vocabulary:
    """A word list made ready for generating: clusters cut, closing spaces added. Make one per list version, keep it.

    `words` are NFC, without white space, each once; `direction` is the language's.
    """

    __slots__ = ("direction", "language", "version")

    def __init__(self, words: Sequence[str], *, language: str, version: int, direction: Direction) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Material:
    """A text ready to be typed, and where it came from. Immutable: a quote's may be shared by all who type it.

    A session keeps only `words` of it.
    """

    words: Sequence[Word]
    text: str
    breaks: list[int] | None
    word_lengths: list[int] | None
    cyclic: bool
    """Whether the text starts again after its last word."""
    language: str
    direction: Direction
    title: str | None = None
    test: int | None = None
    test_version: int = 0
    list_version: int = 0
    generator: int = 0


def generating(
    vocabulary: Vocabulary, options: TestOptions, *, seed: int, generator: int = GENERATOR_VERSION
) -> Generator[None, None, Material]:
    """Generate the text of modes `words` and `time`; yields between slices of work.

    `generator` is the ticket's on a resume. Raises `Stale` for a version that this build does not have.
    """
    raise NotImplementedError
    yield


def quoting(
    text: str, *, test: int, version: int, title: str, language: str, direction: Direction
) -> Generator[None, None, Material]:
    """Prepare a passage of the catalogue. Raises `TextError` where it cannot be typed."""
    raise NotImplementedError
    yield


def practising(
    text: str, *, timed: bool, language: str, direction: Direction, limits: SessionLimits
) -> Generator[None, None, Material]:
    """Prepare an own text. Raises `TextError` with what is wrong with it."""
    raise NotImplementedError
    yield


def free(*, language: str, direction: Direction) -> Material:
    """The material of zen: none."""
    raise NotImplementedError


def choose_quote(ids: Sequence[int], *, seed: int) -> int:
    """Choose one of the catalogue's passages (not empty, in a fixed order) by seed."""
    raise NotImplementedError


class Stale(ValueError):
    """A generator version that this build does not have."""
