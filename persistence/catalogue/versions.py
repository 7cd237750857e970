"""Which id and version an addition gets. Pure: the shelf as it is and what shall be added in, the new rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from persistence.catalogue.entries import (
    ASSIGNED_IDS,
    BUILT_IN_IDS,
    FIRST_IMPORTED_VERSION,
    GIVEN_IDS,
    Added,
    NewTest,
    NewWordList,
    Test,
    WordList,
)
from persistence.catalogue.port import CatalogueError
from persistence.catalogue.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows to insert, and what that means for those who asked."""

    tests: tuple[Test, ...]
    origins: tuple[tuple[str, int], ...]
    word_lists: tuple[WordList, ...]
    added: Added


def plan(
    shelf: Shelf,
    tests: Sequence[NewTest],
    word_lists: Sequence[NewWordList],
    *,
    id_of: Callable[[str], int | None],
    created_at_ms: int,
) -> Plan:
    """Give each addition its id and version; what is there already, word for word, is not added again.

    `id_of` finds the test that was imported from an origin before. Raises `CatalogueError` for an id that may not be
    given.
    """
    new = changed = unchanged = 0

    planned: dict[int, Test] = {}  # the latest version of each id that this addition touches
    rows: list[Test] = []
    origins: dict[str, int] = {}
    by_text = {(test.language, test.text): test.id for test in shelf.current()}
    next_id = max((test_id for test_id in shelf.ids() if test_id in ASSIGNED_IDS), default=ASSIGNED_IDS.start - 1) + 1

    for test in tests:
        test_id = test.id
        if test_id is None:
            if test.origin is None:
                test_id = by_text.get((test.language, test.text))
            else:
                test_id = origins.get(test.origin)
                if test_id is None:
                    test_id = id_of(test.origin)
            if test_id is None:
                test_id = next_id
                next_id += 1
                if test.origin is not None:
                    origins[test.origin] = test_id
        elif not may_be_given(test_id, shelf):
            raise CatalogueError(f"a test cannot have the id {test_id}; allowed are {GIVEN_ID_RULE}")

        present = planned.get(test_id) or shelf.test(test_id)
        if present is not None and _same(present, test):
            unchanged += 1
            continue
        if present is None:
            version = 1
            new += 1
        else:
            version = present.version + 1
            if test_id in BUILT_IN_IDS:
                version = max(version, FIRST_IMPORTED_VERSION)
            changed += 1
        row = Test(
            id=test_id,
            version=version,
            title=test.title,
            text=test.text,
            category=test.category,
            difficulty=test.difficulty,
            language=test.language,
            words=test.words,
            created_at_ms=created_at_ms,
            source=test.source,
        )
        planned[test_id] = row
        by_text[(test.language, test.text)] = test_id
        rows.append(row)

    lists: dict[str, WordList] = {}
    list_rows: list[WordList] = []
    for words in word_lists:
        latest = lists.get(words.language) or shelf.word_list(words.language)
        if latest is not None and (latest.name, latest.direction, latest.words) == (
            words.name,
            words.direction,
            words.words,
        ):
            unchanged += 1
            continue
        if latest is None:
            new += 1
            version = FIRST_IMPORTED_VERSION
        else:
            changed += 1
            version = max(latest.version + 1, FIRST_IMPORTED_VERSION)
        lists[words.language] = WordList(words.language, version, words.name, words.direction, words.words)
        list_rows.append(lists[words.language])

    return Plan(tuple(rows), tuple(origins.items()), tuple(list_rows), Added(new, changed, unchanged))


GIVEN_ID_RULE = f"1 to {GIVEN_IDS.stop - 1:,} and the ids of tests that exist"
"""What `may_be_given` takes, for error messages."""


def may_be_given(test_id: int, shelf: Shelf) -> bool:
    """Whether an imported row may have this id of its own."""
    return test_id in GIVEN_IDS or shelf.test(test_id) is not None


def _same(present: Test, test: NewTest) -> bool:
    return (
        present.title == test.title
        and present.text == test.text
        and present.category == test.category
        and present.difficulty == test.difficulty
        and present.language == test.language
        and present.words == test.words
        and present.source == test.source
    )
