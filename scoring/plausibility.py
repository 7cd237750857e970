"""Could a person have typed this log? A verdict with its reasons, from the log alone and the clocks.

`ok` says nothing against it, `review` that something lies where people's typing does not, `void` that two things do
that have nothing to do with each other (two *families* below). Features, thresholds and reasons are stored with the
result and shown to its owner: nobody is judged by a figure that cannot be named.

The thresholds for keyboards were set in view of the recorded sessions of Dhakal et al. (CHI 2018), 214 people of 9 to
160 words a minute: alone, joined to tests of 50 to 400 keys, and with clocks made coarse. They lie at the lowest of
these people (none of their own sessions is flagged, 1 in 2,000 of the joined tests), not halfway between people and
programs; nobody was left out to check them on, so what they do to others must be watched. `python -m loadtest.bots`
prints the rates of both. What no threshold here can see: a person's own log played again, as it was or up to twice as
fast, and a program that imitates a typist's habits key by key.

Each kind of input has its own table, because what is strange at a keyboard is ordinary elsewhere: a swiped or suggested
word comes all at once, an input method commits when it likes, a switch that scans has the scanner's rhythm. For those
kinds there are no recorded people to set thresholds by, so little or nothing is held against them. Missing holds are
no evidence, and holds of hardly any length count as missing (software that remaps keys makes them).
"""

from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import gcd, inf
from types import MappingProxyType
from typing import Literal

from scoring.drift import DriftReading
from scoring.rhythm import Places, fastest_ms, l_moments, mid_ranks, order, same_share

__all__ = ["THRESHOLDS", "InputKind", "Reason", "Threshold", "Verdict", "judge", "judging"]

InputKind = Literal["keyboard", "touch", "ime", "assistive"]
"""How the typist says the keys are made; each kind has its own thresholds."""

Family = Literal["law", "order", "speed", "holds", "clock"]
"""What a feature is about. Features of one family may rest on the same cause; those of two do not."""


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
    """Each feature that the log is long enough for, by name; all are finite."""
    reasons: tuple[Reason, ...]
    """Empty where the verdict is `ok`."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where a feature begins to be a reason. Most need slack in short logs, where chance weighs more."""

    feature: str
    family: Family
    side: Literal["below", "above"]
    """On which side of the threshold a value is a reason."""
    at: float
    """The threshold for a log of any length, before `slack` and `most`."""
    slack: float = 0.0
    """This, divided by the number of gaps judged, is taken off `at`."""
    most: float = inf
    """The threshold is never over this."""
    least_gaps: int = 20
    """Shorter logs are not judged by this feature."""

    def for_gaps(self, n: int) -> float:
        """Return the threshold for a log of n gaps."""
        return min(self.most, self.at - self.slack / max(n, 1))


_NO_HOLD_MS = 3.0
"""Where half of the holds are no longer, software between keyboard and page made them: as good as missing."""
_HOLDS_TELL = 0.02
"""Holds less varied than this are a program's, or those of software between keyboard and page."""
_CLAIMED_RATE = Threshold("peak_keys_per_s", "speed", "above", 50.0, least_gaps=0)

THRESHOLDS: Mapping[InputKind, tuple[Threshold, ...]] = MappingProxyType(
    {
        "keyboard": (
            _CLAIMED_RATE,
            # the fastest bursts on record are near 25 keys a second, for a few seconds
            Threshold("keys_per_s", "speed", "above", 27.5, least_gaps=50),
            Threshold("fastest_ten_ms", "speed", "below", 250.0),
            Threshold("joined_share", "speed", "above", 0.3),
            Threshold("gap_variation", "law", "below", 0.12, slack=1.5),
            Threshold("gap_skew", "law", "below", 0.12, slack=7.0),
            Threshold("gap_core_skew", "law", "below", 0.07, slack=8.0, least_gaps=50),
            Threshold("same_gap_share", "law", "above", 0.6),
            Threshold("order", "order", "below", 0.42, slack=55.0, most=0.18, least_gaps=100),
            Threshold("hold_variation", "holds", "below", _HOLDS_TELL, least_gaps=30),
        ),
        "touch": (
            _CLAIMED_RATE,
            Threshold("gap_variation", "law", "below", 0.1, slack=1.5),
            Threshold("gap_skew", "law", "below", 0.08, slack=7.0, least_gaps=50),
            Threshold("order", "order", "below", 0.3, slack=55.0, most=0.1, least_gaps=150),
        ),
        "ime": (
            _CLAIMED_RATE,
            Threshold("gap_variation", "law", "below", 0.08, slack=1.5),
        ),
        "assistive": (_CLAIMED_RATE,),
    }
)
"""What is held against whom."""

