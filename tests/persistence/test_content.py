"""The content that comes with Typegate: as much as promised, well formed, typeable, and never changed."""

import unicodedata
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pytest
import regex

from persistence.catalogue import DIFFICULTIES, Test, WordList
from persistence.catalogue.builtin import built_in_tests, built_in_word_lists
from persistence.catalogue.difficulty import difficulty_of, effort
from persistence.catalogue.entries import BUILT_IN_IDS
from persistence.catalogue.languages import direction_of, name_of
from scoring.text import CLUSTER_BYTES, clusters, is_key, prepare

PUBLISHED = Path(__file__).parent / "published_content.txt"

SCRIPTS = {
    "ar": r"\p{Arabic}",
    "de": r"\p{Latin}",
    "en": r"\p{Latin}",
    "es": r"\p{Latin}",
    "fr": r"[\p{Latin}']",
    "hi": r"\p{Devanagari}",
    "ko": r"\p{Hangul}",
    "ru": r"\p{Cyrillic}",
}
LISTS = pytest.mark.parametrize("words", built_in_word_lists(), ids=lambda words: f"{words.language}-{words.version}")
PASSAGES = pytest.mark.parametrize("test", built_in_tests(), ids=lambda test: f"{test.title} {test.version}")


def test_english_has_its_thousand_words_and_seven_languages_have_two_hundred() -> None:
    counts = {words.language: len(words.words) for words in built_in_word_lists()}
    assert counts.pop("en") == 1000
    assert len(counts) >= 7
    assert set(counts.values()) == {200}


def test_the_languages_cover_the_ways_of_writing_that_are_hard_for_a_typing_test() -> None:
    """One is written from right to left, one in Hangul or Han, one with combining marks."""
    lists = built_in_word_lists()
    assert any(words.direction == "rtl" for words in lists)
    assert any(regex.fullmatch(r"[\p{Hangul}\p{Han}]+", word) for words in lists for word in words.words)
    assert any(
        unicodedata.category(character)[0] == "M" for words in lists for word in words.words for character in word
    )


@LISTS
def test_each_word_is_there_once_as_it_is_typed(words: WordList) -> None:
    assert [word for word, count in Counter(words.words).items() if count > 1] == []
    for word in words.words:
        assert prepare(word, timed=False).text == word
        assert " " not in word
        for cluster in clusters(word):
            assert is_key(cluster)
            assert len(cluster.encode()) <= CLUSTER_BYTES


@LISTS
def test_each_word_is_in_the_script_of_its_language(words: WordList) -> None:
    script = SCRIPTS[words.language]
    assert [word for word in words.words if not regex.fullmatch(rf"(?:{script}\p{{M}}*)+", word)] == []
    assert words.direction == direction_of(words.language)
    assert words.name == name_of(words.language)


@LISTS
def test_words_are_in_lower_case_but_where_the_language_wants_a_capital(words: WordList) -> None:
    """English has `I`, German its nouns."""
    capitals = {word for word in words.words if word != word.lower()}
    if words.language == "en":
        assert capitals == {"I"}
    elif words.language == "de":
        assert all(word == word.title() for word in capitals)
    else:
        assert capitals == set()


def test_forty_passages_over_five_categories_with_every_difficulty_in_each() -> None:
    present = {test.id: test for test in built_in_tests()}.values()
    assert len(present) >= 40
    kinds = Counter((test.category, test.difficulty) for test in present)
    categories = {category for category, _ in kinds}
    assert len(categories) >= 5
    for category in categories:
        for difficulty in DIFFICULTIES:
            assert kinds[(category, difficulty)] >= 1, f"no {difficulty} passage about {category}"
    assert sum(test.language == "en" for test in present) > len(present) / 2
    assert len({test.language for test in present}) >= 4


def test_every_language_of_a_passage_has_words_too() -> None:
    assert {test.language for test in built_in_tests()} <= {words.language for words in built_in_word_lists()}


def test_ids_are_typegates_own_and_versions_count_from_one() -> None:
    versions: dict[int, list[int]] = {}
    for test in built_in_tests():
        assert test.id in BUILT_IN_IDS
        versions.setdefault(test.id, []).append(test.version)
    for found in versions.values():
        assert sorted(found) == list(range(1, len(found) + 1))


def test_no_two_passages_share_a_title_or_a_text() -> None:
    present = {test.id: test for test in built_in_tests()}.values()
    assert len({test.title for test in present}) == len(present)
    assert len({test.text for test in present}) == len(present)


@PASSAGES
def test_a_passage_has_150_to_700_characters_that_can_be_typed(test: Test) -> None:
    passage = prepare(test.text, timed=False)
    assert passage.text == test.text
    assert len(passage.words) == test.words
    assert 150 <= len(clusters(test.text)) <= 700
    assert all(is_key(cluster) for cluster in clusters(test.text))
    if test.language == "en":
        assert test.text.isascii(), "every key of an English passage is on a plain keyboard"


@PASSAGES
def test_a_passage_is_as_difficult_as_its_effort(test: Test) -> None:
    passage = prepare(test.text, timed=False)
    assert difficulty_of(passage) == test.difficulty, effort(passage)
    if test.difficulty == "easy":
        assert not any(character.isdecimal() for character in test.text)


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        ("the cat sat on the mat", "the feline settled upon the carpet"),
        ("we met at the old mill", "We Met At The Old Mill"),
        ("seven and nine make more", "7 and 9 make 16 (or more)"),
        ("le gout de la mer", "le goût de la mèr"),
        ("if a then b else c", "if (a) { b; } else { c; }"),
    ],
    ids=["longer words", "capitals", "digits and brackets", "marks", "code"],
)
def test_effort_grows_with_what_is_hard_to_type(easier: str, harder: str) -> None:
    assert effort(prepare(easier, timed=False)).total < effort(prepare(harder, timed=False)).total


def test_effort_of_a_text_without_letters_or_spaces_is_a_number() -> None:
    assert effort(prepare("123!", timed=False)).total == pytest.approx(30)
    assert effort(prepare("我们走", timed=False)).keys_per_word == 3


def test_a_published_version_never_changes() -> None:
    """Results name (id, version); a correction is a new version. A new one is added to the list with this line."""
    now = {
        _line("test", test.id, test.version, test.title, test.text, test.category, test.difficulty, test.language)
        for test in built_in_tests()
    }
    now |= {
        _line("words", words.language, words.version, words.name, words.direction, *words.words)
        for words in built_in_word_lists()
    }
    published = set(PUBLISHED.read_text("utf-8").splitlines())
    assert published - now == set(), "published content has changed or is gone"
    assert now - published == set(), f"new content is not in {PUBLISHED.name} yet"


def _line(kind: str, key: object, version: int, *content: str) -> str:
    return f"{kind} {key} {version} {_digest(content)}"


def _digest(content: tuple[str, ...]) -> str:
    return blake2b("\n".join(content).encode(), digest_size=16).hexdigest()
