from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.mysql.literals import blob, day, day_number, instant, number, text

LAST_MS = 253_402_300_799_999


@given(st.integers(0, LAST_MS))
def test_instants_and_days_are_those_of_the_calendar(epoch_ms: int) -> None:
    then = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
    assert instant(epoch_ms) == f"'{then:%Y-%m-%d %H:%M:%S}.{epoch_ms % 1000:03}'"
    assert day(epoch_ms // 86_400_000) == f"'{then:%Y-%m-%d}'"
    assert day_number(f"{then:%Y-%m-%d}") == epoch_ms // 86_400_000


@pytest.mark.parametrize("epoch_ms", [-1, LAST_MS + 1, 2**48 - 1])
def test_an_instant_without_a_date_is_refused(epoch_ms: int) -> None:
    with pytest.raises(ValueError, match="beyond the year 9999"):
        instant(epoch_ms)


@given(st.text())
def test_text_has_nothing_to_be_escaped(value: str) -> None:
    try:
        literal = text(value)
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no text
    assert literal == f"_utf8mb4 x'{value.encode().hex()}'"


def test_null_and_numbers_and_bytes() -> None:
    assert (text(None), number(None), number(7), number(-0.5), blob(b"\x00'")) == (
        "NULL",
        "NULL",
        "7",
        "-0.5",
        "x'0027'",
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no number"):
        number(value)
