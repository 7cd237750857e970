"""That a race that is over is recorded: spooled by whoever settled it, looked after by everybody else who was there.

    places are final, by our own change ──────────────────────> spool
    places are final, by another node's ── some time ─> store ── it is not there ─> spool

Of the nodes that try a race's last change one wins, and that one spools the record at once. It may be killed between
the two. So the others' rooms, and one that is opened later, look into the store some time after they saw it, and spool
the record where it is not there. A record that is written twice is one row.

What holds: a race is recorded once a room that lives on has seen it final. A room does so until it has spooled the
record or found it, for a minute at most once nobody is there any more; and it waits for the race's end, though all its
racers be gone, unless the races' store is away for that minute or another race needs the room. Where all nodes of a
race die together, or give it up so, and nobody comes back to it, there is no record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from persistence.errors import StoreError
from session.race import Race
from session.race_record import RaceRecord, lasts

if TYPE_CHECKING:
    from gateway.races.rooms import Rooms

__all__ = ["Recording"]

_log = structlog.get_logger(__name__)


class Recording:
    """One a room, which looks after it once a second."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._race: Race | None = None
        """What is to be recorded; None before the race is over, and when there is a record."""
        self._known = False
        """Whether the race has been seen to be over."""
        self._ours = False
        """Whether it is for us to spool it: we have settled it, or it was looked for in vain."""
        self._at_ms = 0.0
        """When something is to be done next."""
        self._busy = False

    @property
    def owing(self) -> bool:
        """Whether the race is over, and it is not certain that it is recorded."""
        return self._race is not None

    def see(self, race: Race, *, now_ms: float, ours: bool = False) -> None:
        """This is how the race is; `ours`: we have made it so."""
        if self._known or not lasts(race):
            return
        self._known, self._ours, self._race = True, ours, race
        if ours:
            self._spool(now_ms)
        else:
            self._later(now_ms)

    def look(self, now_ms: float) -> None:
        """Do what is due."""
        if self._race is None or self._busy or now_ms < self._at_ms:
            return
        if self._ours:
            self._spool(now_ms)
        else:
            self._busy = True
            self._rooms.hub.spawn(self._search(self._race))

    def _later(self, now_ms: float) -> None:
        """Not all at once: who is first spares the others the work."""
        jitter = 0.5 + self._rooms.hub.random_bits(10) / 1024
        self._at_ms = now_ms + self._rooms.options.record_ms * jitter

    async def _search(self, race: Race) -> None:
        """See whether somebody else has recorded the race."""
        try:
            found = await self._rooms.records.of(race.id)
        except StoreError:
            self._later(self._now_ms())
            return
        finally:
            self._busy = False
        if found is not None:
            self._race = None
            return
        _log.warning("a race was settled and not recorded; it is recorded from here", race=race.id)
        self._rooms.facts.records["missed"] += 1
        self._ours = True
        self._spool(self._now_ms())

    def _spool(self, now_ms: float) -> None:
        assert self._race is not None
        self._busy = True
        self._at_ms = now_ms + self._rooms.options.retry_ms
        try:
            self._rooms.hub.spool.submit(RaceRecord.of(self._race), self._spooled)
        except StoreError as refused:
            self._spooled(refused)

    def _spooled(self, refused: StoreError | None) -> None:
        self._busy = False
        self._rooms.facts.records["spooled" if refused is None else "refused"] += 1
        if refused is None:
            self._race = None
        elif self._race is not None:
            _log.error("the spool did not take a race's record", race=self._race.id, reason=str(refused))

    def _now_ms(self) -> float:
        return self._rooms.hub.clock() * 1000
