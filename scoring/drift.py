"""Server time bounds client time: how far a client's clock ran away from the server's during a test.

A test is scored on the client's clock. The server checks that clock at each batch of keys: d = arrival - client time of
the batch's last event. The least d of the first seconds is the base (the network at its best); d at the end less the
base is the drift. A spike in between that recovers is lag of the network, never drift. After a resume path and server
may be others, so the base is taken anew; the time between is for the session's own account (`slack`).

A log made beforehand and sent within the first seconds would set its own base. But nobody can have typed for longer
than the test has been open: d is never less than the instant at which the server let it begin.

The server itself may have hung while the last batch waited to be read. How long it may have waited is the server's to
know, and so much later than the rest that batch may be.

In a race client time begins at an instant that was agreed on: the server's clock at it is the base, for the whole test
and over every resume. What the network takes is then part of d, for which the allowances are meant.
"""

from dataclasses import dataclass
from math import inf

__all__ = ["DEFAULT_LIMITS", "Drift", "DriftLimits", "DriftReading"]


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """How far a client's clock may run away before a test is reviewed."""

    base_window_ms: float = 5000.0
    """The base is the least d of the batches that arrive within this time of the first (and of the first after a
    resume)."""
    ahead_ms: float = 250.0
    """The client's clock may gain this much: it claims time that has not passed on the server."""
    behind_ms: float = 500.0
    """The client's clock may lose this much, beside the two allowances below."""
    ping_cap_ms: float = 1500.0
    """A slow network allows its own ping time more, but no more than this."""
    behind_share: float = 0.01
    """A clock that runs slow may lose this share of the time since the base was first set, more."""

    def __post_init__(self) -> None:
        """Refuse limits that would flag everybody or nobody."""
        for name in ("base_window_ms", "ahead_ms", "behind_ms", "ping_cap_ms"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a number of ms from 0 up")
        if not 0 <= self.behind_share < 1:
            raise ValueError(f"behind_share is {self.behind_share}; it must be from 0 to below 1")

    def lag_ms(self, elapsed_ms: float, *, ping_ms: float, stall_ms: float = 0.0) -> float:
        """How far a client's clock may be behind after so long; `stall_ms`: what the server itself did not read for."""
        return self.behind_ms + min(ping_ms, self.ping_cap_ms) + max(elapsed_ms, 0.0) * self.behind_share + stall_ms


@dataclass(frozen=True, slots=True)
class DriftReading:
    """What the clocks said at the end of a test, with the limits that held for it; all in ms."""

    drift_ms: float
    """d at the end less the base: positive where the client's clock fell behind, negative where it ran ahead."""
    lag_ms: float
    """The greatest d less the base: the worst spike of the network, for the record."""
    ahead_limit_ms: float
    """-drift_ms over this is a clock ahead."""
    behind_limit_ms: float
    """drift_ms over this is a clock behind."""

    @property
    def ahead(self) -> bool:
        """True where the client claims more time than passed on the server."""
        return -self.drift_ms > self.ahead_limit_ms

    @property
    def behind(self) -> bool:
        """True where the client claims less time than passed on the server."""
        return self.drift_ms > self.behind_limit_ms


class Drift:
    """The clock comparison of one live session: O(1) a batch, and for most batches no more than a look.

    Feed it batches with `arrived`, the last one in any case. Any other whose d lies from `low` to `high` tells nothing
    new and may be left out. Batches that a client sends again after a resume say nothing about the clocks: feed none of
    them, and call `resumed` when they are in. `began_ms` is the server's monotonic clock when the test was opened to
    its client, None where that was not seen on this clock.
    """

    __slots__ = (
        "_agreed",
        "_began_ms",
        "_first_client_ms",
        "_last_client_ms",
        "_last_ms",
        "_until_ms",
        "_worst_ms",
        "high",
        "low",
    )

    def __init__(self, began_ms: float | None = None) -> None:
        self.low = inf
        """The base: least d so far of the base window; infinite before the first batch and after a resume."""
        self.high = inf
        """The base and the worst lag so far; infinite with it."""
        self._agreed = False
        self._began_ms = began_ms
        self._until_ms = 0.0
        """Server time at which the base window closes."""
        self._first_client_ms = 0.0
        self._last_client_ms = 0.0
        self._last_ms = 0.0
        """d of the last batch."""
        self._worst_ms = 0.0
        """Greatest d less base of the stretches before a resume."""

    @classmethod
    def of_start(cls, start_ms: float) -> "Drift":
        """For a test whose client time begins at an agreed instant, on the server's monotonic clock."""
        drift = cls()
        drift._agreed = True
        drift.low = drift.high = drift._last_ms = start_ms
        return drift

    def arrived(self, client_ms: float, *, now_ms: float, limits: DriftLimits | None = None) -> None:
        """Take one batch: the client time of its last event and the server's monotonic clock at its arrival."""
        d = now_ms - client_ms
        if self.low == inf:
            self.low = d
            self.high = d + self._worst_ms
            self._until_ms = now_ms + (limits or DEFAULT_LIMITS).base_window_ms
            self._first_client_ms = client_ms
        elif d > self.high:
            self.high = d
        elif d < self.low and now_ms <= self._until_ms:
            self.low = d  # the batches before were so much later than they seemed: `high` stays what it was
        self._last_ms = d
        self._last_client_ms = client_ms

    def resumed(self) -> None:
        """Forget the base: the batches after this came another way. What was typed again is not to be fed."""
        if self._agreed:
            return
        self._worst_ms = self._lag_ms()
        self.low = self.high = inf
        self._began_ms = None

    def _lag_ms(self) -> float:
        return self._worst_ms if self.low == inf else self.high - self.low

    def reading(
        self, *, ping_ms: float = 0.0, stall_ms: float = 0.0, limits: DriftLimits | None = None
    ) -> DriftReading:
        """Compare d at the end with the base. `ping_ms` is the connection's latest ping time, 0 where there is none.

        `stall_ms`: how long the last batch may have been at the server before that read it.
        """
        limits = limits or DEFAULT_LIMITS
        base = self.low
        if base == inf:  # no batch since the start or the resume: nothing to hold against anybody
            drift = elapsed = 0.0
        else:
            if self._began_ms is not None and self._last_ms < self._began_ms:
                base = max(base, self._began_ms)
            drift = self._last_ms - base
            elapsed = self._last_client_ms - self._first_client_ms
        return DriftReading(
            drift_ms=drift,
            lag_ms=self._lag_ms(),
            ahead_limit_ms=limits.ahead_ms,
            behind_limit_ms=limits.lag_ms(elapsed, ping_ms=ping_ms, stall_ms=stall_ms),
        )


DEFAULT_LIMITS = DriftLimits()
