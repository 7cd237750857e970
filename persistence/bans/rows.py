"""Bans of rows as databases give them. Of a row as it was the ban that there is already: to make one takes 20 µs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from persistence.bans.entries import Ban, read_who

__all__ = ["Known", "Row", "bans_of"]

Row: TypeAlias = tuple[str, str, str, int, int | None]
"""Whom, as `who_text` writes it; reason, by, since and until as in `Ban`."""
Known: TypeAlias = Mapping[str, Ban]
"""Bans by whom they name, as `who_text` writes it."""


def bans_of(rows: Iterable[Row], known: Known) -> dict[str, Ban]:
    """Their bans. For many it takes a while: not for the event loop. Raises ValueError for a row that is none."""
    return {row[0]: _ban(known.get(row[0]), *row) for row in rows}


def _ban(known: Ban | None, who: str, reason: str, by: str, since_ms: int, until_ms: int | None) -> Ban:
    if known is not None and (known.reason, known.by, known.since_ms, known.until_ms) == (
        reason,
        by,
        since_ms,
        until_ms,
    ):
        return known
    return Ban(read_who(who), reason, by, since_ms, until_ms)
