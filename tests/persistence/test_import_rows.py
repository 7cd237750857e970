"""Bad rows: each kind is reported with its place, its field and what is allowed, and nothing bad ever gets in."""

import json
from pathlib import Path

import pytest

from persistence.catalogue import Added, BadRow, EmbeddedCatalogue, ImportOptions, Report, import_file
from persistence.catalogue.entries import BUILT_IN_IDS
from scoring.text import TextLimits

ENGLISH = ImportOptions(language="en")


async def reported(path: Path, content: str, options: ImportOptions = ENGLISH, *, partial: bool = False) -> Report:
    _write(path, content)
    async with EmbeddedCatalogue(path.parent / "catalogue") as catalogue:
        before = catalogue.shelf.etag
        report = await import_file(path, catalogue, partial=partial, created_at_ms=5, options=options)
        assert report.written == (report.added != Added())
        assert (catalogue.shelf.etag == before) == (report.added == Added())
        return report


def _write(path: Path, content: str) -> None:
    path.write_text(content, "utf-8")


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ({"text": ""}, "text", "is missing"),
        ({"text": None}, "text", "is missing"),
        ({"text": " \n"}, "text", "cannot be typed: the text is empty"),
        ({"text": 5}, "text", "is 5"),
        ({"text": ["a"]}, "text", "is a list"),
        ({"text": "a\u0007b"}, "text", "cannot be typed: U+0007"),
        ({"text": "a" * 20_001}, "text", "cannot be typed: the text is over 20000 characters"),
        ({"text": "ж" * 30_000}, "text", "cannot be typed: the text is over 49152 bytes"),
        ({"text": "a" + "\u0301" * 40}, "text", "cannot be typed: character 1 has so many marks"),
        ({"title": "x" * 121}, "title", "has 121 characters"),
        ({"title": "  "}, "title", "is empty"),
        ({"title": ["x"]}, "title", "is a list"),
        ({"title": "a\u0001b"}, "title", "has a control character: 'a\\x01b'"),
        ({"source": "x" * 301}, "source", "has 301 characters"),
        ({"source": {}}, "source", "is a dict"),
        ({"category": "a/b"}, "category", "is 'a/b'"),
        ({"category": "_"}, "category", "is '_'"),
        ({"category": "x" * 33}, "category", f"is '{'x' * 33}'"),
        ({"category": 5}, "category", "is 5"),
        ({"difficulty": "brutal"}, "difficulty", "is 'brutal'"),
        ({"difficulty": 2}, "difficulty", "is 2"),
        ({"language": "klingon"}, "language", "is 'klingon'"),
        ({"language": 7}, "language", "is 7"),
        ({"id": 0}, "id", "is 0"),
        ({"id": -3}, "id", "is -3"),
        ({"id": 1.5}, "id", "is 1.5"),
        ({"id": True}, "id", "is True"),
        ({"id": "seven"}, "id", "is 'seven'"),
        ({"id": "٣"}, "id", "is '٣'"),
        ({"id": 10**9 + 10**6}, "id", "is 1001000000"),
        ({"id": 2**64}, "id", "is 1.8446744073709552e+19"),
        ({"id": []}, "id", "is a list"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
async def test_each_kind_of_bad_row(tmp_path: Path, row: dict[str, object], field: str, problem: str) -> None:
    """The bad row is named, and the good one beside it stays out too."""
    row = {"text": "Some text.", **row}
    report = await reported(tmp_path / "a.json", json.dumps([{"text": "A good row."}, row]))
    (bad,) = report.bad
    assert (bad.row, bad.field) == (2, field)
    assert bad.problem.startswith(problem)
    assert bad.allowed
    assert not report.written
    assert (report.rows, report.good) == (2, 1)


async def test_a_row_with_several_faults_tells_them_all(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.json", '[{"text": 1, "title": 2, "difficulty": 3, "id": "x"}]')
    assert [bad.field for bad in report.bad] == ["id", "text", "title", "difficulty"]
    assert {bad.row for bad in report.bad} == {1}


async def test_a_bad_row_says_where_what_and_what_is_allowed(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.csv", 'text,difficulty\n"two\nlines",easy\nlast,brutal\n')
    assert report.bad == (
        BadRow(2, 4, "difficulty", "is 'brutal'", "easy, medium, hard, or none: then it is measured"),
    )
    assert str(report.bad[0]) == (
        "row 2, line 4: difficulty is 'brutal'; allowed: easy, medium, hard, or none: then it is measured"
    )
    assert str(BadRow(3, None, None, "is null", "an object")) == "row 3: is null; allowed: an object"


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"text": "a", "id": 5}, {"text": "b", "id": 5}], "id"),
        ([{"text": "a", "id": 5}, {"text": "b", "id": "5"}], "id"),
        ([{"text": "a  b"}, {"text": "a b"}], "text"),
        ([{"text": "a", "tid": 5}, {"text": "b", "tid": 5}], "id"),
    ],
    ids=["id", "id as text", "text", "origin"],
)
async def test_the_same_row_twice(tmp_path: Path, rows: list[object], field: str) -> None:
    report = await reported(tmp_path / "a.json", json.dumps(rows))
    (bad,) = report.bad
    assert (bad.row, bad.field, bad.problem) == (2, field, "is that of row 1")


