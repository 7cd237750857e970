"""The shelf: an immutable picture of a catalogue, all versions and all indexes, read without any I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b

from persistence.catalogue.entries import Difficulty, Direction, Page, Test, WordList
from persistence.catalogue.languages import direction_of

_Filter = tuple[str | None, str | None, str | None]  # category, difficulty, language range in lower case


class Shelf:
    """Every version of every test and word list, indexed by category, difficulty and language.

    A filter by language is RFC 4647's basic one: `"en"` takes `en` and `en-GB`. The sequences are in the order of ids
    and depend on the contents alone, so that a seed picks the same test on every node. Everything is indexed when the
    shelf is made (off the event loop); each lookup is O(1), a page O(its length).
    """

    __slots__ = ("_by_filter", "_current", "_list_versions", "_test_versions", "_word_lists", "categories", "etag")

    categories: tuple[str, ...]
    """The categories that have tests, sorted."""
    etag: str
    """Changes when anything on the shelf does: for HTTP's entity tags."""

    def __init__(self, tests: Iterable[Test], word_lists: Iterable[WordList]) -> None:
        self._test_versions = {(test.id, test.version): test for test in tests}
        self._list_versions = {(words.language, words.version): words for words in word_lists}

        self._current: dict[int, Test] = {}
        for test_key in sorted(self._test_versions):  # a later version replaces an earlier one
            self._current[test_key[0]] = self._test_versions[test_key]
        self._word_lists: dict[str, WordList] = {}
        for list_key in sorted(self._list_versions):
            self._word_lists[list_key[0]] = self._list_versions[list_key]

        by_filter: dict[_Filter, list[int]] = {(None, None, None): []}
        for test in self._current.values():
            ranges = [None, *_ranges(test.language)]
            for category in (None, test.category):
                for difficulty in (None, test.difficulty):
                    for language in ranges:
                        by_filter.setdefault((category, difficulty, language), []).append(test.id)
        self._by_filter = {key: tuple(ids) for key, ids in by_filter.items()}

        self.categories = tuple(sorted({test.category for test in self._current.values()}))
        digest = blake2b(digest_size=12)
        for test in self._current.values():
            digest.update(repr((test.id, test.version, test.created_at_ms)).encode())
            digest.update(test.text.encode())
        for words in self._word_lists.values():
            digest.update(repr((words.language, words.version)).encode())
            digest.update(" ".join(words.words).encode())
        self.etag = digest.hexdigest()

    def __len__(self) -> int:
        """Tests, each counted once."""
        return len(self._current)

    def test(self, test_id: int, version: int | None = None) -> Test | None:
        """A version of a test, without a number the present one; None if there is none."""
        if version is None:
            return self._current.get(test_id)
        return self._test_versions.get((test_id, version))

    def ids(
        self, *, category: str | None = None, difficulty: Difficulty | None = None, language: str | None = None
    ) -> tuple[int, ...]:
        """The ids of all tests that fit, ascending."""
        return self._by_filter.get((category, difficulty, None if language is None else language.lower()), ())

    def page(
        self,
        *,
        category: str | None = None,
        difficulty: Difficulty | None = None,
        language: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page:
        """Up to `limit` tests that fit, with ids above `after` (the `next` of the page before)."""
        ids = self.ids(category=category, difficulty=difficulty, language=language)
        first = bisect_right(ids, after)
        chosen = ids[first : first + limit]
        more = first + limit < len(ids)
        return Page(tuple(self._current[test_id] for test_id in chosen), chosen[-1] if more and chosen else None)

    def current(self) -> Iterable[Test]:
        """The present version of every test, in the order of ids."""
        return self._current.values()

    def versions(self) -> Iterable[Test]:
        """Every version of every test."""
        return self._test_versions.values()

    def list_versions(self) -> Iterable[WordList]:
        """Every version of every word list."""
        return self._list_versions.values()

    def word_list(self, language: str, version: int | None = None) -> WordList | None:
        """A version of a language's list, without a number the present one; None if there is none."""
        if version is None:
            return self._word_lists.get(language)
        return self._list_versions.get((language, version))

    @property
    def word_lists(self) -> tuple[WordList, ...]:
        """The present version of each list, in the order of their language tags."""
        return tuple(self._word_lists.values())

    def direction(self, language: str) -> Direction:
        """Which way a language is written: as its word list says, else as its script does."""
        words = self._word_lists.get(language)
        return direction_of(language) if words is None else words.direction


def _ranges(language: str) -> list[str]:
    """The language ranges that a tag falls under: `zh-Hant-TW` under itself, `zh-hant` and `zh`."""
    subtags = language.lower().split("-")
    return ["-".join(subtags[:length]) for length in range(1, len(subtags) + 1)]
