"""The wheel: everybody once a second, spread out, and alarms on time."""

from contextlib import suppress

import pytest

from gateway.wheel import BUCKETS, Wheel
from tests.gateway.clockwork import Clockwork


class Visited:
    """A member that writes down when it was visited and rung."""

    def __init__(self, clockwork: Clockwork, *, cost_s: float = 0.0) -> None:
        self.phase = -1
        self.beats: list[float] = []
        self.alarms: list[float] = []
        self._clockwork = clockwork
        self._cost_s = cost_s

    def beat(self, now_ms: float) -> None:
        self.beats.append(now_ms)
        self._clockwork.now += self._cost_s

    def alarm(self, now_ms: float) -> None:
        self.alarms.append(now_ms)


@pytest.fixture(name="clockwork")
def _clockwork() -> Clockwork:
    return Clockwork()


@pytest.fixture(name="wheel")
def _wheel(clockwork: Clockwork) -> Wheel:
    wheel = Wheel(clockwork.loop)
    wheel.start()
    return wheel


def test_every_member_is_visited_once_a_second(clockwork: Clockwork, wheel: Wheel) -> None:
    """Ten seconds are ten visits, a second apart, whatever the phase."""
    members = [Visited(clockwork) for _ in range(3 * BUCKETS)]
    for member in members:
        wheel.join(member)
    clockwork.advance(10)
    for member in members:
        assert len(member.beats) == 10
        gaps = [later - earlier for earlier, later in zip(member.beats, member.beats[1:], strict=False)]
        assert gaps == pytest.approx([1000] * 9, abs=0.01)


def test_another_period_is_kept_likewise(clockwork: Clockwork) -> None:
    """Ten times a second, each at one of as many phases as were asked for."""
    wheel = Wheel(clockwork.loop, period_s=0.1, buckets=20, stride=1)
    wheel.start()
    members = [Visited(clockwork) for _ in range(40)]
    for member in members:
        wheel.join(member)
    clockwork.advance(1)
    assert {len(member.beats) for member in members} == {10}
    assert len({member.beats[0] for member in members}) == 20


def test_visits_are_spread_over_the_second(clockwork: Clockwork, wheel: Wheel) -> None:
    """Members that joined at once are visited at as many instants as there are buckets."""
    members = [Visited(clockwork) for _ in range(2 * BUCKETS)]
    for member in members:
        wheel.join(member)
    clockwork.advance(1)
    assert len({member.beats[0] for member in members}) == BUCKETS


def test_who_left_is_not_visited(clockwork: Clockwork, wheel: Wheel) -> None:
    """Leaving counts at once, also for a member that waits in the very bucket that is being walked."""
    second = Visited(clockwork)

    class Leaver(Visited):
        def beat(self, now_ms: float) -> None:
            super().beat(now_ms)
            wheel.leave(second)

    first = Leaver(clockwork)
    wheel.join(first)
    for _ in range(BUCKETS - 1):
        wheel.join(Visited(clockwork))
    wheel.join(second)
    assert first.phase == second.phase
    # whichever of the two the set yields first: the second is visited at most before the first one's visit
    clockwork.advance(2.5)
    assert len(first.beats) >= 2
    assert len(second.beats) <= 1


def test_a_stall_is_skipped_and_not_caught_up_with(clockwork: Clockwork, wheel: Wheel) -> None:
    """After five seconds without a turn, nobody is visited five times."""
    members = [Visited(clockwork) for _ in range(BUCKETS)]
    for member in members:
        wheel.join(member)
    clockwork.advance(1)
    clockwork.now += 5
    clockwork.advance(1)
    assert all(len(member.beats) in (2, 3) for member in members)


def test_what_turns_are_late_by_is_made_up_for(clockwork: Clockwork) -> None:
    """Where that is asked for: a loop that is late again and again makes nobody's period longer, up to a limit."""
    kept = Wheel(clockwork.loop, period_s=0.1, buckets=10, late_s=0.05)
    let_go = Wheel(clockwork.loop, period_s=0.1, buckets=10)
    members: list[Visited] = []
    for wheel in (kept, let_go):
        wheel.start()
        member = Visited(clockwork)
        wheel.join(member)
        members.append(member)
    began = clockwork.now
    while clockwork.now < began + 10:
        clockwork.advance(0.001)
        clockwork.now += 0.03  # a callback that takes long
    assert len(members[0].beats) == pytest.approx(100, abs=2)
    assert len(members[1].beats) < 70
    before = len(members[0].beats)
    clockwork.now += 5
    clockwork.advance(1)
    assert len(members[0].beats) - before == pytest.approx(10.5, abs=1)


