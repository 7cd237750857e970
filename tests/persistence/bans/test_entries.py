"""Whom a ban is of, and what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.bans import Ban, read_who, who_text
from session.identity import MAX_USER

SINCE_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("17", "17"),
        ("-42", "-42"),
        (f" {MAX_USER} ", str(MAX_USER)),
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::1/128", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_who_is_read(text: str, who: str) -> None:
    """Ids, addresses and networks; a bare IPv6 address is the customer's /64."""
    assert who_text(read_who(text)) == who


@pytest.mark.parametrize(
    "text", ["", "0", "-", "--1", "1.2.3", "bob", "192.0.2.7/33", "٣", str(MAX_USER + 1), "1" * 18]
)
def test_who_is_nobody(text: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="allowed are"):
        read_who(text)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "128.0.0.0/7", "::/0", "2000::/18", "::ffff:0:0/96"])
def test_nearly_everybody_cannot_be_banned(text: str) -> None:
    """A slip of the finger shuts nobody out."""
    with pytest.raises(ValueError, match="too wide"):
        read_who(text)


@given(
    st.one_of(
        st.integers(1, MAX_USER).map(str),
        st.integers(-MAX_USER, -1).map(str),
        st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(8, 32)),
        st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(19, 128)),
    )
)
def test_the_text_of_who_is_read_as_the_same(text: str) -> None:
    """What a store keeps names the same again."""
    who = read_who(text)
    assert read_who(who_text(who)) == who


def test_the_banned_are_told_until_when_and_why() -> None:
    """The end comes first, for a close frame cuts what is long."""
    assert Ban(17, "a bot", "ops", SINCE_MS).told == "for good: a bot"
    assert Ban(17, "a bot", "ops", SINCE_MS, SINCE_MS + 60_000).told == "until 2026-01-01 00:01 UTC: a bot"


def test_a_ban_is_over_at_its_end_and_not_before() -> None:
    """To the millisecond; one for good never is."""
    ban = Ban(17, "a bot", "ops", SINCE_MS, SINCE_MS + 1)
    assert not ban.over(SINCE_MS)
    assert ban.over(SINCE_MS + 1)
    assert not Ban(17, "a bot", "ops", SINCE_MS).over(1e15)


@pytest.mark.parametrize(
    ("reason", "by", "until_ms"),
    [
        ("", "ops", None),
        (" ", "ops", None),
        ("a\nb", "ops", None),
        ("x" * 201, "ops", None),
        ("x", "o" * 65, None),
        ("x", "o\n", None),
        ("x", "ops", SINCE_MS),
        ("x", "ops", 253_402_300_800_000),
    ],
)
def test_a_ban_that_makes_no_sense_is_none(reason: str, by: str, until_ms: int | None) -> None:
    """Texts are one line and bounded; the end lies behind the beginning and in a year that a database has."""
    with pytest.raises(ValueError, match=r"must be|ends after"):
        Ban(17, reason, by, SINCE_MS, until_ms)
