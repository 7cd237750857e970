"""What a run measured: counters, and distributions of times in bounded memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from math import exp, log
from operator import add

__all__ = ["Meters", "Times"]

_STEP = log(1.02)  # buckets of 2 %: no quantile is farther off than half of that
_LEAST_MS = 0.01
_BUCKETS = 1024  # up to 0.01 ms · 1.02^1023, which is 1.7 hours


class Times:
    """A distribution of milliseconds: 1,024 counters, whatever the number of readings."""

    __slots__ = ("_counts", "most_ms", "n", "total_ms")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.n = 0
        """Readings."""
        self.total_ms = 0.0
        self.most_ms = 0.0

    def add(self, ms: float) -> None:
        """Take one reading; below 0.01 ms counts as that."""
        self.n += 1
        self.total_ms += ms
        if ms > self.most_ms:
            self.most_ms = ms
        self._counts[min(int(log(ms / _LEAST_MS) / _STEP), _BUCKETS - 1) if ms > _LEAST_MS else 0] += 1

    def quantile(self, share: float) -> float | None:
        """The time in ms that this share of the readings does not exceed; None without readings."""
        if not self.n:
            return None
        wanted = share * self.n
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and count:
                return min(_LEAST_MS * exp((bucket + 0.5) * _STEP), self.most_ms)
        return self.most_ms

    def clear(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]  # that is what it does

    def merge(self, other: Times) -> None:
        """Take all readings of another one."""
        self.n += other.n
        self.total_ms += other.total_ms
        self.most_ms = max(self.most_ms, other.most_ms)
        self._counts = array("Q", map(add, self._counts, other._counts))

    @classmethod
    def joined(cls, several: Iterable[Times]) -> Times:
        """The readings of all of these."""
        whole = cls()
        for one in several:
            whole.merge(one)
        return whole

    def copy(self) -> Times:
        """The readings so far."""
        return self.joined([self])

    def facts(self) -> dict[str, float | int | None]:
        """The usual figures, in ms."""
        return {
            "n": self.n,
            **{name: _rounded(self.quantile(share)) for name, share in _QUANTILES},
            "max": _rounded(self.most_ms if self.n else None),
        }


_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3 if ms < 10 else 1)


@dataclass(slots=True)
class Meters:
    """What all clients of a run count together."""

    frames_out: int = 0
    """Messages sent to the server."""
    frames_in: int = 0
    events: int = 0
    """Keystrokes sent, resent ones too."""
    ticks: int = 0
    ready: int = 0
    """Handshakes that came to `ready`."""
    started: int = 0
    accepted: int = 0
    """Results, each session once."""
    stored: int = 0
    raced: int = 0
    """Of these, tests of races."""
    checked: int = 0
    """Results held against the client's own scoring."""
    mismatched: int = 0
    """Of these, those that differ in any digit."""
    doubled: int = 0
    """Sessions for which a second result came that is not the first one's equal."""
    reconnects: int = 0
    resumed: int = 0
    resent: int = 0
    """Events sent again after a resume."""
    errors: Counter[str] = field(default_factory=Counter)
    """`error` messages by code, lost connections by close code, refused handshakes."""
    given_up: Counter[str] = field(default_factory=Counter)
    """Tests that were started and came to no result, by why."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """Final ones, as `stored` told them."""
    notes: list[str] = field(default_factory=list)
    """The first few mismatches and refusals, in words, each once."""
    key_to_tick: Times = field(default_factory=Times)
    """From the oldest key that a tick acknowledges for the first time to the tick: the client's wait before it sends
    (230 ms at most) and the server's until the session's turn (1 s at most) included."""
    tick_late: Times = field(default_factory=Times)
    """How much more than a second lies between two ticks of a session that types on."""
    answer: Times = field(default_factory=Times)
    """From an `hb` among the typing to its answer: how long the server's loop keeps a frame waiting."""
    to_ready: Times = field(default_factory=Times)
    """From connecting to `ready`."""
    to_started: Times = field(default_factory=Times)
    to_accepted: Times = field(default_factory=Times)
    """From `finish` to `result`."""
    to_stored: Times = field(default_factory=Times)
    """From `finish` to `stored`."""
    to_resumed: Times = field(default_factory=Times)
    """From the loss of a connection to `resumed`: the client's own back-off included."""

    def note(self, what: str) -> None:
        """Keep the first twenty different ones."""
        if len(self.notes) < 20 and what not in self.notes:
            self.notes.append(what)

    def add(self, other: Meters) -> None:
        """Add up what the clients of another process counted."""
        for name in (one.name for one in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            match mine:
                case int():
                    setattr(self, name, mine + theirs)
                case Counter():
                    mine.update(theirs)
                case Times():
                    mine.merge(theirs)
                case _:
                    for what in theirs:
                        self.note(what)

    def times(self) -> dict[str, Times]:
        """Every distribution by name."""
        return {
            name: getattr(self, name)
            for name in (
                "key_to_tick",
                "tick_late",
                "answer",
                "to_ready",
                "to_started",
                "to_accepted",
                "to_stored",
                "to_resumed",
            )
        }

    def clear_times(self) -> None:
        """Forget the distributions: what comes now is the steady state."""
        for times in self.times().values():
            times.clear()
