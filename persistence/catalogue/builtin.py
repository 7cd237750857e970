"""The content that comes with Typegate, read from the package's own files under `persistence/content/`.

`content/words/<language>.<version>.toml` is one version of a word list, `content/passages/<category>.toml` the passages
of a category with all their versions. A published version is never edited: a correction is a further entry with the
same id and the next version, or a further file (a test holds published versions to their digests).
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, time
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from persistence.catalogue.entries import Test, WordList
from scoring.text import prepare


def _content(folder: str) -> list[Traversable]:
    """The content files in a folder, in the order of their names."""
    entries = (files("persistence") / "content" / folder).iterdir()
    return sorted((entry for entry in entries if entry.name.endswith(".toml")), key=lambda entry: entry.name)


@cache
def built_in_tests() -> tuple[Test, ...]:
    """Every version of every passage that comes with Typegate."""
    tests = []
    for entry in _content("passages"):
        content = tomllib.loads(entry.read_text("utf-8"))
        for passage in content["passages"]:
            prepared = prepare(passage["text"], timed=False)
            published = datetime.combine(passage["published"], time(), UTC)
            tests.append(
                Test(
                    id=passage["id"],
                    version=passage["version"],
                    title=passage["title"],
                    text=prepared.text,
                    category=content["category"],
                    difficulty=passage["difficulty"],
                    language=passage.get("language", "en"),
                    words=len(prepared.words),
                    created_at_ms=int(published.timestamp()) * 1000,
                )
            )
    return tuple(tests)


@cache
def built_in_word_lists() -> tuple[WordList, ...]:
    """Every version of every word list that comes with Typegate."""
    lists = []
    for entry in _content("words"):
        content = tomllib.loads(entry.read_text("utf-8"))
        lists.append(
            WordList(
                language=content["language"],
                version=content["version"],
                name=content["name"],
                direction=content["direction"],
                words=tuple(content["words"].split()),
            )
        )
    return tuple(lists)
