"""Each form of file that an import takes, and what becomes of it."""

import codecs
import json
from pathlib import Path

import pytest

from persistence.catalogue import Added, EmbeddedCatalogue, ImportOptions, ImportRefused, Report, Test, import_file
from persistence.catalogue.entries import ASSIGNED_IDS, FIRST_IMPORTED_VERSION

ENGLISH = ImportOptions(language="en")


class Imported:
    """What one import left: its report, and the tests and word lists that were not there before."""

    def __init__(self, report: Report, tests: list[Test], words: dict[str, tuple[str, ...]]) -> None:
        self.report, self.tests, self.words = report, tests, words


async def imported(path: Path, content: str | bytes, options: ImportOptions | None = None) -> Imported:
    """Import a file with this content, which must be all good."""
    _write(path, content)
    async with EmbeddedCatalogue(path.parent / "catalogue") as catalogue:
        before = {(test.id, test.version) for test in catalogue.shelf.versions()}
        report = await import_file(path, catalogue, partial=False, created_at_ms=5, options=options)
        assert report.bad == ()
        assert report.written
        return Imported(
            report,
            [test for test in catalogue.shelf.versions() if (test.id, test.version) not in before],
            {
                words.language: words.words
                for words in catalogue.shelf.list_versions()
                if words.version >= FIRST_IMPORTED_VERSION
            },
        )


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


async def test_our_own_json(tmp_path: Path) -> None:
    result = await imported(
        tmp_path / "tests.json",
        json.dumps(
            [
                {
                    "id": 12,
                    "title": "A title",
                    "text": "First  text,\nfolded.",
                    "category": "Short Stories",
                    "difficulty": "Hard",
                    "language": "en-gb",
                    "source": "me",
                },
                {"text": "a b.", "language": "german"},
            ]
        ),
    )
    assert result.tests == [
        Test(12, 1, "A title", "First text, folded.", "short-stories", "hard", "en-GB", 3, 5, "me"),
        Test(ASSIGNED_IDS.start, 1, "a b.", "a b.", "imported", "easy", "de", 2, 5, None),
    ]
    assert result.report.added == Added(new=2)
    assert (result.report.rows, result.report.good) == (2, 2)


async def test_json_with_tests_and_word_lists(tmp_path: Path) -> None:
    result = await imported(
        tmp_path / "all.json",
        json.dumps(
            {
                "language": "it",
                "category": "prose",
                "tests": [{"text": "Prima."}, {"text": "Zweitens.", "language": "de", "category": "prosa"}],
                "word_lists": [
                    {"language": "it", "words": ["di", "e"]},
                    {"language": "yi", "name": "Yiddish", "direction": "rtl", "words": ["און"]},
                ],
            }
        ),
    )
    assert [(test.text, test.language, test.category) for test in result.tests] == [
        ("Prima.", "it", "prose"),
        ("Zweitens.", "de", "prosa"),
    ]
    assert result.words == {"it": ("di", "e"), "yi": ("און",)}
    assert (result.report.rows, result.report.good) == (5, 5)
    assert result.report.added == Added(new=4)


async def test_what_the_catalogue_holds_comes_back_as_it_was(tmp_path: Path) -> None:
    """A round trip through JSON: nothing is new, nothing is changed."""
    async with EmbeddedCatalogue(tmp_path / "catalogue") as catalogue:
        shelf = catalogue.shelf
        fields = ("id", "version", "title", "text", "category", "difficulty", "language", "source")
        tests = [{name: getattr(test, name) for name in fields} for test in shelf.current()]
        lists = [
            {"language": words.language, "name": words.name, "direction": words.direction, "words": list(words.words)}
            for words in shelf.word_lists
        ]
        path = tmp_path / "export.json"
        path.write_text(json.dumps({"tests": tests, "word_lists": lists}))
        report = await import_file(path, catalogue, partial=False, created_at_ms=5)
        assert report.bad == ()
        assert report.notes == ()
        assert report.added == Added(unchanged=len(tests) + len(lists))
        assert catalogue.shelf.etag == shelf.etag


