"""Whose clock ran away: drift, lag and their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.drift import Drift, DriftLimits


def run(batches: list[tuple[float, float]]) -> Drift:
    """Feed batches of (client time, server time)."""
    drift = Drift()
    for client_ms, now_ms in batches:
        drift.arrived(client_ms, now_ms=now_ms)
    return drift


def steady(offset_ms: float, seconds: float, *, pace: float = 1.0) -> list[tuple[float, float]]:
    """A batch every 250 ms; the client's clock goes `pace` times as fast as the server's."""
    return [(250.0 * i * pace, offset_ms + 250.0 * i) for i in range(int(seconds * 4) + 1)]


def test_clocks_that_agree_have_no_drift_whatever_their_offset() -> None:
    reading = run(steady(987_654.0, 60)).reading()
    assert (reading.drift_ms, reading.lag_ms, reading.ahead, reading.behind) == (0.0, 0.0, False, False)


def test_no_batch_means_no_drift() -> None:
    reading = Drift().reading(ping_ms=80)
    assert (reading.drift_ms, reading.ahead, reading.behind) == (0.0, False, False)


@pytest.mark.parametrize(("by_ms", "ahead"), [(250.0, False), (250.5, True)])
def test_a_clock_may_gain_250_ms(by_ms: float, ahead: bool) -> None:
    reading = run([*steady(0, 10), (10_250.0 + by_ms, 10_250.0)]).reading(ping_ms=1500)
    assert reading.drift_ms == pytest.approx(-by_ms)
    assert (reading.ahead, reading.behind) == (ahead, False)


@pytest.mark.parametrize(
    ("by_ms", "ping_ms", "behind"),
    [
        (599.0, 0.0, False),
        (601.0, 0.0, True),
        (679.0, 80.0, False),
        (681.0, 80.0, True),
        (2099.0, 9000.0, False),
        (2101.0, 9000.0, True),
    ],
)
def test_a_clock_may_lose_500_ms_and_the_ping_and_one_per_cent(by_ms: float, ping_ms: float, behind: bool) -> None:
    """Over 10 s of client time: 500 ms + the ping, 1,500 ms of it at most, + 100 ms."""
    reading = run([*steady(0, 9.75), (10_000.0, 10_000.0 + by_ms)]).reading(ping_ms=ping_ms)
    assert reading.drift_ms == pytest.approx(by_ms)
    assert (reading.ahead, reading.behind) == (False, behind)


@pytest.mark.parametrize(("by_ms", "behind"), [(2_599.0, False), (2_601.0, True)])
def test_so_long_as_the_server_did_not_read_a_batch_may_be_later(by_ms: float, behind: bool) -> None:
    """By no more, and a clock ahead is not excused by it."""
    drift = run([*steady(0, 9.75), (10_000.0, 10_000.0 + by_ms)])
    assert drift.reading(stall_ms=2_000.0).behind is behind
    assert run([*steady(0, 10), (10_600.0, 10_250.0)]).reading(stall_ms=2_000.0).ahead


def test_a_slowed_clock_is_behind_and_a_hurried_one_ahead() -> None:
    assert run(steady(5_000, 60, pace=0.95)).reading(ping_ms=50).behind
    assert run(steady(5_000, 60, pace=1.05)).reading(ping_ms=50).ahead


def test_a_log_sent_all_at_once_is_ahead_of_the_tests_own_beginning() -> None:
    """Sent within the first seconds it would set its own base; but nobody types longer than the test is open."""
    drift = Drift(began_ms=900.0)
    for i in range(200):
        drift.arrived(250.0 * i, now_ms=1000.0 + i)
    assert drift.reading().ahead
    assert drift.reading().drift_ms == pytest.approx(1199.0 - 250.0 * 199 - 900.0)


def test_a_log_sent_all_at_once_after_the_first_seconds_is_ahead() -> None:
    assert run([(0.0, 1000.0), *((250.0 * i, 9000.0 + i) for i in range(1, 200))]).reading().ahead


def test_a_network_that_stalls_at_the_beginning_is_not_held_against_anybody() -> None:
    """What was typed for 4 s arrives at once, then all goes well."""
    drift = Drift(began_ms=100.0)
    for i in range(17):
        drift.arrived(250.0 * i, now_ms=5000.0)
    for client_ms, now_ms in steady(900.0, 60)[17:]:
        drift.arrived(client_ms, now_ms=now_ms)
    reading = drift.reading()
    assert not reading.ahead
    assert not reading.behind


def test_the_beginning_says_nothing_after_a_resume() -> None:
    drift = Drift(began_ms=1_000_000.0)
    drift.resumed()
    drift.arrived(60_000.0, now_ms=1_010_000.0)
    assert drift.reading().drift_ms == 0.0


def test_a_spike_that_recovers_is_lag_and_no_drift() -> None:
    reading = run([*steady(0, 10), (10_250.0, 14_250.0), (14_500.0, 14_510.0)]).reading()
    assert reading.drift_ms == pytest.approx(10.0)
    assert reading.lag_ms == pytest.approx(4000.0)
    assert not reading.behind


def test_the_base_is_the_least_of_the_first_five_seconds() -> None:
    """A slow start of the network is not held against the clock later, and counts as lag."""
    reading = run([(0.0, 800.0), (1000.0, 1700.0), (4000.0, 4000.0), (20_000.0, 20_000.0)]).reading()
    assert reading.drift_ms == 0.0
    assert reading.lag_ms == pytest.approx(800.0)


def test_after_the_first_five_seconds_the_base_stands() -> None:
    assert run([(0.0, 800.0), (6000.0, 6400.0), (20_000.0, 20_400.0)]).reading().drift_ms == pytest.approx(-400.0)


def test_a_resume_takes_the_base_anew_and_keeps_the_worst_lag() -> None:
    drift = run([*steady(0, 10), (10_250.0, 11_250.0)])
    drift.resumed()
    assert drift.reading().drift_ms == 0.0
    for client_ms, now_ms in ((40_000.0, 500_000.0), (41_000.0, 501_020.0)):
        drift.arrived(client_ms, now_ms=now_ms)
    reading = drift.reading()
    assert reading.drift_ms == pytest.approx(20.0)
    assert reading.lag_ms == pytest.approx(1000.0)


def test_the_one_per_cent_is_of_the_time_since_the_base() -> None:
    drift = run(steady(0, 600))
    drift.resumed()
    drift.arrived(600_000.0, now_ms=1_000_000.0)
    drift.arrived(601_000.0, now_ms=1_001_600.0)
    assert drift.reading().behind_limit_ms == pytest.approx(510.0)
    assert drift.reading().behind


def test_other_limits() -> None:
    limits = DriftLimits(base_window_ms=0.0, ahead_ms=10.0, behind_ms=20.0, ping_cap_ms=0.0, behind_share=0.0)
    drift = Drift()
    drift.arrived(0.0, now_ms=100.0, limits=limits)
    drift.arrived(1000.0, now_ms=1085.0, limits=limits)
    assert drift.reading(ping_ms=1000.0, limits=limits).ahead
    assert drift.reading(ping_ms=1000.0, limits=limits).behind_limit_ms == 20.0


@pytest.mark.parametrize("field", ["base_window_ms", "ahead_ms", "behind_ms", "ping_cap_ms", "behind_share"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_limits_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        DriftLimits(**{field: value})


@given(
    st.lists(st.tuples(st.integers(1, 2_000), st.integers(-700, 700)), min_size=1, max_size=40),
    st.sets(st.integers(0, 39), max_size=3),
)
def test_batches_within_the_bounds_may_be_left_out(steps: list[tuple[int, int]], resumes: set[int]) -> None:
    """All but the last of a stretch: the reading is the same."""
    whole, looked = Drift(0.0), Drift(0.0)
    now_ms = client_ms = 0.0
    for at, (passed_ms, wobble_ms) in enumerate(steps):
        now_ms += passed_ms
        client_ms = max(client_ms, now_ms - 300 + wobble_ms)
        whole.arrived(client_ms, now_ms=now_ms)
        last = at + 1 == len(steps) or at + 1 in resumes
        if last or not looked.low <= now_ms - client_ms <= looked.high:
            looked.arrived(client_ms, now_ms=now_ms)
        if at + 1 in resumes:
            whole.resumed()
            looked.resumed()
    assert looked.reading(ping_ms=40) == whole.reading(ping_ms=40)


def test_an_agreed_start_is_the_base_whatever_comes_first() -> None:
    """A client that lets its time begin late claims less than has passed, and no first batch hides it."""
    drift = Drift.of_start(5_000.0)
    for client_ms, now_ms in steady(5_700.0, 10):
        drift.arrived(client_ms, now_ms=now_ms)
    assert drift.reading().drift_ms == pytest.approx(700.0)
    assert drift.reading().behind
    assert not drift.reading(ping_ms=150.0).behind


def test_an_agreed_start_outlives_a_resume() -> None:
    """Wherever the test goes on, the instant is the same."""
    drift = Drift.of_start(5_000.0)
    drift.arrived(1_000.0, now_ms=6_040.0)
    drift.resumed()
    drift.arrived(9_000.0, now_ms=17_000.0)
    assert drift.reading().drift_ms == pytest.approx(3_000.0)
    assert Drift.of_start(5_000.0).reading().drift_ms == 0.0
