"""Slices: long jobs take turns and let the loop breathe."""

from collections.abc import Generator

import pytest

from gateway.slices import SLICE_SECONDS, Slices
from tests.gateway.clockwork import Clockwork


def job(clockwork: Clockwork, steps: int, *, cost_s: float = 0.001) -> Generator[None, None, int]:
    for _ in range(steps):
        clockwork.now += cost_s
        yield
    return steps


def fail(exc: Exception) -> None:
    raise AssertionError(exc)


def test_a_short_job_ends_within_the_call() -> None:
    """A job that never yields has ended when `run` returns."""
    clockwork = Clockwork()
    ended: list[int] = []
    slices = Slices(clockwork.loop, clock=clockwork.time)
    slices.run(job(clockwork, 0), ended.append, fail)
    assert ended == [0]
    assert not slices


def test_jobs_take_turns() -> None:
    """A short job that comes after a long one ends long before it."""
    clockwork = Clockwork()
    ended: list[int] = []
    slices = Slices(clockwork.loop, clock=clockwork.time)
    slices.run(job(clockwork, 1000), ended.append, fail)
    slices.run(job(clockwork, 3), ended.append, fail)
    turns = 0
    while ended != [3]:
        assert clockwork.run_soon() == 1
        turns += 1
    assert turns <= 4
    while slices:
        clockwork.run_soon()
    assert ended == [3, 1000]


def test_a_turn_is_bounded() -> None:
    """Whatever waits, one turn of the loop holds no more than a slice and one step."""
    clockwork = Clockwork()
    slices = Slices(clockwork.loop, clock=clockwork.time)
    for _ in range(50):
        slices.run(job(clockwork, 10), lambda _: None, fail)
    while slices:
        before = clockwork.now
        clockwork.run_soon()
        assert clockwork.now - before <= SLICE_SECONDS + 0.001 + 1e-9


def test_a_jobs_fault_is_its_owners() -> None:
    """What a job raises goes to its owner, in the first step or later, and the other jobs go on."""
    clockwork = Clockwork()
    ended: list[int] = []
    faults: list[str] = []

    def faulty(after: int) -> Generator[None, None, int]:
        for _ in range(after):
            yield
        raise ValueError(f"after {after}")

    slices = Slices(clockwork.loop, clock=clockwork.time)
    for after in (0, 2):
        slices.run(faulty(after), ended.append, lambda exc: faults.append(str(exc)))
    slices.run(job(clockwork, 5), ended.append, fail)
    while slices:
        clockwork.run_soon()
    assert faults == ["after 0", "after 2"]
    assert ended == [5]


def test_one_turn_a_turn_of_the_loop() -> None:
    """However often a job's end is another's beginning, jobs hold each turn of the loop once."""
    clockwork = Clockwork()
    slices = Slices(clockwork.loop, clock=clockwork.time)

    def next_one(_: int) -> None:
        if clockwork.now < 1001:
            slices.run(job(clockwork, 10), next_one, fail)

    slices.run(job(clockwork, 10), next_one, fail)
    while slices:
        assert clockwork.run_soon() == 1


def test_an_owners_fault_stops_nobody() -> None:
    """Where the owner of a job cannot take what became of it, the other jobs still go on."""
    clockwork = Clockwork()
    ended: list[int] = []

    def refuse(value: int) -> None:
        raise ValueError(value)

    slices = Slices(clockwork.loop, clock=clockwork.time)
    slices.run(job(clockwork, 2), refuse, fail)
    slices.run(job(clockwork, 8), ended.append, fail)
    clockwork.run_soon()
    with pytest.raises(ValueError, match="2"):
        clockwork.run_soon()
    while clockwork.run_soon():
        pass
    assert ended == [8]
    assert not slices
