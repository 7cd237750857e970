"""Figures that need the whole log: what stood in each word, times of keys, figures by key, error rates.

Made by playing the log through a `Scorer` one event at a time, so that there is one set of rules. A log of 30,000
events takes a tenth of a second and the edit distance some ms more: not for an event loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from scoring.formulas import ErrorRates, distance, error_rates, mean_and_sd, round2
from scoring.scorer import LONGEST_MS, Scorer
from scoring.text import DELETE, DELETE_WORD, Word, typed

__all__ = ["Analysis", "KeyFigures", "Spread", "analyse", "hold_spans", "overlap_ms"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Count, mean and population standard deviation of times in ms; zeros of none."""

    n: int
    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of these times."""
        return cls(len(values), *mean_and_sd(values))


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """How one key went, by the key that was *due*: that of the target at the typist's place (in zen the one typed)."""

    inserts: int
    """Inserts where this key was due."""
    wrong: int
    """Those that were wrong."""
    latency: Spread
    """Times since the press before, of the correct ones."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a whole log says beside the summary."""

    inputs: tuple[tuple[str, ...], ...]
    """Clusters that stand in each word up to the active one, without an empty last entry."""
    keys: dict[str, KeyFigures]
    """By target cluster, in the order in which they were first due."""
    spacing: Spread
    """Gaps between one press and the next; deletes are passed over."""
    duration: Spread
    """Holds of the presses whose release is known; a key pressed again ends its own hold."""
    overlap_ms: float
    """Time in which two or more of these holds run at once, two digits."""
    last_key_to_end_ms: float
    """From the last press to the stop, two digits; 0 in zen and without a press."""
    rates: ErrorRates
    """Soukoreff's and MacKenzie's, over the words as far as they were typed. As in their paper INF is the edit distance
    of target and input, C the longer one's length less that, and IF every character that was typed and taken back."""


def hold_spans(presses: Sequence[tuple[float, str, float]]) -> list[tuple[float, float]]:
    """(press, release) of each (time, key, hold) in ms, in order of time; a repeated key ends its earlier hold."""
    spans: list[tuple[float, float]] = []
    open_span: dict[str, int] = {}
    for at, key, hold in presses:
        before = open_span.get(key)
        if before is not None and spans[before][1] > at:
            spans[before] = (spans[before][0], at)
        open_span[key] = len(spans)
        spans.append((at, at + hold))
    return spans


def overlap_ms(spans: Sequence[tuple[float, float]]) -> float:
    """Time in which two or more spans run at once, two digits."""
    edges = sorted([(at, 1) for at, _ in spans] + [(until, -1) for _, until in spans])
    total: float = 0
    running = 0
    for (at, step), (until, _) in pairwise(edges):
        running += step
        if running > 1:
            total += until - at
    return round2(total)


class _Play:
    """A log played through a scorer, noting what happens."""

    def __init__(self, scorer: Scorer) -> None:
        self.inputs: list[tuple[str, ...]] = [()]
        self.presses: list[tuple[float, str, int]] = []
        """(time, key, event) of each scored press."""
        self.keys: dict[str, tuple[int, int, list[float]]] = {}
        """By key due: inserts, wrong inserts, latencies of the correct ones."""
        self.taken_back = 0
        """Clusters that deletes took away."""
        self.at: float = 0
        """Time of the last scored event."""
        self._scorer = scorer

    def event(self, number: int, dt: float, key: str) -> bool:
        """Play one event; False where it was not scored, as the test had ended before it."""
        scorer = self._scorer
        word, place = scorer.pos
        due, inserts, wrong = scorer.due, scorer.inserts, scorer.wrong
        scorer.feed((dt, key))
        if scorer.scored <= number:
            return False
        self.at = at = scorer.elapsed_ms
        now = scorer.pos
        if key in (DELETE, DELETE_WORD):
            if now[0] < word:
                self.inputs.pop()
            self.taken_back += len(self.inputs[-1]) - now[1]
            self.inputs[-1] = scorer.active_input
            return True
        latency = at - self.presses[-1][0] if self.presses else None
        self.presses.append((at, key, number))
        key = typed(key)
        if scorer.inserts > inserts:
            if now == (word, place) and key != " " and place <= len(scorer.target):
                due = scorer.target[place - 1]  # the key went on with the cluster before it
            self._note(due or key, latency, right=scorer.wrong == wrong)
        if now[0] > word:
            if key == " ":
                self.inputs[-1] += (" ",)
            self.inputs.append(())
        self.inputs[-1] = scorer.active_input
        return True

    def _note(self, due: str, latency: float | None, *, right: bool) -> None:
        inserts, wrong, latencies = self.keys.get(due, (0, 0, []))
        if right and latency is not None:
            latencies.append(latency)
        self.keys[due] = inserts + 1, wrong + (not right), latencies


def analyse(
    words: Sequence[Word],
    events: Sequence[Any],
    holds: Mapping[int, float] | None = None,
    *,
    limit_ms: float | None = None,
    zen: bool = False,
    cyclic: bool = False,
    longest_ms: float = LONGEST_MS,
    stop_ms: float | None = None,
    from_start: bool = False,
) -> Analysis:
    """Analyse the log of a test: flat `events` `[dt, key, ...]`, `holds` in ms by number of the event.

    The other arguments are the scorer's; `stop_ms` is when the test stopped, where that is not its limit or its last
    event. What is not scored (events after the end) counts nowhere.
    """
    scorer = Scorer(words, limit_ms=limit_ms, zen=zen, cyclic=cyclic, longest_ms=longest_ms, from_start=from_start)
    play = _Play(scorer)
    for number in range(len(events) // 2):
        if not play.event(number, events[2 * number], events[2 * number + 1]):
            break
    inputs = play.inputs if play.inputs[-1] else play.inputs[:-1]
    holds = holds or {}
    spans = hold_spans([(at, key, holds[event]) for at, key, event in play.presses if event in holds])
    if stop_ms is None:
        stop_ms = play.at if limit_ms is None else limit_ms
    presented = [] if zen else [words[word % len(words)] for word in range(len(inputs))]
    if presented and play.inputs[-1] and not (scorer.ended and limit_ms is None):
        presented[-1] = presented[-1][: len(inputs[-1])]  # the active word counts as far as it was typed
    return Analysis(
        inputs=tuple(inputs),
        keys={due: KeyFigures(count, wrong, Spread.of(took)) for due, (count, wrong, took) in play.keys.items()},
        spacing=Spread.of([at - before for (before, *_), (at, *_) in pairwise(play.presses)]),
        duration=Spread.of([until - at for at, until in spans]),
        overlap_ms=overlap_ms(spans),
        last_key_to_end_ms=0.0 if zen or not play.presses else round2(stop_ms - play.presses[-1][0]),
        rates=_rates(list(chain(*inputs)) if zen else list(chain(*presented)), list(chain(*inputs)), scorer, play),
    )


def _rates(target: list[str], given: list[str], scorer: Scorer, play: _Play) -> ErrorRates:
    """The error rates of a log, its errors counted as in Soukoreff and MacKenzie (2003)."""
    left = distance(target, given)
    return error_rates(
        target,
        given,
        scorer.scored,
        correct=max(len(target), len(given)) - left,
        left=left,
        fixed=play.taken_back,
    )
