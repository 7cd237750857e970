"""How many races, for how long: what cannot be meant is refused."""

import pytest

from persistence.races import RacesOptions


@pytest.mark.parametrize("name", ["most", "open_most", "live_ms", "settled_ms", "tries", "retry_ms", "clock_ms"])
def test_no_limit_is_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; allowed is 1 to"):
        RacesOptions(**{name: 0})
