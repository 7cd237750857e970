"""Bans of rows as databases give them. Of a row as it was the ban that there is already: to make one takes 20 µs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from persistence.bans.entries import Ban, read_who
from persistence.bans.port import MOST_CHANGES, BanChanges, Mark

__all__ = ["Changed", "Known", "Row", "bans_of", "changes_of"]

Row: TypeAlias = tuple[str, str, str, int, int | None]
"""Whom, as `who_text` writes it; reason, by, since and until as in `Ban`."""
Changed: TypeAlias = tuple[Mark, str, str | None, str | None, int | None, int | None]
"""The mark that a change left, whom it concerned, and the ban as it is now, as in `Row`; None throughout for none."""
Known: TypeAlias = Mapping[str, Ban]
"""Bans by whom they name, as `who_text` writes it."""


def bans_of(rows: Iterable[Row], known: Known) -> dict[str, Ban]:
    """Their bans. For many it takes a while: not for the event loop. Raises ValueError for a row that is none."""
    return {row[0]: _ban(known.get(row[0]), *row) for row in rows}


def changes_of(rows: Sequence[Changed], last: Mark) -> BanChanges | None:
    """What changed after the first of these rows, which is known; None where that says nothing or is too much.

    `last` is the mark that the store has now. A change of whoever knows of no such rows leaves another one there.
    """
    if not 0 < len(rows) <= MOST_CHANGES + 1 or rows[-1][0] != last:
        return None
    made, ended = {}, {}
    for _, who, reason, by, since_ms, until_ms in rows[1:]:
        if reason is None or by is None or since_ms is None:
            ended[who] = read_who(who)
        else:
            made[who] = Ban(read_who(who), reason, by, since_ms, until_ms)
    return BanChanges(last, tuple(made.values()), tuple(ended.values()))


def _ban(known: Ban | None, who: str, reason: str, by: str, since_ms: int, until_ms: int | None) -> Ban:
    if known is not None and (known.reason, known.by, known.since_ms, known.until_ms) == (
        reason,
        by,
        since_ms,
        until_ms,
    ):
        return known
    return Ban(read_who(who), reason, by, since_ms, until_ms)