@pytest.mark.parametrize("name", ["tests.jsonl", "tests.json", "tests.txt"])
async def test_json_lines(tmp_path: Path, name: str) -> None:
    content = '{"text": "One."}\n\n{"text": "Two.", "tags": []}\n'
    result = await imported(tmp_path / name, content, ENGLISH)
    assert [test.text for test in result.tests] == ["One.", "Two."]
    assert result.report.notes == ("the field 'tags' is unknown and was left out (1 row)",)


MONKEYTYPE_QUOTES = {
    "language": "english",
    "groups": [[0, 100], [101, 300]],
    "quotes": [
        {"text": "Well begun is half done.", "source": "A proverb", "id": 1, "length": 24},
        {"text": "The color of the day.", "britishText": "The colour.", "source": "Somebody", "id": 17, "length": 21},
    ],
}


async def test_monkeytypes_quotes(tmp_path: Path) -> None:
    result = await imported(tmp_path / "english.json", json.dumps(MONKEYTYPE_QUOTES))
    assert [(test.title, test.text, test.source, test.category, test.language) for test in result.tests] == [
        ("A proverb", "Well begun is half done.", "A proverb", "quotes", "en"),
        ("Somebody", "The color of the day.", "Somebody", "quotes", "en"),
    ]
    assert result.report.notes == ()


async def test_a_quote_that_was_corrected_at_its_source_is_a_new_version(tmp_path: Path) -> None:
    """Its id is the site's own and names the quote within a language, so it is not taken for ours."""
    await imported(tmp_path / "english.json", json.dumps(MONKEYTYPE_QUOTES))
    again = json.loads(json.dumps(MONKEYTYPE_QUOTES))
    again["quotes"][1]["text"] = "The color of the night."
    result = await imported(tmp_path / "english.json", json.dumps(again))
    assert [(test.id, test.version, test.text) for test in result.tests] == [
        (ASSIGNED_IDS.start + 1, 2, "The color of the night.")
    ]
    assert result.report.added == Added(changed=1, unchanged=1)
    again["language"] = "german"
    assert (await imported(tmp_path / "english.json", json.dumps(again))).report.added == Added(new=2)


async def test_the_same_ids_in_another_file_are_other_quotes(tmp_path: Path) -> None:
    await imported(tmp_path / "english.json", json.dumps(MONKEYTYPE_QUOTES))
    other = {"language": "english", "quotes": [{"text": "My own words.", "id": 1}]}
    assert (await imported(tmp_path / "mine.json", json.dumps(other))).report.added == Added(new=1)


async def test_quotes_without_language_go_by_their_text(tmp_path: Path) -> None:
    quotes = {"quotes": [{"text": "Aus.", "id": 1}]}
    for language in ("en", "de"):
        result = await imported(tmp_path / "quotes.json", json.dumps(quotes), ImportOptions(language=language))
        assert result.report.added == Added(new=1)


async def test_monkeytypes_languages(tmp_path: Path) -> None:
    content = {"name": "hebrew_1k", "rightToLeft": True, "bcp47": "he-IL", "ligatures": False, "words": ["של", "את"]}
    result = await imported(tmp_path / "hebrew_1k.json", json.dumps(content))
    assert result.words == {"he-x-1k": ("של", "את")}
    assert result.report.rows == result.report.good == 2
    content = {"name": "klingon", "bcp47": "tlh", "words": ["jIH"]}
    assert (await imported(tmp_path / "klingon.json", json.dumps(content))).words["tlh"] == ("jIH",)
    content = {"name": "klingon", "words": ["jIH", "SoH"]}
    by_option = await imported(tmp_path / "klingon.json", json.dumps(content), ImportOptions(language="tlh"))
    assert by_option.report.added == Added(changed=1)


