"""Runs many seeds with a progress bar, or one step by step; see `--help`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from os import cpu_count

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.plan import Plan
from tests.simulation.running import Run, run
from tests.simulation.schedules import PLANS, broken_of
from tests.simulation.shrinking import shrunk

_CHUNK = 100


def _range(_: click.Context, __: click.Parameter, value: str) -> range:
    first, colon, last = value.partition(":")
    try:
        return range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no range; wanted is FIRST:BEYOND, such as 0:10000") from None


def tell(plan: Plan, found: Run) -> Iterator[str]:
    """A run, step by step."""
    way = "by a topic" if plan.kafka else "to the store"
    yield f"seed {plan.seed}: nodes {', '.join(plan.machines)}; results go {way}"
    for tabs in plan.browsers:
        for number, wishes in enumerate(tabs.wishes):
            wanted = "; ".join(str(wish.start) for wish in wishes) if tabs.races is None else tabs.races
            yield f"  {tabs.browser}{number} wants {wanted}"
    for fault in plan.faults:
        yield f"  fault {fault}"
    for when, who, what, detail in found.world.play:
        yield f"{when:9.4f}  {who:6} {what} {detail}"
    yield "all laws hold" if found.broken is None else f"BROKEN  {found.broken}"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--seeds", callback=_range, default="0:1000", show_default=True, help="Which to run: FIRST:BEYOND.")
@click.option("--replay", type=int, help="Run this one alone, and tell it step by step.")
@click.option("--shrink", is_flag=True, help="With --replay: leave out whatever need not go wrong, and tell the rest.")
@click.option("--races", "kind", flag_value="races", help="Plans with a race in them.")
@click.option("--processes", default=cpu_count() or 1, show_default=True, help="How many run them.")
def main(seeds: range, replay: int | None, shrink: bool, kind: str | None, processes: int) -> None:
    """Run the simulated cluster: every seed is another plan of what goes wrong.

    \b
    python -m tests.simulation --seeds 0:100000          a hundred thousand, with a progress bar
    python -m tests.simulation --replay 4711             one, step by step
    python -m tests.simulation --replay 4711 --shrink    likewise, with as few faults as it takes
    python -m tests.simulation --races --replay 4711     one with a race in it

    Ends with 1 where a law is broken.
    """
    if replay is not None:
        plan = PLANS[kind or "tests"](replay)
        found = run(plan)
        if shrink and found.broken is not None:
            plan, found = shrunk(plan, found)
        click.echo("\n".join(tell(plan, found)))
        sys.exit(found.broken is not None)
    broken: list[tuple[int, str]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, Progress(*columns) as progress:
        bar = progress.add_task("seeds", total=len(seeds))
        chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
        for chunk, some in zip(chunks, pool.map(partial(broken_of, kind=kind or "tests"), chunks), strict=True):
            for seed, law in some:
                progress.console.print(f"seed {seed}: {law}", markup=False, highlight=False)
            broken += some
            progress.update(bar, advance=len(chunk), description=f"seeds, {len(broken)} broken" if broken else "seeds")
    if broken:
        click.echo(f"{len(broken)} of {len(seeds)} broke a law")
        races = " --races" if kind else ""
        click.echo(f"see one: python -m tests.simulation{races} --replay {broken[0][0]} --shrink")
        sys.exit(1)
    click.echo(f"{len(seeds)} runs, and every law holds")


if __name__ == "__main__":
    main()
