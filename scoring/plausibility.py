"""Could a person have typed this log? A verdict with its reasons, from the log alone and the clocks.

`ok` says nothing against it, `review` that something lies where people's typing does not, `void` that two things do
that have nothing to do with each other (two *families* below). Features, thresholds and reasons are stored with the
result and shown to its owner: nobody is judged by a figure that cannot be named. A feature that is dear to measure is
left out where a look that costs nothing shows that it is no reason; the verdict is as if all had been measured.

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
from itertools import accumulate, compress
from math import gcd, inf
from operator import sub
from types import MappingProxyType
from typing import Literal

from scoring.drift import DriftReading
from scoring.rhythm import Places, fastest_ms, l_moments, mid_ranks, order, same_share

__all__ = [
    "THRESHOLDS",
    "InputKind",
    "Reason",
    "Threshold",
    "Verdict",
    "judge",
    "judge_clocks",
    "judging",
    "judging_columns",
]

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
    """Each feature that was measured, by name; all are finite. What is missing is nothing to be held against a log: the
    log is too short for it, or plainly on the right side of the threshold."""
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
_SAME_SHARE = 0.6
"""More equal gaps than this are a program's."""
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
            Threshold("same_gap_share", "law", "above", _SAME_SHARE),
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
_ROUNDED = 1e-4
"""What rounding may take off a feature."""
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
    held: list[float] = []
    if holds:
        held = [0] * len(keys)
        for event, hold in holds.items():
            if 0 <= event < len(held):
                held[event] = hold + 1
    return (yield from judging_columns(gaps, keys, held, input=input, drift=drift))


