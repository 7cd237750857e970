"""The rules once more, as naively as can be: the whole state copied after every event, each word counted from scratch.

Written from the rules alone, sharing no code with `scoring.scorer`; slow, and meant to be read beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

import regex


def one_cluster(text: str) -> bool:
    return len(regex.findall(r"\X", text)) == 1


def count(given: list[str], target: list[str], credit_partial: bool) -> tuple[int, int, int, int, int]:
    """All correct, correct word, incorrect, extra and missed, position by position."""
    all_correct = incorrect = extra = missed = 0
    for i in range(max(len(given), len(target))):
        if i >= len(given):
            missed += not credit_partial
        elif i >= len(target):
            extra += 1
        elif given[i] == target[i]:
            if target[i] == " " and given != target:
                extra += 1
            else:
                all_correct += 1
        elif target[i] == " " and " " not in given:
            extra += 1
        else:
            incorrect += 1
    right = given == target or (credit_partial and target[: len(given)] == given)
    return all_correct, all_correct if right else 0, incorrect, extra, missed


@dataclass
class State:
    """Everything after some event."""

    at: float = 0
    inputs: list[list[str]] = field(default_factory=lambda: [[]])
    correct: int = 0
    wrong: int = 0
    presses: tuple[float, ...] = ()
    acts: int = 0
    over: bool = False
    closed: bool = False

    def copy(self) -> "State":
        return State(
            self.at,
            [list(given) for given in self.inputs],
            self.correct,
            self.wrong,
            self.presses,
            self.acts,
            self.over,
            self.closed,
        )


class Test:
    """A test to be scored in one go."""

    __test__ = False

    def __init__(
        self,
        words: Sequence[Sequence[str]],
        *,
        limit_ms: float | None = None,
        zen: bool = False,
        cyclic: bool = False,
        exact_duration: bool = False,
        longest_ms: float = 3_600_000,
        from_start: bool = False,
    ) -> None:
        self.words = [list(word) for word in words]
        self.limit_ms, self.zen, self.cyclic, self.exact = limit_ms, zen, cyclic, exact_duration
        self.longest_ms = longest_ms if limit_ms is None else limit_ms
        self.from_start = from_start

    def target(self, i: int) -> list[str]:
        return self.words[i % len(self.words)]

    def last(self, i: int) -> bool:
        return not self.zen and not self.cyclic and i == len(self.words) - 1

    def play(self, events: list[Any]) -> list[State]:
        """The state after each event, beginning with that before the first."""
        states = [State()]
        at: float = 0
        for i in range(0, len(events), 2):
            at = at + events[i] if i or self.from_start else 0
            state = states[-1].copy()
            if not state.over:
                if at >= self.longest_ms:
                    state.at, state.over = self.longest_ms, True
                else:
                    state.at = at
                    if events[i + 1] in ("\b", "\x17"):
                        self.delete(state, events[i + 1])
                    else:
                        self.press(state, events[i + 1])
            states.append(state)
        return states

    def delete(self, state: State, key: str) -> None:
        if not state.inputs[-1]:
            if self.zen or len(state.inputs) == 1 or state.inputs[-2] == self.target(len(state.inputs) - 2):
                return
            state.inputs.pop()
        state.acts += 1
        if key == "\b":
            state.inputs[-1].pop()
        else:
            state.inputs[-1].clear()

    def insert(self, state: State, right: bool) -> None:
        if right:
            state.correct += 1
        else:
            state.wrong += 1

    def press(self, state: State, key: str) -> None:
        state.presses += (state.at,)
        state.acts += 1
        key = " " if regex.fullmatch(r"\p{White_Space}", key) else normalize("NFC", key)
        i = len(state.inputs) - 1
        given = state.inputs[-1]
        if key == " ":
            if not given:
                return
            if self.zen:
                self.insert(state, True)
                given.append(" ")
                state.inputs.append([])
                return
            target = self.target(i)
            self.insert(
                state, len(given) < len(target) and target[len(given)] == " " and not self.closes_wrongly(state)
            )
            if self.last(i):
                state.over = True
                if [*given, " "] == target:
                    given.append(" ")
                else:
                    state.closed = True
            else:
                given.append(" ")
                state.inputs.append([])
            return
        if given and one_cluster(given[-1] + key):
            grown = normalize("NFC", given[-1] + key)
            if len(grown.encode()) > 64:
                return
            given[-1] = grown
        else:
            if not self.zen:
                target = self.target(i)
                if len(given) >= len(target) and target[-1] != " " and not self.last(i):
                    given = []
                    state.inputs.append(given)
                    i += 1
                elif len(given) >= len(target) + 20:
                    return
            given.append(key)
        if self.zen:
            self.insert(state, True)
            return
        target = self.target(i)
        self.insert(state, len(given) <= len(target) and target[len(given) - 1].startswith(given[-1]))
        if self.last(i) and given == target:
            state.over = True

    def closes_wrongly(self, state: State) -> bool:
        """A space after a wrong last word is a wrong insert, wherever it falls."""
        i = len(state.inputs) - 1
        return self.last(i) and state.inputs[-1] + [" "] != self.target(i)

    def counts(self, state: State, *, credit_active: bool) -> list[int]:
        """Sum of the words' counts, and of the clusters that are characters."""
        total = [0, 0, 0, 0, 0]
        for i, given in enumerate(state.inputs):
            target = given if self.zen else self.target(i)
            active = i == len(state.inputs) - 1
            if active and given and not state.closed and len(given) <= len(target):
                want = target[len(given) - 1]
                if given[-1] != want and want.startswith(given[-1]):
                    given = given[:-1]
            for column, value in enumerate(count(given, target, active and credit_active)):
                total[column] += value
        return total

    def figures(self, state: State) -> tuple[float, float, float, int, int, int]:
        all_correct, correct_word, incorrect, extra, _ = self.counts(state, credit_active=True)
        inserts = state.correct + state.wrong
        return (
            round2(wpm(correct_word, state.at / 1000)),
            round2(wpm(all_correct + incorrect + extra, state.at / 1000)),
            round2(100 * state.correct / inserts) if inserts else 100.0,
            len(state.inputs) - 1,
            len(state.inputs[-1]),
            state.wrong,
        )

    def result(self, states: list[State], *, stop_ms: float | None = None, gave_up: bool = False) -> dict[str, Any]:
        """All figures of the summary, by name."""
        state = states[-1]
        timed = self.limit_ms is not None
        if stop_ms is None:
            stop_ms = self.limit_ms if self.limit_ms is not None and not gave_up else state.at
        if (self.zen or gave_up) and state.presses and stop_ms - state.presses[-1] < 7000:
            stop_ms = state.presses[-1]
        seconds = stop_ms / 1000 if self.exact else round2(stop_ms / 1000)
        all_correct, correct_word, incorrect, extra, missed = self.counts(state, credit_active=timed or gave_up)
        bounds: list[float] = [1000 * k for k in range(1, math.floor(stop_ms / 1000) + 1)]
        if not timed and round2(stop_ms / 1000) % 1 >= 0.5:
            bounds.append(stop_ms)
        series: dict[str, list[int]] = {"wpm": [], "raw": [], "burst": [], "err": []}
        idle = 0
        before = State()
        since: float = 0
        for bound in bounds:
            there = [s for s in states if s.at <= bound][-1]
            right = self.counts(there, credit_active=True)
            series["wpm"].append(whole(wpm(right[1], bound / 1000)))
            series["raw"].append(whole(wpm(right[0] + right[2] + right[3], bound / 1000)))
            burst = there.correct + there.wrong - before.correct - before.wrong
            series["burst"].append(whole(wpm(burst, (bound - since) / 1000)))
            series["err"].append(there.wrong - before.wrong)
            idle += there.acts == before.acts
            before, since = there, bound
        gaps = [b - a for a, b in zip(state.presses, state.presses[1:], strict=False)]
        inserts = state.correct + state.wrong
        return {
            "wpm": round2(wpm(correct_word, seconds)),
            "raw": round2(wpm(all_correct + incorrect + extra, seconds)),
            "acc": round2(100 * state.correct / inserts) if inserts else 0.0,
            "consistency": evenness(series["burst"]),
            "key_consistency": evenness(gaps[:-1]),
            "wpm_consistency": evenness(series["wpm"]),
            "chars": (correct_word, incorrect, extra, missed),
            "total_chars": all_correct + incorrect + extra,
            "inserts": (state.correct, state.wrong),
            "duration_ms": stop_ms,
            "seconds": seconds,
            "afk_ms": 1000 * idle,
            "series": series,
        }


def round2(x: float) -> float:
    return math.floor((x + 2**-52) * 100 + 0.5) / 100


def whole(x: float) -> int:
    return math.floor(x + 0.5)


def wpm(chars: float, seconds: float) -> float:
    return chars / 5 / (seconds / 60) if seconds else 0.0


def evenness(values: Sequence[float]) -> float:
    mean = sum(values) / len(values) if values else 0
    if not mean:
        return 0.0
    c = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) / mean
    return round2(100 * (1 - math.tanh(c + c**3 / 3 + c**5 / 5)))