async def test_the_same_text_in_two_languages_is_two_rows(tmp_path: Path) -> None:
    rows = [{"text": "a", "language": "en"}, {"text": "a", "language": "de"}]
    assert (await reported(tmp_path / "a.json", json.dumps(rows))).added == Added(new=2)


async def test_rows_of_the_wrong_kind(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.json", '[{"text": "x y"}, null, 5, "s", [], true]')
    assert [(bad.row, bad.problem) for bad in report.bad] == [
        (2, "is null"),
        (3, "is a number"),
        (4, "is a string"),
        (5, "is an array"),
        (6, "is a boolean"),
    ]
    report = await reported(tmp_path / "b.json", '{"quotes": [{"text": "x y"}, 5]}')
    assert [(bad.row, bad.problem) for bad in report.bad] == [(2, "is a number")]
    report = await reported(
        tmp_path / "c.json", '{"tests": [5], "word_lists": [{}, {"words": ["a"], "language": "en"}]}'
    )
    assert [(bad.row, bad.field, bad.problem) for bad in report.bad] == [
        (1, None, "is a number"),
        (2, "word_lists", "has an object"),
    ]
    report = await reported(tmp_path / "d.jsonl", '{"text": "x y"}\n{"text": \n7\n')
    assert [(bad.row, bad.line) for bad in report.bad] == [(2, 2), (3, 3)]
    assert report.bad[0].problem.startswith("is no JSON")


async def test_csv_rows_that_do_not_fit_their_header(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.csv", "text,title\none,1\ntwo\nthree,3,\n\nfour,4\n")
    assert [(bad.row, bad.line, bad.problem) for bad in report.bad] == [
        (2, 3, "has 1 fields"),
        (3, 4, "has 3 fields"),
    ]
    assert (report.rows, report.good) == (4, 2)


async def test_a_quote_that_never_closes_hides_what_follows(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.csv", 'text\none\n"two\nthree\n', partial=True)
    (bad,) = report.bad
    assert bad.row == 2
    assert bad.problem.startswith("and all after it cannot be read")
    assert report.added == Added(new=1)
    report = await reported(tmp_path / "b.csv", f"text\none more\n{'x' * 140_000}\nlast\n")
    assert "field larger" in report.bad[0].problem


async def test_partial_imports_the_good_rows(tmp_path: Path) -> None:
    content = json.dumps([{"text": "One."}, {"text": ""}, {"text": "Three."}, 4])
    report = await reported(tmp_path / "a.json", content, partial=True)
    assert report.written
    assert report.added == Added(new=2)
    assert (report.rows, report.good, report.left_out, len(report.bad)) == (4, 2, 2, 2)


async def test_partial_with_nothing_good_writes_nothing(tmp_path: Path) -> None:
    report = await reported(tmp_path / "a.json", '[{"text": ""}]', partial=True)
    assert not report.written
    assert report.good == 0


async def test_bad_words(tmp_path: Path) -> None:
    words = ["good", "two words", "", 5, "good", "bell\u0007", "x" * 101, None, "fin"]
    report = await reported(tmp_path / "a.json", json.dumps({"language": "en", "words": words}))
    assert [(bad.row, bad.field) for bad in report.bad] == [(row, "word") for row in range(2, 9)]
    assert [bad.problem for bad in report.bad if bad.row in (2, 4, 5)] == [
        "is 'two words'",
        "is 5",
        "'good' is that of row 1",
    ]
    assert not report.written
    report = await reported(tmp_path / "a.json", json.dumps({"language": "en", "words": words}), partial=True)
    assert report.added == Added(changed=1)
    assert (report.rows, report.good) == (9, 2)


@pytest.mark.parametrize(
    ("head", "field", "problem"),
    [
        ({"language": "klingon"}, "language", "is 'klingon'"),
        ({"language": 5}, "language", "is 5"),
        ({"name": "klingon"}, "language", "named 'klingon' is unknown"),
        ({"name": "klingon", "bcp47": "no tag"}, "language", "named 'klingon' is unknown"),
        ({"name": 5}, "language", "is missing"),
        ({"language": "en", "name": "x" * 61}, "name", "has 61 characters"),
        ({"language": "en", "direction": "up"}, "direction", "is 'up'"),
    ],
)
async def test_bad_heads_of_word_lists(tmp_path: Path, head: dict[str, object], field: str, problem: str) -> None:
    report = await reported(tmp_path / "a.json", json.dumps({**head, "words": ["a"]}), ImportOptions(), partial=True)
    (bad,) = report.bad
    assert (bad.field, bad.problem) == (field, problem)
    assert not report.written


async def test_a_list_without_words(tmp_path: Path) -> None:
    report = await reported(
        tmp_path / "a.json", '{"tests": [{"text": "x y"}], "word_lists": [{"language": "it", "words": []}]}'
    )
    assert [bad.problem for bad in report.bad] == ["has no words"]


async def test_a_language_missing_in_some_rows_is_a_fault_of_those(tmp_path: Path) -> None:
    rows = [{"text": "a", "language": "en"}, {"text": "b"}]
    report = await reported(tmp_path / "a.json", json.dumps(rows), ImportOptions())
    assert [(bad.row, bad.field, bad.problem) for bad in report.bad] == [(2, "language", "is missing")]


async def test_the_limits_of_a_text_are_options(tmp_path: Path) -> None:
    options = ImportOptions(language="en", text=TextLimits(graphemes=3))
    report = await reported(tmp_path / "a.json", '[{"text": "abc"}, {"text": "abcd"}]', options)
    assert [bad.row for bad in report.bad] == [2]
    assert report.bad[0].allowed.startswith("1 to 3 characters")


async def test_an_import_may_change_a_built_in_test_by_its_id(tmp_path: Path) -> None:
    content = json.dumps([{"id": str(BUILT_IN_IDS.start + 1), "text": "Shorter."}])
    assert (await reported(tmp_path / "a.json", content)).added == Added(changed=1)


async def test_unknown_fields_are_noted_and_left_out(tmp_path: Path) -> None:
    rows = [{"text": "a", **{f"f{number}": 1 for number in range(25)}}, {"text": "b", "dificulty": "easy", "f0": 1}]
    report = await reported(tmp_path / "a.json", json.dumps(rows))
    assert report.written
    assert report.notes[0] == "the field 'f0' is unknown and was left out (2 rows)"
    assert "the field 'dificulty' is unknown and was left out (1 row)" in report.notes
    assert report.notes[-1] == "6 further unknown fields were left out"
