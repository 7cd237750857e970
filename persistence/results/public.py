"""Which results their owners have made public: a word beside a result, that no copy of the result changes.

The word of a result that was never public is none. One that was, and is not any more, stays as a word, for the later of
two words holds wherever they meet: in two shards while a bucket moves, or in two stores when one is brought over again.
Words go with their results, a while after these were dropped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from session.identity import MAX_USER, bucket_of, bucket_of_user
from session.result import Result

__all__ = ["MOST_PUBLIC", "Visibility", "check_owner", "why_not_public"]

MOST_PUBLIC: Final = 1_000
"""Results that a user may have made public: all of them are read to show which in the user's list. Many that are made
public at once may come to a few more."""


def why_not_public(result: Result) -> str | None:
    """Why a result is nobody else's to see, whatever its owner said; None where it may be public."""
    if result.verdict == "void":
        return "it is void"
    if result.mode == "text":
        return "it is of an own text"
    return None


class Visibility(NamedTuple):
    """What the owner of a result said last of who may see it."""

    session: bytes
    user: int
    """Its owner, as the result has it: a guest's stays the guest's."""
    public: bool
    changes: int
    """How often it was changed: of two words the one with more holds."""


def check_owner(session: bytes, user: int) -> None:
    """Refuse a session that is not of this user's bucket: nobody would find it. Raises ValueError."""
    if not 1 <= abs(user) <= MAX_USER or len(session) != 16 or bucket_of(session) != bucket_of_user(user):
        raise ValueError(f"the session {session.hex()} is not of user {user}")
