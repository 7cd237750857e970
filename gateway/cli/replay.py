"""`typegate replay`: score a stored result again and say whether the digits agree."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.rescoring import Rescored
    from session.result import Result

__all__ = ["replay"]

FIGURES = ("wpm", "raw", "acc", "consistency", "key_consistency", "duration_ms", "afk_ms")


@click.command(
    epilog=examples(
        "typegate replay 01942f6e-51c0-7a3b-8e5d-0f1e2d3c4b5a",
        "typegate replay 01942f6e-51c0-7a3b-8e5d-0f1e2d3c4b5a --export result.tgr",
        "typegate replay result.tgr",
    )
)
@click.argument("result")
@settings_flags
@click.option("--export", type=click.Path(path_type=Path), metavar="FILE", help="Also write the result to FILE.")
def replay(result: str, config: Path | None, data: Path | None, export: Path | None) -> None:
    """Score RESULT again from its keystrokes, and say whether every figure is the stored one.

    RESULT is a session's id, looked up in the store (the server may be running), or an exported file.
    Ends with 0 when the digits agree, with 1 when they do not.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    stored, again = _read(settings, result)
    _show(stored, again)
    if export is not None:
        try:
            # its owner's alone: keystroke timing identifies people
            with open(export, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(stored.pack())
        except OSError as fault:
            raise Failed(f"{export} cannot be written: {fault.strerror}.") from None
    if not again.agrees:
        raise Failed(f"The digits differ: {', '.join(again.differs)}.")
    click.echo("The digits agree.")


def _read(settings: "Settings", name: str) -> "tuple[Result, Rescored]":
    """The result of this id, or in this file, and what scoring it again gives."""
    from gateway.stores import missing_store
    from persistence.errors import StoreError
    from persistence.rescoring import Unreplayable
    from session.identity import IdentityError, session_from_text

    stored: Result | bytes
    try:
        stored = session_from_text(name.lower())
    except IdentityError:
        stored = _from_file(Path(name))
    else:
        missing = missing_store(settings)
        if missing is not None:
            raise Failed(missing)
    try:
        found = asyncio.run(_again(stored, settings))
    except StoreError as fault:
        raise Failed(f"{fault}.") from None
    except Unreplayable as fault:
        raise Failed(f"This result cannot be played again: {fault}.") from None
    if found is None:
        raise Failed(f"The store has no result {name}; is it another server's (--data)?")
    return found


def _from_file(path: Path) -> "Result":
    from session.result import Damaged, Result

    try:
        return Result.unpack(path.read_bytes())
    except FileNotFoundError:
        raise Failed(f"{str(path)!r} is neither a session's id nor a file.") from None
    except OSError as fault:
        raise Failed(f"{path} cannot be read: {fault.strerror}.") from None
    except Damaged as fault:
        raise Failed(f"{path} is no exported result: {str(fault).rstrip('.')}.") from None


async def _again(stored: "Result | bytes", settings: "Settings") -> "tuple[Result, Rescored] | None":
    """A result, or the one with this id, and what scoring it again gives; None where the store does not have it."""
    from gateway.stores import catalogue_of, store_of
    from persistence.catalogue.texts import Texts
    from persistence.rescoring import rescoring
    from scoring.slices import at_once

    async with catalogue_of(settings) as tests:
        texts = Texts(tests, limits=settings.session)
        if isinstance(stored, bytes):
            async with store_of(settings, texts=texts) as store:
                found = await store.by_id(stored)
            if found is None:
                return None
            stored = found
        return stored, at_once(rescoring(stored, texts))


def _show(stored: "Result", again: "Rescored") -> None:
    from rich.console import Console
    from rich.table import Table

    from session.identity import session_to_text

    extent = {"words": f" {stored.count}", "time": f" {stored.seconds} s"}.get(stored.mode, "")
    click.echo(
        f"{session_to_text(stored.session)}: {stored.mode}{extent}, {stored.language}, user {stored.user}, "
        f"{len(again.log.events) // 2} events, verdict {stored.verdict}"
    )
    table = Table("figure", "stored", "again", "")
    for name in (*FIGURES, "chars"):
        before, now = getattr(stored.summary, name), getattr(again.summary, name)
        table.add_row(name, _figure(before), _figure(now), "[green]=[/]" if before == now else "[red]differs[/]")
    for name in again.differs:
        if name not in FIGURES and name != "chars":
            table.add_row(name, "", "", "[red]differs[/]")
    Console().print(table)


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}".removesuffix(".00")
    if hasattr(value, "missed"):
        return f"{value.correct}/{value.incorrect}/{value.extra}/{value.missed}"
    return str(value)
