"""Rows as they stand in a file to tests and word lists, or to what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from persistence.catalogue.difficulty import difficulty_of
from persistence.catalogue.entries import DIFFICULTIES, Difficulty, Direction, NewTest, NewWordList
from persistence.catalogue.imports.fields import CATEGORY_CHARACTERS, TITLE_CHARACTERS
from persistence.catalogue.imports.rows import BadRow, ListRows, PassageRow, WordRow
from persistence.catalogue.languages import TAG_RULE, direction_of, language_tag, name_of, tag_of_site_name
from persistence.catalogue.versions import GIVEN_ID_RULE
from scoring.text import Passage, TextError, TextLimits, prepare

MAX_SOURCE_CHARACTERS = 300
MAX_NAME_CHARACTERS = 60
MAX_WORD_CLUSTERS = 100
"""As scoring's `RUN_CLUSTERS`: a longer word would be cut when it is typed."""

_TITLE_OF_TEXT_CHARACTERS = 40
_CATEGORY = re.compile(rf"[^\W_][\w-]{{0,{CATEGORY_CHARACTERS - 1}}}")
_CATEGORY_RULE = f"a word of 1 to {CATEGORY_CHARACTERS} letters, digits and hyphens"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WORD_LIMITS = TextLimits(graphemes=MAX_WORD_CLUSTERS, bytes=MAX_WORD_CLUSTERS * 64)


@dataclass(frozen=True, slots=True)
class RowRules:
    """What rows fall back on where they do not say it, and what bounds them."""

    defaults: dict[str, object]
    """By field: `language`, `category`, `difficulty`, `source`."""
    limits: TextLimits
    collection: str
    """Tells rows of other files with the same site's ids apart: the file's name without its ending."""
    may_be_given: Callable[[int], bool]
    """Whether a row may have this id of its own."""


class _Bad(Exception):
    """One field is not as it must be."""

    def __init__(self, field: str, problem: str, allowed: str) -> None:
        super().__init__(problem)
        self.field, self.problem, self.allowed = field, problem, allowed


class PassageCheck:
    """Checks passages one after the other; knows those before, since no two may be the same."""

    def __init__(self, rules: RowRules) -> None:
        self._rules = rules
        self._rows: dict[object, int] = {}

    def check(self, row: PassageRow) -> NewTest | list[BadRow]:
        """The test that a row says, or all that is wrong with it."""
        bad: list[BadRow] = []
        found: dict[str, object] = {}
        for field, read in (
            ("id", self._id),
            ("text", self._text),
            ("title", self._title),
            ("category", self._category),
            ("difficulty", self._difficulty),
            ("language", self._language),
            ("source", self._source),
        ):
            try:
                found[field] = read(row)
            except _Bad as error:
                bad.append(BadRow(row.row, row.line, error.field, error.problem, error.allowed))
        if bad:
            return bad

        passage, language, title, difficulty = found["text"], found["language"], found["title"], found["difficulty"]
        assert isinstance(passage, Passage)
        assert isinstance(language, str)
        origin = row.fields.get("origin")
        test_id = found["id"]
        for key, field in (
            (("id", test_id), "id"),
            (("origin", origin), "id"),
            ((language, passage.text), "text"),
        ):
            if key[1] is None:
                continue
            first = self._rows.setdefault(key, row.row)
            if first != row.row:
                return [BadRow(row.row, row.line, field, f"is that of row {first}", "each once in a file")]
        return NewTest(
            title=title if isinstance(title, str) else _title_of(passage),
            text=passage.text,
            category=str(found["category"]),
            difficulty=_DIFFICULTY[str(difficulty)] if difficulty is not None else difficulty_of(passage),
            language=language,
            words=len(passage.words),
            source=None if found["source"] is None else str(found["source"]),
            id=test_id if isinstance(test_id, int) else None,
            origin=None if origin is None or test_id is not None else f"{self._rules.collection}/{origin}",
        )

    def _text(self, row: PassageRow) -> Passage:
        text = row.fields.get("text")
        if text is None:
            raise _Bad("text", "is missing", _text_rule(self._rules.limits))
        if not isinstance(text, str):
            raise _Bad("text", f"is {_shown(text)}", _text_rule(self._rules.limits))
        try:
            return prepare(text, timed=False, limits=self._rules.limits)
        except TextError as error:
            raise _Bad("text", f"cannot be typed: {error}", _text_rule(self._rules.limits)) from error

    def _id(self, row: PassageRow) -> int | None:
        value = row.fields.get("id")
        if value is None:
            return None
        if isinstance(value, str) and len(value) <= 20 and value.strip().isascii() and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self._rules.may_be_given(value):
            raise _Bad("id", f"is {_shown(value)}", GIVEN_ID_RULE)
        return value

    def _title(self, row: PassageRow) -> str | None:
        title = row.fields.get("title")
        return None if title is None else _line("title", title, TITLE_CHARACTERS)

    def _source(self, row: PassageRow) -> str | None:
        source = row.fields.get("source", self._rules.defaults.get("source"))
        return None if source is None else _line("source", source, MAX_SOURCE_CHARACTERS)

    def _category(self, row: PassageRow) -> str:
        value = row.fields.get("category", self._rules.defaults.get("category"))
        category = "-".join(value.lower().split()) if isinstance(value, str) else ""
        if not _CATEGORY.fullmatch(category):
            raise _Bad("category", f"is {_shown(value)}", _CATEGORY_RULE)
        return category

    def _difficulty(self, row: PassageRow) -> Difficulty | None:
        value = row.fields.get("difficulty", self._rules.defaults.get("difficulty"))
        if value is None:
            return None
        difficulty = _DIFFICULTY.get(value.strip().lower()) if isinstance(value, str) else None
        if difficulty is None:
            raise _Bad("difficulty", f"is {_shown(value)}", f"{', '.join(DIFFICULTIES)}, or none: then it is measured")
        return difficulty

    def _language(self, row: PassageRow) -> str:
        value = row.fields.get("language", self._rules.defaults.get("language"))
        if value is None:
            raise _Bad("language", "is missing", f"{TAG_RULE}, in the row or by option")
        tag = _tag(value)
        if tag is None:
            raise _Bad("language", f"is {_shown(value)}", TAG_RULE)
        return tag