def judging_columns(
    gaps: Sequence[float],
    keys: Sequence[str],
    held: Sequence[float] = (),
    *,
    input: InputKind = "keyboard",  # noqa: A002  # the protocol's own name for it
    drift: DriftReading | None = None,
    claimed_keys_per_s: float = _CLAIMED_RATE.at,
) -> Generator[None, None, Verdict]:
    """Judge like `judging` a log column by column: gaps, keys (a str where each has one code point) and holds.

    `held`: for each event its hold + 1, 0 where it is not known; empty where none is. `claimed_keys_per_s`: measure
    `peak_keys_per_s` above this rate too.
    """
    n = len(keys)
    features: dict[str, float] = {}
    parts: list[_Part] = []
    asked: dict[str, float] = {}
    judged = 0
    if n > 1:
        yield from _claimed(gaps, min(claimed_keys_per_s, _CLAIMED_RATE.at), features)
        count = -(-n // _PART)
        for part in range(count):
            places = Places.of(gaps, keys, 1 + part * (n - 1) // count, 1 + (part + 1) * (n - 1) // count)
            judged += len(places.gaps)
            if len(places.gaps) >= _LEAST_GAPS:
                parts.append(_Part(places))
            yield
        judged //= count
        asked = {
            threshold.feature: threshold.for_gaps(judged)
            for threshold in THRESHOLDS[input]
            if judged >= threshold.least_gaps
        }
        yield from _measuring(parts, held, asked)
        _merge([part.features for part in parts], features)
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
        clocks = judge_clocks(drift)
        features |= clocks.features
        reasons += clocks.reasons
        if clocks.reasons:
            families.add("clock")
    verdict: Literal["ok", "review", "void"] = ("ok", "review", "void")[min(len(families), 2)]
    return Verdict(verdict, features, tuple(reasons))


def judge_clocks(drift: DriftReading) -> Verdict:
    """Judge by the clocks alone, which costs nothing; the verdict on the log has at least these reasons."""
    features = {"drift_ms": round(drift.drift_ms, 4), "lag_ms": round(drift.lag_ms, 4)}
    if not (drift.ahead or drift.behind):
        return Verdict("ok", features, ())
    limit = -drift.ahead_limit_ms if drift.ahead else drift.behind_limit_ms
    return Verdict("review", features, (Reason("drift_ms", features["drift_ms"], round(limit, 4)),))


class _Part:
    """One part of a log and what was measured of it."""

    __slots__ = ("features", "places", "plain", "rising")

    def __init__(self, places: Places) -> None:
        self.places = places
        gaps = places.gaps
        n = len(gaps)
        self.rising = rising = sorted(gaps)
        # the second skew is that without what the longest twentieth says: a few pauses thrown in do not make a person
        _, variation, skew, core_skew = l_moments(rising, capped=n // 20)
        self.features = {"gap_variation": variation}
        self.plain = not _coarse(gaps)
        """Whether the client's clock was fine enough for all features."""
        if self.plain:
            self.features["gap_skew"] = skew
            self.features["gap_core_skew"] = core_skew
            self.features["joined_share"] = bisect_right(rising, _JOINED_MS) / n

    @property
    def crowded(self) -> bool:
        """Whether `same_gap_share` may be over its threshold: what so large a share has in common, the middle has."""
        rising, n = self.rising, len(self.rising)
        many = int(_SAME_SHARE * n) + 1
        return self.plain and rising[many - 1] - rising[n - many] <= _SAME_MS


def _measuring(
    parts: Sequence[_Part], held: Sequence[float], asked: Mapping[str, float]
) -> Generator[None, None, None]:
    """Measure what is dear, where it can be a reason at all: `asked` are the thresholds that hold for this log."""
    soonest = asked.get("fastest_ten_ms", 0.0)
    if any(sum(part.rising[:10]) < soonest for part in parts):
        for part in parts:
            part.features["fastest_ten_ms"] = fastest_ms(part.places.gaps, 10)
    parts = [part for part in parts if part.plain]
    if "same_gap_share" in asked and any(part.crowded for part in parts):
        for part in parts:
            part.features["same_gap_share"] = same_share(part.rising, _SAME_MS)
    doubtful = False
    if "order" in asked and parts:
        for part in parts:
            places = part.places
            ordered = order(mid_ranks(places.gaps, part.rising), places.pairs, places.kinds)
            part.features["gap_order"] = part.features["order"] = ordered
            yield
        ordered = sum(part.features["order"] for part in parts) / len(parts)
        doubtful = ordered < asked["order"] + _ROUNDED
    if held and (doubtful or "hold_variation" in asked):
        holds = [(part, _Holds(part.places, held)) for part in parts]
        holds = [(part, own) for part, own in holds if own.tell]
        if "hold_variation" in asked and not all(own.varied for _, own in holds):
            for part, own in holds:
                part.features["hold_variation"] = own.variation
        if doubtful:
            for part, own in holds:
                ordered = part.features["order"]
                if ordered < _ORDERLY and (own.varied or own.variation > _HOLDS_TELL):
                    part.features["hold_order"] = also = own.order()
                    part.features["order"] = max(ordered, (ordered + also) / 2)
                yield


class _Holds:
    """The holds of one part, those that are known."""

    __slots__ = ("keys", "kinds", "lasted", "rising")

    def __init__(self, places: Places, held: Sequence[float]) -> None:
        numbers = places.numbers
        lasted = held[numbers[0] : numbers[-1] + 1]
        if len(lasted) > len(numbers):  # some events between were left out
            lasted = list(map(held.__getitem__, numbers))
        self.keys, self.kinds = places.after, places.kinds
        if 0 in lasted:
            self.keys, self.kinds = "".join(compress(self.keys, lasted)), "".join(compress(self.kinds, lasted))
            lasted = list(compress(lasted, lasted))
        self.lasted = lasted
        """Each hold + 1, in ms."""
        self.rising = sorted(lasted)

    @property
    def tell(self) -> bool:
        """Whether there are enough, and not of hardly any length."""
        rising = self.rising
        return len(rising) >= _LEAST_GAPS and rising[len(rising) // 2] > _NO_HOLD_MS + 1

    @property
    def varied(self) -> bool:
        """Whether `variation` is over `_HOLDS_TELL` for sure, from a look at two of them.

        The L-scale is a mean of the distances between values that mirror each other in rank, weighted by how many
        ranks lie between; all from the shortest eighth outward are at least that of its last.
        """
        rising = self.rising
        n = len(rising)
        eighth = n // 8
        apart = rising[n - 1 - eighth] - rising[eighth]
        return apart * (eighth + 1) * (n - 1 - eighth) > _HOLDS_TELL * (sum(rising) - n) * (n - 1)

    @property
    def variation(self) -> float:
        """L-variation."""
        return l_moments([hold - 1 for hold in self.rising])[1]

    def order(self) -> float:
        """How well each is foretold by the others."""
        return order(mid_ranks(self.lasted, self.rising), self.keys, self.kinds)


def _claimed(gaps: Sequence[float], limit: float, features: dict[str, float]) -> Generator[None, None, None]:
    """Measure the speed, and the most keys a second over any window where they are over `limit`."""
    times = [0.0]
    for start in range(1, len(gaps), 4 * _PART):
        times += list(accumulate(gaps[start : start + 4 * _PART], initial=times.pop()))
        yield
    if times[-1] > 0:
        features["keys_per_s"] = (len(times) - 1) * 1000.0 / times[-1]
    more = int(limit * _PEAK_WINDOW_MS / 1000)
    for start in range(0, len(times) - more, 4 * _PART):
        spans = map(sub, times[start + more : start + more + 4 * _PART], times[start:])
        if min(spans) < _PEAK_WINDOW_MS:
            features["peak_keys_per_s"] = yield from _peak(times)
            break
        yield


def _peak(times: Sequence[float]) -> Generator[None, None, float]:
    """Return the most keys a second over any window."""
    first = 0  # the window only ever grows: it slides on where it holds no more keys than the best so far
    for start in range(0, len(times), 4 * _PART):
        for time in times[start : start + 4 * _PART]:
            if time - times[first] >= _PEAK_WINDOW_MS:
                first += 1
        yield
    return (len(times) - first) * 1000.0 / _PEAK_WINDOW_MS


def _coarse(gaps: Sequence[float]) -> bool:
    """Whether the client's clock goes in steps so coarse that most features would be about the clock.

    Browsers that resist fingerprinting round times to as much as 100 ms.
    """
    step = gcd(*map(int, gaps[:_LEAST_GAPS]))
    return not 0 < step < _COARSE_MS and _COARSE_MS <= gcd(*map(int, gaps)) <= _COARSEST_MS


def _merge(parts: Sequence[Mapping[str, float]], features: dict[str, float]) -> None:
    """Put the parts' features together: means, but the extreme of `fastest_ten_ms`."""
    if len(parts) == 1:
        features.update(parts[0])
        return
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        features[name] = min(values) if name == "fastest_ten_ms" else sum(values) / len(values)
