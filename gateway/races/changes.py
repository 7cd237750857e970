"""Changes of a race on their way to the store: one under way at a time, the next one with all that came meanwhile.

    asked: answered at once, with `away` where the store is ──┐
                                                              ├─> one compare-and-set ─> the race as it is now
    owed: tried until it is written, however long ────────────┘

What fails by a fault of ours is tried more and more seldom: it may never succeed.

What is *asked* is what somebody wants of a race (to join, to be ready). What is *owed* has come to pass, whatever the
store says: somebody is gone, is back, has finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from persistence.errors import StoreError
from session.messages import Error
from session.race import Race
from session.racing import Change, Due, Finished, change

if TYPE_CHECKING:
    from gateway.races.rooms import Rooms

__all__ = ["AT_ONCE", "NO_RACE", "Changes", "Key", "Step"]

AT_ONCE = 10
"""Questions, and facts, that go into one change: with a hundred racers each takes up to 0.2 ms."""

NO_RACE = Error("no_race", "there is no such race, or it is long over")

Step = Callable[[Race | None, int], Race | Error]
"""What is asked of a race, at an instant of the race's clock; None: there is no such race."""

MOST_REST_MS = 60_000
"""A race whose changes fail by a fault of ours is tried again at least so often, unless somebody asks."""

Key = tuple[str, int]
"""What is owed, and of whom: "there" and "left" of a user, "finished" and "judged" of a lane, "gone" of a node."""


class Changes:
    """Those of one race by one room. It reads the race first, and whenever it is told to `look`."""

    def __init__(
        self,
        rooms: Rooms,
        race: str,
        *,
        known: Callable[[], Race | None],
        changed: Callable[[Race | None, Race], None],
        vanished: Callable[[], None],
        froze: Callable[[], None],
    ) -> None:
        """`known`: the race as it was last seen.

        Called with what came of it: `changed` with the race as it was stored before and as it is now, `vanished` where
        there is no such race, `froze` when the store does not answer any more.
        """
        self._rooms = rooms
        self._hub = rooms.hub
        self._race = race
        self._known = known
        self._changed = changed
        self._vanished = vanished
        self._froze = froze
        self.frozen = False
        """The store did not answer the last time."""
        self.busy = False
        """Whether a change is under way."""
        self._asked: list[tuple[Step, asyncio.Future[Race | Error]]] = []
        self._owed: dict[Key, Change] = {}
        self._look = True
        self._retry_ms = 0.0
        self._faults = 0
        """Faults of ours in a row."""
        self._rest_ms = 0.0
        """Until when nothing is tried for their sake, but what somebody asks."""
        self._closed = False

    @property
    def asked(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._asked)

    @property
    def owing(self) -> bool:
        """Whether something that has come to pass is not written yet."""
        return bool(self._owed)

    def owes(self, key: Key) -> bool:
        """Whether this is."""
        return key in self._owed

    def step(self, what: Change) -> Step:
        """What asks for a change of a race that is there."""
        rules = self._rooms.rules
        return lambda race, now_ms: NO_RACE if race is None else change(race, what, now_ms=now_ms, rules=rules)

    async def ask(self, step: Step) -> Race | Error:
        """The race after this step, or why it may not be; `error away` where the store is away."""
        if self._closed:  # while whoever asks had something else to wait for
            return NO_RACE
        answer: asyncio.Future[Race | Error] = self._hub.loop.create_future()
        self._asked.append((step, answer))
        self._go_on()
        return await answer

    def owe(self, key: Key, happened: Change) -> None:
        """This has come to pass, and is to be written; a later one of the same key takes its place."""
        self._owed.pop(key, None)
        self._owed[key] = happened
        self._go_on()

    def look(self) -> None:
        """Read the race, and do what is due in it."""
        self._look = True
        self._go_on()

    async def see(self) -> None:
        """The same, until it is done or cannot be done now."""
        await self.ask(lambda race, now_ms: NO_RACE if race is None else race)

    def beat(self, now_ms: float) -> None:
        """Ten times a second: go on where something is left to do, while the store is away more seldom."""
        if self.frozen:
            if now_ms >= self._retry_ms:
                self._go_on()
        elif self._look or self._owed or self._asked:
            self._go_on()

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True

    def _go_on(self) -> None:
        if self.busy or self._closed or (self._faults and not self._asked and self._now_ms() < self._rest_ms):
            return
        self.busy = True
        self._hub.spawn(self._all())

    async def _all(self) -> None:
        """Bring what is asked and owed to the store, all of it together, as long as there is any."""
        try:
            while self._asked or self._owed or self._look:
                if not await self._once():
                    break
        finally:
            self.busy = False

    async def _once(self) -> bool:
        asked, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
        owed = list(self._owed.items())[:AT_ONCE]
        # results first: they were there at an instant of their own, before what is due by now
        happened = sorted((what for _, what in owed), key=lambda what: not isinstance(what, Finished))
        self._look = False
        answers: list[Race | Error] = []
        before: Race | None = None

        def step(stored: Race | None, now_ms: int) -> Race | Error:
            """May be taken several times, each on what is stored by then."""
            nonlocal before
            answers.clear()
            before = stored
            race = self._newest(stored)
            steps = [self.step(what) for what in (*happened, Due())]
            for number, take in enumerate((*steps, *(ask for ask, _ in asked))):
                after = take(race, now_ms)
                if not isinstance(after, Error):
                    race = after
                if number >= len(steps):
                    answers.append(after)
            return NO_RACE if race is None else race

        try:
            race = await self._rooms.races.change(self._race, step)
        except Exception as fault:
            if not isinstance(fault, StoreError):  # a fault of ours: whoever asks is not to wait for ever
                self._rest()
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(fault)
                raise
            self._freeze(fault)
            asked += self._asked  # it is away for all who ask, not for these few alone
            self._asked.clear()
            for _, answer in asked:
                _resolve(answer, self._rooms.away())
            return False
        self._thaw()
        self._faults = 0
        for key, what in owed:
            if self._owed.get(key) is what:
                del self._owed[key]
        if not isinstance(race, Error):
            self._changed(before, race)
        elif race.code == NO_RACE.code:
            self._vanished()
        for (_, answer), said in zip(asked, answers, strict=True):
            _resolve(answer, said if isinstance(said, Error) else race)
        return True

    def _newest(self, stored: Race | None) -> Race | None:
        """What is stored, unless it is older than what we know: a Redis that lost it is given it back.

        One that is over may be forgotten, but not before its places are final: else it would never be recorded.
        """
        known = self._known()
        if known is None or (stored is not None and stored.version >= known.version):
            return stored
        return None if stored is None and known.final else known

    def _freeze(self, fault: StoreError) -> None:
        self._look = True
        jitter = 0.5 + self._hub.random_bits(10) / 2048
        self._retry_ms = self._now_ms() + self._rooms.options.retry_ms * jitter
        if not self.frozen:
            self.frozen = True
            self._rooms.froze(fault)
            self._froze()

    def _rest(self) -> None:
        """Let a while pass, twice as long each time."""
        self._rest_ms = self._now_ms() + min(MOST_REST_MS, self._rooms.options.retry_ms << min(self._faults, 16))
        self._faults += 1

    def _now_ms(self) -> float:
        return self._hub.clock() * 1000

    def _thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._rooms.thawed()


def _resolve(answer: asyncio.Future[Race | Error], value: Race | Error) -> None:
    if not answer.done():
        answer.set_result(value)
