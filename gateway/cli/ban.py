"""`typegate ban`: who may not come in."""

import asyncio
import getpass
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

if TYPE_CHECKING:
    from config.settings import Settings
    from persistence.bans import Ban, BanStore, Who

__all__ = ["ban"]

T = TypeVar("T")

_SPAN = re.compile(r"(\d{1,6})\s*([smhdw])")
_SPAN_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_GUESTS = {"ignore_unknown_options": True}
"""So that a guest's id, which begins with a dash, is no flag."""


@click.group(
    epilog=examples(
        "typegate ban add 17 --for 7d --reason 'a bot typed it'",
        "typegate ban add 192.0.2.0/24 --reason 'a flood of guests'",
        "typegate ban list",
        "typegate ban remove 17",
    )
)
def ban() -> None:
    """Shut out users and addresses, on all servers within a second.

    WHO is a user's id (17; a guest's is negative), an address, or a network (192.0.2.0/24). An IPv6 address without a
    prefix length stands for its /64.
    """


@ban.command(
    context_settings=_GUESTS,
    epilog=examples(
        "typegate ban add 17 --for 7d --reason 'a bot typed it'",
        "typegate ban add -4503599627370495 --reason 'offensive names'     a guest",
        "typegate ban add 2001:db8::/32 --until 2027-01-01 --reason 'a flood of guests'",
    ),
)
@click.argument("who")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is told to whom it concerns.")
@click.option("--for", "span", metavar="SPAN", help="How long: 30m, 12h, 7d, 4w [for good].")
@click.option("--until", metavar="WHEN", help="Until when, UTC: 2027-01-31 or 2027-01-31T18:00.")
@click.option("--by", metavar="NAME", help="Who says so [the name of who runs this].")
@settings_flags
def add(
    who: str, reason: str, span: str | None, until: str | None, by: str | None, config: Path | None, data: Path | None
) -> None:
    """Ban WHO: who is here is sent off, and not let in again.

    What they are typing ends without a result. A ban of the same WHO before is replaced. A guest who clears the browser
    is another guest: ban the address as well.
    """
    from persistence.bans import Ban

    now_ms = time.time_ns() // 1_000_000
    try:
        made = Ban(_who(who), reason.strip(), by or _operator(), now_ms, _end(span, until, now_ms))
    except ValueError as fault:
        raise Failed(f"{fault}.") from None
    settings = _settings(config, data)
    _on(settings, lambda store: store.add(made))
    click.echo(f"{made.who} is banned {made.told}")
    _tell(settings)


@ban.command(context_settings=_GUESTS, epilog=examples("typegate ban remove 17", "typegate ban remove 192.0.2.0/24"))
@click.argument("who")
@settings_flags
def remove(who: str, config: Path | None, data: Path | None) -> None:
    """End the ban of WHO, as `list` shows it."""
    banned = _who(who)
    settings = _settings(config, data)
    if not _on(settings, lambda store: store.remove(banned)):
        raise Failed(f"{banned} is not banned; `typegate ban list` shows who is.")
    click.echo(f"{banned} may come in again.")
    _tell(settings)


@ban.command("list", epilog=examples("typegate ban list"))
@settings_flags
def list_(config: Path | None, data: Path | None) -> None:
    """List who is banned, the latest first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    now_ms = time.time_ns() // 1_000_000
    bans = _on(_settings(config, data), lambda store: store.read(now_ms=now_ms))
    table = Table("who", "since (UTC)", "until (UTC)", "by", "reason")
    for one in sorted(bans, key=lambda one: -one.since_ms):
        until = "for good" if one.until_ms is None else _instant(one.until_ms)
        table.add_row(*map(escape, (str(one.who), _instant(one.since_ms), until, one.by, one.reason)))
    Console().print(table)
    click.echo(f"{len(bans)} {'ban' if len(bans) == 1 else 'bans'}.")


@ban.command(context_settings=_GUESTS, epilog=examples("typegate ban show 17", "typegate ban show 192.0.2.7"))
@click.argument("who")
@settings_flags
def show(who: str, config: Path | None, data: Path | None) -> None:
    """Show what holds for WHO: a user's ban, or those that an address or a network lies in. Ends with 1 for none."""
    subject, now_ms = _who(who), time.time_ns() // 1_000_000
    bans = _on(_settings(config, data), lambda store: store.read(now_ms=now_ms))
    found = [one for one in bans if _holds(one, subject)]
    if not found:
        raise Failed(f"{subject} is not banned.")
    for one in found:
        click.echo(f"{one.who} has been banned since {_instant(one.since_ms)} UTC by {one.by}, {one.told}")


def _holds(one: "Ban", who: "Who") -> bool:
    if isinstance(one.who, int) or isinstance(who, int):
        return one.who == who
    return one.who.version == who.version and who.subnet_of(one.who)  # type: ignore[arg-type]  # of one version


def _who(text: str) -> "Who":
    from persistence.bans import read_who

    try:
        return read_who(text)
    except ValueError as fault:
        raise Failed(f"{fault}.") from None


def _end(span: str | None, until: str | None, now_ms: int) -> int | None:
    """Epoch ms of the end; None: for good. Raises ValueError with what is allowed."""
    if span is not None and until is not None:
        raise ValueError("--for and --until are both given; one says it")
    if span is not None:
        found = _SPAN.fullmatch(span.strip())
        if found is None:
            raise ValueError(f"--for is {span!r}; allowed is a number with s, m, h, d or w, such as 12h or 7d")
        return now_ms + int(found[1]) * _SPAN_MS[found[2]]
    if until is None:
        return None
    try:
        instant = datetime.fromisoformat(until)
    except ValueError:
        raise ValueError(f"--until is {until!r}; allowed is 2027-01-31 or 2027-01-31T18:00") from None
    end_ms = int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
    if end_ms <= now_ms:
        raise ValueError(f"--until is {until!r}, which is past")
    return end_ms


def _instant(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _operator() -> str:
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):  # a container's user may have no name
        return "operator"


def _settings(config: Path | None, data: Path | None) -> "Settings":
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.mysql.content:
        from persistence.errors import FolderError
        from persistence.folder import DataFolder

        try:
            DataFolder(settings.node.data).open()
        except FolderError as fault:
            raise Failed(f"{fault}.") from None
    return settings


def _on(settings: "Settings", work: "Callable[[BanStore], Awaitable[T]]") -> T:
    """Do something with the store of bans."""
    from gateway.stores import bans_of
    from persistence.errors import StoreError

    async def done() -> T:
        async with bans_of(settings) as store:
            return await work(store)

    try:
        return asyncio.run(done())
    except StoreError as fault:
        raise Failed(f"{fault}.") from None


def _tell(settings: "Settings") -> None:
    """Say to the servers, over Redis, that there was a change; they see it a little later where that cannot be."""
    if not settings.redis.enabled:
        return
    if not settings.mysql.content:  # with a Redis there may be several servers
        folder = settings.node.data
        click.echo(
            f"Without a content database ([mysql]) it holds on servers with the data folder {folder} alone.", err=True
        )
    from gateway.bans import CHANNEL, TOLD_TIMES
    from gateway.opening import bus_over
    from persistence.errors import StoreError
    from persistence.redis import RedisServers

    async def tell() -> None:
        async with RedisServers(settings.redis) as servers, bus_over(servers, settings) as bus:
            await bus.publish(CHANNEL, True)

    try:
        asyncio.run(tell())
    except StoreError as fault:
        seconds = settings.bans.look_ms * TOLD_TIMES / 1000
        click.echo(f"Redis does not bring it to the servers ({fault}); they see it within {seconds:g} s.", err=True)
