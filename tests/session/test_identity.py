"""Ids: what they carry, and what names none."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.identity import (
    BUCKETS,
    MAX_USER,
    RACE_BITS,
    RACE_PATTERN,
    RANDOM_BITS,
    IdentityError,
    bucket_of,
    bucket_of_user,
    created_at_ms,
    is_race,
    mint_guest,
    mint_race,
    mint_session,
    session_from_text,
    session_to_text,
    user_from_text,
)

users = st.integers(-MAX_USER, MAX_USER).filter(bool)


@given(users, st.integers(0, 2**48 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_a_session_id_is_a_uuid7_that_says_when_and_which_bucket(user: int, epoch_ms: int, random_bits: int) -> None:
    session = mint_session(user, epoch_ms=epoch_ms, random_bits=random_bits)
    uuid = UUID(bytes=session)
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert created_at_ms(session) == epoch_ms == uuid.int >> 80
    assert bucket_of(session) == bucket_of_user(user) < BUCKETS
    assert session_to_text(session) == str(uuid)
    assert session_from_text(str(uuid)) == session
    assert int.from_bytes(session, "big") & (1 << RANDOM_BITS) - 1 == random_bits


def test_golden() -> None:
    """Ids and buckets of old rows must be found for ever."""
    session = mint_session(1, epoch_ms=1_790_000_000_000, random_bits=5)
    assert session_to_text(session) == "01a0c450-6c00-7ab8-8000-000000000005"
    assert [bucket_of_user(user) for user in (1, -1, MAX_USER, -MAX_USER)] == [2744, 3629, 2579, 1755]


@pytest.mark.parametrize(
    ("epoch_ms", "random_bits"), [(-1, 0), (2**48, 0), (0, -1), (0, 2**62)], ids=["before", "after", "minus", "many"]
)
def test_what_a_uuid7_cannot_hold_is_refused(epoch_ms: int, random_bits: int) -> None:
    with pytest.raises(ValueError, match=r"epoch_ms|random_bits"):
        mint_session(1, epoch_ms=epoch_ms, random_bits=random_bits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0190163d-8694-739b-aea5-966c26f8ad9",
        "0190163D-8694-739B-AEA5-966C26F8AD91",
        "{0190163d-8694-739b-aea5-966c26f8ad91}",
        "0190163d86940739b0aea5-966c26f8ad9100",
        "0190163d-8694-439b-aea5-966c26f8ad91",
        "0190163d-8694-739b-cea5-966c26f8ad91",
        "0190163g-8694-739b-aea5-966c26f8ad91",
        "-190163d-8694-739b-aea5-966c26f8ad91",
    ],
)
def test_a_session_has_one_name_only(text: str) -> None:
    with pytest.raises(IdentityError, match="canonical"):
        session_from_text(text)


@given(st.integers(0, 2**80))
def test_guests_are_negative_and_in_range(random_bits: int) -> None:
    assert -MAX_USER <= mint_guest(random_bits) <= -1


@given(users)
def test_users_are_read_as_they_are_written(user: int) -> None:
    assert user_from_text(str(user)) == user


@pytest.mark.parametrize("text", ["", "-", "0", "-0", "007", "+5", "1.0", " 5", "٥", str(MAX_USER + 1), "9" * 400])
def test_what_names_no_user(text: str) -> None:
    with pytest.raises(IdentityError, match="decimal"):
        user_from_text(text)


@given(st.integers(0, (1 << RACE_BITS) - 1))
def test_a_race_s_id_holds_its_chance(random_bits: int) -> None:
    """13 characters that nobody mistakes for others, one for each number."""
    race = mint_race(random_bits)
    assert is_race(race)
    assert re.match(RACE_PATTERN, race)
    assert sum("0123456789abcdefghjkmnpqrstvwxyz".index(c) << 5 * place for place, c in enumerate(race[::-1])) == (
        random_bits
    )


@pytest.mark.parametrize(
    "text", ["", "0123456789ab", "0123456789abcd", "0123456789abC", "0123456789abi", "0123456789ab\n"]
)
def test_what_is_no_race_s_id(text: str) -> None:
    assert not is_race(text)
    assert not re.match(RACE_PATTERN, text)


def test_a_race_s_id_takes_65_bits() -> None:
    for bits in (-1, 1 << RACE_BITS):
        with pytest.raises(ValueError, match="65 bits"):
            mint_race(bits)
