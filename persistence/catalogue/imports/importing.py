"""`import_file`: a file into a catalogue, all of it or its good rows, and a report on every row that is bad."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import PurePath

from persistence.catalogue.entries import Added, NewTest, NewWordList
from persistence.catalogue.imports.checking import (
    PassageCheck,
    RowRules,
    check_list_head,
    check_words,
    new_word_list,
)
from persistence.catalogue.imports.reading import read_text
from persistence.catalogue.imports.recognising import FORMATS, rows_of
from persistence.catalogue.imports.rows import BadRow, FileRows, Format, ImportRefused, Progress, Report
from persistence.catalogue.languages import TAG_RULE, language_tag, tag_of_site_name
from persistence.catalogue.port import Catalogue
from persistence.catalogue.shelf import Shelf
from persistence.catalogue.versions import may_be_given
from scoring.text import TextLimits

_ROWS_BETWEEN_PROGRESS = 200
_NOTED_FIELDS = 20
DEFAULT_CATEGORY = "imported"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the person who imports may say, and the limits of a file."""

    format: Format = "auto"
    """What the file is; `auto` looks at its name and content."""
    language: str | None = None
    """For rows that do not say theirs: a BCP 47 tag, or a name like `german` or `english_1k`."""
    category: str | None = None
    """Category for rows that do not say theirs; without it quotes are `quotes` and the others `imported`."""
    max_file_bytes: int = 32 * 1024 * 1024
    """Larger files are refused: all of a file is in memory at once."""
    max_bad_rows: int = 10_000
    """A file with more faults is refused, also where its good rows were wanted: it is not what it was taken for."""
    max_words: int = 100_000
    """Words of one list; a larger one is refused."""
    text: TextLimits = field(default_factory=TextLimits)
    """Limits of one passage."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"the format is {self.format!r}; allowed: {', '.join(FORMATS)}")
        if (
            self.language is not None
            and language_tag(self.language) is None
            and tag_of_site_name(self.language) is None
        ):
            raise ValueError(f"the language is {self.language!r}; allowed: {TAG_RULE}, or a name like 'german'")
        for name in ("max_file_bytes", "max_bad_rows", "max_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is allowed")


async def import_file(
    path: str | PathLike[str],
    catalogue: Catalogue,
    *,
    partial: bool,
    created_at_ms: int,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Import a file into the catalogue: everything in one transaction, and nothing if a row is bad unless `partial`.

    `created_at_ms` is the wall clock (epoch). Reading and checking happen in a thread, from which `progress` is called.
    Raises `ImportRefused` where the file as a whole is no good, `CatalogueError` where the catalogue is not.
    """
    checked = await asyncio.to_thread(
        _check_file, fspath(path), catalogue.shelf, options or ImportOptions(), progress or (lambda done, total: None)
    )
    written = (partial or not checked.bad) and bool(checked.tests or checked.word_lists)
    added = Added()
    if written:
        added = await catalogue.add(checked.tests, checked.word_lists, created_at_ms=created_at_ms)
    return Report(
        format=checked.format,
        rows=checked.rows,
        good=checked.good,
        bad=tuple(sorted(checked.bad, key=lambda row: row.row)),
        notes=tuple(checked.notes),
        written=written,
        added=added,
    )


@dataclass(slots=True)
class _Checked:
    """A file's rows after the check."""

    format: str
    rows: int
    notes: list[str]
    max_bad_rows: int
    good: int = 0
    tests: list[NewTest] = field(default_factory=list)
    word_lists: list[NewWordList] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    def complain(self, *rows: BadRow) -> None:
        """Take down what is wrong; give up where it is too much."""
        self.bad.extend(rows)
        if len(self.bad) > self.max_bad_rows:
            raise ImportRefused(
                f"the file was taken for {self.format}, and then more than {self.max_bad_rows:,} rows were bad,"
                f" the first of them: {self.bad[0]}; allowed formats: {', '.join(FORMATS)}"
            )


def _check_file(path: str, shelf: Shelf, options: ImportOptions, progress: Progress) -> _Checked:
    rows = rows_of(read_text(path, max_bytes=options.max_file_bytes), path, form=options.format)
    if not len(rows):
        raise ImportRefused(f"{path} was taken for {rows.format}, but has no rows")
    _require_language(path, rows, options)

    checked = _Checked(rows.format, len(rows), _notes(rows), options.max_bad_rows)
    checked.complain(*rows.bad)
    done = len(rows.bad)
    progress(done, checked.rows)

    defaults: dict[str, object] = {"category": DEFAULT_CATEGORY, **rows.defaults}
    if options.language is not None:
        defaults["language"] = options.language
    if options.category is not None:
        defaults["category"] = options.category
    check = PassageCheck(
        RowRules(defaults, options.text, PurePath(path).stem, lambda test_id: may_be_given(test_id, shelf))
    )
    for passage in rows.passages:
        match check.check(passage):
            case NewTest() as test:
                checked.tests.append(test)
                checked.good += 1
            case faults:
                checked.complain(*faults)
        done += 1
        if done % _ROWS_BETWEEN_PROGRESS == 0:
            progress(done, checked.rows)

    for words in rows.word_lists:
        if len(words.words) > options.max_words:
            raise ImportRefused(
                f"a word list has {len(words.words):,} words; at most {options.max_words:,} are allowed"
            )
        head = check_list_head(words, options.language)
        good: list[str] = []
        for word in check_words(words.words):
            if isinstance(word, str):
                good.append(word)
            else:
                checked.complain(word)
            done += 1
            if done % _ROWS_BETWEEN_PROGRESS == 0:
                progress(done, checked.rows)
        if isinstance(head, BadRow):
            checked.complain(head)
        elif good:
            checked.word_lists.append(new_word_list(head, good))
            checked.good += len(good)
    progress(checked.rows, checked.rows)
    return checked


def _require_language(path: str, rows: FileRows, options: ImportOptions) -> None:
    """Say once what would else be wrong with every row."""
    if options.language is not None or "language" in rows.defaults:
        return
    if rows.passages and not any("language" in row.fields for row in rows.passages):
        missing = True
    else:
        missing = any(words.language is None and words.site_name is None for words in rows.word_lists)
    if missing:
        raise ImportRefused(f"{path} does not say which language it is in; say it by option; allowed: {TAG_RULE}")


def _notes(rows: FileRows) -> list[str]:
    notes = list(rows.notes)
    often = sorted(rows.unknown_fields.items(), key=lambda item: (-item[1], item[0]))
    notes.extend(
        f"the field {name!r} is unknown and was left out ({count:,} row{'s' * (count > 1)})"
        for name, count in often[:_NOTED_FIELDS]
    )
    if len(often) > _NOTED_FIELDS:
        notes.append(f"{len(often) - _NOTED_FIELDS:,} further unknown fields were left out")
    return notes
