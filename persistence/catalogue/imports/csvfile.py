"""CSV with a header line: columns by name, between commas, semicolons, tabs or bars, quoted where needed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from persistence.catalogue.imports.fields import FIELDS, WORD_FIELDS, known_field, known_fields
from persistence.catalogue.imports.rows import BadRow, FileRows, ImportRefused, ListRows, PassageRow, WordRow

_SEPARATORS = ",;\t|"
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def looks_like_csv(first_line: str) -> bool:
    """Whether a line of a file with any name is a header of ours: two known columns or more, the text among them."""
    known = _known_columns(first_line, _separator(first_line))
    return "text" in known and len(known) >= 2


def csv_rows(text: str) -> FileRows:
    """The rows of a CSV file. Raises `ImportRefused` where its header names no column for texts or words."""
    text = text.lstrip("\n")
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel's own way to name the separator
        separator, text, skipped = first[4], rest, 1
        first = text.partition("\n")[0]
    else:
        separator = _separator(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = _numbered(reader, skipped)
    try:
        _, header = next(lines, (0, []))
    except csv.Error as error:
        raise ImportRefused(f"the header line cannot be read: {error}") from error
    header = [name.strip() for name in header]
    columns = [known_field(name) for name in header]
    word_column = next((place for place, name in enumerate(header) if name.lower() in WORD_FIELDS), None)
    if "text" not in columns and word_column is None:
        raise ImportRefused(
            f"the header line names no column for the text: {first[:100]!r};"
            f' allowed: "text" with any of {", ".join(FIELDS)}, or "word" for a word list'
        )

    if "text" in columns:
        rows = FileRows(f"CSV separated by {_SEPARATOR_NAMES.get(separator, repr(separator))}")
    else:
        rows = FileRows("a word list in CSV", word_lists=[ListRows([])])
    number = 0
    unknown: dict[str, int] = {}
    while True:
        try:
            line, row = next(lines)
        except StopIteration:
            break
        except csv.Error as error:
            rows.bad.append(
                BadRow(
                    number + 1,
                    skipped + reader.line_num,
                    None,
                    f"and all after it cannot be read: {error}",
                    'fields of at most 131,072 characters, in quotes that close (a quote within them is "")',
                )
            )
            break
        if not any(field.strip() for field in row):
            continue
        number += 1
        if len(row) != len(header):
            rows.bad.append(
                BadRow(number, line, None, f"has {len(row)} fields", f"{len(header)} fields, as the header has")
            )
        elif "text" in columns:
            rows.passages.append(PassageRow(number, line, known_fields(dict(zip(header, row, strict=True)), unknown)))
        else:
            assert word_column is not None
            rows.word_lists[0].words.append(WordRow(number, line, row[word_column]))
    rows.unknown_fields = unknown
    return rows


def _numbered(reader: Iterator[list[str]], skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins (a quoted field may go over several)."""
    begins = skipped + 1
    for row in reader:
        yield begins, row
        begins = skipped + reader.line_num + 1  # type: ignore[attr-defined]  # csv's reader has it, its protocol not


def _separator(first_line: str) -> str:
    """The separator under which a header has the most known columns; a comma where that decides nothing."""
    return max(_SEPARATORS, key=lambda separator: len(_known_columns(first_line, separator)))


def _known_columns(first_line: str, separator: str) -> set[str]:
    names = [name.strip().strip('"') for name in first_line.split(separator)]
    known = {known_field(name) or "" for name in names} | {
        name.lower() for name in names if name.lower() in WORD_FIELDS
    }
    return known - {""}
