"""The figures that well-known typing tests give, to the digit."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from scoring.analysis import analyse
from scoring.formulas import count_chars, error_rates, evenness, kogasa, mean_and_sd, round2, speed
from scoring.scorer import Scorer
from scoring.text import prepare

pytestmark = pytest.mark.reference

OURS = {id_: (4, 4, 0, 0, 0) if id_ == "v0395" else (2, 2, 0, 0, 0) for id_ in map("v{:04}".format, range(392, 397))}
"""Where the vectors count UTF-16 code units: the figures of clusters (all correct, correct word, incorrect, extra,
missed)."""


@pytest.fixture(scope="module")
def vectors(reference_data: Path) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((reference_data / "vectors" / "scoring.json").read_text())["vectors"]
    return vectors


def full_result(given: dict[str, Any]) -> dict[str, Any]:
    timed = given["mode"] == "time" or given["customLimitMode"] == "time"
    stop: Any = Fraction(str(given["endMs"]))  # the vectors' times have two decimals: kept exact, as our whole ms are
    events: list[Any] = []
    holds: dict[int, Any] = {}
    before = Fraction(0)
    for number, (at, key, hold) in enumerate(given["keystrokes"]):
        events += [Fraction(str(at)) - before, key]
        before = Fraction(str(at))
        holds[number] = Fraction(str(hold))
    test: dict[str, Any] = {"limit_ms": stop + 1 if given["bailedOut"] else stop} if timed else {}
    test["zen"] = given["mode"] == "zen"
    scorer = Scorer(given["targetWords"], exact_duration=given["mode"] == "custom", **test)
    scorer.feed(events)
    summary = scorer.summary(stop, gave_up=given["bailedOut"])
    analysis = analyse(given["targetWords"], events, holds, stop_ms=stop, **test)
    chars = summary.chars
    return {
        "wpm": summary.wpm,
        "rawWpm": summary.raw,
        "charStats": [chars.correct, chars.incorrect, chars.extra, chars.missed],
        "charTotal": summary.total_chars,
        "acc": summary.acc,
        "accuracyCounts": {"correct": summary.inserts.correct, "incorrect": summary.inserts.wrong},
        "testDuration": float(summary.seconds),
        "afkDuration": summary.afk_ms / 1000,
        "consistency": summary.consistency,
        "keyConsistency": summary.key_consistency,
        "wpmConsistency": summary.wpm_consistency,
        "chartData": {"wpm": summary.series.wpm, "burst": summary.series.burst, "err": summary.series.err},
        "rawHistory": summary.series.raw,
        "lastKeyToEnd": analysis.last_key_to_end_ms,
        "startToFirstKey": 0,  # the first event is time zero by definition
        "keyOverlap": analysis.overlap_ms,
        "keySpacing": spread(analysis.spacing),
        "keyDuration": spread(analysis.duration),
        "inputHistory": ["".join(word) for word in analysis.inputs],
    }


def spread(found: Any) -> dict[str, Any]:
    return {"n": found.n, "mean": pytest.approx(found.mean, rel=1e-6), "sd": pytest.approx(found.sd, rel=1e-6)}


def counted(given: dict[str, Any]) -> dict[str, int]:
    found = count_chars(given["inputWord"], given["targetWord"], credit_partial=given["creditPartial"])
    return dict(zip(("allCorrect", "correctWord", "incorrect", "extra", "missed"), found, strict=True))


def consistency(given: dict[str, Any]) -> dict[str, Any]:
    mean, sd = mean_and_sd(given["perSecondRawWpm"])
    return {"mean": mean, "stdDev": pytest.approx(sd, rel=1e-6), "consistency": evenness(mean, sd)}


def soukoreff_mackenzie(given: dict[str, Any]) -> dict[str, Any]:
    rates = error_rates(
        given["presented"],
        given["transcribed"],
        len(given["inputStream"]),
        correct=given["C"],
        left=given["INF"],
        fixed=given["IF"],
    )
    names = ("MSD_error_rate", "KSPC", "total_error_rate", "corrected_error_rate", "not_corrected_error_rate")
    values = (rates.msd, rates.kspc, rates.total, rates.corrected, rates.not_corrected)
    return {name: pytest.approx(value, rel=1e-6) for name, value in zip(names, values, strict=True)}


FUNCTIONS: dict[str, tuple[int, Callable[[dict[str, Any]], Any]]] = {
    "fullResult": (33, full_result),
    "countChars": (28, counted),
    "kogasa": (13, lambda given: pytest.approx(kogasa(given["cov"]), rel=1e-6)),
    "consistency(kogasa(stdDev/mean)) rounded to 2": (5, consistency),
    "calculateWpm": (7, lambda given: pytest.approx(speed(given["charCount"], given["durationSeconds"]), rel=1e-6)),
    "roundTo2": (6, lambda given: round2(given["num"])),
    "soukoreff_mackenzie": (3, soukoreff_mackenzie),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_case_comes_out_to_the_digit(vectors: list[dict[str, Any]], function: str) -> None:
    number, ours = FUNCTIONS[function]
    cases = [vector for vector in vectors if vector["fn"] == function]
    assert len(cases) == number
    for vector in cases:
        if vector["id"] not in OURS:
            assert vector["expected"] == ours(vector["input"]), vector["id"]


def test_no_function_is_left_out(vectors: list[dict[str, Any]]) -> None:
    assert {vector["fn"] for vector in vectors} == set(FUNCTIONS)


def test_code_units_are_counted_as_clusters(vectors: list[dict[str, Any]]) -> None:
    """Prepared and typed as we do, the five cases give the cluster figures."""
    found = {}
    for vector in vectors:
        if vector["id"] in OURS:
            words = prepare(vector["input"]["targetWord"] + "x", timed=False).words
            scorer = Scorer(words)
            for key in vector["input"]["inputWord"]:
                scorer.feed([1, key])
            summary = scorer.summary(gave_up=True)
            chars = summary.chars
            right = summary.total_chars - chars.incorrect - chars.extra
            found[vector["id"]] = (right, chars.correct, chars.incorrect, chars.extra, chars.missed)
    assert found == OURS
