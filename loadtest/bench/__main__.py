"""The bench's command: `python -m loadtest.bench --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.bench.capacity import capacity
from loadtest.bench.closed import closed_loop
from loadtest.bench.micro import micro
from loadtest.bench.moments import finishes, long_texts
from loadtest.bench.paced import paced_load
from loadtest.bench.rounds import Bench, Part
from loadtest.bench.wave import handshakes
from loadtest.ending import leave_on_sigterm
from loadtest.report import machine, markdown, print_table, write_json
from loadtest.served import raise_file_limit

PARTS: dict[str, Callable[[Bench], Part]] = {
    "a": closed_loop,
    "b": paced_load,
    "c": capacity,
    "d": handshakes,
    "e": finishes,
    "f": micro,
    "g": long_texts,
}


def written(parts: dict[str, Part], about: dict[str, Any]) -> str:
    """The tables as Markdown."""
    head = (
        f"Taken on {about['date']}: {about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, "
        f"{about['kernel']}, {about['python']}. Server on one core, load on another"
        f"{', both before whatever else ran (real-time priority)' if about['alone'] else ''}.\n"
    )
    blocks = [head]
    for part in parts.values():
        blocks += [f"## {part.title}\n", markdown(part.columns, part.rows), *(f"{note}\n" for note in part.notes)]
    return "\n".join(blocks)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  python -m loadtest.bench\n  python -m loadtest.bench --quick --only a,f\n"
    "  python -m loadtest.bench --alone --only b",
)
@click.option("--quick", is_flag=True, help="Some minutes instead of half an hour: fewer rounds, fewer connections.")
@click.option("--alone", is_flag=True, help="Go before whatever else this machine runs (real-time priority; as root).")
@click.option("--only", metavar="PARTS", default=",".join(PARTS), help="Parts by letter, such as a,c [all].")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-out"),
    show_default=True,
    help="Folder for bench.json and bench.md.",
)
def main(quick: bool, alone: bool, only: str, out: Path) -> None:
    """Measure this machine: Typegate beside other WebSocket servers, by the server's own CPU time.

    \b
    a  closed loop: echo              e  a thousand finishes in a second
    b  paced load, plain and scored   f  in process: keystroke, frame, tick, result
    c  capacity: typists on a core    g  long texts: how long others wait
    d  handshakes: to ready, to resumed
    """
    wanted = [letter.strip() for letter in only.split(",") if letter.strip()]
    unknown = [letter for letter in wanted if letter not in PARTS]
    if unknown or not wanted:
        raise click.BadParameter(f"{only!r}: parts are {', '.join(PARTS)}", param_hint="--only")
    raise_file_limit()
    console = Console() if sys.stdout.isatty() else Console(width=180)  # a file has room
    done: dict[str, Part] = {}
    faults: dict[str, str] = {}
    begun = monotonic()
    columns = (TextColumn("{task.description:48}"), BarColumn(), TimeElapsedColumn())
    affinity = os.sched_getaffinity(0)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=float(len(wanted)))

        def progress(share: float, what: str) -> None:
            bar.update(task, completed=len(done) + len(faults) + share, description=what)

        try:
            bench = Bench.on_two_cores(quick=quick, alone=alone, progress=progress)
        except PermissionError as fault:
            raise click.UsageError("--alone wants the right to real-time priorities: run it as root") from fault
        try:
            for letter in wanted:
                try:
                    done[letter] = PARTS[letter](bench)
                except (RuntimeError, OSError) as fault:  # one part that fails on this machine costs no other
                    faults[letter] = str(fault)
                    console.print(f"part {letter} failed: {fault}", markup=False, style="red")
                    continue
                part = done[letter]
                print_table(console, part.title, part.columns, part.rows)
                for note in part.notes:
                    console.print(f"  {note}", markup=False)
        finally:
            os.sched_setaffinity(0, affinity)
    about = machine() | {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": quick,
        "alone": alone,
        "took_s": round(monotonic() - begun),
    }
    facts = {
        letter: {"title": part.title, "columns": part.columns, "rows": part.rows, **part.facts}
        for letter, part in done.items()
    }
    write_json(out / "bench.json", {"machine": about, "parts": facts, "failed": faults})
    (out / "bench.md").write_text(written(done, about), encoding="utf-8")
    console.print(f"{', '.join(f'{name} {value}' for name, value in about.items())}", markup=False)
    console.print(f"Written: {out / 'bench.json'}, {out / 'bench.md'}", markup=False)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    leave_on_sigterm()
    main()
