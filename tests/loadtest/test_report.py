"""Reports: distributions within their promise, tables that show what was measured."""

import json
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from loadtest.meters import Meters, Times
from loadtest.report import figure, machine, markdown, print_report, print_table, write_json


def test_quantiles_are_within_two_per_cent() -> None:
    chance = Random(1)
    readings = sorted(chance.lognormvariate(1.0, 2.0) for _ in range(20_000))
    times = Times()
    for reading in readings:
        times.add(reading)
    for share in (0.5, 0.9, 0.99, 0.999):
        assert times.quantile(share) == pytest.approx(readings[int(share * len(readings))], rel=0.025)
    assert times.most_ms == readings[-1]
    assert times.n == 20_000


def test_without_readings_there_is_no_quantile() -> None:
    times = Times()
    assert times.quantile(0.5) is None
    assert times.facts() == {"n": 0, "p50": None, "p99": None, "p99_9": None, "max": None}
    times.add(0.0)
    times.add(1e12)
    assert times.quantile(0.5) == pytest.approx(0.01, rel=0.02)
    times.clear()
    assert (times.n, times.most_ms) == (0, 0.0)


def test_what_several_processes_measured_adds_up() -> None:
    one, other = Meters(frames_out=3, accepted=1), Meters(frames_out=4)
    for ms in (1.0, 3.0):
        one.answer.add(ms)
    other.answer.add(200.0)
    one.errors["busy"] += 1
    other.errors["busy"] += 2
    for number in range(15):
        one.note(f"mine {number}")
        other.note(f"theirs {number}")
    before = one.answer.copy()
    one.add(other)
    assert (one.frames_out, one.accepted, one.errors["busy"]) == (7, 1, 3)
    assert (one.answer.n, one.answer.most_ms, one.answer.total_ms) == (3, 200.0, 204.0)
    assert one.answer.quantile(0.5) == pytest.approx(3.0, rel=0.02)
    assert (before.n, before.most_ms) == (2, 3.0)
    assert one.notes == [f"mine {number}" for number in range(15)] + [f"theirs {number}" for number in range(5)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "yes"), (12345, "12,345"), (1234.5, "1,234"), (12.34, "12.3"), (0.1234, "0.123"), ("x", "x")],
)
def test_figures(value: object, shown: str) -> None:
    assert figure(value) == shown


def test_tables_and_json(tmp_path: Path) -> None:
    assert markdown(("what", "ms"), [["a", 1.25], ["b", None]]) == "| what | ms |\n|---|---:|\n| a | 1.2 |\n| b | – |\n"
    out = StringIO()
    print_table(Console(file=out, width=100), "Title", ("what", "ms"), [["a", 3]])
    assert "Title" in out.getvalue()
    facts = machine()
    assert facts["cores"] >= 1
    write_json(tmp_path / "new" / "facts.json", facts)
    assert json.loads((tmp_path / "new" / "facts.json").read_text()) == facts


def test_a_report_names_faults_and_times() -> None:
    meters = Meters()
    meters.answer.add(2.0)
    for number in range(30):
        meters.note(f"session [x] differs, {number}")
        meters.note("session [x] differs, 0")
    assert len(meters.notes) == len(set(meters.notes)) == 20
    out = StringIO()
    print_report(
        Console(file=out, width=120),
        {
            "typists": 3,
            "mode": "mix",
            "encoding": "JSON",
            "seed": 1,
            "mismatched": 1,
            "verdicts": {"ok": 2},
            "errors": {"closed 1006": 4},
            "notes": meters.notes,
            "times_ms": {"answer": meters.answer.facts()},
        },
    )
    text = out.getvalue()
    for part in ("mismatched", "verdict ok", "error closed 1006", "frame to answer", "session [x] differs"):
        assert part in text
