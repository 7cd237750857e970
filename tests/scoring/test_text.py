"""Texts: what is folded, split, cut and refused; what is one key."""

import unicodedata
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.text import (
    CLUSTER_BYTES,
    RUN_CLUSTERS,
    TextError,
    TextLimits,
    clusters,
    continues,
    is_key,
    normalise,
    prepare,
    preparing,
    typed,
    unicode_version,
)

FAMILY = "👨\u200d👩\u200d👧\u200d👦"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a bc", ("a ", "bc"), id="spaces"),
        pytest.param("\ufffda", ("\ufffda",), id="replacement-character"),
        pytest.param(" \t a\r\n\u2028bc\u3000\u00a0d ", ("a ", "bc ", "d"), id="white-space-is-folded"),
        pytest.param("e\u0301te\u0301", ("été",), id="composed"),
        pytest.param("q\u0307\u0323a b", (("q\u0323\u0307", "a", " "), "b"), id="marks-in-order-make-a-tuple"),
        pytest.param("क्षण है", (("क्ष", "ण", " "), ("है",)), id="conjunct"),
        pytest.param("東京 is. で", ("東", "京 ", "is. ", "で"), id="spaceless-clusters-are-words"),
        pytest.param("iPhoneを5つ", ("iPhone", "を", "5", "つ"), id="scripts-mixed-in-a-run"),
        pytest.param("です。」", ("で", "す", "。」"), id="their-punctuation-is-a-run"),
        pytest.param("กำไร", (("กำ",), "ไ", "ร"), id="thai"),
        pytest.param("한국 말", ("한국 ", "말"), id="hangul-writes-spaces"),
        pytest.param("x" * 100 + " y", ("x" * 100 + " ", "y"), id="a-hundred-is-no-long-run"),
        pytest.param("x" * 201, ("x" * 100, "x" * 100, "x"), id="longer-runs-are-cut"),
        pytest.param(FAMILY, ((FAMILY,),), id="joined-emoji"),
    ],
)
def test_words(text: str, words: tuple[str, ...]) -> None:
    passage = prepare(text, timed=False)
    assert passage.words == words
    assert passage.text == normalise(text) == "".join("".join(word) for word in words)


def test_a_timed_text_closes_its_last_word_too() -> None:
    assert prepare(" a b", timed=True).words == ("a ", "b ")
    assert prepare("a 東京", timed=True).words == ("a ", "東", "京 ")
    assert prepare("é\u0323", timed=True).breaks == [2, 1]


def test_breaks_and_word_lengths_are_told_only_where_a_reader_needs_them() -> None:
    plain = prepare("né ab", timed=False)
    assert (plain.breaks, plain.word_lengths) == (None, None)
    marked = prepare("ṇ̇a b", timed=False)
    assert (marked.breaks, marked.word_lengths) == ([2, 1, 1, 1], None)
    spaceless = prepare("a 東京", timed=False)
    assert (spaceless.breaks, spaceless.word_lengths) == (None, [2, 1, 1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("ab\x07c", r"U\+0007 after character 2 is a control character"),
        ("ab\u200bc", r"U\+200B after"),
        ("a\x1fb", r"U\+001F after"),
        ("\ud800", r"U\+D800 after"),
        ("a \u0301b", "joins itself to the space after character 1"),
        ("a\n\u0301b", "mark after character 2 has no character"),
        ("\u0301b", "mark after character 0 has no character"),
        ("ab\u0600 c", "joins itself to the space after character 2"),
        ("ab\u0600", "last character would join itself"),
        ("ab" + "e" + "\u0301\u0316" * 20, "character 3 has so many marks"),
        ("ab" + "e" + "\u0301" * 130 + "c", "character 1 has so many marks|character 3 has so many marks"),
        ("e" + "\u0301\u0316" * 10_000, "character 1 has so many marks"),
        ("\u094d\u0915" * 300, "so many marks"),
    ],
)
def test_what_nobody_can_type_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(TextError, match=reason):
        prepare(text, timed=False)


