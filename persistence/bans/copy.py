"""The bans that a server last read of the content database, in a file of its own: they hold while that is away.

A server that begins meanwhile would let in everybody else. After the head [when it was read, in epoch ms] come pieces
of some hundred rows, as `rows.Row` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from persistence.bans.entries import Ban, who_text
from persistence.bans.rows import Row, bans_of
from persistence.copyfile import CopyFile

__all__ = ["BanCopy", "CopiedBans"]

_LAYOUT: Final = 1
_AT_ONCE: Final = 256
"""Rows packed in one call, in which nothing else of the process runs: a tenth of a millisecond."""


class CopiedBans(NamedTuple):
    """What a copy says."""

    read_ms: int
    """When it was so in the database (epoch ms)."""
    bans: tuple[Ban, ...]


class BanCopy:
    """The file at `path`, of what the database that is called `database` had. Its methods are for a thread."""

    def __init__(self, path: Path, *, database: str) -> None:
        self._file = CopyFile(path, what="the bans", layout=_LAYOUT, database=database)

    def load(self, *, now_ms: int) -> CopiedBans | None:
        """What was saved last, but for what is over; None where there is nothing of use."""
        found = self._file.load()
        if found is None:
            return None
        head, pieces = found
        try:
            (read_ms,) = head
            bans = [ban for piece in pieces for ban in bans_of(piece, {}).values()]
        except (ValueError, TypeError) as fault:
            self._file.damaged(fault)
            return None
        return CopiedBans(read_ms, tuple(ban for ban in bans if not ban.over(now_ms)))

    def save(self, bans: Iterable[Ban], *, now_ms: int) -> None:
        """Put these in the file's place, whole or not at all; without its folder, or room, there is no copy."""
        self._file.save([now_ms], _parts(bans))


def _parts(bans: Iterable[Ban]) -> Iterator[list[Row]]:
    left = iter(bans)
    while part := [
        (who_text(ban.who), ban.reason, ban.by, ban.since_ms, ban.until_ms) for ban in islice(left, _AT_ONCE)
    ]:
        yield part
