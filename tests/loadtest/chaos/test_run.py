"""A brief run on real servers: every kind of fault once; and a run that is broken off leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.chaos.report import page
from loadtest.chaos.run import ChaosOptions, run
from loadtest.chaos.schedule import KINDS
from loadtest.cluster.cluster import missing

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
SEED = int(os.environ.get("TYPEGATE_TEST_CHAOS_SEED", "1"))


@pytest.fixture(autouse=True)
def _there() -> None:
    if (why := missing()) is not None:
        pytest.skip(f"{why}; loadtest/servers/install installs it")


def test_everything_dies_and_all_is_there_once(tmp_path: Path) -> None:
    outcome = run(ChaosOptions.brief(SEED), tmp_path)
    facts: dict[str, Any] = outcome.facts
    assert outcome.holds, [check for check in outcome.checks if not check.holds]
    assert {fault["kind"] for fault in facts["faults"]} == {kind for kinds in KINDS.values() for kind in kinds}
    assert {fault["sort"] for fault in facts["faults"]} == set(KINDS)
    assert facts["people"]["stored"] >= facts["options"]["typists"]
    assert facts["people"]["races"] > 0
    assert facts["people"]["reconnects"] > 0
    assert facts["moments"]
    whole = page(facts | {"began": "today", "command": "</script>"})
    assert "</script>" in whole
    assert "</script>" not in whole.partition('id="facts">')[2].partition("\n<script>")[0].removesuffix("</script>")
    assert re.search(r'(src|href)="', whole) is None, "it needs nothing else"


def test_a_run_that_is_broken_off_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGTERM as soon as its first node runs: every program that it started ends, and its folder is named and kept."""
    command = [sys.executable, "-m", "loadtest.chaos", "--brief", "--quiet", "--out", str(tmp_path / "out")]
    own = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    with subprocess.Popen(command, cwd=tmp_path, env=own, stdout=subprocess.PIPE, text=True) as chaos:
        until = time.monotonic() + PATIENCE_S
        nodes: list[Path] = []
        while not (nodes and len(programs(tmp_path)) > 5) and time.monotonic() < until:
            assert chaos.poll() is None
            time.sleep(0.05)
            nodes = list(tmp_path.glob("typegate-chaos-*/node-1/node-1.log"))
        assert len(programs(tmp_path)) > 5
        chaos.send_signal(signal.SIGTERM)
        said, _ = chaos.communicate(timeout=PATIENCE_S)
    folder = nodes[0].parents[1]
    assert str(folder) in said
    assert folder.exists()
    assert programs(tmp_path) == []


def programs(folder: Path) -> list[str]:
    """Commands of running processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"{folder}/typegate-chaos-" in command:
            found.append(command)
    return found
