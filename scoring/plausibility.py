"""Could a person have typed this log? A verdict with its reasons, from the log alone and the clocks.

`ok` says nothing against it, `review` that one feature lies where people's do not, `void` that two independent ones
do. Features, thresholds and reasons are stored with the result and shown to its owner.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scoring.drift import DriftReading

__all__ = ["InputKind", "Reason", "Verdict", "judge", "judging"]

InputKind = Literal["keyboard", "touch", "ime", "assistive"]
"""How the typist says the keys are made; each kind has its own thresholds."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature that lies where people's do not."""

    name: str
    """The feature's name in `Verdict.features`."""
    value: float
    """What was measured."""
    threshold: float
    """What it was held against."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a log looks like, and why."""

    verdict: Literal["ok", "review", "void"]
    features: dict[str, float]
    """Each feature that the log is long enough for, by name; all are plain finite floats."""
    reasons: tuple[Reason, ...]
    """Empty where the verdict is `ok`."""


def judge(
    events: Sequence[float | str],
    holds: Mapping[int, float] | None = None,
    *,
    input: InputKind = "keyboard",  # noqa: A002  # the protocol's own name for it
    drift: DriftReading | None = None,
) -> Verdict:
    """Judge a whole log: flat `[dt, key, ...]` (ms), holds by number of event (ms), the kind of input, the clocks.

    Missing holds are no evidence, nor is a missing drift (a log that was not seen live).
    """
    steps = judging(events, holds, input=input, drift=drift)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            verdict: Verdict = done.value
            return verdict


def judging(
    events: Sequence[float | str],
    holds: Mapping[int, float] | None = None,
    *,
    input: InputKind = "keyboard",  # noqa: A002  # the protocol's own name for it
    drift: DriftReading | None = None,
) -> Generator[None, None, Verdict]:
    """Judge like `judge`, but stop for breath after each slice of under a millisecond; returns the verdict."""
    features: dict[str, float] = {}
    reasons: list[Reason] = []
    if drift is not None:
        features["drift_ms"] = drift.drift_ms
        if drift.ahead:
            reasons.append(Reason("drift_ms", drift.drift_ms, -drift.ahead_limit_ms))
        elif drift.behind:
            reasons.append(Reason("drift_ms", drift.drift_ms, drift.behind_limit_ms))
    yield
    return Verdict("review" if reasons else "ok", features, tuple(reasons))