def test_a_turn_that_comes_amid_visits_is_made_up_for(clockwork: Clockwork) -> None:
    """A bucket with more visits than there is time for takes from the next one's time, and not from the period."""
    wheel = Wheel(clockwork.loop, period_s=0.1, buckets=10, stride=1, late_s=0.05)
    members = [Visited(clockwork, cost_s=0.001) for _ in range(250)]
    for number, member in enumerate(members):
        wheel.join(member)
        if number % 10 not in (0, 1):  # the first two buckets have all: 25 ms of visits each
            wheel.leave(member)
    wheel.start()
    clockwork.advance(2.05)
    assert {len(member.beats) for member in members if member.phase < 2} <= {20, 21}


def test_long_visits_let_the_loop_breathe(clockwork: Clockwork, wheel: Wheel) -> None:
    """A bucket that takes longer than 3 ms is finished over several turns of the loop."""
    members = [Visited(clockwork, cost_s=0.0001) for _ in range(200 * BUCKETS)]
    for member in members:
        wheel.join(member)
    clockwork.advance(0.026)
    bucket = {member.phase for member in members if member.beats}
    assert len(bucket) == 1
    assert sum(bool(member.beats) for member in members) == 200
    # 200 visits of 0.1 ms are 20 ms: they were walked in slices of at least 32 and at most 64 visits
    starts = sorted(member.beats[0] for member in members if member.beats)
    assert len(set(starts)) >= 4


def test_overload_stretches_the_second_for_all_alike(clockwork: Clockwork, wheel: Wheel) -> None:
    """When a round takes ten seconds, everybody is visited every ten seconds, and nobody is starved."""
    members = [Visited(clockwork, cost_s=0.01) for _ in range(25 * BUCKETS)]
    for member in members:
        wheel.join(member)
    clockwork.advance(35)
    assert {len(member.beats) for member in members} <= {3, 4}


def test_a_fault_in_one_visit_costs_the_others_nothing(clockwork: Clockwork, wheel: Wheel) -> None:
    """The loop reports what a visit raises; the rest of the bucket is visited all the same."""

    class Faulty(Visited):
        def beat(self, now_ms: float) -> None:
            raise RuntimeError("a bug")

    members: list[Visited] = []
    for index in range(5 * BUCKETS):
        members.append(Faulty(clockwork) if index < BUCKETS else Visited(clockwork))
        wheel.join(members[-1])
    for _ in range(3 * BUCKETS):
        with suppress(RuntimeError):  # a real loop reports it and goes on
            clockwork.advance(0.025)
    assert all(member.beats for member in members[BUCKETS:])


def test_alarms_ring_in_order_and_on_time(clockwork: Clockwork, wheel: Wheel) -> None:
    """An earlier alarm asked for later still rings first."""
    late, early = Visited(clockwork), Visited(clockwork)
    start_ms = clockwork.now * 1000
    wheel.ring(late, start_ms + 700)
    wheel.ring(early, start_ms + 300)
    clockwork.advance(0.299)
    assert early.alarms == []
    clockwork.advance(0.701)
    assert early.alarms == pytest.approx([start_ms + 300])
    assert late.alarms == pytest.approx([start_ms + 700])


def test_no_alarm_rings_before_its_instant(clockwork: Clockwork, wheel: Wheel) -> None:
    """The loop's timers may be a millisecond early; who looks what is due by then finds it due, and asks once."""

    class Punctual(Visited):
        def alarm(self, now_ms: float) -> None:
            super().alarm(now_ms)
            if now_ms < due_ms:
                wheel.ring(self, due_ms)

    early, member = Visited(clockwork), Punctual(clockwork)
    due_ms = clockwork.now * 1000 + 100.9
    wheel.ring(early, due_ms - 0.9)
    wheel.ring(member, due_ms)
    clockwork.advance(0.5)
    assert member.alarms == [due_ms]


def test_stopped_it_visits_and_rings_no_more(clockwork: Clockwork, wheel: Wheel) -> None:
    """After `stop` neither the wheel nor an alarm calls anybody."""
    member = Visited(clockwork)
    wheel.join(member)
    wheel.ring(member, clockwork.now * 1000 + 100)
    wheel.stop()
    clockwork.advance(3)
    assert member.beats == []
    assert member.alarms == []
