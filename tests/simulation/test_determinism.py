"""A seed is a run, and the same one everywhere: else no failure could be seen again."""

import os
import subprocess
import sys

import pytest

from tests.simulation.running import run
from tests.simulation.schedules import PLANS

SEEDS = {"tests": (3, 44, 179, 417, 1234), "races": (3, 21, 50, 480)}


def digests(kind: str) -> list[str]:
    """What runs of these plans come to."""
    return [run(PLANS[kind](seed)).digest for seed in SEEDS[kind]]


@pytest.mark.parametrize("kind", PLANS)
def test_the_same_seed_is_the_same_run(kind: str) -> None:
    """Twice in one process, whatever ran in between."""
    first = digests(kind)
    assert [run(PLANS[kind](seed)).digest for seed in reversed(SEEDS[kind])] == first[::-1]
    assert len(set(first)) == len(SEEDS[kind])


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_is_the_same_run_in_another_process(hash_seed: str) -> None:
    """Whatever strings hash to there, and wherever objects lie."""
    code = "from tests.simulation.test_determinism import digests\nprint(*digests('tests'), *digests('races'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == digests("tests") + digests("races")
