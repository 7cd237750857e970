"""One leaderboard in memory: the entries in order, each user's at most once; pure.

The rules are those of the scripts that do the same in Redis (`redis`); the tests hold the two to each other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from persistence.boards.entries import SESSION_BYTES, Entry, user_of


class Ranks:
    """The best entries, `top` at most.

    `floor` is the worst entry that the board has had room for: better ones are all here, worse ones are not. None:
    there is room, and everybody is here.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._order: list[Entry] = []
        self._of: dict[int, Entry] = {}
        self.floor: Entry | None = None

    def __len__(self) -> int:
        return len(self._order)

    def submit(self, user: int, entry: Entry | None, session: bytes) -> bool:
        """Take note that the user's best is `entry`, as a result of `session` was told; whether that leaves a hole.

        An entry of this session is replaced whatever the other is; any other only by a better one. A hole: somebody
        who is not here may now be better than the last one here.
        """
        old = self._of.get(user)
        hole = False
        if old is not None and old[1][:SESSION_BYTES] == session and old != entry:
            self.remove(user)
            old, hole = None, self.floor is not None
        if entry is None or (old is not None and old <= entry) or (self.floor is not None and entry > self.floor):
            return hole
        self.remove(user)
        self._insert(user, entry)
        self._trim()
        return False

    def remove(self, user: int) -> bool:
        """Take a user away; whether there was one."""
        old = self._of.pop(user, None)
        if old is None:
            return False
        del self._order[bisect_left(self._order, old)]
        return True

    def fill(self, entries: Iterable[Entry]) -> None:
        """Take in entries as the store has them; where a user comes twice, the better one is the newer."""
        for entry in entries:
            user = user_of(entry[1])
            old = self._of.get(user)
            if old is None or entry < old:
                self.remove(user)
                self._insert(user, entry)

    def filled(self, floor: Entry | None) -> None:
        """All that there was to take in is in; `floor`: the last of it, where the store has more."""
        self.floor = floor
        if floor is not None:
            for _, member in self._order[bisect_right(self._order, floor) :]:
                self.remove(user_of(member))
        self._trim()

    def entry(self, user: int) -> Entry | None:
        """The user's entry."""
        return self._of.get(user)

    def rank(self, user: int) -> int | None:
        """The user's place, 0 for the first."""
        entry = self._of.get(user)
        return None if entry is None else bisect_left(self._order, entry)

    def slice(self, start: int, stop: int) -> list[Entry]:
        """Entries in order."""
        return self._order[start:stop]

    def _insert(self, user: int, entry: Entry) -> None:
        self._of[user] = entry
        insort(self._order, entry)

    def _trim(self) -> None:
        if len(self._order) > self._top:
            for _, member in self._order[self._top :]:
                del self._of[user_of(member)]
            del self._order[self._top :]
            self.floor = self._order[-1]
