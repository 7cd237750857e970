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
from tests.persistence.samples import judged, sample, settled_sample
from tests.persistence.stream.doomed import STEPS

ROOT = Path(__file__).resolve().parents[3]


def run(
    folder: Path,
    *where: str,
    seed: int,
    first: int,
    count: int,
    step: str = "none",
    after: int = 0,
    kill_s: float = 0,
) -> set[str]:
    """Run one child until it dies or is done; the promises it made. `kill_s`: after its first word."""
    arguments = [*map(str, (folder, seed, first, count, step, after)), *where]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.persistence.stream.doomed", *arguments],
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


def numbers(promises: set[str], word: str) -> set[int]:
    return {int(line.split()[1]) for line in promises if line.startswith(word)}


async def check_stored(folder: Path, promises: set[str]) -> None:
    """What was said to be stored is in the store now, before anybody drains the spool again."""
    async with SqliteResults(folder / "results.db") as store:
        for number in numbers(promises, "stored"):
            found = await store.by_id(sample(number).session)
            assert found is not None, f"{number} was said to be stored and is not"
            final = sample(number) if number % 2 else judged(settled_sample(number))
            assert found.pack() == final.pack()


async def check_all(folder: Path, promises: set[str], last: int) -> None:
    """Drain what is left and hold the store to all promises."""
    said = run(folder, seed=0, first=last, count=0)
    assert "done" in said
    promises = promises | said
    assert numbers(promises, "accepted") <= numbers(promises, "stored"), "somebody never hears that his is stored"
    await check_stored(folder, promises)
    async with SqliteResults(folder / "results.db") as store:
        rows = Counter[bytes]()
        page = await store.by_user(7, limit=100)
        rows.update(result.session for result in page.results)
        while page.cursor is not None:
            page = await store.by_user(7, limit=100, cursor=page.cursor)
            rows.update(result.session for result in page.results)
        assert set(rows.values()) == {1}
        assert sum(row.tests for row in await store.progress(7, since_day=0, until_day=10**6)) == len(rows)
        assert [session for session in rows if await store.conflicts(session)] == []
    async with Spool(folder / "spool") as spool:
        assert spool.facts().rows == 0


@pytest.mark.parametrize("step", STEPS)
async def test_killed_between_two_steps_of_the_drain(step: str, tmp_path: Path) -> None:
    promises: set[str] = set()
    for turn, after in enumerate((1, 3)):
        promises |= run(tmp_path, seed=turn, first=150 * turn, count=150, step=step, after=after)
        await check_stored(tmp_path, promises)
    await check_all(tmp_path, promises, last=300)


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
        await check_stored(tmp_path, said)
        first += 300
        if time.monotonic() - started > 60:
            break
    assert deaths > 0
    await check_all(tmp_path, promises, last=first)
