"""Texts by seed: the same for ever, small while they are typed, and what scoring would make of them."""

import gc
import tracemalloc
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.slices import at_once
from scoring.text import TextError, prepare
from session.options import SessionLimits, TestOptions
from session.passages import (
    FASTEST_CHARACTERS_PER_S,
    GENERATOR_VERSION,
    GeneratedWords,
    Material,
    Stale,
    Vocabulary,
    choose_quote,
    free,
    generating,
    practising,
    quoting,
)
from tests.session.play import LIMITS, VOCABULARY, WORDS

HINDI = Vocabulary(("में", "और", "नहीं", "क्षण"), language="hi", version=1, direction="ltr")
CHINESE = Vocabulary(("你好", "世界", "我", "学生"), language="zh", version=1, direction="ltr")
SPANISH = Vocabulary(("él", "casa", "ñu"), language="es", version=1, direction="ltr")
TURKISH = Vocabulary(("iki", "ışık"), language="tr", version=1, direction="ltr")
ARABIC = Vocabulary(("في", "من", "على"), language="ar", version=1, direction="rtl")
ALL = [VOCABULARY, HINDI, CHINESE, SPANISH, TURKISH, ARABIC]


def generated(vocabulary: Vocabulary, options: TestOptions, seed: int = 1) -> Material:
    return at_once(generating(vocabulary, options, seed=seed))


GOLDEN = [
    (TestOptions("words", count=12), 1, "on of for in to you it that you to for as"),
    (
        TestOptions("words", count=14, punctuation=True, numbers=True),
        2,
        "You he with his of to for was as it in of? The in.",
    ),
]


@pytest.mark.parametrize(("options", "seed", "text"), GOLDEN, ids=["plain", "dressed"])
def test_golden(options: TestOptions, seed: int, text: str) -> None:
    """A ticket names generator, list and seed, and the text must come back from them for ever."""
    assert GENERATOR_VERSION == 1
    assert generated(VOCABULARY, options, seed).text == text


def test_golden_of_all_scripts() -> None:
    options = TestOptions("time", seconds=60, punctuation=True, numbers=True)
    texts = "\n".join(generated(vocabulary, options, 3).text for vocabulary in ALL)
    assert sha256(texts.encode()).hexdigest()[:16] == "4b083617f58c58e9"


def test_golden_of_plain_words() -> None:
    """Without marks and numbers, where texts are drawn in a way of their own: of all scripts, and of tiny lists."""
    tiny = [Vocabulary(WORDS[:count], language="en", version=1, direction="ltr") for count in (1, 2, 3)]
    options = (TestOptions("time", seconds=60), TestOptions("words", count=300))
    texts = "\n".join(generated(words, one, seed).text for words in (*ALL, *tiny) for one in options for seed in (0, 4))
    assert sha256(texts.encode()).hexdigest()[:16] == "682f41039da1f048"


