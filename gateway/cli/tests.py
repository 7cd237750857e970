"""`typegate tests`: the catalogue of passages and word lists."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from persistence.catalogue import Catalogue, ImportOptions, Report, Shelf

__all__ = ["tests"]

BAD_ROWS_SHOWN = 20
FORMATS = ("auto", "json", "jsonl", "csv", "paragraphs", "lines", "words")


@click.group(
    epilog=examples(
        "typegate tests list --language en --difficulty easy",
        "typegate tests show 1000000001",
        "typegate tests import quotes.json --language en --category classics",
        "typegate tests export /var/lib/typegate/content",
    )
)
def tests() -> None:
    """List, show, import and export the passages and word lists that there are to type."""


@tests.command(
    "import",
    epilog=examples(
        "typegate tests import passages.csv",
        "typegate tests import english_1k.json               a typing site's word list",
        "typegate tests import book.txt --format paragraphs --language en --category books",
        "typegate tests import rows.jsonl --partial          import the good rows, report the bad",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@settings_flags
@click.option("--partial", is_flag=True, help="Import the good rows even when others are bad.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="auto", help="What the file is [auto].")
@click.option("--language", metavar="TAG", help="BCP 47 tag of rows that do not say theirs.")
@click.option("--category", metavar="WORD", help="Category of rows that do not say theirs.")
@click.option("--all-bad", is_flag=True, help=f"Show every bad row, not the first {BAD_ROWS_SHOWN}.")
def import_(
    file: Path,
    config: Path | None,
    data: Path | None,
    partial: bool,
    format_: str,
    language: str | None,
    category: str | None,
    all_bad: bool,
) -> None:
    """Import passages or word lists from FILE: JSON, CSV or plain text, also as the popular typing sites write them.

    Nothing is imported when a row is bad, unless --partial. A running server takes the new tests in by itself.
    """
    from persistence.catalogue import ImportOptions

    options = ImportOptions(format=format_, language=language, category=category)  # type: ignore[arg-type]  # a Choice
    catalogue = _catalogue(config, data)
    report = asyncio.run(_importing(catalogue, file, options, partial))
    for note in report.notes:
        click.echo(note)
    _show_bad(report, all_bad)
    if not report.written:
        if not report.rows:
            raise Failed(f"{file} has no rows; nothing was imported.")
        raise Failed(
            f"{report.left_out} of {report.rows} rows are bad; nothing was imported. "
            "Mend them, or import the good rows with --partial."
        )
    added = report.added
    out = report.left_out
    click.echo(
        f"Imported {file} ({report.format}): {added.new} new, {added.changed} changed, {added.unchanged} as before"
        + (f", {out} bad row{'s' * (out > 1)} left out." if out else ".")
    )


async def _importing(catalogue: "Catalogue", file: Path, options: "ImportOptions", partial: bool) -> "Report":
    from rich.console import Console
    from rich.progress import Progress

    from persistence.catalogue import CatalogueError, ImportRefused, import_file

    try:
        async with catalogue:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                task = bar.add_task("Importing", total=None)
                return await import_file(
                    file,
                    catalogue,
                    partial=partial,
                    created_at_ms=time.time_ns() // 1_000_000,
                    options=options,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
    except (ImportRefused, CatalogueError) as fault:
        raise Failed(f"{fault}.") from None


def _show_bad(report: "Report", all_bad: bool) -> None:
    if not report.bad:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("row", "line", "field", "what is wrong", "what is allowed", title="Bad rows", title_justify="left")
    shown = report.bad if all_bad else report.bad[:BAD_ROWS_SHOWN]
    for bad in shown:
        line = "" if bad.line is None else str(bad.line)
        table.add_row(str(bad.row), line, bad.field or "", _plain(bad.problem), _plain(bad.allowed))
    console = Console(stderr=True)
    console.print(table)
    if len(shown) < len(report.bad):
        console.print(f"... and {len(report.bad) - len(shown)} more; --all-bad shows them all.")


@tests.command("list", epilog=examples("typegate tests list", "typegate tests list --category science --limit 5"))
@settings_flags
@click.option("--category", metavar="WORD", help="Only this category.")
@click.option("--difficulty", type=click.Choice(["easy", "medium", "hard"]), help="Only this difficulty.")
@click.option("--language", metavar="TAG", help="Only this language; en takes en-GB too.")
@click.option("--limit", type=click.IntRange(1), default=100, help="Most rows [100].")
@click.option("--after", metavar="ID", type=int, default=0, help="Go on after this id.")
def list_(
    config: Path | None,
    data: Path | None,
    category: str | None,
    difficulty: str | None,
    language: str | None,
    limit: int,
    after: int,
) -> None:
    """List word lists and passages."""
    from rich.console import Console
    from rich.table import Table

    shelf = asyncio.run(_shelf(_catalogue(config, data, make=False)))
    console = Console()
    if not (category or difficulty or after):
        lists = Table("language", "name", "words", "version", title="Word lists", title_justify="left")
        for words in shelf.word_lists:
            if language is None or words.language.lower().startswith(language.lower()):
                lists.add_row(words.language, words.name, f"{len(words.words):,}", str(words.version))
        console.print(lists)
    page = shelf.page(
        category=category,
        difficulty=difficulty,  # type: ignore[arg-type]  # click's Choice holds it to the three
        language=language,
        after=after,
        limit=limit,
    )
    table = Table("id", "title", "category", "difficulty", "language", "words", title="Passages", title_justify="left")
    for test in page.tests:
        table.add_row(str(test.id), _plain(test.title), test.category, test.difficulty, test.language, str(test.words))
    console.print(table)
    if page.next is not None:
        click.echo(f"There are more: --after {page.next}")
    if not page.tests:
        click.echo(f"No passage fits. Categories are: {', '.join(shelf.categories)}")


@tests.command("show", epilog=examples("typegate tests show 1000000001", "typegate tests show 17 --version 1001"))
@click.argument("id_", metavar="ID", type=int)
@settings_flags
@click.option("--version", type=int, metavar="N", help="An earlier version.")
def show(id_: int, config: Path | None, data: Path | None, version: int | None) -> None:
    """Show a passage."""
    shelf = asyncio.run(_shelf(_catalogue(config, data, make=False)))
    test = shelf.test(id_, version)
    if test is None:
        of_version = "" if version is None else f" of version {version}"
        raise Failed(f"There is no test {id_}{of_version}; `typegate tests list` shows what there is.")
    click.secho(test.title, bold=True)
    click.echo(
        f"{test.category}, {test.difficulty}, {test.language}, {test.words} words, version {test.version}"
        + (f", from {test.source}" if test.source else "")
    )
    click.echo()
    click.echo(test.text)


@tests.command(
    "export",
    epilog=examples(
        "typegate tests export /var/lib/typegate/content",
        "typegate tests export content && rsync -a content/ edge:/var/lib/typegate/content/",
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@settings_flags
def export(folder: Path, config: Path | None, data: Path | None) -> None:
    """Write all tests as files into FOLDER, for a CDN or a web server: the answers of /v1/tests/ID and /v1/languages.

    It may be run again on the same folder: what has not changed is left alone. config/deploy/nginx-content.conf serves
    it.
    """
    from rich.progress import Progress

    from gateway.api.bundle import write_bundle

    shelf = asyncio.run(_shelf(_catalogue(config, data, make=False)))
    try:
        with Progress(transient=True) as bar:
            task = bar.add_task("export", total=None)
            for written in write_bundle(shelf, folder):
                bar.update(task, completed=written.files, total=written.total)
    except OSError as fault:
        raise Failed(f"{fault.filename or folder} cannot be written: {fault.strerror}.") from None
    click.echo(f"{folder} holds {written.total:,} files; {written.changed:,} of them are new or changed.")


def _catalogue(config: Path | None, data: Path | None, *, make: bool = True) -> "Catalogue":
    """The catalogue of the settings; where there is none yet, it is made, or only what is built in is shown."""
    from config.logs import set_up
    from gateway.stores import catalogue_of
    from persistence.errors import FolderError
    from persistence.folder import DataFolder

    settings = read_settings(config, {"node.data": ("--data", data)})
    set_up(replace(settings.log, level="warning"))
    folder = DataFolder(settings.node.data)
    if not settings.mysql.content and (make or folder.catalogue.exists() or folder.path.is_file()):
        try:
            folder.open()
        except FolderError as fault:
            raise Failed(f"{fault}.") from None
    return catalogue_of(settings, make=make)


async def _shelf(catalogue: "Catalogue") -> "Shelf":
    from persistence.catalogue import CatalogueError

    try:
        async with catalogue:
            return catalogue.shelf
    except CatalogueError as fault:
        raise Failed(f"{fault}.") from None


def _plain(text: str) -> str:
    """Text as it stands: square brackets mean nothing."""
    from rich.markup import escape

    return escape(text)
