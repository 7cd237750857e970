"""Races of one process: enough wherever there is one, since a race is over long before a restart matters to it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from persistence.races.nearness import nearest
from persistence.races.port import RacesFacts, RacesOptions, Step
from session.messages import Error
from session.race import Race
from session.state import Phase

__all__ = ["FULL", "FULL_RETRY_MS", "MemoryRaces"]

FULL = "there are as many races as there may be; one will be over soon"
FULL_RETRY_MS = 5_000


class MemoryRaces:
    """A `Races` in this process. `epoch_ms` is the wall clock."""

    def __init__(
        self, options: RacesOptions | None = None, *, epoch_ms: Callable[[], float] = lambda: time.time() * 1000
    ) -> None:
        self._options = options or RacesOptions()
        self._epoch_ms = epoch_ms
        self._live: OrderedDict[str, tuple[Race, int]] = OrderedDict()
        """Those that are not over, each with when it is forgotten, the first to go in front."""
        self._settled: OrderedDict[str, tuple[Race, int]] = OrderedDict()
        """Those that are, likewise; no more of them than of the others."""
        self._open: dict[str, OrderedDict[str, int]] = {}
        """By language, the bands of public lobbies with room by their id, the oldest first."""
        self._changes = self._failures = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def timed(self) -> bool:
        """Always: all that race by it are here."""
        return True

    def now_ms(self) -> int:
        """The wall clock."""
        return round(self._epoch_ms())

    async def read(self, race: str) -> Race | None:
        """The race with this id."""
        self._forget(self.now_ms())
        kept = self._live.get(race) or self._settled.get(race)
        return None if kept is None else kept[0]

    async def change(self, race: str, step: Step) -> Race | Error:
        """Change or make a race."""
        now_ms = self.now_ms()
        before = await self.read(race)
        after = step(before, now_ms)
        if isinstance(after, Error) or after is before:
            return after
        if before is None and len(self._live) >= self._options.most:
            self._failures += 1
            return Error("races_full", FULL, FULL_RETRY_MS)
        self._changes += 1
        self._live.pop(race, None)
        if after.phase is Phase.SETTLED:
            self._settled[race] = (after, now_ms + self._options.settled_ms)
            self._settled.move_to_end(race)
            if len(self._settled) > self._options.most:
                self._settled.popitem(last=False)
        else:
            self._live[race] = (after, now_ms + self._options.live_ms)
        self._list(after)
        return after

    def _list(self, race: Race) -> None:
        """Keep the list of open lobbies."""
        language = race.text.language
        if race.open:
            open_ = self._open.setdefault(language, OrderedDict())
            open_[race.id] = race.band
            if len(open_) > self._options.open_most:
                open_.popitem(last=False)
        else:
            self._unlist(race)

    def _unlist(self, race: Race) -> None:
        open_ = self._open.get(race.text.language)
        if open_ is not None:
            open_.pop(race.id, None)
            if not open_:
                del self._open[race.text.language]

    def _forget(self, now_ms: int) -> None:
        for kept in (self._live, self._settled):
            while kept:
                race, (value, until_ms) = next(iter(kept.items()))
                if until_ms > now_ms:
                    break
                del kept[race]
                self._unlist(value)

    async def open(self, language: str, band: int) -> list[str]:
        """Ids of public lobbies with room."""
        self._forget(self.now_ms())
        return nearest(self._open.get(language, {}).items(), band)

    def facts(self) -> RacesFacts:
        """Facts for metrics."""
        return RacesFacts(self._changes, 0, self._failures)

    async def ping(self) -> None:
        """It is always there."""
