"""The first quarter of the seeds that CI runs; see `tests.simulation.schedules`."""

import pytest

from tests.simulation.schedules import all_hold, chunks, named


@pytest.mark.parametrize("seeds", chunks(0), ids=named)
def test_nothing_that_was_typed_is_lost(seeds: range) -> None:
    """Whatever goes wrong, every law of `tests.simulation.laws` holds."""
    all_hold(seeds)