_DIFFICULTY: dict[str, Difficulty] = {difficulty: difficulty for difficulty in DIFFICULTIES}


def check_list_head(rows: ListRows, default_language: object) -> tuple[str, str, Direction] | BadRow:
    """Language, name and direction of a word list, from what the file says of it.

    `default_language`, what the person who imports said, stands over a typing site's name, under a tag.
    """
    number = rows.words[0].row if rows.words else 1
    if not rows.words:
        return BadRow(number, None, "words", "has no words", "one word or more")
    tag: str | None = None
    if rows.language is not None:
        tag = _tag(rows.language)
        problem = f"is {_shown(rows.language)}"
    elif default_language is not None:
        tag = _tag(default_language)
        problem = f"is {_shown(default_language)}"
    elif isinstance(rows.site_name, str):
        tag = tag_of_site_name(rows.site_name, rows.bcp47 if isinstance(rows.bcp47, str) else None)
        problem = f"named {_shown(rows.site_name)} is unknown"
    else:
        problem = "is missing"
    if tag is None:
        return BadRow(number, None, "language", problem, f"{TAG_RULE}, in the file or by option")

    name: str | None = None
    if rows.name is not None:
        try:
            name = _line("name", rows.name, MAX_NAME_CHARACTERS)
        except _Bad as error:
            return BadRow(number, None, error.field, error.problem, error.allowed)
    direction: Direction
    match rows.direction:
        case None:
            direction = direction_of(tag)
        case "ltr":
            direction = "ltr"
        case "rtl":
            direction = "rtl"
        case other:
            return BadRow(
                number, None, "direction", f"is {_shown(other)}", "ltr, rtl, or none: then the language's own"
            )
    return tag, name if name is not None else name_of(tag), direction


def check_words(words: list[WordRow]) -> Iterator[str | BadRow]:
    """Each word as it is typed, or what is wrong with it."""
    seen: dict[str, int] = {}
    rule = f"one word of 1 to {MAX_WORD_CLUSTERS} characters, without white space"
    for row in words:
        if not isinstance(row.word, str):
            yield BadRow(row.row, row.line, "word", f"is {_shown(row.word)}", rule)
            continue
        try:
            word = prepare(row.word, timed=False, limits=_WORD_LIMITS).text
        except TextError as error:
            yield BadRow(row.row, row.line, "word", f"{_shown(row.word)} cannot be typed: {error}", rule)
            continue
        if " " in word:
            yield BadRow(row.row, row.line, "word", f"is {_shown(word)}", rule)
            continue
        first = seen.setdefault(word, row.row)
        if first != row.row:
            yield BadRow(row.row, row.line, "word", f"{_shown(word)} is that of row {first}", "each once in a list")
            continue
        yield word


def new_word_list(head: tuple[str, str, Direction], words: list[str]) -> NewWordList:
    """The list of a checked head and its good words."""
    language, name, direction = head
    return NewWordList(language=language, name=name, direction=direction, words=tuple(words))


def _tag(value: object) -> str | None:
    """A language's tag, given as one or by the name that typing sites use."""
    if not isinstance(value, str):
        return None
    return language_tag(value.strip()) or tag_of_site_name(value)


def _line(field: str, value: object, limit: int) -> str:
    """A short text on one line: white space folded, nothing invisible."""
    rule = f"text on one line, of 1 to {limit} characters"
    if not isinstance(value, str):
        raise _Bad(field, f"is {_shown(value)}", rule)
    line = " ".join(value.split())
    if not line:
        raise _Bad(field, "is empty", rule)
    if len(line) > limit:
        raise _Bad(field, f"has {len(line):,} characters", rule)
    if _CONTROL.search(line):
        raise _Bad(field, f"has a control character: {_shown(line)}", rule)
    return line


def _title_of(passage: Passage) -> str:
    """A text's first words, as its title."""
    if len(passage.text) <= _TITLE_OF_TEXT_CHARACTERS:
        return passage.text
    start = ""
    for word in passage.words:
        joined = "".join(word)
        if len(start) + len(joined) > _TITLE_OF_TEXT_CHARACTERS:
            break
        start += joined
    return (start.rstrip(" ,;:.-") or passage.text[:_TITLE_OF_TEXT_CHARACTERS]) + "…"


def _text_rule(limits: TextLimits) -> str:
    return f"1 to {limits.graphemes:,} characters, at most {limits.bytes:,} bytes of UTF-8, without control characters"


def _shown(value: object) -> str:
    """A value for an error message: as it stands, but short."""
    if value is None:
        return "missing"
    shown = repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
