"""Names of racers: what is let through, what is refused, and that no two look the same."""

from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from scoring.text import clusters
from session.names import NAME_BYTES, NAME_CLUSTERS, NameFault, clean_name, default_name, distinct_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ann", "Ann"),
        ("  Ann \u00a0\u3000 Lee\t", "Ann Lee"),
        ("e\u0301lan", "élan"),
        ("<b>x</b>", "<b>x</b>"),
        ("O'Neil & \"Co\"", "O'Neil & \"Co\""),
        ("日本", "日本"),
        ("नमस्ते", "नमस्ते"),
        ("क्\u200dष", "क्\u200dष"),
        ("สวัสดี", "สวัสดี"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("👩🏽\u200d🚀", "👩🏽\u200d🚀"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", None),
        ("🇩🇪", "🇩🇪"),
        ("q\u0323\u0301", "q\u0323\u0301"),
        ("x" * NAME_CLUSTERS, None),
        ("Guest", "Guest"),
        ("Guest house 5", "Guest house 5"),
        ("Typist!", "Typist!"),
    ],
)  # fmt: skip
def test_a_name_that_may_be(text: str, name: str | None) -> None:
    cleaned = clean_name(text)
    if name is not None:
        assert cleaned == name
    assert clean_name(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 20 characters"),
        (" \u3000 ", "1 to 20 characters"),
        ("x" * 21, "at most 20 characters"),
        ("x" * 500, "at most 20 characters"),
        ("👨\u200d👩\u200d👧\u200d👦" * 4, "at most 80 bytes"),
        ("a\u0000b", "no control characters"),
        ("a\u202eb", "no control characters"),
        ("a\u2066b", "changes direction"),
        ("a\u200fb", "changes direction"),
        ("a\u200bb", "nothing invisible"),
        ("a\u200db", "nothing invisible"),
        ("\u200d👩", "nothing invisible"),
        ("a\u200cb", "nothing invisible"),
        ("a\ufeffb", "nothing invisible"),
        ("a\u00adb", "nothing invisible"),
        ("a\ufe0f", "nothing invisible"),
        ("a\U000e0067", "nothing invisible"),
        ("\u3164", "nothing invisible"),
        ("\uffa0x", "nothing invisible"),
        ("\u2800", "nothing invisible"),
        ("a\u034fb", "nothing invisible"),
        ("\ud800", "no control characters"),
        ("\ue000", "no control characters"),
        ("\u0378", "no control characters"),
        ("\u0301a", "a letter to stand on"),
        ("a \u0301b", "a letter to stand on"),
        ("a\u0301\u0302\u0303\u0304", "at most two marks"),
        ("...", "a letter, a digit or a picture"),
        ("—!?—", "a letter, a digit or a picture"),
        ("Guest 1234", "given to who has none"),
        ("gUEST1", "given to who has none"),
        ("gue\u0455t 12", "given to who has none"),
        ("Guest l234", "given to who has none"),
        ("ＧＵＥＳＴ １２", "given to who has none"),
        ("Typist O1", "given to who has none"),
        (" Guest - 1234 -", "given to who has none"),
    ],
)
def test_a_name_that_nobody_may_have(text: str, why: str) -> None:
    with pytest.raises(NameFault) as refused:
        clean_name(text)
    assert why in str(refused.value)


@given(st.text(max_size=40) | st.text("aé \u0301\u200d👩❤\ufe0f\u202e", max_size=30))
def test_what_is_clean_is_short_seen_and_stays(text: str) -> None:
    """Whatever comes in, what comes out keeps every promise, and is its own clean form."""
    try:
        name = clean_name(text)
    except NameFault:
        return
    assert clean_name(name) == name
    assert 1 <= len(clusters(name)) <= NAME_CLUSTERS
    assert len(name.encode()) <= NAME_BYTES
    assert name == name.strip()
    assert "  " not in name
    assert not regex.search(r"[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}]", name)


def test_default_names_do_not_show_whose_they_are() -> None:
    """The number is no account's id, nor one in their order; it is the same each time."""
    numbers = [int(default_name(user).split()[1]) for user in range(1, 1_000)]
    assert all(1_000 <= number <= 9_999 for number in numbers)
    assert sum(number - 1_000 == user for user, number in enumerate(numbers, 1)) < 5
    assert sum(after == before + 1 for before, after in pairwise(numbers)) < 5
    assert [int(default_name(user).split()[1]) for user in range(1, 1_000)] == numbers


def test_default_names_are_of_one_form_that_nobody_can_choose() -> None:
    assert default_name(-1).startswith("Guest ")
    assert default_name(8_999).startswith("Typist ")
    for user in (-(2**53) + 1, -9_000, -1, 1, 77, 2**53 - 1):
        with pytest.raises(NameFault):
            clean_name(default_name(user))


@pytest.mark.parametrize(
    ("name", "taken", "distinct"),
    [
        ("Ann", [], "Ann"),
        ("Ann", ["Bob"], "Ann"),
        ("Ann", ["ann"], "Ann 2"),
        ("Ann", ["Ann", "ANN 2", "ann3"], "Ann 4"),
        ("Ann", ["Аnn"], "Ann 2"),  # a Cyrillic letter
        ("Bill", ["Bi11"], "Bill 2"),
        ("x" * 20, ["X" * 20], "x" * 18 + " 2"),
        ("Ann Lee", ["AnnLee"], "Ann Lee 2"),
    ],
)
def test_two_racers_never_look_the_same(name: str, taken: list[str], distinct: str) -> None:
    assert distinct_name(name, taken) == distinct


def test_a_number_fits_into_the_bytes_too() -> None:
    long = clean_name("👨\u200d👩\u200d👧" * 4 + "abcd")
    assert len(long.encode()) == 76
    numbered = distinct_name(long + "abcd", [long + "abcd"])
    assert numbered.endswith(" 2")
    assert len(numbered.encode()) <= NAME_BYTES
    assert len(clusters(numbered)) <= NAME_CLUSTERS


def test_more_than_nine_of_one_name() -> None:
    taken: list[str] = []
    for _ in range(100):
        taken.append(distinct_name("x" * 20, taken))
    assert len({name.casefold() for name in taken}) == 100
    assert all(len(name) <= NAME_CLUSTERS for name in taken)
