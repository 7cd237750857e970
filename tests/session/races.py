"""A race to be played with: its clock, and what happens to it one after the other."""

from dataclasses import dataclass, field, replace
from typing import Any

from session.messages import Error
from session.options import TestOptions
from session.race import Race, Racer, RaceText
from session.race_options import RaceOptions, RaceRules
from session.racing import Change, Due, Finished, Ghost, Join, Judged, Leave, Start, change, due_ms, opened

RULES = RaceRules()
RACE = "0123456789abc"
T0_MS = 1_790_000_000_000
TEXT = RaceText(
    seed=7, language="en", test=9, test_version=2, list_version=0, generator=0, text_hash=bytes(16), clusters=250
)
QUOTE = TestOptions("quote")
TIMED = TestOptions("time", seconds=30)
GHOST = Ghost(session=bytes(15) + b"g", name="My best", ms=25_000, wpm=120.0, raw=121.0, acc=98.0)


def a_race(test: TestOptions = QUOTE, *, public: bool = False, most: int = 5, ghosts: tuple[Ghost, ...] = ()) -> Race:
    return opened(
        RACE,
        RaceOptions(test, public=public, most=most),
        TEXT,
        salt=5,
        band=2,
        now_ms=T0_MS,
        ghosts=ghosts,
    )


@dataclass
class Play:
    """A race, as one node after the other changes it."""

    race: Race = field(default_factory=a_race)
    now_ms: int = T0_MS
    rules: RaceRules = RULES

    @property
    def since_ms(self) -> int:
        """Time since the play began."""
        return self.now_ms - T0_MS

    @property
    def phase(self) -> str:
        """Of the race."""
        return self.race.phase.value

    def do(self, what: Change, *, after_ms: int = 0) -> Race:
        """An input that is allowed, after some time."""
        after = self.attempt(what, after_ms=after_ms)
        assert isinstance(after, Race), after
        return after

    def ignored(self, what: Change, *, after_ms: int = 0) -> None:
        """An input that changes nothing."""
        before = self.race
        assert self.attempt(what, after_ms=after_ms) is before

    def refused(self, what: Change, *, after_ms: int = 0) -> str:
        """The code of the error that an input meets; nothing changes by it."""
        before = self.race
        after = self.attempt(what, after_ms=after_ms)
        assert isinstance(after, Error), after
        assert self.race is before
        return after.code

    def attempt(self, what: Change, *, after_ms: int = 0) -> Race | Error:
        self.now_ms += after_ms
        after = change(self.race, what, now_ms=self.now_ms, rules=self.rules)
        if isinstance(after, Race):
            if after is not self.race:
                assert after.version == self.race.version + 1
            self.race = after
        return after

    def due(self) -> Race:
        """Wait until something is due, and do it."""
        due = due_ms(self.race, self.rules)
        assert due is not None, "nothing is due"
        self.now_ms = max(self.now_ms, due)
        return self.do(Due())

    def join(self, *users: int, node: str = "n1") -> None:
        for user in users:
            self.do(Join(user, f"U{user}", node))

    def finish(
        self, user: int, *, ms: float, wpm: float | None = None, verdict: str = "ok", at_ms: int | None = None
    ) -> Race:
        """A result: of the whole text by default, and there at once."""
        racer = self.racer(user)
        right = 250 * 12_000 / ms if wpm is None else wpm
        at_ms = self.now_ms if at_ms is None else at_ms
        return self.do(Finished(racer.lane, ms, round(right, 2), round(right, 2), 97.5, verdict, at_ms))

    def racer(self, user: int) -> Racer:
        racer = self.race.racer_of(user)
        assert racer is not None
        return racer

    def states(self) -> list[str]:
        return [racer.state.value for racer in self.race.racers]

    def until(self) -> int | None:
        """When the present phase ends."""
        return self.race.until_ms

    def final(self) -> bool:
        return self.race.final

    def places(self) -> list[int | None]:
        return [racer.place for racer in self.race.racers]


def running(*users: int, race: Race | None = None, **rules: Any) -> Play:
    """A play whose race has just begun; every racer on a node of its own."""
    play = Play(race or a_race(most=max(2, len(users))), rules=replace(RULES, **rules))
    for user in users:
        play.join(user, node=f"n{user}")
    play.do(Start(users[0]))
    play.due()
    return play


def over(*users: int, ghosts: tuple[Ghost, ...] = (), race: str = RACE, begun_ms: int = T0_MS) -> Race:
    """A race that is over, its places final: the users one after the other, the last one did not finish."""
    made = replace(a_race(most=max(2, len(users)), ghosts=ghosts), id=race, created_ms=begun_ms, active_ms=begun_ms)
    play = Play(made, now_ms=begun_ms)
    for user in users:
        play.join(user, node=f"n{user}")
    play.do(Start(users[0]))
    play.due()
    *finish, last = users
    for number, user in enumerate(finish):
        play.finish(user, ms=30_000 + 500 * number)
        play.do(Judged(play.racer(user).lane, "ok"))
    play.do(Leave(last))
    assert play.final()
    return play.race
