"""The generator's loop: who is woken, and when."""

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadtest.engine import Engine


class Sleeper:
    """A member that counts how often it was woken."""

    def __init__(self) -> None:
        self.due_ms = inf
        self.woken = 0

    def wake(self, now_ms: float) -> None:
        self.woken += 1

    def readable(self) -> None: ...

    def writable(self) -> None: ...


def test_an_instant_that_is_given_up_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it so far off that it is not on the ring yet."""
    now_s = [1_000.0]
    monkeypatch.setattr("loadtest.engine.monotonic", lambda: now_s[0])
    engine, near, far, other = Engine(), Sleeper(), Sleeper(), Sleeper()
    for member, after_ms in ((near, 10), (far, 17_000), (other, 17_000)):
        member.due_ms = engine.now_ms + after_ms
        engine.at(member)
    near.due_ms = far.due_ms = inf
    for _ in range(4):
        now_s[0] += 5.0
        engine.turn()
    engine.close()
    assert (near.woken, far.woken, other.woken) == (0, 0, 1)


@given(
    st.lists(st.integers(0, 60_000), min_size=1, max_size=20),
    st.lists(st.integers(1, 40_000), max_size=10),
)
@example([2, 16_384, 17_000, 30_000], [20_000])
@example([16_386], [10, 16_390])
def test_everybody_is_woken_once_however_long_the_machine_sleeps(after_ms: list[int], sleeps_ms: list[int]) -> None:
    """Not before the instant that one has asked for, and a few turns after it at the latest."""
    now_s = [1_000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loadtest.engine.monotonic", lambda: now_s[0])
        engine = Engine()
        begun_ms = engine.now_ms
        sleepers = [Sleeper() for _ in after_ms]
        for sleeper, ms in zip(sleepers, after_ms, strict=True):
            sleeper.due_ms = engine.now_ms + ms
            engine.at(sleeper)
        for slept_ms in [*sleeps_ms, 60_004]:
            now_s[0] += slept_ms / 1000
            engine.turn()
            early = [
                ms for one, ms in zip(sleepers, after_ms, strict=True) if one.woken and begun_ms + ms > engine.now_ms
            ]
            assert early == []
            now_s[0] += 0.002
            for _ in range(5):
                engine.turn()
        engine.close()
    assert [one.woken for one in sleepers] == [1] * len(sleepers)
