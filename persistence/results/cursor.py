"""Pages of a user's results, newest first, and the opaque cursor between two pages."""

from __future__ import annotations

from dataclasses import dataclass

from session.result import Result


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a user's results, newest first, and where the next page begins."""

    results: tuple[Result, ...]
    cursor: str | None
    """Give it back to get the next page; None when there is no more."""
