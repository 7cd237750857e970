"""Time limits on one coarse timer."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.deadlines import Deadlines, Limit


class Waiting:
    def __init__(self) -> None:
        self.overdue_times = 0

    def overdue(self) -> None:
        self.overdue_times += 1


def test_overdue_once_and_not_before_its_time() -> None:
    deadlines = Deadlines(period_s=1, now_s=100)
    limit = deadlines.limit(5)
    waiting = Waiting()
    limit.start(waiting)
    for now_s in range(101, 106):
        deadlines.sweep(now_s=now_s)
        assert waiting.overdue_times == 0
    for now_s in range(106, 120):
        deadlines.sweep(now_s=now_s)
        assert waiting.overdue_times == 1
    assert len(limit) == 0


def test_stopped_in_time_and_started_anew() -> None:
    deadlines = Deadlines(period_s=1, now_s=0)
    limit = deadlines.limit(5)
    waiting = Waiting()
    limit.start(waiting)
    deadlines.sweep(now_s=4)
    limit.stop(waiting)
    limit.stop(waiting)
    limit.start(waiting)
    limit.start(waiting)  # already held: its time is not prolonged
    deadlines.sweep(now_s=9)
    assert waiting.overdue_times == 0
    deadlines.sweep(now_s=10)
    assert waiting.overdue_times == 1


def test_one_that_is_overdue_may_start_another_limit_and_stop_others() -> None:
    deadlines = Deadlines(period_s=1, now_s=0)
    first, second = deadlines.limit(2), deadlines.limit(3)

    class Chained(Waiting):
        def overdue(self) -> None:
            super().overdue()
            second.start(self)

    chained = Chained()
    first.start(chained)
    deadlines.sweep(now_s=3)
    assert (chained.overdue_times, len(second)) == (1, 1)
    deadlines.sweep(now_s=20)
    assert chained.overdue_times == 2


@given(st.lists(st.tuples(st.floats(0.01, 2), st.booleans()), max_size=40))
def test_a_limit_holds_between_its_length_and_two_periods_more(steps: list[tuple[float, bool]]) -> None:
    """However starts and sweeps fall: the law that callers may count on, with sweeps at most a period apart."""
    period_s, length_s = 1.0, 3.0
    now_s = next_sweep_s = 0.0
    deadlines = Deadlines(period_s=period_s, now_s=now_s)
    limit: Limit = deadlines.limit(length_s)
    started: dict[Waiting, float] = {}
    for step_s, start in [*steps, *[(1.0, False)] * 8]:
        until_s = now_s + step_s
        while next_sweep_s <= until_s:
            now_s = next_sweep_s
            deadlines.sweep(now_s=now_s)
            next_sweep_s = now_s + period_s
            for waiting, since_s in list(started.items()):
                if waiting.overdue_times:
                    del started[waiting]
                    assert length_s <= now_s - since_s
                else:
                    assert now_s - since_s < length_s + 2 * period_s
        now_s = until_s
        if start:
            waiting = Waiting()
            limit.start(waiting)
            started[waiting] = now_s
