"""The seeds of races that CI runs; see `tests.simulation.schedules`."""

import pytest

from tests.simulation.schedules import all_hold, named, race_chunks


@pytest.mark.parametrize("seeds", race_chunks(), ids=named)
def test_a_race_has_one_end_that_all_see(seeds: range) -> None:
    """Whatever goes wrong, every law of `tests.simulation.laws` and `tests.simulation.races.laws` holds."""
    all_hold(seeds, "races")
