"""`typegate migrate import`: an old installation's tests and results, brought over."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from gateway.cli.bar import bar
from gateway.cli.databases import mysql_settings, run
from gateway.cli.options import Failed, examples, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.catalogue import Catalogue
    from persistence.importing import Differences, Fault, Importing, ImportRules, Trial
    from persistence.mysql.dsn import Dsn

__all__ = ["import_"]

REASONS_SHOWN = 20
OLD_SCHEMA = """\b
The old database has these tables; ADDRESS needs the right to SELECT, no other:
  tests          id BIGINT PRIMARY KEY, and JSON: title, text, category,
                 difficulty, language
  test_results   id BIGINT PRIMARY KEY, and JSON: user_id, created_at, wpm,
                 accuracy, duration (or duration_ms); and, where there are such,
                 raw_wpm, errors, type, test_id, seconds, words, language,
                 consistency, char_stats, punctuation, numbers, verdict, valid
                 updated_at DATETIME or TIMESTAMP lets a second run find changed
                 rows at once
Any of it may be a column of its own instead, of any type; there may be several
JSON columns, of type JSON, TEXT or BLOB; maps such as data, stats or config are
looked into; camelCase, usual other names and numbers as text are understood, and
dates as ISO 8601, since 1970 in s, ms or us, as JavaScript, mail or MongoDB write
them. What is not known is left out: there are no keystrokes and no series."""


@click.command(
    "import",
    epilog=OLD_SCHEMA
    + "\n\n"
    + examples(
        "typegate migrate import mysql://reader:secret@old-db/site --dry-run",
        "typegate migrate import mysql://reader:secret@old-db/site",
        "TYPEGATE_IMPORT_FROM=mysql://reader@old-db/site typegate migrate import --password-file pw",
        "typegate migrate import mysql://reader:secret@old-db/site --verify",
        "typegate leaderboards rebuild                       afterwards, after --trust",
    ),
)
@click.argument("address", envvar="TYPEGATE_IMPORT_FROM")
@settings_flags
@click.option("--dry-run", is_flag=True, help="Read everything and say what would be imported; write nothing.")
@click.option("--verify", "verify_alone", is_flag=True, help="Compare the old place with this one; import nothing.")
@click.option("--no-verify", is_flag=True, help="Leave out the comparison at the end.")
@click.option("--restore", is_flag=True, help="Write results again that are no longer here as they were imported.")
@click.option("--trust", is_flag=True, help="Take the old site's word: results are ok, and may have a board.")
@click.option("--name", default="old", metavar="NAME", help="Name of the old installation [old].")
@click.option("--language", default="en", metavar="TAG", help="Language of rows that name none [en].")
@click.option(
    "--accuracy", type=click.Choice(["percent", "fraction"]), default="percent", help="What accuracies are [percent]."
)
@click.option(
    "--duration",
    type=click.Choice(["seconds", "ms"]),
    default="seconds",
    help="Unit of durations whose name does not tell it [seconds].",
)
@click.option("--timezone", default="UTC", metavar="ZONE", help="Zone of dates that name none [UTC].")
@click.option("--again", is_flag=True, help="Read all rows again, by other options than before.")
@click.option("--moved", is_flag=True, help="The same old database is now at another address.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Bad rows [import-NAME-bad.jsonl].")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Password of ADDRESS, where it has none.",
)
def import_(
    address: str,
    config: Path | None,
    data: Path | None,
    dry_run: bool,
    verify_alone: bool,
    no_verify: bool,
    restore: bool,
    trust: bool,
    name: str,
    language: str,
    accuracy: str,
    duration: str,
    timezone: str,
    again: bool,
    moved: bool,
    report: Path | None,
    password_file: Path | None,
) -> None:
    """Bring an old installation over: its tests into the catalogue, its results into the shards.

    Run it as often as you like, while people go on typing at the old place: each run takes up what is new or has
    changed since, and one that was killed goes on where it was. Nothing is imported twice. Rows that cannot be imported
    are written to a report with the reason, and tried again by the next run; they stop nothing. At the end it is
    verified, by counts and checksums, that every row of the old place is here as it is there.

    Old results have no keystrokes, so nobody can check them: their verdict is review (void, where the old site held
    them invalid), they are shown to their owners, and are no personal bests. With --trust those that the old site did
    not object to are ok, and count as personal bests and on leaderboards where they are of such a test.
    """
    settings = mysql_settings(config, data)
    if dry_run + verify_alone + no_verify > 1 or (restore and (dry_run or verify_alone or no_verify)):
        raise click.UsageError("--dry-run, --verify and --no-verify exclude one another, and --restore.")
    from persistence.importing import ImportRules

    try:
        dsn = _dsn(address, password_file)
        rules = ImportRules(name, language, accuracy, duration, timezone, trust)
    except ValueError as fault:
        raise click.UsageError(f"{fault}.") from None
    path = report or Path(f"import-{name}-bad.jsonl")
    if dry_run:
        trial, bad = run(_try(settings, dsn, rules, path))
        _tell_trial(trial)
    else:
        todo = _Todo(verify_alone=verify_alone, verify=not no_verify, restore=restore, again=again, moved=moved)
        done, differences, bad = run(_import(settings, dsn, rules, path, todo))
        if done is not None:
            for what, one in (("tests", done.tests), ("results", done.results)):
                click.echo(f"{what}: {one.new:,} new, {one.changed:,} changed, {one.bad:,} bad")
    if bad:
        click.echo(f"Bad rows: {bad:,}; {path} has them, with the reason. Each run tries them again.")
    if dry_run:
        click.echo("Nothing was written.")
        return
    if trust and done is not None:
        click.echo(
            "For the leaderboards now run `typegate leaderboards rebuild`."
            if settings.redis.enabled
            else "For the leaderboards now start the servers again: they have them in memory."
        )
    if differences is not None:
        _tell(differences, imported=done is not None)


@dataclass(frozen=True, slots=True)
class _Todo:
    """What is asked for."""

    verify_alone: bool
    verify: bool
    restore: bool
    again: bool
    moved: bool


def _dsn(address: str, password_file: Path | None) -> "Dsn":
    """The address with its password. Raises ValueError."""
    from persistence.mysql.dsn import Dsn

    dsn = Dsn.parse(address)
    if dsn.password is None and password_file is not None:
        try:
            return replace(dsn, password=password_file.read_text(encoding="utf-8").removesuffix("\n"))
        except (OSError, UnicodeDecodeError) as fault:
            raise ValueError(f"{password_file} cannot be read: {fault}") from None
    return dsn


async def _import(
    settings: "Settings", dsn: "Dsn", rules: "ImportRules", path: Path, todo: _Todo
) -> "tuple[Importing | None, Differences | None, int]":
    """What was imported, what differs afterwards, and how many rows are bad."""
    from persistence.importing import Importing, OldSite, Target, bad_rows

    async with (
        Target(settings.mysql, settings.bests, rules.source) as target,
        OldSite(dsn, settings.mysql, salt=str(rules)) as site,
        _catalogue(settings, make=True) as catalogue,
        target.alone(),
    ):
        state = await target.state()
        if state is not None and state.rules != str(rules) and (todo.verify_alone or not todo.again):
            raise Failed(
                f"This import was begun with other options: {state.rules}; now they are {rules}. Give the same ones; "
                "or --again, and every row is read once more."
            )
        if state is not None and state.address != site.address and not todo.moved:
            raise Failed(
                f"The import {rules.source!r} is of {state.address}, and not of {site.address}. Give --moved where "
                "that is the same database at another address, and another --name where it is another installation."
            )
        with bar() as progress:
            importing = Importing(site, target, catalogue, rules, now_ms=_now_ms(), progress=progress)
            if todo.verify_alone:
                return None, await importing.verify(), 0
            try:
                differences = await importing.run(verify=todo.verify, restore=todo.restore)
            finally:
                bad = await _report(path, bad_rows(target))
    return importing, differences, bad


async def _try(settings: "Settings", dsn: "Dsn", rules: "ImportRules", path: Path) -> "tuple[Trial, int]":
    from persistence.importing import OldSite, try_out

    async with (
        OldSite(dsn, settings.mysql, salt=str(rules)) as site,
        _catalogue(settings, make=False) as catalogue,
    ):
        with bar() as progress:
            trial = await try_out(site, catalogue.shelf, rules, now_ms=_now_ms(), progress=progress)

    async def faults() -> "AsyncIterator[Fault]":
        for fault in trial.faults:
            yield fault

    return trial, await _report(path, faults())


async def _report(path: Path, faults: "AsyncIterator[Fault]") -> int:
    from persistence.importing import write_report

    try:
        return await write_report(path, faults)
    except OSError as fault:
        raise Failed(f"{path} cannot be written: {fault.strerror}. Nothing of the import is lost.") from None


def _tell(differences: "Differences", *, imported: bool) -> None:
    """Say what a verification has found. Raises Failed where something is to be done."""
    if not differences:
        click.echo(
            f"Verified: {differences.rows:,} results and {differences.tests:,} tests are here as they are there, but "
            "for the bad ones."
        )
        return
    for kind, (count, *some) in differences.kinds.items():
        click.echo(f"{count:,} {kind}: {', '.join(map(str, some))}{', ...' if count > len(some) else ''}")
    if differences.serious:
        raise Failed(
            f"{differences.rows:,} results and {differences.tests:,} tests were compared. Run the import again; with "
            "--restore it also writes what is no longer here as it was imported."
        )
    if not imported and differences.behind:
        raise Failed("Run the import again: it takes up what has changed at the old place.")
    click.echo(
        f"Verified: all else of {differences.rows:,} results and {differences.tests:,} tests is as it should be."
    )


def _tell_trial(trial: "Trial") -> None:
    """Say what an import would come to."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"tests: {trial.tests.new:,} good, {trial.tests.bad:,} bad")
    console.print(f"results: {trial.results.new:,} good, {trial.results.bad:,} bad")
    if trial.unknown_tests:
        console.print(f"good results of tests that there are not: {trial.unknown_tests:,}; they keep the tests' ids")
    figures = Table("figure", "least", "median", "most", title="What good results say", title_justify="left")
    for name, values in trial.figures.items():
        if values:
            figures.add_row(name, *(f"{value:,.2f}" for value in (min(values), median(values), max(values))))
    console.print(figures)
    for title, counted in (("Good results", trial.kinds), ("Bad rows", trial.reasons)):
        if counted:
            table = Table("what", "rows", title=title, title_justify="left")
            often = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
            for what, rows in often[:REASONS_SHOWN]:
                table.add_row(escape(what), f"{rows:,}")
            console.print(table)
    accuracies = trial.figures["accuracy"]
    if accuracies and max(accuracies) <= 1:
        console.print("[yellow]No accuracy is over 1 %: are they fractions? Then give --accuracy fraction.[/]")
    seconds = trial.figures["seconds"]
    if seconds and median(seconds) > 3_600:
        console.print("[yellow]Half of the tests took over an hour: are durations in ms? Then give --duration ms.[/]")
    if seconds and median(seconds) < 1:
        console.print("[yellow]Half of the tests took less than a second: are durations in seconds?[/]")


def _catalogue(settings: "Settings", *, make: bool) -> "Catalogue":
    """The catalogue that tests go to."""
    from gateway.stores import catalogue_of
    from persistence.errors import FolderError
    from persistence.folder import DataFolder

    if make and not settings.mysql.content:
        try:
            DataFolder(settings.node.data).open()
        except FolderError as fault:
            raise Failed(f"{fault}.") from None
    return catalogue_of(settings, make=make)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
