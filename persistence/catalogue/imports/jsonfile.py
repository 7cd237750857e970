"""JSON and JSON lines: our own form, and the word and quote lists of typing sites.

[{"text": ...}, ...]                                   passages
{"tests": [{...}], "word_lists": [{...}]}              passages and word lists
{"language": "english", "quotes": [{"text": ...}]}     Monkeytype's quotes
{"name": "english_1k", "words": ["the", ...]}          Monkeytype's languages
[{"tid": 1, "title": ..., "text": ...}]                TypeRacer's texts
["the", "of", ...]   [["the", 123], ...]               word lists, as keybr's and frequency lists are
["A whole sentence.", ...]                             passages
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from persistence.catalogue.imports.fields import MAX_SITE_ID_CHARACTERS, TITLE_CHARACTERS, known_fields
from persistence.catalogue.imports.rows import BadRow, FileRows, ImportRefused, ListRows, PassageRow, WordRow

_ROW_RULE = 'an object with at least "text"'
_FORMS = (
    'an array of objects with "text", an array of words or of passages, one object with "text" a line,'
    ' or an object with "tests", "word_lists", "words" or "quotes"'
)


def json_rows(text: str) -> FileRows:
    """The rows of a JSON file. Raises `ImportRefused` where it is malformed or of no known form."""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _first_line_is_an_object(text):
            return json_lines_rows(text)
        raise ImportRefused(f"this is no JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    if isinstance(content, list):
        return _array(content)
    if isinstance(content, dict):
        return _object(content)
    raise ImportRefused(f"this JSON is {_kind(content)}; allowed: {_FORMS}")


def json_lines_rows(text: str) -> FileRows:
    """The rows of a file with one JSON object a line."""
    rows = FileRows("JSON lines")
    number = 0
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        number += 1
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            rows.bad.append(
                BadRow(number, line_number, None, f"is no JSON: {error.msg} (column {error.colno})", _ROW_RULE)
            )
            continue
        _passage(rows, number, line_number, row)
    return rows


def _first_line_is_an_object(text: str) -> bool:
    first, _, rest = text.strip().partition("\n")
    try:
        return bool(rest) and isinstance(orjson.loads(first), dict)
    except orjson.JSONDecodeError:
        return False


def _array(content: list[object]) -> FileRows:
    if not content:
        raise ImportRefused(f"this JSON is an empty array; allowed: {_FORMS}")
    if all(isinstance(item, str) for item in content):
        if any(len(str(item).split()) > 1 for item in content):
            rows = FileRows("a JSON array of passages")
            for number, item in enumerate(content, 1):
                rows.passages.append(PassageRow(number, None, {"text": item}))
            return rows
        return FileRows("a JSON array of words", word_lists=[ListRows(_words(content))])
    if all(_is_counted_word(item) for item in content):
        words = [item[0] for item in content if isinstance(item, list)]
        return FileRows("a JSON array of words with counts", word_lists=[ListRows(_words(words))])
    rows = FileRows("a JSON array")
    for number, item in enumerate(content, 1):
        _passage(rows, number, None, item)
    return rows


def _object(content: dict[str, object]) -> FileRows:
    if isinstance(content.get("quotes"), list):
        return _quotes(content)
    if isinstance(content.get("words"), list) and "text" not in content:
        return FileRows("a word list in JSON", word_lists=[_word_list(content, 0)])
    tests, word_lists = content.get("tests"), content.get("word_lists")
    if isinstance(tests, list) or isinstance(word_lists, list):
        rows = FileRows("JSON with tests and word lists")
        rows.defaults = {
            name: content[name] for name in ("language", "category", "difficulty", "source") if content.get(name)
        }
        for number, item in enumerate(tests if isinstance(tests, list) else [], 1):
            _passage(rows, number, None, item)
        for item in word_lists if isinstance(word_lists, list) else []:
            number = len(rows)
            if isinstance(item, dict) and isinstance(item.get("words"), list):
                rows.word_lists.append(_word_list(item, number))
            else:
                rows.bad.append(BadRow(number + 1, None, "word_lists", f"has {_kind(item)}", 'an object with "words"'))
        return rows
    if "text" in content:
        rows = FileRows("one passage in JSON")
        _passage(rows, 1, None, content)
        return rows
    raise ImportRefused(f"this JSON is an object with none of the names that we know; allowed: {_FORMS}")


def _quotes(content: dict[str, object]) -> FileRows:
    """Monkeytype's quotes: an id is theirs and counts within a language, so it becomes the quote's origin."""
    rows = FileRows("quotes in Monkeytype's form", defaults={"category": "quotes"})
    language = content.get("language")
    if language:
        rows.defaults["language"] = language
    quotes = content["quotes"]
    assert isinstance(quotes, list)
    for number, item in enumerate(quotes, 1):
        if not isinstance(item, dict):
            rows.bad.append(BadRow(number, None, None, f"is {_kind(item)}", _ROW_RULE))
            continue
        fields = known_fields(item, rows.unknown_fields)
        quote_id = fields.pop("id", None)
        if (
            isinstance(language, str)
            and isinstance(quote_id, int | str)
            and len(f"{language}{quote_id}") <= MAX_SITE_ID_CHARACTERS
        ):
            fields["origin"] = f"monkeytype:{language}:{quote_id}"
        source = fields.get("source")
        if isinstance(source, str):
            title = " ".join(source.split())
            fields.setdefault("title", title if len(title) <= TITLE_CHARACTERS else f"{title[: TITLE_CHARACTERS - 1]}…")
        rows.passages.append(PassageRow(number, None, fields))
    return rows


def _word_list(content: dict[str, object], before: int) -> ListRows:
    words = content["words"]
    assert isinstance(words, list)
    language = content.get("language")
    right_to_left = content.get("rightToLeft")
    return ListRows(
        _words(words, before),
        language=language,
        site_name=content.get("name") if language is None else None,
        bcp47=content.get("bcp47"),
        name=content.get("name") if language is not None else None,
        direction="rtl" if right_to_left is True else content.get("direction"),
    )


def _words(words: Sequence[object], before: int = 0) -> list[WordRow]:
    return [WordRow(number, None, word) for number, word in enumerate(words, before + 1)]


def _passage(rows: FileRows, number: int, line: int | None, item: object) -> None:
    if isinstance(item, dict):
        rows.passages.append(PassageRow(number, line, known_fields(item, rows.unknown_fields)))
    else:
        rows.bad.append(BadRow(number, line, None, f"is {_kind(item)}", _ROW_RULE))


def _is_counted_word(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], int | float)
        and not isinstance(item[1], bool)
    )


def _kind(value: object) -> str:
    """What a JSON value is, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
