"""`typegate keys`: the keys that seal tickets, receipts and guests' tokens."""

import os
import time
from pathlib import Path

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

__all__ = ["keys"]


@click.group(epilog=examples("typegate keys rotate", "typegate keys rotate --data /var/lib/typegate"))
def keys() -> None:
    """Look after the keys that seal tickets, receipts and guests' tokens."""


@keys.command("rotate", epilog=examples("typegate keys rotate", "typegate keys rotate --data /var/lib/typegate"))
@settings_flags
def rotate(config: Path | None, data: Path | None) -> None:
    """Make a fresh key the sealing one. A server that runs takes it in by itself.

    It seals from 15 seconds later on, when every process of the file has read it; where nodes have copies of it, copy
    it within that time. Older keys go on opening what they sealed, until that has ended; nobody is signed out and no
    test is lost.
    """
    settings = read_settings(config, {"node.data": ("--data", data)})
    from persistence.errors import FolderError
    from persistence.folder import DataFolder
    from persistence.keys import SETTLED_MS, rotate_keys

    path = DataFolder(settings.node.data, keys=settings.node.keys_file).keys
    if not path.exists():
        raise Failed(f"There are no keys at {path}; they are made at the server's first start.")
    try:
        new, *older = rotate_keys(path, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom)
    except (FolderError, OSError) as fault:
        raise Failed(f"{fault}.") from None
    click.echo(
        f"Key {new} seals in {SETTLED_MS // 1000} s, in servers that run too; "
        f"older ones still open what they sealed: {', '.join(map(str, older))}."
    )
