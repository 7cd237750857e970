"""Personal bests as a shard's own words: what it tells, and what it may not leave out."""

import pytest

from persistence.errors import StoreError
from persistence.results.bests import Board, PersonalBest, Place, periods_of
from persistence.results.mysql import bests

DAY = 20_717
PLACES = [Place(user, Board("time", 15, "en"), period) for user in (7, 8) for period in periods_of(DAY)]


def test_bests_are_read_from_one_row_of_each_board_and_period() -> None:
    users = bests.users_of(PLACES)
    rows = [(2, 1, f"8 {bytes(16).hex().upper()} 61.50 93.24"), (0, 0, None), (1, 0, None)]
    assert bests.standing_of(users, rows) == [PersonalBest(PLACES[5], bytes(16), 61.5, 93.24)]
    assert bests.standing({}) is None
    assert bests.standing_of({}, ()) == []


def test_what_the_server_has_cut_short_is_not_taken_for_the_whole() -> None:
    with pytest.raises(StoreError, match="1 bests of 2"):
        bests.standing_of(bests.users_of(PLACES), [(0, 2, f"7 {bytes(16).hex()} 61.50 93.24")])
