"""The command of the cluster's bench: `python -m loadtest.bench.cluster --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.bench.cluster.death import node_killed
from loadtest.bench.cluster.plan import plan_part
from loadtest.bench.cluster.rooms import races_on_a_node
from loadtest.bench.cluster.takeover import takeovers
from loadtest.bench.cluster.ticks import race_ticks
from loadtest.bench.cluster.toll import bus_toll
from loadtest.bench.rounds import Bench, Part
from loadtest.ending import leave_on_sigterm
from loadtest.report import machine, markdown, print_table, write_json
from loadtest.served import raise_file_limit

PARTS: dict[str, Callable[[Bench], Part]] = {
    "a": takeovers,
    "b": node_killed,
    "c": race_ticks,
    "d": races_on_a_node,
    "e": bus_toll,
}
PLAN = "f"


def wanted_parts(only: str) -> list[str]:
    """The letters that were asked for, in order, the plan last. Raises ValueError."""
    known = [*PARTS, PLAN]
    letters = {letter.strip() for letter in only.split(",") if letter.strip()}
    if not letters or letters.difference(known):
        raise ValueError(f"{only!r}: parts are {', '.join(known)}")
    if PLAN in letters and "c" not in letters:
        raise ValueError(f"{PLAN} is reckoned from what c measures, and better from a, d and e too: --only c,{PLAN}")
    return [letter for letter in known if letter in letters]


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  python -m loadtest.bench.cluster\n  python -m loadtest.bench.cluster --quick --only a,c,f",
)
@click.option("--quick", is_flag=True, help="Two minutes instead of ten: a tenth of the people.")
@click.option("--only", metavar="PARTS", default=",".join([*PARTS, PLAN]), help="Parts by letter, such as a,c,f [all].")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-out"),
    show_default=True,
    help="Folder for cluster.json and cluster.md.",
)
def main(quick: bool, only: str, out: Path) -> None:
    """Measure a cluster on this machine: nodes and Redis of this run's own, all of them real programs.

    \b
    a  takeover of a test by another node   d  one node full of races
    b  kill -9 of a node under typists      e  a node with the bus and without it
    c  a race's tick from node to node      f  thirty nodes on paper
    """
    try:
        wanted = wanted_parts(only)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--only") from None
    raise_file_limit()
    console = Console() if sys.stdout.isatty() else Console(width=180)  # a file has room
    done: dict[str, Part] = {}
    faults: dict[str, str] = {}
    begun = monotonic()
    load_before = os.getloadavg()[0]
    columns = (TextColumn("{task.description:48}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=float(len(wanted)))

        def progress(share: float, what: str) -> None:
            bar.update(task, completed=len(done) + len(faults) + share, description=what)

        bench = Bench(quick, None, (), progress)  # several programs at once: where they run is left to the kernel
        for letter in wanted:
            try:
                part = done[letter] = plan_part(done, quick=quick) if letter == PLAN else PARTS[letter](bench)
            except (RuntimeError, OSError) as fault:  # one part that fails on this machine costs no other
                faults[letter] = str(fault)
                console.print(f"part {letter} failed: {fault}", markup=False, style="red")
                continue
            print_table(console, part.title, part.columns, part.rows)
            for note in part.notes:
                console.print(f"  {note}", markup=False)
    about = machine() | {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": quick,
        "took_s": round(monotonic() - begun),
        "load_before": round(load_before, 1),
    }
    facts = {
        letter: {"title": part.title, "columns": part.columns, "rows": part.rows, **part.facts}
        for letter, part in done.items()
    }
    write_json(out / "cluster.json", {"machine": about, "parts": facts, "failed": faults})
    (out / "cluster.md").write_text(
        "\n".join(
            "\n".join([f"## {part.title}\n", markdown(part.columns, part.rows), *(f"{note}\n" for note in part.notes)])
            for part in done.values()
        ),
        encoding="utf-8",
    )
    console.print(f"{', '.join(f'{name} {value}' for name, value in about.items())}", markup=False)
    console.print(f"Written: {out / 'cluster.json'}, {out / 'cluster.md'}", markup=False)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    leave_on_sigterm()
    main(prog_name="python -m loadtest.bench.cluster")
