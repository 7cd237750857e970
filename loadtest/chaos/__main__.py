"""Everything dies by a seeded schedule while people type, and in the end all is there, once.

    python -m loadtest.chaos --seed 7 --minutes 5 --typists 300
    python -m loadtest.chaos --seed 7 --brief
    python -m loadtest.chaos --minutes 30 --brokers 3 --every 2

Nodes behind HAProxy, workers, Kafka, two MariaDB shards, Redis and the ways between them are killed, paused, started
again, cut, silenced, reset, slowed and narrowed. Then all come back, and it is checked that every result that a typist
saw stored is in MySQL exactly once with the figures of the typist's own log, and that nobody lost a key or a test. All
of it runs on 127.0.0.1 and ends with the command; its folder of data and logs is kept where something does not hold.
The exit code is 1 then.
"""

from __future__ import annotations

import datetime
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.chaos.report import show, write
from loadtest.chaos.run import ChaosOptions, run
from loadtest.chaos.schedule import ScheduleOptions
from loadtest.cluster.cluster import ClusterOptions, missing
from loadtest.ending import leave_on_sigterm
from loadtest.mixes import MIXES
from loadtest.served import raise_file_limit

__all__ = ["main"]

_OUT = Path("bench-out/chaos")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    help=(__doc__ or "").replace("\n    p", "\n\b\n    p", 1),
)
@click.option("--seed", default=1, help="What happens, and what is typed.")
@click.option("--minutes", default=5.0, help="For how long faults begin.")
@click.option("--typists", default=1_000, help="How many type at once.")
@click.option("--racers", type=int, help="How many of them race each other [a fifth].")
@click.option("--mode", "mix", default="mix", type=click.Choice(list(MIXES)), help="What they type.")
@click.option("--every", "every_s", default=4.0, help="Mean seconds from one fault to the next.")
@click.option("--longest", "longest_s", default=20.0, help="Longest fault, in seconds.")
@click.option("--nodes", default=3)
@click.option("--workers", default=2)
@click.option("--brokers", default=1, help="Kafka's: 1 or 3; one takes half a gigabyte.")
@click.option("--brief", is_flag=True, help="Every kind of fault once, short tests, two dozen typists.")
@click.option("--out", default=_OUT, type=click.Path(file_okay=False, path_type=Path), help="Where the report goes.")
@click.option("--keep", is_flag=True, help="Keep the folder of data and logs in any case.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    seed: int,
    minutes: float,
    typists: int,
    racers: int | None,
    mix: str,
    every_s: float,
    longest_s: float,
    nodes: int,
    workers: int,
    brokers: int,
    brief: bool,
    out: Path,
    keep: bool,
    quiet: bool,
) -> None:
    """Replaced by the module's own text."""
    if (why := missing()) is not None:
        raise click.ClickException(f"{why}; loadtest/servers/install installs it")
    try:
        options = ChaosOptions(
            seed=seed,
            typists=typists,
            racers=typists // 5 if racers is None else racers,
            mix=mix,
            schedule=ScheduleOptions(seconds=60 * minutes, every_s=every_s, longest_s=longest_s),
            cluster=ClusterOptions(nodes=nodes, workers=workers, brokers=brokers),
        )
        if brief:
            options = ChaosOptions.brief(seed)
        options.swarm()
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
    raise_file_limit()
    leave_on_sigterm()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="typegate-chaos-"))
    began = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    columns = (TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    try:
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=quiet) as bar:
            task = bar.add_task("starting", total=1.0)
            outcome = run(
                options,
                folder,
                progress=lambda share, what: bar.update(task, completed=share, description=what[:40]),
            )
    except BaseException:
        console.print(f"data and logs: {folder}", markup=False)
        raise
    outcome.facts.update(began=began, command=shlex.join(["python", "-m", "loadtest.chaos", *sys.argv[1:]]))
    show(console, outcome)
    console.print(f"{write(out, outcome.facts)}", markup=False)
    if outcome.holds and not keep:
        shutil.rmtree(folder)
    else:
        console.print(f"data and logs: {folder}", markup=False)
    if not outcome.holds:
        raise click.ClickException(f"not all holds; again: {outcome.facts['command']}")


if __name__ == "__main__":
    main(prog_name="python -m loadtest.chaos")
