"""A seed is a run, and the same one everywhere: else no failure could be seen again."""

import os
import subprocess
import sys

import pytest

from tests.simulation.plan import plan_of
from tests.simulation.running import run

SEEDS = (3, 44, 179, 417, 1234)


def test_the_same_seed_is_the_same_run() -> None:
    """Twice in one process, whatever ran in between."""
    first = [run(plan_of(seed)).digest for seed in SEEDS]
    assert [run(plan_of(seed)).digest for seed in reversed(SEEDS)] == first[::-1]
    assert len(set(first)) == len(SEEDS)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_is_the_same_run_in_another_process(hash_seed: str) -> None:
    """Whatever strings hash to there, and wherever objects lie."""
    code = (
        "from tests.simulation.plan import plan_of\n"
        "from tests.simulation.running import run\n"
        f"print(*(run(plan_of(seed)).digest for seed in {SEEDS}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [run(plan_of(seed)).digest for seed in SEEDS]
