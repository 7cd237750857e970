"""An old row as fields with our names, wherever it keeps them: in columns, in JSON, in JSON within JSON. Pure.

Of two values for one field the plain column's counts, then the one that lies less deep. What has no field of ours is
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from re import compile as pattern
from typing import Final, Literal, NamedTuple

import orjson

from persistence.importing.values import Bad, shown

__all__ = ["ALIASES", "MOST_BYTES", "Column", "Kind", "fields_of"]

Kind = Literal["number", "date", "utc", "line", "document"]
"""`date`: without a zone; `utc`: TIMESTAMP; `line`: a short text; `document`: JSON, or a long text."""

MOST_BYTES: Final = 256 * 1024
"""A longer text or document is not read: it is no result."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("user_id", "user", "uid", "userid", "account_id", "player_id", "owner_id"),
    "test": ("test_id", "test", "testid", "quote_id", "passage_id", "text_id"),
    "mode": ("mode", "type", "test_type", "kind", "test_mode"),
    "extent": ("mode2", "extent"),
    "seconds": ("seconds", "time_limit", "limit"),
    "count": ("count", "words", "word_count"),
    "wpm": ("wpm", "net_wpm", "speed"),
    "raw": ("raw_wpm", "raw", "gross_wpm"),
    "acc": ("accuracy", "acc"),
    "errors": ("errors", "error_count", "mistakes", "wrong"),
    "duration_ms": ("duration_ms", "time_ms", "elapsed_ms", "ms"),
    "duration": ("duration", "test_duration", "elapsed", "time_taken", "time"),
    "created": (
        *("created_at", "started_at", "finished_at", "completed_at", "timestamp", "created", "date", "datetime", "ts"),
    ),
    "language": ("language", "lang", "locale"),
    "consistency": ("consistency",),
    "key_consistency": ("key_consistency",),
    "chars": ("char_stats", "chars"),
    "afk": ("afk_duration",),
    "punctuation": ("punctuation",),
    "numbers": ("numbers",),
    "verdict": ("verdict", "status", "state"),
    "valid": ("valid", "is_valid"),
    "invalid": ("invalid", "flagged", "cheated", "suspicious", "banned", "bot", "is_bot"),
    "deleted": ("deleted_at", "deleted", "is_deleted"),
    "title": ("title", "name", "heading"),
    "text": ("text", "content", "body", "quote", "passage"),
    "category": ("category", "topic", "genre"),
    "difficulty": ("difficulty", "level"),
    "source": ("source", "attribution", "author"),
}
"""Our fields, and the names that rows have for them."""

_FIELD_OF: Final = {alias: field for field, aliases in ALIASES.items() for alias in aliases}
_INSIDE: Final = frozenset(
    {"data", "result", "results", "stats", "metrics", "score", "scores", "payload", "details", "detail", "meta"}
    | {"info", "config", "settings", "options", "attributes", "json", "test", "user"}
)
"""Names of maps that are looked into."""
_DEEPEST: Final = 3
_LONGEST_NAME: Final = 60
_CAMEL: Final = pattern(r"(?<=[a-z0-9])(?=[A-Z])")


class Column(NamedTuple):
    """A column of an old table."""

    name: str
    kind: Kind
    recode: bool = False
    """Whether it is text in another character set than UTF-8."""


def fields_of(columns: Iterable[Column], values: Iterable[object]) -> dict[str, object]:
    """The fields of a row. Text comes as bytes. Raises `Bad` where a document cannot be read."""
    found: dict[str, object] = {}
    documents: list[dict[str, object]] = []
    for (name, kind, _), value in zip(columns, values, strict=True):
        if value is None:
            continue
        _, field, _ = _known(name)
        if not isinstance(value, bytes):
            if field is not None:
                found.setdefault(field, f"{value}Z" if kind == "utc" else value)
        elif kind == "line":
            if field is not None and value.strip():
                found.setdefault(field, _text(name, value))
        elif field is not None:
            told = _told(name, value)
            if isinstance(told, dict):
                documents.append(told)
            elif told != "":
                found.setdefault(field, told)
        elif value.strip():
            document = _document(name, value)
            if not isinstance(document, dict):
                raise Bad(name, f"is {shown(document)}", "a JSON map")
            documents.append(document)
    for document in documents:
        _take(document, found)
    return found


def _take(document: Mapping[str, object], found: dict[str, object]) -> None:
    """Take the fields of a map, and after them those of the maps in it."""
    level: list[tuple[str, Mapping[str, object]]] = [("", document)]
    for _ in range(_DEEPEST):
        deeper: list[tuple[str, Mapping[str, object]]] = []
        for of, values in level:
            apart = of in _APART
            for name, value in values.items():
                if value is None or value == "" or len(name) > _LONGEST_NAME:
                    continue
                plain, field, inside = _known(name)
                if inside and isinstance(value, dict):
                    deeper.append((plain, value))
                elif apart and plain == "id":
                    found.setdefault(of, value)
                # a test's or a user's own creation, name or type is not the result's
                elif field is not None and field not in found and (not apart or field in _OF_THE_TEST):
                    found[field] = value
        if not deeper:
            return
        level = deeper


_APART: Final = ("test", "user")
_OF_THE_TEST: Final = frozenset({"mode", "extent", "seconds", "count", "language", "user", "test"})


def _told(name: str, data: bytes) -> object:
    """What a long column with the name of a field holds: a map, a JSON text, or just text."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _text(name, data).strip()
    return found if isinstance(found, dict | str) else _text(name, data).strip()


def _document(name: str, data: bytes) -> object:
    found = _parsed(name, data)
    if isinstance(found, str) and found.lstrip()[:1] == "{":  # JSON that was put into JSON as text
        found = _parsed(name, found.encode("utf-8", "surrogatepass"))
    return found


def _parsed(name: str, data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    # slower, and more patient: NaN, Infinity, numbers of any length, halves of surrogate pairs
    try:
        return json.loads(_text(name, data))
    except RecursionError:
        raise Bad(name, "is nested too deeply") from None
    except ValueError as fault:
        if isinstance(fault, Bad):
            raise
        raise Bad(name, f"is not JSON ({str(fault)[:120]})") from None


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as fault:
        raise Bad(name, f"is not UTF-8 (byte 0x{data[fault.start]:02x} at {fault.start})") from None


@lru_cache(maxsize=4096)
def _known(name: str) -> tuple[str, str | None, bool]:
    """A name in the usual spelling, its field, and whether a map of that name is looked into."""
    plain = _CAMEL.sub("_", name.strip()).lower().replace("-", "_").replace(" ", "_")
    return plain, _FIELD_OF.get(plain), plain in _INSIDE
