"""The bench: each part measures something on a small scale, and what is absent is said and no failure."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.bench.__main__ import main, written
from loadtest.bench.closed import measure
from loadtest.bench.contenders import CONTENDERS, Contender
from loadtest.bench.paced import plain, scored
from loadtest.bench.rounds import Part, middle
from loadtest.served import Child, Served

BY_NAME = {contender.name: contender for contender in CONTENDERS}


@pytest.mark.parametrize("name", ["raw TCP", "typegate's wire", "websockets", "websockets, default"])
def test_echo_is_measured(name: str) -> None:
    contender = BY_NAME[name]
    child = contender.child("echo", core=None)
    assert isinstance(child, Child)
    with child:
        cost_us, rate = measure(child, contender, warm_s=0.2, window_s=0.2)
    assert cost_us > 0
    assert rate > 0


def test_paced_work_is_measured() -> None:
    child = BY_NAME["typegate's wire"].child("paced", core=None)
    assert isinstance(child, Child)
    with child:
        facts = plain(child, BY_NAME["typegate's wire"], 20, 1.0)
    assert 0 < facts["answers_per_s"] < facts["frames_per_s"] <= 90
    assert facts["us_per_frame"] > 0


def test_scored_work_is_measured_on_both() -> None:
    """Typegate and the comparison on `websockets` both score the same frames, and tick."""
    child = BY_NAME["websockets"].child("scored", core=None)
    assert isinstance(child, Child)
    with child:
        theirs = scored(child, 20, 2.0)
    with Served.in_temporary_folder() as server:
        ours = scored(server, 20, 2.0)
    for facts in (theirs, ours):
        assert 0 < facts["answers_per_s"] < facts["frames_per_s"] <= 90
        assert facts["us_per_frame"] > 0


def test_what_is_absent_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("gorilla", "Node ws"):
        said = BY_NAME[name].child("echo", core=None)
        assert isinstance(said, str)
        assert said.startswith("not here: no ")
    missing = Contender("x", "y", "python", "raw", "no_such_module_at_all")
    assert missing.child("echo", core=None) == "not here: no_such_module_at_all is not installed"


def test_the_command_writes_table_and_json(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["--quick", "--only", "f", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    facts = json.loads((tmp_path / "bench.json").read_text())
    assert facts["parts"]["f"]["rows"][0][0] == "scorer, a keystroke"
    assert facts["machine"]["cpu"]
    assert "| scorer, a keystroke | ns |" in (tmp_path / "bench.md").read_text()
    assert CliRunner().invoke(main, ["--only", "z"]).exit_code == 2


def test_small_things() -> None:
    assert middle([None, 3.0, 1.0, None]) == 2.0
    assert middle([None]) is None
    part = Part("T", ("a", "b"), [["x", 1]], {}, notes=("said",))
    about = {"date": "d", "cpu": "c", "cores": 2, "memory_gib": 1, "kernel": "k", "python": "p"}
    assert "said" in written({"a": part}, about)


def test_a_program_that_does_not_start_says_why() -> None:
    child = Child("broken", ["/bin/sh", "-c", "echo it is broken"])
    with pytest.raises(RuntimeError, match="it is broken"):
        child.start()
    assert not child.alive
