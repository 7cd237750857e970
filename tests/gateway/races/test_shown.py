"""A race as it is shown."""

import re
from typing import get_type_hints

from gateway.races.shown import state_of
from session.race_messages import RaceStateMessage
from tests.session.races import running


def test_a_lane_has_what_the_protocol_says() -> None:
    """Nothing else, and nothing less once its racer has finished."""
    play = running(1, 2)
    play.finish(1, ms=20_000)
    play.finish(2, ms=25_000)
    (wire,) = get_type_hints(RaceStateMessage, include_extras=True)["racers"].__metadata__
    said = set(re.findall(r"`(\w+)`", wire.meaning))
    assert [set(row) for row in state_of(play.race)["racers"]] == [said, said]
