"""The command of the results' bench: `python -m loadtest.bench.results --help`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console

from loadtest.bench.results.live import live
from loadtest.bench.results.plant import Plant, fill, plant, typed
from loadtest.bench.results.reads import reads
from loadtest.bench.rounds import Part
from loadtest.ending import leave_on_sigterm
from loadtest.report import machine, markdown, print_table, write_json
from session.result import Result

_WARM = 1_000
"""Results that a worker stores before it is measured."""
_LEFT = 100
"""Results that are left in the topic, so that the last batch is as full as the others."""
_LONGEST_S = 300.0

SAMPLED, ALWAYS, PLAINEST = "1 in 100 re-scored", "every one re-scored", "the plainest: unpack and insert"
WORKERS: dict[str, dict[str, str]] = {
    SAMPLED: {"TYPEGATE_RESCORE_WHICH": "doubted"},
    ALWAYS: {"TYPEGATE_RESCORE_WHICH": "always"},
}
"""Kinds of worker and the settings that make them so."""
COMING = (1_000, 3_472, 10_000)
"""Results a second: the second are 300 million a day."""


class Rounds:
    """Workers one after the other, each with a topic of its own that is full of the same results."""

    def __init__(self, made: Plant, results: Sequence[Result], count: int) -> None:
        self._made, self._results, self._count = made, results, count
        self._topics = 0

    @contextmanager
    def _topic(self) -> Iterator[Plant]:
        self._topics += 1
        made = self._made.with_topic(f"bench-{self._topics}")
        asyncio.run(fill(made, self._results, _WARM + self._count + _LEFT, seed=self._topics))
        yield made

    def worker(self, variables: Mapping[str, str], *, shares: bool = False) -> dict[str, Any]:
        """What a worker with these settings measured of itself."""
        with self._topic() as made:
            group = {"TYPEGATE_FEED_GROUP": made.kafka.results_topic}
            wanted = [str(_WARM), str(self._count), *(["shares"] if shares else [])]
            return _ran("measured", wanted, made.variables() | group | dict(variables))

    def plainest(self) -> dict[str, Any]:
        """What the plainest worker did."""
        with self._topic() as made:
            where = [",".join(made.kafka.servers), made.kafka.results_topic, made.plain_dsn]
            return _ran("plainest", [*where, str(_WARM), str(self._count)], {})


def _ran(module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """What a module of this package printed. Raises RuntimeError where it failed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TYPEGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", f"loadtest.bench.results.{module}", *arguments],
        env=inherited | dict(variables),
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr[-1000:]}")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def costs(rounds: Rounds, times: int) -> Part:
    """CPU a result: our workers and the plainest in turn, so that whatever slows the machine slows all."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in (*WORKERS, PLAINEST)}
    for _ in range(times):
        for name, variables in WORKERS.items():
            taken[name].append(rounds.worker(variables))
        taken[PLAINEST].append(rounds.plainest())
    rows: list[list[object]] = [
        [name, *(median(facts[key] for facts in several) for key in ("cpu_us", "per_s", "batch"))]
        for name, several in taken.items()
    ]
    return Part(
        f"One worker process and a topic full of results, median of {times}",
        ("worker", "CPU, µs a result", "results/s", "results a batch"),
        rows,
        {"rounds": taken},
    )


def backlog(taken: Part) -> Part:
    """What it takes to keep up, and to be through in an hour with what an hour has left while more comes.

    Workers by the rate at which one emptied its topic, with everything else on the same machine; cores by its CPU time.
    """
    rows: list[list[object]] = []
    for name in WORKERS:
        per_s, cpu_us = (median(facts[key] for facts in taken.facts["rounds"][name]) for key in ("per_s", "cpu_us"))
        rows += [[name, come, ceil(come / per_s), ceil(2 * come / per_s), come * cpu_us / 1e6] for come in COMING]
    return Part(
        "Workers that it takes",
        ("worker", "results that come, per s", "to keep up", "through with an hour's in an hour", "cores to keep up"),
        rows,
        {"workers": rows},
    )


def split(rounds: Rounds) -> Part:
    """What a sampling worker's CPU time goes into."""
    shares: dict[str, float] = rounds.worker(WORKERS[SAMPLED], shares=True)["shares"]
    return Part(
        f"Where a worker's CPU time goes, {SAMPLED}",
        ("part", "%"),
        [[name, share] for name, share in shares.items()],
        {"shares": shares},
    )


def ways(made: Plant, folder: Path, *, typists: int, seconds: float) -> Part:
    """From the end of a test to each of its result's stations, with a gateway, a worker and typists."""
    taken = live(made, folder, typists=typists, seconds=seconds)
    return Part(
        f"One gateway, one worker, {typists} typists, in ms",
        ("from … to", "readings", "p50", "p95", "p99"),
        [[name, *(facts[key] for key in ("n", "p50", "p95", "p99"))] for name, facts in taken.items()],
        {"times_ms": taken},
    )


def reading(folder: Path, *, seconds: float) -> Part:
    """Tests read over HTTP."""
    taken = reads(folder, seconds=seconds)
    return Part(
        "Tests read over HTTP, each reader one request after the other",
        ("what", "requests/s", "server's CPU, µs a request", "p50 ms", "p99 ms"),
        [[name, one.per_s, one.cpu_us, one.p50_ms, one.p99_ms] for name, one in taken.items()],
        {"reads": {name: asdict(one) for name, one in taken.items()}},
    )


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  python -m loadtest.bench.results\n  python -m loadtest.bench.results --quick",
)
@click.option("--quick", is_flag=True, help="A minute or two: fewer results, one round.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-out"),
    show_default=True,
    help="Folder for results.json and results.md.",
)
def main(quick: bool, out: Path) -> None:
    """Measure the way of a result on servers of this run's own: Kafka, two shards of MariaDB that sync, Redis.

    A worker's CPU a result beside the plainest worker that there could be, what that CPU goes into, how long a result
    takes from the end of its test to its row, and what reading tests costs nginx.
    """
    console = Console() if sys.stdout.isatty() else Console(width=140)
    parts: list[Part] = []
    with TemporaryDirectory(prefix="typegate-results-") as name, plant(Path(name)) as made:
        rounds = Rounds(made, asyncio.run(typed(100 if quick else 500)), 2_000 if quick else 10_000)
        taken = costs(rounds, 1 if quick else 3)
        measures: list[Callable[[], Part]] = [
            lambda: taken,
            lambda: backlog(taken),
            lambda: split(rounds),
            lambda: ways(made, Path(name), typists=20 if quick else 200, seconds=10 if quick else 60),
            lambda: reading(Path(name), seconds=2 if quick else 10),
        ]
        for measured in measures:
            parts.append(part := measured())
            print_table(console, part.title, part.columns, part.rows)
    about = machine() | {"date": datetime.now(UTC).date().isoformat(), "quick": quick}
    write_json(out / "results.json", {"machine": about, "parts": {part.title: part.facts for part in parts}})
    blocks = [f"## {part.title}\n\n{markdown(part.columns, part.rows)}" for part in parts]
    (out / "results.md").write_text("\n".join(blocks), encoding="utf-8")
    console.print(f"{', '.join(f'{name} {value}' for name, value in about.items())}", markup=False)


if __name__ == "__main__":
    leave_on_sigterm()
    main(prog_name="python -m loadtest.bench.results")