async def test_what_a_site_says_at_length_is_cut_and_no_fault_of_the_row(tmp_path: Path) -> None:
    quotes = {"language": "english", "quotes": [{"text": "Short.", "source": "A title " * 30, "id": 1}]}
    (quote,) = (await imported(tmp_path / "english.json", json.dumps(quotes))).tests
    assert len(quote.title) == 120
    assert quote.title.endswith("…")
    texts = [{"tid": 1, "type": "Book / Novel_", "text": "Long ago."}, {"tid": 2, "type": "?", "text": "Now."}]
    result = await imported(tmp_path / "texts.json", json.dumps(texts), ENGLISH)
    assert [test.category for test in result.tests] == ["book-novel", "imported"]


async def test_typeracers_texts(tmp_path: Path) -> None:
    content = [
        {
            "tid": 3621,
            "type": "book",
            "title": "A Book",
            "author": "A. N. Author",
            "language": "en",
            "text": "It was late.",
            "length": 12,
            "min_skill": "0",
            "contributor": "x",
        }
    ]
    result = await imported(tmp_path / "texts.json", json.dumps(content))
    (test,) = result.tests
    assert (test.title, test.source, test.category) == ("A Book", "A Book, A. N. Author", "book")
    assert test.id == ASSIGNED_IDS.start
    assert result.report.notes == ()
    content[0]["text"] = "It was very late."
    assert (await imported(tmp_path / "texts.json", json.dumps(content))).report.added == Added(changed=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words-en.json", '["the", "of", "and"]'),
        ("counted.json", '[["the", 23135851162], ["of", 1.5], ["and", 3]]'),
        ("words.txt", "the|of|and"),
        ("words.txt", "the|of\nand|\n"),
        ("words.txt", "the\nof\nand\n"),
        ("words.txt", "the\r\n\r\nof\rand"),
        ("words.txt", "the 23135851162\nof 13151942776\nand\t12997637966\n"),
        ("words.csv", "rank,word\n1,the\n2,of\n3,and\n"),
        ("words.csv", "word\nthe\nof\nand\n"),
    ],
    ids=["keybr", "json counts", "bars", "bars and lines", "lines", "line ends", "counts", "csv", "csv one column"],
)
async def test_word_lists(tmp_path: Path, name: str, content: str) -> None:
    assert (await imported(tmp_path / name, content, ENGLISH)).words == {"en": ("the", "of", "and")}


async def test_words_on_demand(tmp_path: Path) -> None:
    result = await imported(tmp_path / "any.txt", "the, of and;the2", ImportOptions(language="en", format="words"))
    assert result.words == {"en": ("the", "of", "and", "the2")}


async def test_a_language_that_has_a_list_gets_a_new_version_over_it(tmp_path: Path) -> None:
    await imported(tmp_path / "words.txt", "ein|zwei", ImportOptions(language="german"))
    async with EmbeddedCatalogue(tmp_path / "catalogue") as catalogue:
        german = catalogue.shelf.word_list("de")
        assert german is not None
        assert german.words == ("ein", "zwei")
        assert german.name == "Deutsch"
        built_in = catalogue.shelf.word_list("de", 1)
        assert built_in is not None
        assert len(built_in.words) == 200


CSV_TESTS = [
    ("Title", "One, two; three|four", "hard"),
    ("Other", 'She said "no".\nAnd left.', "easy"),
]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
async def test_csv_with_every_usual_separator(tmp_path: Path, separator: str) -> None:
    lines = [separator.join(("Title", "Quote", "Level"))]
    lines += [
        separator.join('"' + field.replace('"', '""') + '"' for field in (title, text, difficulty))
        for title, text, difficulty in CSV_TESTS
    ]
    content = codecs.BOM_UTF8 + "\r\n".join([*lines, "", ""]).encode()
    result = await imported(tmp_path / "tests.csv", content, ENGLISH)
    assert [(test.title, test.text, test.difficulty) for test in result.tests] == [
        (title, text.replace("\n", " "), difficulty) for title, text, difficulty in CSV_TESTS
    ]


