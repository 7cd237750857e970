"""What the steps of an import hand to one another: rows as they stand in a file, bad rows, and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from persistence.catalogue.entries import Added

Form = Literal["json", "jsonl", "csv", "paragraphs", "lines", "words"]
"""What a file is. `paragraphs`: passages between blank lines; `lines`: one a line; `words`: one word list."""

Format = Literal["auto", "json", "jsonl", "csv", "paragraphs", "lines", "words"]
"""A form, or `auto`: look at the file's name and text."""

Progress = Callable[[int, int], None]
"""Called now and then, from the import's thread, with the rows checked and the rows in all."""


class ImportRefused(Exception):
    """The file as a whole cannot be imported: unreadable, too large, no text, of no known form.

    The message says where, what was wrong, and what is allowed.
    """


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be imported.

    `row` counts the rows from 1 (in a word list, the words); `line` is the file's line where the format has lines;
    `field` is None where the fault is the row's as a whole.
    """

    row: int
    line: int | None
    field: str | None
    problem: str
    allowed: str

    def __str__(self) -> str:
        where = f"row {self.row}" if self.line is None else f"row {self.row}, line {self.line}"
        what = self.problem if self.field is None else f"{self.field} {self.problem}"
        return f"{where}: {what}; allowed: {self.allowed}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an import found and did.

    `format` says in words what the file was taken for; `rows` = `good` + the number of `bad` rows (one row may have
    several faults, and `bad` has an entry for each); `notes` are remarks that stopped nothing; `written` is False where
    bad rows kept everything out; `added` counts tests and word lists, not words.
    """

    format: str
    rows: int
    good: int
    bad: tuple[BadRow, ...]
    notes: tuple[str, ...]
    written: bool
    added: Added

    @property
    def left_out(self) -> int:
        """Rows that are not good."""
        return self.rows - self.good


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage as it stands in the file: known fields by our names, their values unchecked."""

    row: int
    line: int | None
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class WordRow:
    """A word as it stands in the file, unchecked."""

    row: int
    line: int | None
    word: object


@dataclass(frozen=True, slots=True)
class ListRows:
    """A word list as it stands in the file: what it says of itself, and its words.

    `site_name` is what typing sites call a language (`german_1k`), `language` a tag.
    """

    words: list[WordRow]
    language: object = None
    site_name: object = None
    bcp47: object = None
    name: object = None
    direction: object = None


@dataclass(slots=True)
class FileRows:
    """All that a file holds. `defaults` are for rows that do not say it themselves."""

    format: str
    passages: list[PassageRow] = field(default_factory=list)
    word_lists: list[ListRows] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    defaults: dict[str, object] = field(default_factory=dict)
    unknown_fields: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Rows in all, the unreadable ones too."""
        return len(self.passages) + sum(len(words.words) for words in self.word_lists) + len(self.bad)