def test_limits() -> None:
    few = TextLimits(graphemes=5, bytes=12)
    assert prepare("ab cd", timed=False, limits=few).text == "ab cd"
    for text, reason in (("ab cde", "over 5 characters"), ("é" * 7, "over 12 bytes"), ("a" * 13, "over 12 bytes")):
        with pytest.raises(TextError, match=reason):
            prepare(text, timed=False, limits=few)
    for wrong in ({"graphemes": 0}, {"bytes": 0}):
        with pytest.raises(ValueError, match="must be 1 or more"):
            TextLimits(**wrong)


def test_a_long_text_is_prepared_in_many_slices() -> None:
    text = "東京 नमस्ते हैं e\u0301 " * 700
    work = preparing(text, timed=True)
    passages = []

    def follow() -> Generator[None, None, None]:
        passages.append((yield from work))

    assert sum(1 for _ in follow()) >= len(text) // 256
    assert passages == [prepare(text, timed=True)]


cluster_soup = st.text(
    st.sampled_from("aé \u0301\u0323\u0600\u200d\u094dकषतก\u0e33東가한👩👧🇩🇪\u1100\u11a8\u0344\u0958\U0001d160"),
    max_size=700,
)


@given(cluster_soup)
@settings(max_examples=300, deadline=None)
def test_preparing_is_nfc_and_splits_as_the_whole_text_does(text: str) -> None:
    try:
        passage = prepare(text, timed=False)
    except TextError:
        return
    assert passage.text == " ".join(unicodedata.normalize("NFC", text).split())
    assert [cluster for word in passage.words for cluster in word] == clusters(passage.text)
    assert prepare(passage.text, timed=False) == passage
    assert max(len(cluster.encode()) for word in passage.words for cluster in word) <= CLUSTER_BYTES
    assert max(map(len, passage.words)) <= RUN_CLUSTERS + 1


@pytest.mark.parametrize(
    "key",
    [
        "a",
        " ",
        "~",
        "\b",
        "\x17",
        "é",
        "e\u0301",
        "\u0301",
        "\u200d",
        "ᄒ",
        "क्ष",
        FAMILY,
        "\u00a0",
        "\u3000",
        "\n",
        "🇩🇪",
        "\u1f82",
    ],
)
def test_keys(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ab",
        "\x07",
        "\x7f",
        "\x08\x08",
        "a ",
        "\u0600 ",
        " \u0301",
        "\u200b",
        "\ud800",
        "e" + "\u0301" * 40,
        "\r\n",
        "🇩🇪🇩",
    ],
)
def test_no_keys(key: str) -> None:
    assert not is_key(key)


def test_a_key_that_outgrows_the_limit_in_nfc_is_none() -> None:
    key = "\u0958" + "\u0301" * 30
    assert len(key.encode()) == 63 < CLUSTER_BYTES < len(unicodedata.normalize("NFC", key).encode())
    assert not is_key(key)


def test_keys_count_as_nfc_and_white_space_as_a_space() -> None:
    assert [typed(key) for key in ("e\u0301", "\u00a0", "\n", "\u3000", "a")] == ["é", " ", " ", " ", "a"]


@pytest.mark.parametrize(
    ("cluster", "key", "same"),
    [("e", "\u0301", True), ("ᄒ", "ᅡ", True), ("하", "ᆫ", True), ("क्", "ष", True), ("क", "ष", False),
     ("👩", "\u200d", True), ("👩\u200d", "👧", True), ("🇩", "🇪", True), ("🇩🇪", "🇩", False), ("a", "b", False)],
)  # fmt: skip
def test_continues(cluster: str, key: str, same: bool) -> None:
    assert continues(cluster, key) is same


def test_the_unicode_version_is_that_of_the_newest_script_known() -> None:
    assert unicode_version([("99.0", "Unwritten"), ("15.0", "Kawi")]) == "15.0"
    with pytest.raises(ImportError, match="too old"):
        unicode_version([("99.0", "Unwritten")])
