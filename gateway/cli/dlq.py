"""`typegate dlq`: results that could not be processed, and what becomes of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from persistence.workers.graveyard import Graveyard, Letter

__all__ = ["dlq"]

T = TypeVar("T")

AT_ONCE = 200
"""Letters put back or dropped in one go; what a failure leaves undone is at most as many."""


class LetterName(click.ParamType[tuple[int, int]]):
    """`partition/offset`, as `typegate dlq list` shows it."""

    name = "letter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The two numbers."""
        if isinstance(value, tuple):
            return value
        partition, _, offset = str(value).partition("/")
        if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
            self.fail(f"{value!r} is no letter; a letter is named as `typegate dlq list` shows it, such as 3/1204.")
        return int(partition), int(offset)


@click.group(
    epilog=examples(
        "typegate dlq list --reason malformed",
        "typegate dlq show 3/1204",
        "typegate dlq replay --reason fault",
        "typegate dlq drop 3/1204",
    )
)
def dlq() -> None:
    """List, show, put back and drop dead letters: results that could not be processed."""


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that choose letters."""
    for option in (
        click.option("--all", "every", is_flag=True, help="All letters that are not settled."),
        click.option("--reason", metavar="WORD", help="Letters of this reason, such as fault or newer."),
        click.argument("letters", nargs=-1, type=LetterName()),
    ):
        command = option(command)
    return command


@dlq.command("list", epilog=examples("typegate dlq list", "typegate dlq list --reason malformed --settled --limit 500"))
@settings_flags
@click.option("--reason", metavar="WORD", help="Only letters of this reason.")
@click.option("--settled", is_flag=True, help="Also those that were put back or dropped.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most letters shown.")
def list_(config: Path | None, data: Path | None, reason: str | None, settled: bool, limit: int) -> None:
    """List dead letters, and count them by reason."""
    from collections import Counter

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("letter", "since", "reason", "attempt", "user", "error")
    if settled:
        table.add_column("settled")
    reasons: Counter[str] = Counter()

    async def collect(yard: "Graveyard") -> None:
        from persistence.stream.record import attempt_of

        async for letter in yard.letters(settled_too=settled):
            said = letter.buried
            word = "unknown" if said is None else said.reason
            if reason is not None and word != reason:
                continue
            reasons[word] += 1
            if table.row_count < limit:
                since = "" if said is None else _instant(said.at_ms)
                attempt = "" if said is None else str(attempt_of(said.headers))
                error = "" if said is None else said.error
                row = [letter.name, since, word, attempt, (letter.key or b"").decode(errors="replace"), error]
                if settled:
                    row.append(
                        "" if letter.settled is None else f"{letter.settled.how} {_instant(letter.settled.at_ms)}"
                    )
                table.add_row(*map(escape, row))

    _with_yard(config, data, collect)
    if not reasons:
        click.echo("There are no dead letters.")
        return
    Console().print(table)
    if (total := reasons.total()) > limit:
        click.echo(f"... and {total - limit} more; show them with --limit.")
    click.echo(", ".join(f"{count} {word}" for word, count in reasons.most_common()) + ".")


@dlq.command(epilog=examples("typegate dlq show 3/1204", "typegate dlq show 3/1204 --value letter.bin"))
@click.argument("letter", type=LetterName())
@settings_flags
@click.option("--value", type=click.Path(path_type=Path), metavar="FILE", help="Also write its value to FILE.")
def show(letter: tuple[int, int], config: Path | None, data: Path | None, value: Path | None) -> None:
    """Show all that LETTER says of itself, and what its value is as far as it can be read."""

    async def find(yard: "Graveyard") -> "Letter | None":
        async with aclosing(yard.letters(settled_too=True)) as letters:
            async for found in letters:
                if (found.partition, found.offset) == letter:
                    return found
        return None

    found = _with_yard(config, data, find)
    if found is None:
        raise Failed(f"There is no letter {letter[0]}/{letter[1]}; the topic may have let it go.")
    for name, text in _facts(found):
        click.echo(f"{name:10} {text}")
    if value is not None:
        if found.value is None:
            raise Failed("It has no value.")
        try:
            # its owner's alone: keystroke timing identifies people
            with open(value, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(found.value)
        except OSError as fault:
            raise Failed(f"{value} cannot be written: {fault.strerror}.") from None


@dlq.command(
    epilog=examples(
        "typegate dlq replay 3/1204 3/1205",
        "typegate dlq replay --reason newer        after the workers were upgraded",
        "typegate dlq replay --all",
    )
)
@chosen
@settings_flags
def replay(
    letters: tuple[tuple[int, int], ...], reason: str | None, every: bool, config: Path | None, data: Path | None
) -> None:
    """Put LETTERS back where they came from, with their original headers and one more attempt.

    The workers process them again; what is stored already meets its own row. Ends with 1 where one cannot be put back.
    """
    wants = _choice(letters, reason, every)

    async def put_back(yard: "Graveyard") -> tuple[int, list[str]]:
        done, stuck = 0, []
        async for batch in _batches(yard, wants):
            obstacles = [(letter, yard.obstacle(letter)) for letter in batch]
            good = [letter for letter, obstacle in obstacles if obstacle is None]
            stuck += [f"{letter.name}: {obstacle}" for letter, obstacle in obstacles if obstacle is not None]
            if good:
                await yard.put_back(good)
                done += len(good)
        return done, stuck

    done, stuck = _with_yard(config, data, put_back)
    _all_found(letters, done + len(stuck))
    click.echo(f"Put back: {done}.")
    if stuck:
        raise Failed("\n  ".join([f"{len(stuck)} cannot be put back:", *stuck]))


@dlq.command(
    epilog=examples("typegate dlq drop 3/1204", "typegate dlq drop --reason malformed --yes", "typegate dlq drop --all")
)
@chosen
@settings_flags
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(
    letters: tuple[tuple[int, int], ...],
    reason: str | None,
    every: bool,
    config: Path | None,
    data: Path | None,
    yes: bool,
) -> None:
    """Settle LETTERS without processing them: they are listed no more.

    They lie in the topic until its retention takes them; until then `list --settled` shows them, and `replay` of a
    letter by its name puts it back all the same.
    """
    wants = _choice(letters, reason, every)
    if not yes:
        what = "these letters" if letters else f"all letters of reason {reason}" if reason else "ALL dead letters"
        click.confirm(f"Drop {what}? Their results will not be stored", abort=True)

    async def settle(yard: "Graveyard") -> int:
        done = 0
        async for batch in _batches(yard, wants):
            await yard.drop(batch)
            done += len(batch)
        return done

    done = _with_yard(config, data, settle)
    _all_found(letters, done)
    click.echo(f"Dropped: {done}.")


Wants = Callable[["Letter"], bool]


def _choice(names: Sequence[tuple[int, int]], reason: str | None, every: bool) -> Wants:
    """Which letters are meant. A letter that is named is meant even where it is settled."""
    if sum((bool(names), reason is not None, every)) != 1:
        raise click.UsageError("Name letters, or give --reason or --all; one of the three.")
    if names:
        wanted = frozenset(names)
        return lambda letter: (letter.partition, letter.offset) in wanted
    return lambda letter: (
        letter.settled is None and (every or (letter.buried is not None and letter.buried.reason == reason))
    )


async def _batches(yard: "Graveyard", wants: Wants) -> "AsyncIterator[list[Letter]]":
    batch: list[Letter] = []
    async for letter in yard.letters(settled_too=True):
        if wants(letter):
            batch.append(letter)
            if len(batch) == AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def _all_found(names: Sequence[tuple[int, int]], found: int) -> None:
    if found < len(set(names)):
        raise Failed(f"Only {found} of {len(set(names))} letters are there; the topic may have let the others go.")


def _with_yard(config: Path | None, data: Path | None, work: "Callable[[Graveyard], Coroutine[Any, Any, T]]") -> T:
    """Do some work with the dead letters of the settings' Kafka."""
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.kafka.enabled:
        raise Failed("There is no Kafka: kafka.servers is empty, and so there are no dead letters.")
    from config.logs import set_up
    from persistence.errors import StoreError
    from persistence.workers.graveyard import Graveyard

    set_up(settings.log)

    async def working() -> T:
        async with Graveyard(settings.kafka, client_id="typegate-dlq") as yard:
            return await work(yard)

    try:
        return asyncio.run(working())
    except StoreError as fault:
        raise Failed(f"{fault}.") from None


