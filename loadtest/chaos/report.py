"""The verdict and the timeline of a run: one page that needs nothing else, JSON, and a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.chaos.run import Outcome
from loadtest.report import write_json

__all__ = ["page", "show", "write"]

_PAGE = Path(__file__).with_name("page.html")
_PLACE = "/*facts*/"


def page(facts: Mapping[str, Any]) -> str:
    """The page of a run, whole."""
    told = orjson.dumps(facts).decode()
    # within a script element nothing but its end has a meaning
    return _PAGE.read_text(encoding="utf-8").replace(_PLACE, told.replace("<", "\\u003c"))


def write(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write `seed-N.html` and `seed-N.json`; where the page is."""
    name = f"seed-{facts['seed']}"
    write_json(folder / f"{name}.json", facts)
    file = folder / f"{name}.html"
    file.write_text(page(facts), encoding="utf-8")
    return file


def show(console: Console, outcome: Outcome) -> None:
    """Print what holds and what does not, and how soon all was well again."""
    facts = outcome.facts
    table = Table(title=f"Chaos, seed {facts['seed']}: {'all holds' if outcome.holds else 'NOT all holds'}")
    for column in ("", "what must hold", "found"):
        table.add_column(column)
    for check in outcome.checks:
        mark = "[green]✓[/]" if check.holds else "[red]✗[/]"
        table.add_row(mark, escape(check.law), escape(check.found[:400]))
    console.print(table)
    slowest = sorted(
        (one for one in facts["faults"] if one["well_s"] is not None), key=lambda one: one["ended_s"] - one["well_s"]
    )
    times = Table(title="Longest until all was well again")
    for column in ("at", "part", "what", "well again after"):
        times.add_column(column, justify="right" if column in ("at", "well again after") else "left")
    for one in slowest[:8]:
        times.add_row(f"{one['begun_s']:.0f} s", one["part"], one["words"], f"{one['well_s'] - one['ended_s']:.1f} s")
    console.print(times)
    for note in facts["people"]["notes"]:
        console.print(f"  {note}", markup=False)
