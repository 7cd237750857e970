"""`kill -9` at any point: what was acknowledged as accepted is stored once with equal bytes, what was stored is there.

A child process (`doomed`) works on a folder and says what it promises; it dies, at a step of the drain or at a random
instant; the next one works on the same folder; the last one only drains. Then the store is read.
"""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from persistence.results import SqliteResults
from persistence.stream import Spool
from tests.persistence.samples import sample
from tests.persistence.stream.doomed import STEPS

ROOT = Path(__file__).resolve().parents[3]


def run(
    folder: Path, *, seed: int, first: int, count: int, step: str = "none", after: int = 0, kill_s: float = 0
) -> set[str]:
    """Run one child until it dies or is done; the promises it made. `kill_s`: after its first word."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.persistence.stream.doomed", *map(str, (folder, seed, first, count, step, after))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        lines = [child.stdout.readline()]
        if kill_s:
            killer = threading.Timer(kill_s, child.kill)
            killer.start()
        lines += child.stdout.readlines()  # all that was said before the end of the pipe: the process's death
    code = child.wait()
    promises = {line.strip() for line in lines if line.endswith("\n")}
    assert ("done" in promises and code == 0) or code == -signal.SIGKILL, f"the child failed by itself: {code}"
    if step != "none":
        assert code == -signal.SIGKILL, f"the child never came to {step!r}"
    return promises


async def check(folder: Path, promises: set[str], last: int) -> None:
    """Drain what is left and hold the store to the promises."""
    promises |= run(folder, seed=0, first=last, count=0)
    assert "done" in promises
    accepted = {int(line.split()[1]) for line in promises if line.startswith("accepted")}
    stored = {int(line.split()[1]) for line in promises if line.startswith("stored")}
    async with SqliteResults(folder / "results.db") as store:
        rows = Counter[bytes]()
        cursor = None
        while True:
            page = await store.by_user(7, limit=100, cursor=cursor)
            rows.update(result.session for result in page.results)
            if (cursor := page.cursor) is None:
                break
        for number in accepted | stored:
            found = await store.by_id(sample(number).session)
            assert found is not None, f"{number} was promised and is lost"
            assert found.pack() == sample(number).pack()
        assert accepted <= stored, "the last drain tells of each result that no earlier process told of"
        assert set(rows.values()) <= {1}
        assert await store.progress(7, since_day=0, until_day=10**6) != [] or not rows
        assert sum(row.tests for row in await store.progress(7, since_day=0, until_day=10**6)) == len(rows)
        assert all([not await store.conflicts(sample(number).session) for number in accepted])
    async with Spool(folder / "spool") as spool:
        assert spool.facts().rows == 0


@pytest.mark.parametrize("step", STEPS)
async def test_killed_between_two_steps_of_the_drain(step: str, tmp_path: Path) -> None:
    promises: set[str] = set()
    for turn, after in enumerate((1, 3)):
        promises |= run(tmp_path, seed=turn, first=150 * turn, count=150, step=step, after=after)
    await check(tmp_path, promises, last=300)


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_instants(seed: int, tmp_path: Path) -> None:
    """Many lives on one folder, each cut off somewhere, most of them while results are put and stored."""
    chance = Random(seed)
    promises: set[str] = set()
    started = time.monotonic()
    first, deaths = 0, 0
    for life in range(12):
        said = run(tmp_path, seed=life, first=first, count=300, kill_s=chance.uniform(0.001, 0.08))
        deaths += "done" not in said
        promises |= said
        first += 300
        if time.monotonic() - started > 60:
            break
    assert deaths > 0
    await check(tmp_path, promises, last=first)
