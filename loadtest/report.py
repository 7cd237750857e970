"""Figures for people and for programs: rich tables, JSON, Markdown; and the machine that they were taken on."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["figure", "machine", "markdown", "print_report", "print_table", "write_json"]

_NAMES = {
    "key_to_tick": "key to acknowledging tick (waits included)",
    "tick_late": "tick later than its second",
    "answer": "frame to answer",
    "to_ready": "connect to ready",
    "to_started": "start to started",
    "to_accepted": "finish to accepted",
    "to_stored": "finish to stored",
    "to_resumed": "lost to resumed",
    "generator_late": "the generator's own lateness",
}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 1024**2) if memory else None,
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def figure(value: object) -> str:
    """A figure as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return str(value)


def print_report(console: Console, facts: Mapping[str, Any]) -> None:
    """One run of typists: its figures, its times, its faults."""
    table = Table(title=f"{facts['typists']:,} typists, {facts['mode']}, {facts['encoding']}, seed {facts['seed']}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in facts.items():
        if name in ("times_ms", "errors", "notes", "verdicts", "typists", "mode", "encoding", "seed"):
            continue
        table.add_row(name.replace("_", " "), figure(value))
    for name in ("verdicts", "errors"):
        for what, count in sorted(facts.get(name, {}).items()):
            table.add_row(f"{name[:-1]} {what}", figure(count))
    console.print(table)
    times = Table(title="Times in ms")
    for column in ("from … to", "readings", "p50", "p99", "p99.9", "most"):
        times.add_column(column, justify="left" if column.startswith("from") else "right")
    for name, taken in facts["times_ms"].items():
        times.add_row(_NAMES.get(name, name), *(figure(taken[key]) for key in ("n", "p50", "p99", "p99_9", "max")))
    console.print(times)
    for note in facts.get("notes", ()):
        console.print(f"  {note}", markup=False)


def print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Any table: the first column is text, the others are figures."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(figure(value) for value in row))
    console.print(table)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same table for a README."""
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if not number else "---:" for number in range(len(columns))) + "|",
        *("| " + " | ".join(figure(value) for value in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def write_json(file: Path, facts: Mapping[str, Any]) -> None:
    """Write facts where programs find them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
