"""The catalogue: what is on the shelf, what an addition becomes, and what the file holds through everything."""

import asyncio
import multiprocessing
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.catalogue import (
    DIFFICULTIES,
    Added,
    Catalogue,
    CatalogueError,
    CatalogueOptions,
    Difficulty,
    EmbeddedCatalogue,
    NewTest,
    NewWordList,
    Shelf,
    Test,
    WordList,
)
from persistence.catalogue.entries import ASSIGNED_IDS, BUILT_IN_IDS, FIRST_IMPORTED_VERSION, GIVEN_IDS
from persistence.catalogue.languages import language_tag, name_of, tag_of_site_name
from persistence.catalogue.sqlite import CatalogueFile
from persistence.catalogue.versions import plan
from tests.persistence.implementations import CATALOGUES, CatalogueData

NEW = NewTest("Title", "Some text.", "notes", "easy", "en", 2)
WORDS = NewWordList("it", "Italiano", "ltr", ("di", "e", "il"))


def a_test(test_id: int, version: int = 1, **others: object) -> Test:
    test = Test(test_id, version, f"title {test_id}", f"text {test_id}", "notes", "easy", "en", 2, 1_000)
    return replace(test, **others)  # type: ignore[arg-type]  # fields by name, of the types that the test names


# The shelf


def test_the_shelf_gives_the_present_version_and_every_other_by_its_number() -> None:
    old, new = a_test(7), a_test(7, 2, text="better")
    shelf = Shelf([new, old], [])
    assert shelf.test(7) is new
    assert shelf.test(7, 1) is old
    assert shelf.test(7, 3) is None
    assert shelf.test(8) is None
    assert len(shelf) == 1
    assert shelf.ids() == (7,)


def test_the_shelf_gives_word_lists_in_the_order_of_their_languages() -> None:
    russian, old, new = (
        WordList("ru", 1, "Русский", "ltr", ("и",)),
        WordList("ar", 1, "العربية", "rtl", ("في",)),
        WordList("ar", 2, "العربية", "rtl", ("من",)),
    )
    shelf = Shelf([], [russian, new, old])
    assert shelf.word_lists == (new, russian)
    assert shelf.word_list("ar", 1) is old
    assert shelf.word_list("ar") is new
    assert shelf.word_list("xx") is None
    assert shelf.direction("ar") == "rtl"
    assert shelf.direction("he") == "rtl", "also without a list"
    assert shelf.direction("uz-Arab") == "rtl"
    assert shelf.direction("az-Latn") == "ltr"


def test_only_the_present_version_is_found_by_its_category() -> None:
    shelf = Shelf([a_test(7, 1, category="old"), a_test(7, 2, category="new")], [])
    assert shelf.categories == ("new",)
    assert shelf.ids(category="old") == ()
    assert shelf.ids(category="new") == (7,)


def test_a_language_filter_takes_the_tags_under_it() -> None:
    shelf = Shelf([a_test(1, language="en"), a_test(2, language="en-GB"), a_test(3, language="eng")], [])
    assert shelf.ids(language="en") == (1, 2)
    assert shelf.ids(language="EN-gb") == (2,)
    assert shelf.ids(language="e") == ()


TESTS = st.lists(
    st.builds(
        Test,
        id=st.integers(1, 40),
        version=st.integers(1, 3),
        title=st.just("t"),
        text=st.just("x"),
        category=st.sampled_from(["a", "b"]),
        difficulty=st.sampled_from(DIFFICULTIES),
        language=st.sampled_from(["en", "de", "de-CH"]),
        words=st.just(1),
        created_at_ms=st.just(0),
    ),
    max_size=60,
    unique_by=lambda test: (test.id, test.version),
)


