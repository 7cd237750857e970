"""What several commands share: the settings' flags, and how a failure is told."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from config.settings import Fault, Settings

__all__ = ["Failed", "Unstartable", "examples", "read_settings", "servable", "settings_flags"]

F = TypeVar("F", bound=Callable[..., Any])


class Failed(click.ClickException):
    """The command could not do what was asked: one sentence, exit code 1."""

    exit_code = 1


class Unstartable(click.ClickException):
    """The command could not even begin: one sentence or a list of faults, exit code 2."""

    exit_code = 2


def examples(*lines: str) -> str:
    """A help page's last part."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def settings_flags(command: F) -> F:
    """The flags that say which settings and which data."""
    for option in (
        click.option(
            "--data", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder of results and keys [data]."
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Settings in TOML [typegate.toml, if there is one].",
        ),
    ):
        command = option(command)
    return command


def read_settings(config: Path | None, flags: dict[str, tuple[str, object]]) -> "Settings":
    """The settings from file, environment and flags (`section.name`: flag's name, value), or all their faults."""
    from config.settings import Flag, SettingsError, load

    try:
        return load(file=config, flags={setting: Flag(name, value) for setting, (name, value) in flags.items()})
    except SettingsError as fault:
        raise _unstartable(fault.faults) from None


def servable(settings: "Settings") -> "Settings":
    """The settings, where they are those of a server that is of use. Raises Unstartable."""
    from config.settings import unservable

    faults = unservable(settings)
    if faults:
        raise _unstartable(faults)
    return settings


def _unstartable(faults: "Sequence[Fault]") -> Unstartable:
    head = "The settings have a fault:" if len(faults) == 1 else f"The settings have {len(faults)} faults:"
    return Unstartable("\n  ".join([head, *map(str, faults)]))
