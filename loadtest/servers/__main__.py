"""The servers' command: `python -m loadtest.servers --help`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from loadtest.ending import leave_on_sigterm
from loadtest.servers import addresses
from loadtest.servers.kinds import KINDS, Kind, kind_named


@contextmanager
def running(names: Sequence[str], data: Path | None, *, partly: bool) -> Iterator[dict[str, Kind]]:
    """Run all servers of these kinds until the context is left.

    Kinds that this machine cannot run are left out where `partly` and else a click.ClickException.
    """
    with TemporaryDirectory(prefix="typegate-servers-") as temporary:
        folder = (data or Path(temporary)).resolve()
        kinds: dict[str, Kind] = {}
        for name in names:
            kind = kind_named(name)
            why = kind.missing()
            if why is None:
                kinds[name] = kind(folder)
            elif partly:
                click.echo(f"no {name}: {why}", err=True)
            else:
                raise click.ClickException(f"{why}; loadtest/servers/install installs what is missing")
        with ThreadPoolExecutor(max(1, len(kinds))) as together:
            try:
                _start(together, kinds)
                yield kinds
            finally:
                list(together.map(lambda kind: kind.stop(), kinds.values()))


def _start(together: ThreadPoolExecutor, kinds: Mapping[str, Kind]) -> None:
    starts = {name: together.submit(kind.start) for name, kind in kinds.items()}
    wait(starts.values())  # all of them: what is still starting cannot be stopped yet
    for name, start in starts.items():
        try:
            start.result()
        except (RuntimeError, OSError) as fault:
            raise click.ClickException(f"{name}: {fault}") from fault


def _chosen(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        try:
            kind_named(name)
        except ValueError as fault:
            raise click.BadParameter(f"{fault}.") from None
    return names


only = click.option(
    "--only", metavar="KINDS", default=",".join(KINDS), callback=_chosen, help="Kinds of servers [all of them]."
)
data = click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep their data here, and use it again [a temporary folder].",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  python -m loadtest.servers up\n"
    "  python -m loadtest.servers up --only kafka --data ./services\n"
    "  python -m loadtest.servers run --only redis -- python -m pytest tests/persistence/cache",
)
def main() -> None:
    """Run real servers on 127.0.0.1, as plain processes, for development and tests."""


@main.command()
@only
@data
def up(only: list[str], data: Path | None) -> None:
    """Run servers until Ctrl-C, and print where they are and the settings that use them."""
    click.echo(f"starting {', '.join(only)} ...", err=True)
    with running(only, data, partly=False) as kinds:
        table = Table(title="running on this machine alone; Ctrl-C stops all")
        table.add_column("server")
        table.add_column("where")
        for name, kind in kinds.items():
            for what, where in kind.addresses().items():
                table.add_row(f"{name} {what}", ", ".join(map(str, where)) if isinstance(where, list) else str(where))
        Console().print(table)
        click.echo("For `typegate serve` and `typegate worker` in other terminals:\n")
        for kind in kinds.values():
            for variable, value in kind.settings().items():
                click.echo(f"export {variable}='{value}'")
        sys.stdout.flush()
        try:
            while True:
                signal.pause()
        except KeyboardInterrupt:
            click.echo("stopping ...", err=True)


@main.command(context_settings={"ignore_unknown_options": True})
@only
@data
@click.option("--any", "partly", is_flag=True, help="Go on without the kinds that this machine cannot run.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(only: list[str], data: Path | None, partly: bool, command: tuple[str, ...]) -> None:
    """Run servers while COMMAND runs, and end as it did.

    It finds them by the JSON file that TYPEGATE_TEST_SERVERS names.
    """
    with running(only, data, partly=partly) as kinds, TemporaryDirectory(prefix="typegate-addresses-") as folder:
        file = Path(folder) / "servers.json"
        addresses.write(file, {name: kind.addresses() for name, kind in kinds.items()})
        try:
            done = subprocess.run(command, env=os.environ | {addresses.VARIABLE: str(file)}, check=False)
        except OSError as fault:
            raise click.ClickException(f"{command[0]} cannot be run: {fault.strerror}") from None
    sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


if __name__ == "__main__":
    leave_on_sigterm()
    main(prog_name="python -m loadtest.servers")