@given(
    tests=TESTS,
    category=st.sampled_from([None, "a", "c"]),
    difficulty=st.sampled_from([None, *DIFFICULTIES]),
    language=st.sampled_from([None, "de", "de-CH"]),
    limit=st.integers(1, 7),
)
def test_pages_put_together_are_all_that_fits(
    tests: list[Test], category: str | None, difficulty: Difficulty | None, language: str | None, limit: int
) -> None:
    """Following `next` gives each present test that fits once, ascending, whatever the size of a page."""
    shelf = Shelf(tests, [])
    found: list[Test] = []
    after = 0
    while True:
        page = shelf.page(category=category, difficulty=difficulty, language=language, after=after, limit=limit)
        assert len(page.tests) <= limit
        found += page.tests
        if page.next is None:
            break
        assert len(page.tests) == limit
        after = page.next
    present = {test.id: test for test in sorted(tests, key=lambda test: test.version)}
    assert found == [
        test
        for _, test in sorted(present.items())
        if category in (None, test.category)
        and difficulty in (None, test.difficulty)
        and (language is None or test.language == language or test.language.startswith(f"{language}-"))
    ]


@given(tests=TESTS)
def test_the_etag_is_the_contents_and_not_their_order(tests: list[Test]) -> None:
    assert Shelf(tests, []).etag == Shelf(tests[::-1], []).etag
    assert Shelf([*tests, a_test(99)], []).etag != Shelf(tests, []).etag


def test_the_difficulties_are_those_of_their_type() -> None:
    assert get_args(Difficulty) == DIFFICULTIES


# Ids and versions


def planned(shelf: Shelf, *tests: NewTest, origins: dict[str, int] | None = None) -> tuple[tuple[Test, ...], Added]:
    made = plan(shelf, tests, [], id_of=(origins or {}).get, created_at_ms=5)
    return made.tests, made.added


def test_a_row_without_id_gets_one_of_the_assigned_and_a_row_with_one_keeps_it() -> None:
    tests, added = planned(Shelf([a_test(7)], []), NEW, replace(NEW, text="Other."), replace(NEW, id=12, text="Third."))
    assert [(test.id, test.version) for test in tests] == [
        (ASSIGNED_IDS.start, 1),
        (ASSIGNED_IDS.start + 1, 1),
        (12, 1),
    ]
    assert added == Added(new=3)
    assert all(test.created_at_ms == 5 for test in tests)


def test_assigned_ids_go_on_after_the_last() -> None:
    tests, _ = planned(Shelf([a_test(ASSIGNED_IDS.start + 5)], []), NEW)
    assert tests[0].id == ASSIGNED_IDS.start + 6


def test_the_same_again_is_nothing_new() -> None:
    tests, _ = planned(Shelf([], []), NEW)
    assert planned(Shelf(tests, []), NEW) == ((), Added(unchanged=1))
    assert planned(Shelf([], []), NEW, NEW)[1] == Added(new=1, unchanged=1)


def test_a_change_of_an_existing_id_is_its_next_version() -> None:
    tests, added = planned(Shelf([a_test(7), a_test(7, 2)], []), replace(NEW, id=7), replace(NEW, id=7, title="Again"))
    assert [(test.id, test.version, test.title) for test in tests] == [(7, 3, "Title"), (7, 4, "Again")]
    assert added == Added(changed=2)


def test_a_change_of_a_built_in_test_has_a_version_that_typegates_own_never_reach() -> None:
    own = BUILT_IN_IDS.start
    tests, _ = planned(Shelf([a_test(own)], []), replace(NEW, id=own))
    assert tests[0].version == FIRST_IMPORTED_VERSION
    tests, _ = planned(Shelf([a_test(own), *tests], []), replace(NEW, id=own, title="Again"))
    assert tests[0].version == FIRST_IMPORTED_VERSION + 1


@pytest.mark.parametrize("test_id", [-1, 0, GIVEN_IDS.stop, BUILT_IN_IDS.start + 999, ASSIGNED_IDS.start, 2**63])
def test_a_row_cannot_give_itself_an_id_of_others(test_id: int) -> None:
    with pytest.raises(CatalogueError, match="cannot have the id"):
        planned(Shelf([], []), replace(NEW, id=test_id))


def test_rows_of_one_origin_are_versions_of_one_test() -> None:
    row = replace(NEW, origin="site:1")
    made = plan(Shelf([], []), [row], [], id_of=lambda origin: None, created_at_ms=5)
    assert made.origins == (("site:1", ASSIGNED_IDS.start),)
    again, added = planned(
        Shelf(made.tests, []), replace(row, text="Corrected."), origins={"site:1": ASSIGNED_IDS.start}
    )
    assert [(test.id, test.version) for test in again] == [(ASSIGNED_IDS.start, 2)]
    assert added == Added(changed=1)


