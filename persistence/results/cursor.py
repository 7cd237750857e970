"""Pages of a user's results, newest first, and the opaque cursor between two pages.

A cursor is the id of the last result of a page, in base64url. The id begins with the instant of its making, so "after
this id, downwards" is `created_at` descending, then id, whoever typed it. It needs no seal: it is used within the
results of one user and that user's guests only, so a forged one can but begin the page elsewhere in the same list; one
that is no id of a session is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from persistence.errors import CursorError
from session.identity import MAX_EPOCH_MS
from session.result import Result

MAX_PAGE = 100
"""Most results of one page."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a user's results, newest first, and where the next page begins."""

    results: tuple[Result, ...]
    cursor: str | None
    """Give it back to get the next page; None when there is no more."""
    behind: bool = False
    """Whether it may lack what was stored last: the server that has that is away, and another was asked instead."""


def cursor_after(session: bytes) -> str:
    """The cursor of a page that ends with this session's result."""
    return base64.urlsafe_b64encode(session).rstrip(b"=").decode()


def read_cursor(cursor: str) -> bytes:
    """The session id that a cursor stands for. Raises `CursorError` for what `cursor_after` never made."""
    if len(cursor) == 22 and cursor.isascii():
        try:
            session = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
        except binascii.Error:
            session = b""
        # version 7 and variant 10 of RFC 9562, and no two spellings of one cursor
        if len(session) == 16 and session[6] >> 4 == 7 and session[8] >> 6 == 2 and cursor_after(session) == cursor:
            return session
    raise CursorError("this cursor was not given by this list; begin again without one")


def begin(cursor: str | None, until_ms: int | None) -> bytes:
    """The id below which a page's ids lie: after the cursor, and started before `until_ms`. Raises `CursorError`."""
    bound = b"\xff" * 16 if cursor is None else read_cursor(cursor)  # above all UUIDv7
    if until_ms is not None and until_ms <= MAX_EPOCH_MS:
        bound = min(bound, max(0, until_ms).to_bytes(6, "big") + bytes(10))
    return bound


def begin_ms(since_ms: int | None) -> int:
    """The least instant of a page's ids, as one that a store can compare with."""
    return min(max(0, since_ms or 0), MAX_EPOCH_MS + 1)


def page_of(found: Sequence[Result], limit: int) -> Page:
    """The page of these results, of which one more than `limit` was asked for to see whether there is a next page."""
    more = len(found) > limit
    return Page(tuple(found[:limit]), cursor_after(found[limit - 1].session) if more else None)


def merged(lists: Iterable[Sequence[Result]], limit: int) -> list[Result]:
    """The newest `limit` results of several users' lists."""
    return sorted(chain.from_iterable(lists), key=lambda result: result.session, reverse=True)[:limit]


def check_limit(limit: int) -> None:
    """Raise ValueError for a page size that is not allowed."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit is {limit}; allowed is 1 to {MAX_PAGE}")
