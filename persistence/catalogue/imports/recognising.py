"""Which form a text has, and its rows: JSON, JSON lines, CSV, paragraphs, lines, or a bare list of words."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import assert_never

from persistence.catalogue.imports.csvfile import csv_rows, looks_like_csv
from persistence.catalogue.imports.jsonfile import json_lines_rows, json_rows
from persistence.catalogue.imports.rows import FileRows, Form, Format, ListRows, PassageRow, WordRow

FORMATS: tuple[Format, ...] = ("auto", "json", "jsonl", "csv", "paragraphs", "lines", "words")

# A word to a line, as frequency lists have it also with its count behind.
_WORD_LINE = re.compile(r"(\S+)(?:[ \t]+\d+)?")
_BETWEEN_WORDS = re.compile(r"[\s|,;]+")
_ENDS_OF_SENTENCES = tuple(".!?…。！？।؟\"'”’»)")
# Lines that a program wrapped are all nearly as long as the longest; nobody wraps wider than this.
_WIDEST_WRAP = 120
_SHORTEST_OF_WRAPPED = 0.6


def rows_of(text: str, file_name: str, *, form: Format) -> FileRows:
    """Find the rows. `form` `auto` decides by the file's name and its text. Raises `ImportRefused` for broken ones."""
    found: Form = _form_of(text, file_name) if form == "auto" else form
    match found:
        case "json":
            return json_rows(text)
        case "jsonl":
            return json_lines_rows(text)
        case "csv":
            return csv_rows(text)
        case "words":
            return _words(text)
        case "lines":
            return _lines(text)
        case "paragraphs":
            return _paragraphs(text)
        case _:
            assert_never(found)


def _form_of(text: str, file_name: str) -> Form:
    suffix = PurePath(file_name).suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix == ".json":
        return "json"
    if suffix in (".csv", ".tsv"):
        return "csv"

    start = text.lstrip()
    lines = [line.strip() for line in text.split("\n")]
    full = [line for line in lines if line]
    if start[0] == "{" and len(full) > 1 and all(line[0] == "{" and line[-1] == "}" for line in full):
        return "jsonl"
    if start[0] in "[{" and start.rstrip()[-1] in "]}":
        return "json"
    if looks_like_csv(full[0]):
        return "csv"

    if "|" in text and all(len(piece.split()) <= 1 for line in full for piece in line.split("|")):
        return "words"
    sentences = all(line.endswith(_ENDS_OF_SENTENCES) for line in full)
    # A line without a space is a word, but for the sentences of scripts that write none.
    if len(full) > 1 and not sentences and all(_WORD_LINE.fullmatch(line) for line in full):
        return "words"
    if "" in "\n".join(lines).strip().split("\n"):
        return "paragraphs"
    if len(full) > 1 and (sentences or not _wrapped(full)):
        return "lines"
    return "paragraphs"


def _wrapped(lines: list[str]) -> bool:
    """Whether these look like one text that a program broke into lines."""
    longest = max(map(len, lines))
    return longest <= _WIDEST_WRAP and min(map(len, lines[:-1])) >= _SHORTEST_OF_WRAPPED * longest


def _words(text: str) -> FileRows:
    words: list[WordRow] = []
    counted = 0
    for number, line in enumerate(text.split("\n"), 1):
        pieces = [piece for piece in _BETWEEN_WORDS.split(line) if piece]
        if len(pieces) == 2 and pieces[1].isdecimal() and not pieces[0].isdecimal():
            counted += 1
            del pieces[1]
        words += [WordRow(row, number, piece) for row, piece in enumerate(pieces, len(words) + 1)]
    rows = FileRows("a list of words", word_lists=[ListRows(words)])
    if counted:
        rows.notes.append(f"{counted:,} numbers behind words were taken for counts and left out")
    return rows


def _lines(text: str) -> FileRows:
    rows = FileRows("plain text, one passage a line")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.passages.append(PassageRow(len(rows.passages) + 1, number, {"text": line}))
    return rows


def _paragraphs(text: str) -> FileRows:
    rows = FileRows("plain text, passages between blank lines")
    paragraph: list[str] = []
    begins = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            if not paragraph:
                begins = number
            paragraph.append(line)
        elif paragraph:
            rows.passages.append(PassageRow(len(rows.passages) + 1, begins, {"text": "\n".join(paragraph)}))
            paragraph = []
    return rows