def test_without_origin_the_text_tells_what_is_the_same_test() -> None:
    """So a corrected title is a new version, and a new text a new test."""
    tests, _ = planned(Shelf([], []), NEW)
    assert planned(Shelf(tests, []), replace(NEW, title="Better"))[1] == Added(changed=1)
    assert planned(Shelf(tests, []), replace(NEW, text="Some other text."))[1] == Added(new=1)
    assert planned(Shelf(tests, []), replace(NEW, language="fr"))[1] == Added(new=1)


def test_imported_versions_of_a_language_start_above_typegates_own() -> None:
    def lists(shelf: Shelf, *lists: NewWordList) -> tuple[Sequence[WordList], Added]:
        made = plan(shelf, [], lists, id_of=lambda origin: None, created_at_ms=5)
        return made.word_lists, made.added

    first, added = lists(Shelf([], []), WORDS, WORDS, replace(WORDS, words=("a",)))
    assert [words.version for words in first] == [FIRST_IMPORTED_VERSION, FIRST_IMPORTED_VERSION + 1]
    assert added == Added(new=1, changed=1, unchanged=1)
    over, _ = lists(Shelf([], [WordList("it", 3, "Italiano", "ltr", ("a",))]), WORDS)
    assert over[0].version == FIRST_IMPORTED_VERSION


# What every catalogue promises


@pytest.fixture(params=CATALOGUES)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> CatalogueData:
    return CATALOGUES[request.param](tmp_path, request.getfixturevalue)


async def test_what_was_added_is_there_after_opening_again(data: CatalogueData) -> None:
    async with data.open() as catalogue:
        built_in = len(catalogue.shelf)
        assert await catalogue.add([NEW, replace(NEW, id=7, text="Seven.")], [WORDS], created_at_ms=5) == Added(new=3)
        shelf = catalogue.shelf
    async with data.open() as catalogue:
        assert catalogue.shelf.etag == shelf.etag
        assert len(catalogue.shelf) == built_in + 2
        assert catalogue.shelf.test(ASSIGNED_IDS.start) == shelf.test(ASSIGNED_IDS.start)
        assert catalogue.shelf.test(7) == Test(7, 1, "Title", "Seven.", "notes", "easy", "en", 2, 5)
        assert catalogue.shelf.word_list("it") == WordList("it", FIRST_IMPORTED_VERSION, "Italiano", "ltr", WORDS.words)
        await catalogue.ping()


async def test_an_old_version_stays_readable(data: CatalogueData) -> None:
    async with data.open() as catalogue:
        built_in = catalogue.shelf.test(BUILT_IN_IDS.start + 1)
        assert built_in is not None
        await catalogue.add([replace(NEW, id=built_in.id)], [replace(WORDS, language="en")], created_at_ms=5)
    async with data.open() as catalogue:
        changed = catalogue.shelf.test(built_in.id)
        assert changed is not None
        assert changed.text == NEW.text
        assert catalogue.shelf.test(built_in.id, 1) == built_in
        english = catalogue.shelf.word_list("en", 1)
        assert english is not None
        assert len(english.words) == 1000
        assert catalogue.shelf.word_list("en") != english


async def test_another_process_sees_an_addition_when_it_refreshes(data: CatalogueData) -> None:
    async with data.open() as importer, data.open() as server:
        before = server.shelf
        assert await server.refresh() is False
        await importer.add([replace(NEW, id=7)], created_at_ms=5)
        await server.ping()
        assert server.shelf is before, "nothing moves under a reader's feet"
        assert await server.refresh() is True
        assert server.shelf.test(7) == importer.shelf.test(7)
        assert server.shelf.etag == importer.shelf.etag
        assert await server.refresh() is False
        assert await importer.refresh() is False, "one's own additions are no news"
        assert before.test(7) is None


async def test_a_refresh_that_fails_is_not_forgotten(data: CatalogueData) -> None:
    async with data.open() as importer:
        small = CatalogueOptions(max_tests=len(list(importer.shelf.versions())))
        async with data.open(small) as server:
            shelf = server.shelf
            await importer.add([NEW], created_at_ms=5)
            for _ in range(2):
                with pytest.raises(CatalogueError, match="max_tests"):
                    await server.refresh()
                assert server.shelf is shelf


