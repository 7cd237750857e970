"""The names that files use for our fields."""

from __future__ import annotations

import re
from collections.abc import Mapping

FIELDS = ("id", "title", "text", "category", "difficulty", "language", "source")

# Derived by us from the text, given by the catalogue, or of no use here: no typing error, so no note.
_LEFT_OUT = frozenset(
    {
        "version",
        "words",
        "length",
        "created_at",
        "created_at_ms",
        "approvedby",
        "britishtext",
        "contributor",
        "timestamp",
    }
    | {"min_skill", "max_skill", "origin"}
)

_ALIASES = {
    "quote": "text",
    "passage": "text",
    "content": "text",
    "body": "text",
    "sentence": "text",
    "name": "title",
    "heading": "title",
    "lang": "language",
    "locale": "language",
    "topic": "category",
    "genre": "category",
    "level": "difficulty",
    "attribution": "source",
}

MAX_SITE_ID_CHARACTERS = 40
"""A site's own id of a row; a longer one is no id, and the row goes by its text."""

TITLE_CHARACTERS = 120
"""The longest title."""

CATEGORY_CHARACTERS = 32
"""The longest category."""

WORD_FIELDS = frozenset({"word", "words"})


def known_field(name: str) -> str | None:
    """Our name for a file's field, or None."""
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    return plain if plain in FIELDS else _ALIASES.get(plain)


def known_fields(row: Mapping[str, object], unknown: dict[str, int]) -> dict[str, object]:
    """A row's fields by our names; counts in `unknown` those that nobody knows. Our own name wins over an alias.

    A row with `tid` is one of TypeRacer's: what it calls `type` is our category, its author belongs to the source, and
    its number names it among TypeRacer's texts, not among ours.
    """
    fields: dict[str, object] = {}
    aliased: dict[str, object] = {}
    lowered = {name.strip().lower(): value for name, value in row.items()}
    of_typeracer = "tid" in lowered
    for name, value in lowered.items():
        ours = known_field(name)
        if ours is None:
            if name == "author" or (of_typeracer and name in ("tid", "type")) or name in _LEFT_OUT:
                continue
            unknown[name[:40]] = unknown.get(name[:40], 0) + 1
        elif ours == name:
            fields[ours] = value
        else:
            aliased.setdefault(ours, value)
    fields = {**aliased, **fields}

    author = lowered.get("author")
    if isinstance(author, str) and author.strip() and not fields.get("source"):
        title = fields.get("title")
        fields["source"] = f"{title}, {author}" if isinstance(title, str) and title.strip() else author
    if of_typeracer:
        text_id = lowered["tid"]
        if isinstance(text_id, int | str) and len(str(text_id)) <= MAX_SITE_ID_CHARACTERS:
            fields["origin"] = f"typeracer:{text_id}"
        kind = lowered.get("type")
        if isinstance(kind, str):
            fields.setdefault("category", re.sub(r"[\W_]+", "-", kind).strip("-")[:CATEGORY_CHARACTERS])
    return {name: value for name, value in fields.items() if value is not None and value != ""}
