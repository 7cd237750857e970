"""The calendar, for tests whose results must be of today: those that begin just before midnight begin after it."""

import time

import pytest

DAY_S = 86_400
_ENOUGH_S = 120


def today() -> int:
    """The day that it is (UTC), in days since 1970-01-01."""
    return int(time.time() // DAY_S)


@pytest.fixture
def same_day() -> None:
    """Wait for midnight where it is near, so that `today` is one day all through the test."""
    left_s = DAY_S - time.time() % DAY_S
    if left_s < _ENOUGH_S:
        time.sleep(left_s + 1)