async def test_an_addition_counts_from_what_others_wrote_meanwhile(data: CatalogueData) -> None:
    async with data.open() as one, data.open() as other:
        await one.add([replace(NEW, id=7), replace(NEW, text="a", origin="site:1")], created_at_ms=5)
        assert await other.add(
            [replace(NEW, id=7, title="Later"), replace(NEW, text="b"), replace(NEW, text="c", origin="site:1")],
            created_at_ms=6,
        ) == Added(new=1, changed=2)
        assert [other.shelf.test(7, version) is not None for version in (1, 2, 3)] == [True, True, False]
        assert {test.text for test in other.shelf.versions() if test.id in ASSIGNED_IDS} == {"a", "b", "c"}


async def test_an_addition_over_the_limits_changes_nothing(data: CatalogueData) -> None:
    async with EmbeddedCatalogue(None) as catalogue:
        tests, lists = len(list(catalogue.shelf.versions())), len(list(catalogue.shelf.list_versions()))
    options = CatalogueOptions(max_tests=tests + 2, max_word_lists=lists + 1, max_bytes=200_000)
    many = [replace(NEW, text=f"text {number}") for number in range(3)]
    async with data.open(options) as catalogue:
        for rows, word_lists, what in (
            (many, [], "max_tests"),
            ([], [WORDS, replace(WORDS, language="la")], "max_word_lists"),
            ([NEW], [replace(WORDS, words=("x" * 200_000,))], "max_bytes"),
        ):
            with pytest.raises(CatalogueError, match=what):
                await catalogue.add(rows, word_lists, created_at_ms=5)
        assert await catalogue.add(many[:2], [WORDS], created_at_ms=5) == Added(new=3)
    with pytest.raises(CatalogueError, match="max_tests"):
        async with data.open(replace(options, max_tests=tests + 1)):
            pass


def _add_from_another_process(data: CatalogueData, name: str, rounds: int) -> None:
    async def add() -> None:
        async with data.open(CatalogueOptions(busy_ms=60_000)) as catalogue:
            for turn in range(rounds):
                await catalogue.add(
                    [replace(NEW, id=7, title=f"{name} {turn}"), replace(NEW, text=f"{name} {turn}")],
                    [replace(WORDS, words=(name, str(turn)))],
                    created_at_ms=turn,
                )

    asyncio.run(add())


async def test_importers_in_several_processes_lose_nothing_and_share_no_version(data: CatalogueData) -> None:
    rounds, names = 5, ["one", "two", "three"]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_from_another_process, args=(data, name, rounds)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
    async with data.open() as catalogue:
        versions = [test for test in catalogue.shelf.versions() if test.id == 7]
        assert sorted(test.version for test in versions) == list(range(1, rounds * len(names) + 1))
        everything = {f"{name} {turn}" for name in names for turn in range(rounds)}
        assert {test.title for test in versions} == everything
        assigned = [test for test in catalogue.shelf.versions() if test.id in ASSIGNED_IDS]
        assert {test.text for test in assigned} == everything
        assert len({test.id for test in assigned}) == len(everything)
        italian = [words for words in catalogue.shelf.list_versions() if words.language == "it"]
        assert len({words.version for words in italian}) == len(everything)


# The embedded catalogue


def test_the_embedded_catalogue_is_one() -> None:
    catalogue: Catalogue = EmbeddedCatalogue(None)
    assert isinstance(catalogue, EmbeddedCatalogue)


async def test_without_a_file_it_serves_what_is_built_in() -> None:
    async with EmbeddedCatalogue(None) as catalogue:
        assert len(catalogue.shelf) >= 40
        assert catalogue.shelf.word_list("en") is not None
        assert await catalogue.refresh() is False
        await catalogue.ping()
        with pytest.raises(CatalogueError, match="no file"):
            await catalogue.add([NEW], created_at_ms=5)