async def test_csv_as_excel_writes_it(tmp_path: Path) -> None:
    result = await imported(tmp_path / "tests.csv", "sep=;\r\ntext;title\r\nA, b.;T\r\n".encode("utf-16"), ENGLISH)
    assert [(test.text, test.title) for test in result.tests] == [("A, b.", "T")]


async def test_csv_by_any_name_is_known_by_its_header(tmp_path: Path) -> None:
    result = await imported(tmp_path / "tests.txt", "id\ttext\n7\tSome text.\n8\tAnother.\n", ENGLISH)
    assert [(test.id, test.text) for test in result.tests] == [(7, "Some text."), (8, "Another.")]


async def test_paragraphs(tmp_path: Path) -> None:
    content = "\n\nThe first one goes\nover two lines.\n  \n\nThe second.\n"
    result = await imported(tmp_path / "prose.txt", content, ImportOptions(language="en", category="Prose"))
    assert [test.text for test in result.tests] == ["The first one goes over two lines.", "The second."]
    assert {test.category for test in result.tests} == {"prose"}
    assert result.report.format == "plain text, passages between blank lines"


async def test_one_passage_a_line(tmp_path: Path) -> None:
    for content in (
        "It ends here.\nDoes it?\nYes!",
        "今天天气很好。\n我们去公园。",
        "a short line\na much longer line that nobody would have wrapped",
    ):
        result = await imported(tmp_path / "quotes.txt", content, ENGLISH)
        assert [test.text for test in result.tests] == content.split("\n")
        assert result.report.format == "plain text, one passage a line"


async def test_a_text_that_a_program_wrapped_is_one_passage(tmp_path: Path) -> None:
    content = "This text was written in an editor that\nbreaks its lines at forty characters or\nso, which is usual."
    assert len((await imported(tmp_path / "prose.txt", content, ENGLISH)).tests) == 1
    by_hand = await imported(tmp_path / "prose.txt", content, ImportOptions(language="en", format="lines"))
    assert len(by_hand.tests) == 3
    back = await imported(tmp_path / "more.txt", "One. Two.\nThree. Four.", ImportOptions("paragraphs", "en"))
    assert [test.text for test in back.tests] == ["One. Two. Three. Four."]


async def test_an_array_of_sentences_is_passages(tmp_path: Path) -> None:
    result = await imported(tmp_path / "quotes.json", '["One of them.", "Two."]', ENGLISH)
    assert [test.text for test in result.tests] == ["One of them.", "Two."]


async def test_a_title_is_made_of_the_first_words(tmp_path: Path) -> None:
    result = await imported(
        tmp_path / "one.json", '{"text": "It was a bright cold day in the spring of that year."}', ENGLISH
    )
    assert result.tests[0].title == "It was a bright cold day in the spring…"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
async def test_encodings(tmp_path: Path, encoding: str) -> None:
    result = await imported(tmp_path / "words.txt", "für\nüber\n話".encode(encoding), ImportOptions(language="de"))
    assert result.words == {"de": ("für", "über", "話")}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
async def test_big_and_little_endian_marks(tmp_path: Path, encoding: str) -> None:
    mark = codecs.BOM_UTF16_LE if encoding.endswith("le") else codecs.BOM_UTF16_BE
    result = await imported(tmp_path / "words.txt", mark + "für\nüber".encode(encoding), ImportOptions(language="de"))
    assert result.words == {"de": ("für", "über")}


async def test_words_and_texts_are_nfc(tmp_path: Path) -> None:
    assert (await imported(tmp_path / "w.txt", "fu\u0308r\nein", ImportOptions(language="de"))).words["de"][0] == "für"
    assert (await imported(tmp_path / "t.json", '{"text": "fu\u0308r uns"}', ENGLISH)).tests[0].text == "für uns"


