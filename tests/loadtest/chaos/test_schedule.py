"""Schedules: the same of a seed, complete however short, and never two things at once to one part."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.chaos.schedule import KINDS, ScheduleOptions, draw

PARTS = {f"{sort}-{number}": sort for sort in KINDS for number in range(1 if sort == "balancer" else 3)}
BRIEF = ScheduleOptions(seconds=0, every_s=2, longest_s=3)
LONG = ScheduleOptions(seconds=120, every_s=1, longest_s=20)


@given(st.integers(0, 2**32))
def test_a_seed_is_a_schedule(seed: int) -> None:
    assert draw(seed, PARTS, LONG) == draw(seed, PARTS, LONG)
    assert draw(seed, PARTS, LONG) != draw(seed + 1, PARTS, LONG)


@given(st.integers(0, 2**32), st.sampled_from([BRIEF, LONG]))
def test_every_kind_of_fault_and_every_sort_of_part_comes(seed: int, options: ScheduleOptions) -> None:
    faults = draw(seed, PARTS, options)
    assert {fault.kind for fault in faults} == {kind for kinds in KINDS.values() for kind in kinds}
    assert {fault.sort for fault in faults} == set(KINDS)
    assert all(fault.kind in KINDS[fault.sort] and PARTS[fault.part] == fault.sort for fault in faults)


@given(st.integers(0, 2**32))
def test_a_node_and_the_balancer_are_always_killed(seed: int) -> None:
    """The balancer's death is felt by all who type, on whatever nodes they are."""
    assert {("node", "kill"), ("balancer", "kill")} <= {(fault.sort, fault.kind) for fault in draw(seed, PARTS, BRIEF)}


@given(st.integers(0, 2**32))
def test_of_several_brokers_each_is_killed_and_paused(seed: int) -> None:
    faults = draw(seed, PARTS, BRIEF)
    done = {(fault.part, fault.kind) for fault in faults if fault.sort == "kafka"}
    assert {(f"kafka-{number}", kind) for number in range(3) for kind in ("kill", "pause")} <= done


@given(st.integers(0, 2**32))
def test_a_part_suffers_one_thing_at_a_time(seed: int) -> None:
    faults = draw(seed, PARTS, LONG)
    assert faults == sorted(faults, key=lambda fault: fault.at_s)
    for part in PARTS:
        own = [fault for fault in faults if fault.part == part]
        assert all(one.at_s + one.lasts_s < other.at_s for one, other in pairwise(own))


@given(st.integers(0, 2**32))
def test_faults_are_within_their_bounds(seed: int) -> None:
    for fault in draw(seed, PARTS, BRIEF):
        assert 0.5 <= fault.lasts_s <= BRIEF.longest_s
        assert (fault.amount > 0) == (fault.kind in ("slow", "narrow"))
        assert fault.words.startswith(fault.kind)


@pytest.mark.parametrize("options", [{"seconds": -1}, {"every_s": 0}, {"longest_s": 61}, {"longest_s": 0.5}])
def test_what_is_out_of_bounds_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed are"):
        ScheduleOptions(**options)