@pytest.mark.parametrize("name", ["max_tests", "max_word_lists", "max_bytes", "busy_ms"])
def test_options_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"catalogue.{name} is 0; at least 1"):
        CatalogueOptions(**{name: 0})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tests SET text = 'x'",
        "UPDATE word_lists SET words = 'x'",
        "DELETE FROM tests",
        "DELETE FROM word_lists",
        "INSERT INTO tests SELECT * FROM tests",
    ],
)
async def test_the_file_itself_refuses_to_change_a_version(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "catalogue"
    async with EmbeddedCatalogue(path) as catalogue:
        await catalogue.add([NEW], [WORDS], created_at_ms=5)
    connection = sqlite3.connect(path)
    try:
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    finally:
        connection.close()


async def test_a_busy_file_is_a_fault_that_passes(tmp_path: Path) -> None:
    path = tmp_path / "catalogue"
    async with EmbeddedCatalogue(path, CatalogueOptions(busy_ms=1)) as catalogue:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(CatalogueError, match="try again") as caught:
                await catalogue.add([NEW], created_at_ms=5)
            assert caught.value.retriable
            await catalogue.ping()
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert await catalogue.add([NEW], created_at_ms=5) == Added(new=1)


def _make_foreign(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_files_that_are_no_catalogue_are_refused_by_name(tmp_path: Path) -> None:
    _make_foreign(tmp_path / "other", "CREATE TABLE notes (note TEXT)")
    _make_foreign(tmp_path / "marked", "PRAGMA application_id = 77", "PRAGMA user_version = 1")
    async with EmbeddedCatalogue(tmp_path / "newer"):
        pass
    _make_foreign(tmp_path / "newer", "PRAGMA user_version = 99")
    (tmp_path / "text").write_text("no database at all, " * 100)
    (tmp_path / "folder").mkdir()
    for name, problem in (
        ("other", "no Typegate catalogue"),
        ("marked", "no Typegate catalogue"),
        ("newer", "schema version 99"),
        ("text", "not a database"),
        ("folder", "cannot be used"),
        ("missing/file", "cannot be used"),
    ):
        with pytest.raises(CatalogueError, match=problem) as caught:
            async with EmbeddedCatalogue(tmp_path / name):
                pass
        assert str(tmp_path / name) in str(caught.value)
        assert not caught.value.retriable


def _die_while_adding(path: Path) -> None:
    file = CatalogueFile(path, busy_ms=1_000)
    with file.writing():
        file.insert([a_test(8)], [("site:8", 8)], [], 5)
        os._exit(9)


async def test_an_importer_that_is_killed_leaves_nothing_half_done(tmp_path: Path) -> None:
    path = tmp_path / "catalogue"
    async with EmbeddedCatalogue(path) as catalogue:
        await catalogue.add([replace(NEW, id=7)], created_at_ms=5)
        process = multiprocessing.get_context("spawn").Process(target=_die_while_adding, args=(path,))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == 9
        await catalogue.refresh()
        assert catalogue.shelf.test(7) is not None
        assert catalogue.shelf.test(8) is None
        assert await catalogue.add([replace(NEW, id=8)], created_at_ms=5) == Added(new=1)


# Languages


def test_tags_of_typing_sites_names() -> None:
    for name, tag in (
        ("english", "en"),
        ("English", "en"),
        ("english_1k", "en-x-1k"),
        ("english_commonly_misspelled", "en-x-commonly-misspell"),
        ("chinese_simplified", "zh-Hans"),
        ("chinese_simplified_1k", "zh-Hans-x-1k"),
        ("norwegian_bokmal_5k", "nb-x-5k"),
        ("code_python", "zxx-x-python"),
        ("code_c++", "zxx-x-c"),
        ("klingon", None),
        ("code_++", None),
        ("", None),
    ):
        assert tag_of_site_name(name) == tag
    assert tag_of_site_name("klingon", "tlh") == "tlh"
    assert tag_of_site_name("klingon", "not a tag") is None
    assert language_tag("EN-gb") == "en-GB"
    assert language_tag("zh-hANT-tw") == "zh-Hant-TW"
    assert language_tag("de-1996") == "de-1996"
    assert language_tag("en-x-ab") == "en-x-ab"
    for text in ("", "e", "english", "en_GB", "en-", "en-toolongsubtag", "en" + "-abc" * 9, "ёж"):
        assert language_tag(text) is None
    assert name_of("en-x-1k") == "English (1k)"
    assert name_of("pt-BR") == "Português (BR)"
    assert name_of("zxx-x-python") == "python"
    assert name_of("tlh") == "tlh"
