"""`typegate leaderboards`: shown, and read anew from the store."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.boards import BoardPage
    from persistence.front import Front
    from persistence.results import Board, Period

__all__ = ["leaderboards"]

SPANS = ("day", "week", "all")
AT_ONCE = 4
"""Boards read at a time: a full one waits some seconds first, until no worker goes by its old last place."""


@click.group(
    epilog=examples(
        "typegate leaderboards show time-60-en",
        "typegate leaderboards rebuild",
    )
)
def leaderboards() -> None:
    """Show leaderboards, and read them from the store again."""


@leaderboards.command(
    epilog=examples(
        "typegate leaderboards show time-60-en",
        "typegate leaderboards show words-50-de --span week --ago 1     last week's",
        "typegate leaderboards show time-15-en --from 101 --count 50    places 101 to 150",
    )
)
@click.argument("board")
@settings_flags
@click.option("--span", type=click.Choice(SPANS), default="all", help="Of the day, the week, or ever [all]; UTC.")
@click.option("--ago", type=click.IntRange(0, 1), default=0, help="1: the day or week before [0].")
@click.option("--from", "first", type=click.IntRange(1, 100_000), default=1, metavar="PLACE", help="First place [1].")
@click.option("--count", type=click.IntRange(1, 1_000), default=20, metavar="N", help="Places to show [20].")
def show(board: str, config: Path | None, data: Path | None, span: str, ago: int, first: int, count: int) -> None:
    """Show who is fastest on BOARD: `time-15`, `time-60` or `words-50` with a language, such as `time-60-en`."""
    settings = read_settings(config, {"node.data": ("--data", data)})
    (named,) = _named([board])
    page = asyncio.run(_page(settings, named, _period(span, ago), first - 1, count))
    if not page.entries:
        raise Failed(f"Nobody is on {board} ({span}) {'yet' if first == 1 else f'from place {first} on'}.")
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{board}, {span}" + (f" ({page.size:,} on it)" if page.size is not None else ""))
    for name in ("place", "wpm", "accuracy", "user"):
        table.add_column(name, justify="right")
    table.add_column("typed (UTC)")
    for entry in page.entries:
        best = entry.best
        typed = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int.from_bytes(best.session[:6], "big") / 1000))
        table.add_row(f"{entry.rank:,}", f"{best.wpm:.2f}", f"{best.acc:.2f} %", str(best.place.user), typed)
    Console().print(table)


async def _page(settings: "Settings", board: "Board", period: "Period", offset: int, count: int) -> "BoardPage":
    from persistence.errors import StoreError

    try:
        async with _front(settings) as front:
            return await front.boards.page(board, period, offset=offset, count=count)
    except StoreError as fault:
        raise Failed(f"{fault}.") from None


@leaderboards.command(
    epilog=examples(
        "typegate leaderboards rebuild                              all of them",
        "typegate leaderboards rebuild time-60-en --span week       one, of this week",
    )
)
@click.argument("boards", nargs=-1)
@settings_flags
@click.option("--span", type=click.Choice(SPANS), multiple=True, help="Only these [day, week and all].")
def rebuild(boards: tuple[str, ...], config: Path | None, data: Path | None, span: tuple[str, ...]) -> None:
    """Read BOARDS from the store again and put them in place of those in Redis; all of them where none is named.

    Servers and workers may run: the old boards are there until the new ones are complete, and what is typed meanwhile
    is on both. This happens by itself after faults of Redis, and every few hours.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.redis.enabled:
        raise Failed("There is no Redis (redis.url): each server has its boards in memory and fills them at its start.")
    named = _named(boards) or asyncio.run(_all(settings))
    places = [(board, _period(name, 0)) for board in named for name in span or SPANS]
    entries, faults = asyncio.run(_rebuild(settings, places))
    for fault in faults:
        click.echo(fault, err=True)
    click.echo(f"Rebuilt {len(places) - len(faults)} of {len(places)} boards: {entries:,} entries.")
    if faults:
        raise Failed("Those named above are as they were; run it again when what they say is mended.")


async def _rebuild(settings: "Settings", places: Sequence[tuple["Board", "Period"]]) -> tuple[int, list[str]]:
    """Rebuild boards; their entries in all, and what went wrong."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from persistence.errors import StoreError

    faults: list[str] = []
    total = 0
    turn = asyncio.Semaphore(AT_ONCE)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[read]:,} read"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Boards", total=len(places), read=0)
        so_far: dict[tuple[Board, Period], int] = {}

        def progressed(place: tuple["Board", "Period"], entries: int) -> None:
            so_far[place] = entries
            bar.update(task, read=sum(so_far.values()))

        async def one(front: "Front", place: tuple["Board", "Period"]) -> None:
            nonlocal total
            async with turn:
                try:
                    size = await front.boards.rebuild(*place, progressed=lambda entries: progressed(place, entries))
                    total += size
                except StoreError as fault:
                    faults.append(f"{place[0]} ({place[1]}): {fault}.")
                bar.advance(task)

        try:
            async with _front(settings) as front, asyncio.TaskGroup() as group:
                for place in places:
                    group.create_task(one(front, place))
        except StoreError as fault:
            raise Failed(f"{fault}.") from None
    return total, faults


@asynccontextmanager
async def _front(settings: "Settings") -> AsyncIterator["Front"]:
    """The store's front, as servers open it. Raises StoreError, and Failed where there is no store."""
    from config.logs import set_up
    from gateway.stores import missing_store, store_of
    from persistence.front import in_front_of

    set_up(replace(settings.log, level="error"))
    missing = missing_store(settings)
    if missing is not None:
        raise Failed(missing)
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(store_of(settings))
        front = in_front_of(store, redis=settings.redis, cache=settings.cache, boards=settings.boards, alone=True)
        yield await opened.enter_async_context(front)


def _named(names: Sequence[str]) -> list["Board"]:
    from persistence.results import Board, BoardError

    try:
        return [Board.named(name) for name in names]
    except BoardError as fault:
        raise Failed(f"{fault}.") from None


async def _all(settings: "Settings") -> list["Board"]:
    """A board of each kind for each language that has a list of words."""
    from gateway.stores import catalogue_of
    from persistence.results import Board
    from persistence.results.bests import KINDS

    async with catalogue_of(settings) as catalogue:
        languages = [words.language for words in catalogue.shelf.word_lists]
    return [Board(mode, extent, language) for mode, extent in KINDS for language in languages]


def _period(span: str, ago: int) -> "Period":
    from persistence.results import Period, Span
    from persistence.results.bests import DAY_MS

    now = Period.of(Span(span), time.time_ns() // 1_000_000 // DAY_MS)
    return Period.of(now.span, now.day - 1) if ago and now.span is not Span.ALL else now
