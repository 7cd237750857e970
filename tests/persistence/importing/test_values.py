from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.importing.values import Bad, instant_ms, number, shown, switch, whole

AT_MS = 1_709_528_767_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (72.5, 72.5),
        (72, 72),
        ("72.5", 72.5),
        (" +72.5 ", 72.5),
        ("7.25e1", 72.5),
        (".5", 0.5),
        ("72,5", 72.5),
        ("98 %", 98),
        ({"$numberDecimal": "72.5"}, 72.5),
    ],
)
def test_numbers_come_in_many_forms(value: object, found: float) -> None:
    assert number("wpm", value, 0, 100) == found


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "-", "1_000", "1,234", "0x10", "NaN", "inf", "1e999", "9" * 400, float("nan"), float("inf")),
        *(10**400, -1, 100.5, [72.5], {"wpm": 72.5}, {"$numberDecimal": 72.5}, b"72", "\N{ARABIC-INDIC DIGIT THREE}"),
    ],
)
def test_what_is_no_number_within_the_bounds_is_refused(value: object) -> None:
    with pytest.raises(Bad, match="allowed: a number from 0 to 100"):
        number("wpm", value, 0, 100)


def test_a_long_whole_number_keeps_its_last_digit() -> None:
    assert whole("user", "9007199254740991", 1, 2**53 - 1) == 2**53 - 1
    with pytest.raises(Bad, match="user is '9007199254740992'"):
        whole("user", "9007199254740992", 1, 2**53 - 1)
    with pytest.raises(Bad, match=r"user is 7\.5; allowed: a whole number from 1 to 9"):
        whole("user", 7.5, 1, 9)


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (1_709_528_767, AT_MS),
        (1_709_528_767.089, AT_MS + 89),
        (AT_MS, AT_MS),
        (AT_MS * 1000, AT_MS),
        (str(AT_MS), AT_MS),
        ("2024-03-04T05:06:07Z", AT_MS),
        ("2024-03-04T06:06:07.089+01:00", AT_MS + 89),
        ("2024-03-04 05:06:07", AT_MS),
        ("2024-03-04", 1_709_510_400_000),
        ("20240304", 1_709_510_400_000),
        ("Mon, 04 Mar 2024 05:06:07 GMT", AT_MS),
        ("Mon Mar 04 2024 06:06:07 GMT+0100 (Central European Standard Time)", AT_MS),
        ({"$date": "2024-03-04T05:06:07Z"}, AT_MS),
        ({"$date": {"$numberLong": str(AT_MS)}}, AT_MS),
        ({"seconds": 1_709_528_767, "nanoseconds": 5}, AT_MS),
    ],
)
def test_instants_come_in_many_forms(value: object, ms: int) -> None:
    assert instant_ms("date", value, UTC) == ms


def test_a_date_without_a_zone_is_of_the_old_sites() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert instant_ms("date", "2024-03-04 06:06:07", berlin) == AT_MS
    assert instant_ms("date", "2024-03-04T05:06:07Z", berlin) == AT_MS


@pytest.mark.parametrize(
    "value", [None, True, "", "soon", "03/04/2024", "2024-02-30", "0000-00-00", [], {}, 1e17, float("nan"), "2" * 200]
)
def test_what_is_no_instant_is_refused(value: object) -> None:
    with pytest.raises(Bad, match="allowed: an ISO 8601 date"):
        instant_ms("date", value, UTC)


@pytest.mark.parametrize(
    ("value", "yes"),
    [
        *((True, True), (0, False), (1.0, True), ("Yes", True), (" off ", False), ("", False)),
        *((2, None), ("2024", None), ([], None), (None, None)),
    ],
)
def test_switches(value: object, yes: bool | None) -> None:
    assert switch(value) is yes


@given(value=JSON)
def test_whatever_it_is_it_is_a_value_or_said_why_not(value: object) -> None:
    for read in (
        lambda: number("it", value, 0, 100),
        lambda: whole("it", value, 0, 100),
        lambda: instant_ms("it", value, UTC),
    ):
        try:
            assert isinstance(read(), int | float)
        except Bad as why:
            str(why).encode()
    assert len(shown(value).encode()) < 300
