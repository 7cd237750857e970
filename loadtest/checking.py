"""A client's own opinion of its result: the log scored again here, and every figure compared to the digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scoring.scorer import Scorer
from scoring.summary import Summary
from scoring.text import Word

__all__ = ["differences", "expected", "figures_of", "words_of"]


def words_of(started: Mapping[str, Any]) -> tuple[Word, ...]:
    """The target words of a `started` message, cut where it says."""
    text: str = started["text"]
    breaks, lengths = started.get("breaks"), started.get("word_lengths")
    if breaks is None and lengths is None:
        parts = text.split(" ")
        last = parts.pop()
        words = [_shared(part + " ") for part in parts]
        return tuple([*words, last] if last else words)
    clusters: list[str] = []
    at = 0
    for size in breaks if breaks is not None else [1] * len(text):
        clusters.append(text[at : at + size])
        at += size
    if lengths is None:
        lengths = [0]
        for cluster in clusters:
            lengths[-1] += 1
            if cluster == " ":
                lengths.append(0)
        lengths = [length for length in lengths if length]
    cut: list[Word] = []
    at = 0
    for length in lengths:
        word = clusters[at : at + length]
        joined = "".join(word)
        cut.append(joined if len(joined) == len(word) else tuple(word))
        at += length
    return tuple(cut)


_words: dict[str, str] = {}


def _shared(word: str) -> str:
    """The same string for the same word: 20,000 typists have the same few thousand."""
    if len(_words) > 100_000:
        _words.clear()
    return _words.setdefault(word, word)


def expected(started: Mapping[str, Any], words: Sequence[Word], events: Sequence[int | str]) -> dict[str, Any]:
    """The figures that `result` must bring for this log, under the names that it has there.

    The log ends as a well-behaved client's: with the text's last word, at the limit, or with its last event in zen and
    in an own text that was given up.
    """
    mode = started["mode"]
    seconds = started.get("seconds")
    limit_ms = None if seconds is None else seconds * 1000
    scorer = Scorer(
        words if mode != "zen" else (),
        limit_ms=limit_ms,
        zen=mode == "zen",
        cyclic=started["cyclic"],
        exact_duration=mode == "text",
        from_start="race" in started,
    )
    scorer.feed(events)
    return figures_of(started["session"], scorer.summary(gave_up=limit_ms is None and not scorer.ended))


def figures_of(session: str, summary: Summary) -> dict[str, Any]:
    """A summary's figures as `result` brings them."""
    chars, series = summary.chars, summary.series
    return {
        "session": session,
        "wpm": summary.wpm,
        "raw": summary.raw,
        "acc": summary.acc,
        "consistency": summary.consistency,
        "key_consistency": summary.key_consistency,
        "chars": [chars.correct, chars.incorrect, chars.extra, chars.missed],
        "duration_ms": summary.duration_ms,
        "afk_ms": summary.afk_ms,
        "series": {"wpm": series.wpm, "raw": series.raw, "burst": series.burst, "err": series.err},
    }


def differences(result: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Where a result is not what was expected, a line each."""
    return [
        f"{name}: the server says {result.get(name)!r:.80}, the log {value!r:.80}"
        for name, value in wanted.items()
        if result.get(name) != value
    ]