@given(
    st.sampled_from(ALL),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**64 - 1),
)
def test_a_generated_text_is_what_scoring_would_prepare(
    vocabulary: Vocabulary, extent: int, timed: bool, punctuation: bool, numbers: bool, seed: int
) -> None:
    """Words made on demand, breaks and lengths agree with preparing the text as if it had come from outside."""
    options = (
        TestOptions("time", seconds=1 + extent // 10, punctuation=punctuation, numbers=numbers)
        if timed
        else TestOptions("words", count=extent, punctuation=punctuation, numbers=numbers)
    )
    material = generated(vocabulary, options, seed)
    assert material.cyclic is timed
    prepared = prepare(material.text, timed=timed)
    assert tuple(material.words) == prepared.words
    assert (material.text, material.breaks, material.word_lengths) == (
        prepared.text,
        prepared.breaks,
        prepared.word_lengths,
    )
    if timed:
        assert sum(map(len, prepared.words)) >= (options.seconds or 0) * FASTEST_CHARACTERS_PER_S
    elif vocabulary.spaced:
        assert len(prepared.words) == extent
    assert generated(vocabulary, options, seed).text == material.text


def test_words_are_a_sequence() -> None:
    words = generated(VOCABULARY, TestOptions("words", count=5)).words
    assert isinstance(words, GeneratedWords)
    listed = list(words)
    assert len(words) == len(listed) == 5
    assert all(str(word).endswith(" ") for word in listed[:-1])
    assert not str(listed[-1]).endswith(" ")
    assert words[-1] == words[4] == listed[4]
    assert words[-5] == listed[0]
    assert words[1:4] == tuple(listed[1:4])
    with pytest.raises(IndexError):
        words[5]
    last = generated(VOCABULARY, TestOptions("time", seconds=1)).words[-1]
    assert str(last).endswith(" ")


def test_equal_words_share_one_string() -> None:
    words = generated(VOCABULARY, TestOptions("time", seconds=60)).words
    assert len({id(words[at]) for at in range(len(words))}) <= len(WORDS)


def test_ten_thousand_texts_stay_small() -> None:
    """A minute's text costs its session two bytes a word."""
    options = TestOptions("time", seconds=60)
    generated(VOCABULARY, options)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [generated(VOCABULARY, options, seed).words for seed in range(50)]
    each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    tracemalloc.stop()
    assert each < 1500, each


def test_long_texts_are_made_in_slices() -> None:
    steps = generating(VOCABULARY, TestOptions("time", seconds=600), seed=1)
    assert sum(1 for _ in steps) > 10


def test_no_word_comes_twice_within_three() -> None:
    words = generated(VOCABULARY, TestOptions("words", count=600)).text.split()
    assert not any(words[at] in words[at + 1 : at + 3] for at in range(len(words) - 2))
    assert set(words) == set(WORDS)


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_lists_do_not_hang(count: int) -> None:
    tiny = Vocabulary(WORDS[:count], language="en", version=1, direction="ltr")
    assert set(generated(tiny, TestOptions("words", count=40)).text.split()) == set(WORDS[:count])


def test_sentences() -> None:
    """Sentences begin with a capital, end with a mark, and the text ends with one."""
    text = generated(VOCABULARY, TestOptions("words", count=400, punctuation=True)).text
    assert text[-1] in ".?!"
    words = text.split()
    assert words[0][0].isupper()
    for word, following in pairwise(words):
        assert following[0].isupper() == (word[-1] in ".?!")
    assert set('.?!,;:"()') <= set(text)
    alone = {generated(VOCABULARY, TestOptions("words", count=1, punctuation=True), seed).text for seed in range(9)}
    assert all(text[0].isupper() and text[-1] == "." for text in alone)


def test_numbers() -> None:
    words = generated(VOCABULARY, TestOptions("words", count=1000, numbers=True)).text.split()
    numbers = [word for word in words if word.isdigit()]
    assert 50 < len(numbers) < 200
    assert {len(number) for number in numbers} == {1, 2, 3, 4}
    assert not any(number.startswith("0") for number in numbers)


def test_large_lists_take_wider_codes() -> None:
    many = Vocabulary([f"w{number}" for number in range(6000)], language="en", version=1, direction="ltr")
    material = generated(many, TestOptions("words", count=300, punctuation=True, numbers=True))
    assert "".join(map(str, material.words)) == material.text


def test_languages_have_their_marks() -> None:
    options = TestOptions("words", count=600, punctuation=True)
    assert {"¿", "¡", "É"} <= set(generated(SPANISH, options).text)
    assert {"İ", "I"} <= set(generated(TURKISH, options).text)
    assert {"،", "؟"} <= set(generated(ARABIC, options).text)
    assert "।" in generated(HINDI, options).text
    chinese = generated(CHINESE, options)
    assert {"，", "。", "「"} <= set(chinese.text)
    assert " " not in chinese.text
    assert not CHINESE.spaced
    assert chinese.word_lengths is not None


def test_direction_language_and_versions_are_told() -> None:
    material = generated(ARABIC, TestOptions("words", count=3))
    assert (material.language, material.direction, material.list_version, material.generator) == ("ar", "rtl", 1, 1)


def test_a_generator_that_is_gone() -> None:
    with pytest.raises(Stale, match="generator version 2"):
        at_once(generating(VOCABULARY, TestOptions("words", count=3), seed=1, generator=2))


def test_lists_that_are_none() -> None:
    with pytest.raises(ValueError, match="empty"):
        Vocabulary((), language="en", version=1, direction="ltr")
    with pytest.raises(TextError):
        Vocabulary(("a\x00",), language="en", version=1, direction="ltr")


def test_quotes() -> None:
    material = at_once(quoting("To  be,\nor", test=7, version=2, title="Be", language="en", direction="ltr"))
    assert material.words == ("To ", "be, ", "or")
    assert (material.text, material.test, material.test_version, material.title, material.cyclic) == (
        "To be, or",
        7,
        2,
        "Be",
        False,
    )


def test_own_texts() -> None:
    limits = SessionLimits(text_graphemes=8)
    timed = at_once(practising("ab cd", timed=True, language="en", direction="ltr", limits=limits))
    assert (timed.text, timed.words, timed.cyclic, timed.test) == ("ab cd ", ("ab ", "cd "), True, None)
    untimed = at_once(practising("ab cd", timed=False, language="en", direction="ltr", limits=limits))
    assert (untimed.words, untimed.cyclic) == (("ab ", "cd"), False)
    with pytest.raises(TextError):
        at_once(practising("ab cd efg", timed=False, language="en", direction="ltr", limits=limits))
    with pytest.raises(TextError):
        at_once(practising(" \n", timed=False, language="en", direction="ltr", limits=LIMITS))


def test_zen_has_no_text() -> None:
    material = free(language="ar", direction="rtl")
    assert (material.text, len(material.words), material.direction) == ("", 0, "rtl")


@given(st.lists(st.integers(1, 99), min_size=1, max_size=30), st.integers(0, 2**64 - 1))
def test_quotes_are_chosen_by_seed(ids: list[int], seed: int) -> None:
    chosen = choose_quote(ids, seed=seed)
    assert chosen in ids
    assert choose_quote(ids, seed=seed) == chosen


def test_every_quote_is_chosen_alike() -> None:
    chosen = [choose_quote(range(10), seed=seed) for seed in range(2000)]
    assert all(150 < chosen.count(number) < 250 for number in range(10))
