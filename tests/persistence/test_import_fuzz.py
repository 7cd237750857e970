"""An import never crashes, whatever the file, and never writes a part of what it said it would."""

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.catalogue import EmbeddedCatalogue, ImportOptions, ImportRefused, Shelf, import_file
from persistence.catalogue.imports.recognising import FORMATS
from scoring.text import prepare

LENIENT = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
FIELD_NAMES = (
    *("text", "title", "id", "tid", "language", "difficulty", "words", "quotes", "tests", "word_lists"),
    *("name", "source", "author", "type", "category", "direction", "rightToLeft", "bcp47", "x"),
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["easy", "en", "Some text.", "the", "rtl", "english_1k"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELD_NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=24,
)
NAMES = st.sampled_from(["a.json", "a.jsonl", "a.csv", "a.txt", "a"])
OPTIONS = st.builds(ImportOptions, format=st.sampled_from(FORMATS), language=st.sampled_from([None, "en", "german"]))


def check_import(name: str, content: bytes, options: ImportOptions, partial: bool) -> None:
    """Import into an empty catalogue and hold the report to what is there afterwards."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            async with EmbeddedCatalogue(Path(folder) / "catalogue") as catalogue:
                before = catalogue.shelf
                try:
                    report = await import_file(path, catalogue, partial=partial, created_at_ms=5, options=options)
                except ImportRefused:
                    assert catalogue.shelf is before
                    return
                shelf = catalogue.shelf
                assert report.rows >= report.good >= 0
                assert all(1 <= bad.row <= report.rows and bad.problem and bad.allowed for bad in report.bad)
                assert all(str(bad) for bad in report.bad)
                if report.bad and not partial:
                    assert not report.written
                if not report.bad:
                    assert report.good == report.rows
                if not report.written:
                    assert shelf is before
                rows = count_versions(shelf) - count_versions(before)
                assert rows == report.added.new + report.added.changed
                for test in shelf.versions():
                    if before.test(test.id, test.version) is None:
                        assert prepare(test.text, timed=False).text == test.text
                for words in shelf.list_versions():
                    assert len(set(words.words)) == len(words.words) > 0
            async with EmbeddedCatalogue(Path(folder) / "catalogue") as again:
                assert again.shelf.etag == shelf.etag

    asyncio.run(run())


def count_versions(shelf: Shelf) -> int:
    return len(list(shelf.versions())) + len(list(shelf.list_versions()))


@LENIENT
@given(name=NAMES, content=st.binary(max_size=300), options=OPTIONS, partial=st.booleans())
def test_bytes_of_any_kind(name: str, content: bytes, options: ImportOptions, partial: bool) -> None:
    check_import(name, content, options, partial)


@LENIENT
@given(name=NAMES, content=st.text(max_size=300), options=OPTIONS, partial=st.booleans())
def test_text_of_any_kind(name: str, content: str, options: ImportOptions, partial: bool) -> None:
    check_import(name, content.encode(), options, partial)


@LENIENT
@given(content=VALUES, options=OPTIONS, partial=st.booleans())
def test_json_of_any_shape(content: object, options: ImportOptions, partial: bool) -> None:
    check_import("a.json", json.dumps(content).encode(), options, partial)


@LENIENT
@given(
    header=st.lists(st.sampled_from(["text", "id", "title", "word", "level", "language", "x", ""]), max_size=4),
    rows=st.lists(st.lists(st.sampled_from(["", "easy", "7", "en", 'a "b"', "x,y", "two\nlines", '"']), max_size=5)),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    options=OPTIONS,
    partial=st.booleans(),
)
def test_tables_of_any_shape(
    header: list[str], rows: list[list[str]], separator: str, options: ImportOptions, partial: bool
) -> None:
    content = "\n".join(separator.join(row) for row in [header, *rows])
    check_import("a.csv", content.encode(), options, partial)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: b"[" * 200_000,
        lambda: b'{"a":' * 200_000,
        lambda: b"{}\n" * 20_000,
        lambda: b"\n" * 100_000 + b"x",
        lambda: b"|" * 100_000 + b"a",
        lambda: b'"' * 100_001,
        lambda: ("e" + "\u0301" * 40_000).encode(),
        lambda: json.dumps(["\ud800"]).encode(),
        lambda: b'text\n"' + b"x" * 1_000_000,
        lambda: b'[{"text":"a","id":' + b"9" * 5_000 + b"}]",
    ],
    ids=["arrays", "objects", "empty rows", "lines", "bars", "quotes", "marks", "surrogate", "open quote", "huge id"],
)
def test_files_made_to_hurt(make: Callable[[], bytes], partial: bool) -> None:
    for name in ("a.json", "a.jsonl", "a.csv", "a.txt"):
        check_import(name, make(), ImportOptions(language="en"), partial)
