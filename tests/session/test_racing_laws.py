"""Laws of races: whatever happens in whatever order, from whichever node, and however the clocks go."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from session.messages import Error
from session.race import Race
from session.racing import (
    Back,
    Change,
    Due,
    Finished,
    Join,
    Judged,
    Leave,
    Lost,
    Next,
    NodesGone,
    Ready,
    Start,
    change,
    due_ms,
)
from session.state import Phase, RacerState
from tests.session.races import GHOST, QUOTE, RULES, T0_MS, TIMED, a_race

USERS = st.integers(1, 6)
NODES = st.sampled_from(["n1", "n2", "n3"])
VERDICTS = st.sampled_from(["ok", "ok", "review", "void"])
ORDER = list(Phase)
DONE = (RacerState.FINISHED, RacerState.DNF, RacerState.GHOST)
LIFE_MS = RULES.lobby_ms + RULES.longest_ms + RULES.closing_most_ms + RULES.verdicts_ms + 60_000


class Racing(RuleBasedStateMachine):
    """One race, six people, three nodes whose clocks differ a little."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = T0_MS
        self.race: Race = a_race()
        self.gave_up: set[int] = set()
        """Lanes of racers who did not finish, though the race went on."""

    @initialize(
        test=st.sampled_from([QUOTE, TIMED]),
        public=st.booleans(),
        most=st.integers(1, 4),
        ghosts=st.integers(0, 2),
        host=USERS,
    )
    def opens(self, test: Any, public: bool, most: int, ghosts: int, host: int) -> None:
        some = tuple(replace(GHOST, ms=GHOST.ms + 5 * number) for number in range(ghosts))
        self.race = a_race(test, public=public, most=most, ghosts=some)
        self.do(Join(host, f"U{host % 3}", "n1"))

    def do(self, what: Change, *, skew_ms: int = 0) -> None:
        before, now_ms = self.race, self.now_ms + skew_ms
        after = change(before, what, now_ms=now_ms, rules=RULES)
        if isinstance(after, Error):
            assert after.message
            return
        assert change(before, what, now_ms=now_ms, rules=RULES) == after  # nothing but arguments counts
        if after is not before:
            self.check_step(before, after)
            self.race = after
            again = change(after, what, now_ms=now_ms, rules=RULES)
            assert again is after or isinstance(again, Error), "what is done twice is done once"

    def check_step(self, before: Race, after: Race) -> None:
        assert after.version == before.version + 1
        assert ORDER.index(after.phase) >= ORDER.index(before.phase), "phases only forward"
        assert (before.start_ms is None) or after.start_ms == before.start_ms
        assert before.next is None or after.next == before.next
        if before.final:
            assert after.final
            assert [racer.place for racer in after.racers] == [racer.place for racer in before.racers]
        for racer in before.racers:
            then = after.lane(racer.lane)
            if before.phase is not Phase.LOBBY:
                assert then is not None, "lanes stay"
                assert (then.user, then.name, then.session) == (racer.user, racer.name, racer.session)
            if racer.state in DONE:
                assert then is not None
                if then.state is not racer.state:
                    assert racer.state is RacerState.DNF, "what is done is done"
                    assert then.state is RacerState.FINISHED
                    assert before.phase is Phase.SETTLED, "only the race's end may have been too early"
                    assert not before.final
                    assert racer.lane not in self.gave_up
                else:
                    assert (then.ms, then.wpm) == (racer.ms, racer.wpm)
                    if racer.state is RacerState.DNF and before.phase is not Phase.SETTLED:
                        self.gave_up.add(racer.lane)

    # --- what may happen, at any time ---

    @rule(user=USERS, node=NODES, skew_ms=st.integers(-40, 40))
    def joins(self, user: int, node: str, skew_ms: int) -> None:
        self.do(Join(user, f"U{user % 3}", node), skew_ms=skew_ms)

    @rule(user=USERS, ready=st.sampled_from([True, True, False]))
    def says_ready(self, user: int, ready: bool) -> None:
        self.do(Ready(user, ready))

    @rule(user=USERS)
    def starts(self, user: int) -> None:
        self.do(Start(user))

    @rule(user=USERS)
    def leaves(self, user: int) -> None:
        self.do(Leave(user))

    @rule(user=USERS, node=NODES, skew_ms=st.integers(-40, 40))
    def is_lost(self, user: int, node: str, skew_ms: int) -> None:
        self.do(Lost(user, node), skew_ms=skew_ms)

    @rule(user=USERS, node=NODES)
    def is_back(self, user: int, node: str) -> None:
        self.do(Back(user, node))

    @rule(nodes=st.frozensets(NODES, min_size=1))
    def nodes_go(self, nodes: frozenset[str]) -> None:
        self.do(NodesGone(nodes))

    @rule(
        lane=st.integers(0, 6),
        ms=st.integers(1_000, 90_000),
        right=st.sampled_from([1.0, 0.9, 0.1]),
        verdict=VERDICTS,
        ago_ms=st.sampled_from([0, 0, 50, 5_000, 30_000, 1_000_000, -40]),
    )
    def finishes(self, lane: int, ms: int, right: float, verdict: str, ago_ms: int) -> None:
        wpm = round(right * self.race.text.clusters * 12_000 / ms, 2)
        self.do(Finished(lane, ms, wpm, wpm, 97.0, verdict, self.now_ms - ago_ms))

    @rule(lane=st.integers(0, 6), verdict=VERDICTS)
    def is_judged(self, lane: int, verdict: str) -> None:
        self.do(Judged(lane, verdict))

    @rule(user=USERS, race=st.sampled_from(["a" * 13, "b" * 13]))
    def asks_for_another(self, user: int, race: str) -> None:
        self.do(Next(user, race))

    @rule(ms=st.sampled_from([1, 100, 3_000, 5_000, 15_000, 20_000, 70_000, 1_000_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule()
    def somebody_looks(self) -> None:
        self.do(Due())

    @precondition(lambda self: due_ms(self.race, RULES) is not None)
    @rule(skew_ms=st.integers(-5, 5))
    def what_is_due_happens(self, skew_ms: int) -> None:
        due = due_ms(self.race, RULES)
        assert due is not None
        self.now_ms = max(self.now_ms, due)
        self.do(Due(), skew_ms=skew_ms)

    # --- what always holds ---

    @invariant()
    def lanes_and_people_are_apart(self) -> None:
        lanes = [racer.lane for racer in self.race.racers]
        people = self.race.people
        assert lanes == sorted(set(lanes)), "never two racers on one lane"
        assert len({racer.user for racer in people}) == len(people) <= self.race.options.most
        assert len({racer.name.casefold() for racer in self.race.racers if not racer.ghost}) == len(people)
        if people and self.race.phase is Phase.LOBBY:
            assert self.race.host in {racer.lane for racer in people}

    @invariant()
    def states_fit_the_phase(self) -> None:
        race = self.race
        for racer in race.people:
            assert (racer.session is None) is (race.start_ms is None)
            assert (racer.ms is not None) is (racer.state is RacerState.FINISHED)
            if race.phase is Phase.LOBBY:
                assert racer.state is RacerState.WAITING
            elif race.start_ms is not None:
                assert racer.state is not RacerState.WAITING
            if race.phase is Phase.SETTLED:
                assert not racer.racing
            if racer.state is RacerState.DETACHED:
                assert racer.away_ms is not None
        if race.phase in (Phase.COUNTDOWN, Phase.RUNNING, Phase.CLOSING):
            assert any(racer.racing for racer in race.people), "a race that nobody races any more is over"
            assert race.until_ms is not None

    @invariant()
    def places_are_those_of_the_results(self) -> None:
        """Worked out once more, naively: one more than those who are clearly ahead of the first of the place."""
        race = self.race
        if race.start_ms is None or race.phase is Phase.COUNTDOWN:
            assert all(racer.place is None for racer in race.racers)
            return
        timed = race.options.test.limit_ms is not None
        keys: dict[int, tuple[bool, float]] = {}
        for racer in race.racers:
            if racer.state in (RacerState.FINISHED, RacerState.GHOST) and racer.verdict != "void":
                assert racer.ms is not None
                assert racer.wpm is not None
                sloppy = racer.wpm * racer.ms / 12_000 < 0.75 * race.text.clusters
                keys[racer.lane] = (False, -racer.wpm) if timed else (sloppy, racer.ms)
        rest = sorted(keys.values())
        wanted: dict[int, int] = {}
        place = 1
        while rest:
            width = 0 if timed else RULES.tie_ms
            tied = [key for key in rest if key[0] == rest[0][0] and key[1] <= rest[0][1] + width]
            wanted |= {lane: place for lane, key in keys.items() if key in tied}
            place += len(tied)
            rest = rest[len(tied) :]
        for racer in race.racers:
            hidden = racer.ghost and race.phase is not Phase.SETTLED
            assert racer.place == (None if hidden else wanted.get(racer.lane))

    @invariant()
    def it_can_be_sent(self) -> None:
        assert Race.unpack(self.race.pack()) == self.race

    def teardown(self) -> None:
        """It always ends: by what is due alone, in a bounded time, and in a few steps."""
        steps = 0
        began_ms = self.now_ms
        while (due := due_ms(self.race, RULES)) is not None:
            self.now_ms = max(self.now_ms, due)
            self.do(Due())
            steps += 1
            assert steps < 20
        assert self.race.final
        assert self.now_ms - began_ms <= LIFE_MS


Racing.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRacing = Racing.TestCase
