"""Which races may be lost: those that nobody who lived could give back to a Redis that had forgotten them."""

import pytest

from loadtest.chaos.faults import Suffered
from loadtest.chaos.losses import may_be_lost
from loadtest.chaos.schedule import Fault

Times = tuple[str, float, float | None, float | None]


def suffered(part: str, kind: str, begun_s: float, ended_s: float | None, well_s: float | None) -> Suffered:
    """One fault."""
    return Suffered(Fault(begun_s, part, part.partition("-")[0], kind, 1.0), begun_s, ended_s, well_s)


@pytest.mark.parametrize(
    ("node", "redis", "lost"),
    [
        (("kill", 10, 12, 13), ("kill", 20, 21, 30), True),
        (("kill", 25, 26, 27), ("kill", 20, 21, 30), True),  # it had not given it back yet
        (("kill", 25, None, None), ("restart", 20, 21, None), True),
        (("restart", 25, 26, 27), ("kill", 3, 6, 30), True),  # it was away when the race began
        (("kill", 31, 32, 33), ("kill", 20, 21, 30), False),  # it was well with the new one before it died
        (("kill", 4, 12, 13), ("kill", 20, 21, 30), False),  # before the race began
        (("kill", 10, 12, 13), ("kill", 3, 4, 6), False),
        (("pause", 10, 12, 13), ("kill", 20, 21, 30), False),
        (("kill", 10, 12, 13), ("pause", 20, 21, 30), False),
    ],
)
def test_a_race_is_lost_with_all_who_knew_it(
    node: tuple[str, float, float | None, float | None],
    redis: tuple[str, float, float | None, float | None],
    lost: bool,
) -> None:
    """It began at 5 s, and node-1 told of it until 9 s."""
    assert may_be_lost(5.0, {"node-1": 9.0}, [suffered("node-1", *node), suffered("redis", *redis)]) is lost


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        ({"node-1": 9.0}, True),
        ({"node-1": 9.0, "node-2": 18.0}, True),  # it died as well, with the last news still on the way
        ({"node-1": 9.0, "node-3": 7.0}, False),  # it lived, and knew the race, though its racer was elsewhere since
        ({"node-3": 9.0}, False),
        ({"node-1": 16.0}, False),  # it told of it after its death: it was there again, and had it from Redis
        ({"node-1": 9.0, "node-2": 31.0}, False),  # the new Redis had it
        ({}, False),
    ],
)
def test_all_servers_that_knew_it_have_to_die(told: dict[str, float], lost: bool) -> None:
    """And not just any."""
    deaths = [suffered("node-1", "kill", 10, 12, 13), suffered("node-2", "restart", 16, 17, 18)]
    assert may_be_lost(5.0, told, [*deaths, suffered("redis", "kill", 20, 21, 30)]) is lost


def test_what_else_dies_takes_no_race_with_it() -> None:
    others = [suffered("worker-1", "kill", 10, 11, 12), suffered("shard-a", "kill", 10, 11, 12)]
    told = {"node-1": 9.0}
    assert not may_be_lost(5.0, told, [*others, suffered("redis", "kill", 20, 21, 30)])
    assert not may_be_lost(5.0, told, [*others, suffered("node-1", "kill", 20, 21, 30)])
