"""One line of a leaderboard as a number and bytes, so that their order is the board's.

A sorted set of Redis orders by a score, a 64-bit float, and members of equal score by their bytes. Such a float holds
53 bits exactly, and speed and instant together need more: 17 for up to 1,300 wpm in hundredths, 41 for ms since 1970.
One of them would have to be rounded, and ties with it. So the score is the speed alone, in whole hundredths and
negative (the best first), and the member begins with the session's id, whose first bits are the instant at which the
test was started: ties go to the earlier test, to the ms, and among tests of the same ms to the smaller id. That is the
order of `PersonalBest.order`.

    score   -100 wpm
    member  session (16 bytes) | user (8 bytes, big-endian) | accuracy in hundredths of a per cent (2 bytes, likewise)

In Python an entry is the pair of both, which compares as Redis does.
"""

from __future__ import annotations

from struct import Struct
from typing import TypeAlias

from persistence.results.bests import Board, Period, PersonalBest, Place

Entry: TypeAlias = tuple[int, bytes]
"""Score and member; the smaller is the better."""

SESSION_BYTES = 16
_MEMBER = Struct(">16sQH")


def entry_of(best: PersonalBest) -> Entry:
    """A best as an entry."""
    return -round(best.wpm * 100), _MEMBER.pack(best.session, best.place.user, round(best.acc * 100))


def best_of(entry: Entry, board: Board, period: Period) -> PersonalBest:
    """The best that an entry of a board stands for."""
    score, member = entry
    session, user, acc = _MEMBER.unpack(member)
    return PersonalBest(Place(user, board, period), session, -score / 100, acc / 100)


def user_of(member: bytes) -> int:
    """Whose entry it is."""
    return int.from_bytes(member[16:24], "big")
