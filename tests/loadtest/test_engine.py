"""The generator's loop: who is woken, and when."""

from math import inf

import pytest

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
