"""Real people's typing, where the reference data is at hand: people's sentences from the 2018 study (see `typist`).

The recordings are free for non-commercial use only and never part of the project; all that reads them does without
where they are absent.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

__all__ = ["Recording", "joined", "read"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One sentence, or several joined, as one person typed it."""

    person: int
    text: str
    """What was to be typed; empty where sentences were joined."""
    typed: str
    """What stood there in the end; empty where sentences were joined."""
    gaps: Sequence[int]
    """ms since the key before; the first is 0."""
    keys: Sequence[str]
    holds: Sequence[int]
    """ms."""

    def events(self) -> list[int | str]:
        """Return the log as the wire has it: flat `[dt, key, dt, key, ...]`."""
        flat: list[int | str] = [0] * (2 * len(self.gaps))
        flat[::2] = self.gaps
        flat[1::2] = self.keys
        return flat


def read(file: Path) -> dict[int, list[Recording]]:
    """Read `typing.jsonl.gz`: each person's sessions, in the file's order."""
    people: dict[int, list[Recording]] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            times, keys, holds = zip(*row["e"], strict=True)
            gaps = [0, *(late - early for early, late in pairwise(times))]
            recording = Recording(row["p"], row["text"], row["typed"], gaps, keys, holds)
            people.setdefault(recording.person, []).append(recording)
    return people


def joined(recordings: Sequence[Recording], length: int, chance: Random) -> list[Recording]:
    """Join one person's sentences, in any order, into as many tests of exactly `length` keys as they give.

    Between two sentences comes a space. The gap before it and the gap after it were not recorded: they are drawn from
    this person's own before spaces and before first letters.
    """
    before_space: list[int] = []
    before_word: list[int] = []
    for recording in recordings:
        for gap, key, last in zip(recording.gaps[1:], recording.keys[1:], recording.keys, strict=False):
            if key == " ":
                before_space.append(gap)
            elif last == " ":
                before_word.append(gap)
    tests: list[Recording] = []
    gaps: list[int] = []
    keys: list[str] = []
    holds: list[int] = []
    for recording in chance.sample(recordings, len(recordings)):
        if gaps:
            if not before_space or not before_word:
                return tests
            gaps += [chance.choice(before_space), chance.choice(before_word)]
            keys.append(" ")
            holds.append(holds[-1])
        else:
            gaps.append(0)
        gaps += recording.gaps[1:]
        keys += recording.keys
        holds += recording.holds
        while len(gaps) >= length:
            first = [0, *gaps[1:length]]
            tests.append(Recording(recording.person, "", "", first, keys[:length], holds[:length]))
            del gaps[:length], keys[:length], holds[:length]
    return tests