_PART = 500
"""Longer logs are measured in equal parts of at most so many events, each a slice of work of under a millisecond. The
features are then the means of the parts', but the least of `fastest_ten_ms`."""
_LEAST_GAPS = 20
"""Nothing but speed is measured on fewer gaps."""
_JOINED_MS = 12.0
"""Two keys this close came by one movement, or from a program. Of 2,509 real sessions of 14 to 132 keys none has more
than 12 % of such gaps."""
_PEAK_WINDOW_MS = 5000.0
_SAME_MS = 2.0
"""Equal gaps come out so far apart at most when the running time is rounded to whole ms."""
_COARSE_MS = 25
_COARSEST_MS = 100
_ORDERLY = 0.3
"""Where the gaps' order is below this, the holds are asked too, and `order` is the mean of both if that is more: a
fast, even typist may have little order in the gaps, but seldom in the holds as well. Above it no program draws gaps one
by one, and asking costs half as much as all else."""


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
    """Judge like `judge`, but stop for breath after each slice of about a millisecond; returns the verdict.

    The log must not change until it is done.
    """
    gaps: Sequence[float] = events[::2]  # type: ignore[assignment]  # a log is dt and key in turn
    keys: Sequence[str] = events[1::2]  # type: ignore[assignment]  # likewise
    n = len(keys)
    features: dict[str, float] = {}
    judged = 0
    if n > 1:
        features["peak_keys_per_s"], lasted_ms = yield from _peak(gaps)
        if lasted_ms > 0:
            features["keys_per_s"] = (n - 1) * 1000.0 / lasted_ms
        parts = -(-n // _PART)
        measured: list[dict[str, float]] = []
        for part in range(parts):
            places = Places.of(gaps, keys, 1 + part * (n - 1) // parts, 1 + (part + 1) * (n - 1) // parts)
            judged += len(places.gaps)
            if len(places.gaps) >= _LEAST_GAPS:
                measured.append(_measured(places, holds or {}))
            yield
        _merge(measured, features)
        judged //= parts
    features = {name: round(value, 4) for name, value in features.items() if value < inf}
    reasons: list[Reason] = []
    families: set[Family] = set()
    for threshold in THRESHOLDS[input]:
        value = features.get(threshold.feature)
        if value is None or judged < threshold.least_gaps:
            continue
        limit = threshold.for_gaps(judged)
        if value < limit if threshold.side == "below" else value > limit:
            reasons.append(Reason(threshold.feature, value, round(limit, 4)))
            families.add(threshold.family)
    if drift is not None:
        features["drift_ms"] = round(drift.drift_ms, 4)
        features["lag_ms"] = round(drift.lag_ms, 4)
        if drift.ahead or drift.behind:
            limit = -drift.ahead_limit_ms if drift.ahead else drift.behind_limit_ms
            reasons.append(Reason("drift_ms", features["drift_ms"], round(limit, 4)))
            families.add("clock")
    verdict: Literal["ok", "review", "void"] = ("ok", "review", "void")[min(len(families), 2)]
    return Verdict(verdict, features, tuple(reasons))


def _peak(gaps: Sequence[float]) -> Generator[None, None, tuple[float, float]]:
    """Return the most keys a second over any window, as claimed, and the time of the last key after the first."""
    times = [0.0]
    first = 0  # the window only ever grows: it slides on where it holds no more keys than the best so far
    for start in range(1, len(gaps), 4 * _PART):
        some = list(accumulate(gaps[start : start + 4 * _PART], initial=times[-1]))[1:]
        times += some
        for time in some:
            if time - times[first] >= _PEAK_WINDOW_MS:
                first += 1
        yield
    return (len(times) - first) * 1000.0 / _PEAK_WINDOW_MS, times[-1]


def _measured(places: Places, holds: Mapping[int, float]) -> dict[str, float]:
    """Measure one part of a log."""
    gaps = places.gaps
    n = len(gaps)
    rising = sorted(gaps)
    _, variation, skew = l_moments(rising)
    features = {"gap_variation": variation, "fastest_ten_ms": fastest_ms(gaps, 10)}
    if _coarse(gaps):
        return features
    features["gap_skew"] = skew
    # the same without what the longest twentieth says: a few pauses thrown in do not make a person
    features["gap_core_skew"] = l_moments(rising, capped=n // 20)[2]
    features["same_gap_share"] = same_share(rising, _SAME_MS)
    features["joined_share"] = bisect_right(rising, _JOINED_MS) / n
    ordered = order(mid_ranks(gaps, rising), list(zip(places.before, places.after, strict=True)), places.kinds)
    features["gap_order"] = ordered
    features["order"] = ordered
    if holds:
        held = [at for at, number in enumerate(places.numbers) if number in holds]
        lasted = [holds[places.numbers[at]] for at in held]
        rising = sorted(lasted)
        if len(held) >= _LEAST_GAPS and rising[len(held) // 2] > _NO_HOLD_MS:
            features["hold_variation"] = variation = l_moments(rising)[1]
            if ordered < _ORDERLY and variation > _HOLDS_TELL:
                keys, kinds = [places.after[at] for at in held], [places.kinds[at] for at in held]
                features["hold_order"] = order(mid_ranks(lasted, rising), keys, kinds)
                features["order"] = max(ordered, (ordered + features["hold_order"]) / 2)
    return features


def _coarse(gaps: Sequence[float]) -> bool:
    """Whether the client's clock goes in steps so coarse that most features would be about the clock.

    Browsers that resist fingerprinting round times to as much as 100 ms.
    """
    return _COARSE_MS <= gcd(*map(int, gaps)) <= _COARSEST_MS


def _merge(parts: Sequence[Mapping[str, float]], features: dict[str, float]) -> None:
    """Put the parts' features together: means, but the extreme of `fastest_ten_ms`."""
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        features[name] = min(values) if name == "fastest_ten_ms" else sum(values) / len(values)