async def test_progress_goes_from_nothing_to_everything(tmp_path: Path) -> None:
    path = tmp_path / "many.json"
    path.write_text(json.dumps([{"text": f"Text {number}."} for number in range(1000)]))
    seen: list[tuple[int, int]] = []
    async with EmbeddedCatalogue(tmp_path / "catalogue") as catalogue:
        await import_file(
            path,
            catalogue,
            partial=False,
            created_at_ms=5,
            options=ENGLISH,
            progress=lambda done, total: seen.append((done, total)),
        )
    assert seen[0] == (0, 1000)
    assert seen[-1] == (1000, 1000)
    assert seen == sorted(seen)
    assert len(seen) > 4


@pytest.mark.parametrize(
    ("name", "content", "options", "problem"),
    [
        ("a.txt", b"", ENGLISH, "is empty"),
        ("a.txt", b"\xef\xbb\xbf \n", ENGLISH, "is empty"),
        ("a.txt", b"ok\ncaf\xe9!", ENGLISH, r"byte 0xe9 at offset 6 \(line 2\)"),
        ("a.txt", b"ok \xe2\x82", ENGLISH, "byte 0xe2 at offset 3"),
        ("a.txt", codecs.BOM_UTF16_LE + b"a\x00b", ENGLISH, "UTF-16-LE"),
        ("a.txt", b"ab\nc\x00d", ENGLISH, "NUL character on line 2"),
        ("a.txt", b"x" * 101, ImportOptions(language="en", max_file_bytes=100), "larger than 100 bytes"),
        ("a.json", b'{"text": "x"', ENGLISH, r"no JSON: .* \(line 1, column"),
        ("a.json", b'[{"text": "x"},\n {"text": }]', ENGLISH, "line 2"),
        ("a.json", b"[" * 5000, ENGLISH, "no JSON"),
        ("a.json", b"[]", ENGLISH, "empty array"),
        ("a.json", b"17", ENGLISH, "is a number; allowed"),
        ("a.json", b"null", ENGLISH, "is null; allowed"),
        ("a.json", b'"x"', ENGLISH, "is a string; allowed"),
        ("a.json", b"true", ENGLISH, "is a boolean; allowed"),
        ("a.json", b'{"data": []}', ENGLISH, "none of the names that we know"),
        ("a.json", b'{"tests": []}', ENGLISH, "has no rows"),
        ("a.json", b'{"quotes": []}', ENGLISH, "has no rows"),
        ("a.csv", b"a,b\n1,2\n", ENGLISH, "names no column for the text"),
        ("a.csv", b'"a\n', ENGLISH, "header line cannot be read"),
        ("a.csv", b"text\n", ENGLISH, "has no rows"),
        ("a.json", b'[{"text": "x"}]', None, "which language"),
        ("a.txt", b"Some text.", None, "which language"),
        ("a.txt", b"the|of", None, "which language"),
        ("a.txt", b"|", ENGLISH, "has no rows"),
        ("a.txt", b"a b c", ImportOptions(language="en", format="words", max_words=2), "at most 2 are allowed"),
        ("a.json", b"[1, 2, 3]", ImportOptions(language="en", max_bad_rows=2), "more than 2 rows were bad, .*row 1"),
    ],
)
async def test_files_that_are_refused_as_a_whole(
    tmp_path: Path, name: str, content: bytes, options: ImportOptions | None, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    async with EmbeddedCatalogue(None) as catalogue:
        with pytest.raises(ImportRefused, match=problem):
            await import_file(tmp_path / name, catalogue, partial=True, created_at_ms=5, options=options)


async def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    async with EmbeddedCatalogue(None) as catalogue:
        for path, problem in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), ("a\0b", "null")):
            with pytest.raises(ImportRefused, match=problem):
                await import_file(path, catalogue, partial=True, created_at_ms=5, options=ENGLISH)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("format", "xml", "allowed: auto, json"),
        ("language", "klingon", "allowed: a BCP 47"),
        ("max_file_bytes", 0, "at least 1"),
        ("max_bad_rows", 0, "at least 1"),
        ("max_words", 0, "at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ImportOptions(**{name: value})  # type: ignore[arg-type]  # the wrong value is the point