def _facts(letter: "Letter") -> list[tuple[str, str]]:
    from persistence.stream.record import Malformed, NewerSchema, read
    from session.identity import session_to_text
    from session.race_record import RaceRecord

    said = letter.buried
    facts = [("letter", letter.name)]
    if said is not None:
        facts += [
            ("reason", said.reason),
            ("error", said.error),
            ("from", f"{said.topic}, partition {said.partition}, offset {said.offset}"),
            ("by", said.worker),
            ("at", _instant(said.at_ms)),
        ]
    if letter.settled is not None:
        facts.append(("settled", _fate(letter)))
    facts.append(("key", repr((letter.key or b"").decode(errors="replace"))))
    for name, value in said.headers if said is not None else []:
        facts.append(("header", f"{name} = {(value or b'').decode(errors='replace')!r}"))
    facts.append(("value", "none" if letter.value is None else f"{len(letter.value)} bytes"))
    try:
        result = read(letter.key, letter.value, said.headers if said is not None else [])
    except (Malformed, NewerSchema) as fault:
        facts.append(("read as", f"no result: {fault}"))
        return facts
    if isinstance(result, RaceRecord):
        facts += [("race", result.id), ("racers", str(len(result.race.racers))), ("began", _instant(result.started_ms))]
    else:
        facts += [
            ("result", session_to_text(result.session)),
            ("user", str(result.user)),
            ("test", f"{result.mode}, {result.language}, {result.summary.wpm} wpm, verdict {result.verdict}"),
            ("node", result.node),
        ]
    return facts


def _fate(letter: "Letter") -> str:
    return "" if letter.settled is None else f"{letter.settled.how} {_instant(letter.settled.at_ms)}"


def _instant(epoch_ms: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)
