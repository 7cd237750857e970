"""What must hold of races: the notes that are taken on the way, and the laws they are held to.

On the way: no key before the start counts, and whoever is told final places is told the same ones. At the end, when all
have come back and had time: a race has one record, which says what everybody saw, in places that follow the rules, of
results that are stored; each change in Redis was made to the one before; who asked for another race met the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from session.places import placed
from session.race import Race, Racer
from session.race_options import RaceRules
from session.race_record import RaceRecord
from session.state import RacerState
from tests.simulation.log import Log, Message
from tests.simulation.redis import Redis
from tests.simulation.stores import Rows
from tests.simulation.world import Broken, World

_EARLY_MS: Final = 50.0
"""By so much a node's race clock may be ahead."""
_FRESH_S: Final = 2
_SHOWN: Final = ("lane", "name", "state", "place", "ms", "wpm", "acc", "verdict")


class RaceLedger:
    """Takes notes, and asserts."""

    def __init__(self, world: World, redis: Redis, rows: Rows, rules: RaceRules) -> None:
        self._world = world
        self._redis = redis
        self._rows = rows
        self._rules = rules
        self.link: str | None = None
        """The race that its host has sent to the others."""
        self.seen: dict[str, list[dict[str, Any]]] = {}
        """The final table of each race, as somebody was told it."""
        self._asked: list[tuple[float, str, str]] = []
        """Who asked for another race, when, and after which."""
        self._came: dict[tuple[str, str], str] = {}
        """The race that somebody came into after another one."""
        self._at: dict[str, str] = {}
        self._finished: set[str] = set()
        self._calm: dict[str, int] = {}
        """How often somebody was looked at one after the other, and had a connection."""

    # -- on the way ---------------------------------------------------------------------------------------------------

    def heard(self, who: str, state: Message) -> None:
        """Somebody was told how a race is."""
        race = state["race"]
        before = self._at.get(who)
        if before != race:
            if before is not None:
                self._came.setdefault((who, before), race)
            self._at[who] = race
        if state["phase"] == "settled" and not state["provisional"] and state.get("start_ms") is not None:
            table = [{name: racer.get(name) for name in _SHOWN} for racer in state["racers"]]
            known = self.seen.setdefault(race, table)
            if known != table:
                raise Broken("all see the same final places", f"{who} was told {table} of {race}, others {known}")

    def begins(self, who: str, log: Log) -> None:
        """Somebody's test of a race begins."""
        if log.session in self._finished:
            raise Broken("what was finished is not begun anew", f"{who} begins {log.session[-6:]} again")

    def finishes(self, log_session: str) -> None:
        """Somebody has finished a test."""
        self._finished.add(log_session)

    def counted(self, who: str, started: Message) -> None:
        """The server has counted keys of a race."""
        wait_ms = started["start_ms"] - self._redis.now_ms()
        if wait_ms > _EARLY_MS:
            raise Broken("no key before the start counts", f"{who}: some did {wait_ms:.0f} ms before it")

    def asks_again(self, who: str, race: str) -> None:
        """Somebody wants another race after this one."""
        self._asked.append((self._world.now, who, race))

    def shut_out(self, who: str, code: str) -> None:
        """Somebody was told that there is no race for them."""
        self._world.note(who, "is shut out", code)

    def look(self, who: str, state: Message | None, *, connected: bool) -> None:
        """Once a second, while nothing goes wrong: whoever has a connection sees the race as it is."""
        self._calm[who] = self._calm.get(who, 0) + 1 if connected and state is not None else 0
        if self._calm[who] <= _FRESH_S or state is None:
            return
        version, since_ms = self._redis.keys.latest[state["race"]]
        if state["version"] < version and self._redis.now_ms() - since_ms > _FRESH_S * 1000:
            seen = state["version"]
            raise Broken("who is there sees the race as it is", f"{who} sees {state['race']} at {seen}, not {version}")

    def look_away(self) -> None:
        """Something goes wrong: nobody is held to anything for a while."""
        self._calm.clear()

    # -- at the end ---------------------------------------------------------------------------------------------------

    def is_recorded(self) -> bool:
        """Whether there is a record of every race whose end somebody has seen."""
        return all(race in self._rows.races.written for race in self.seen)

    def judge(self, *, shown: Iterable[str], remembers: bool, all_live: bool) -> None:
        """Hold everything to the laws.

        `shown`: races that somebody looks at now. `remembers`: Redis has lost nothing; `all_live`: nor has a node died.
        """
        changes: dict[str, list[Race]] = defaultdict(list)
        for race in self._redis.keys.races:
            changes[race.id].append(race)
        for race_id, steps in changes.items():
            self._judge_steps(race_id, steps, remembers=remembers)
        shown = set(shown)
        for race_id, table in self.seen.items():
            if all_live or race_id in shown:
                self._judge_record(race_id, table)
        for race_id, written in self._rows.races.written.items():
            # who comes and goes afterwards makes newer versions of the same
            first = replace(written[0].race, version=0, next=None)
            if any(replace(record.race, version=0, next=None) != first for record in written) and remembers:
                raise Broken("a race settles once", f"{race_id} has records that differ")
            self._judge_places(written[-1])
            self._judge_results(written[-1])
        if remembers:
            self._judge_again(changes)

    def _judge_steps(self, race: str, steps: list[Race], *, remembers: bool) -> None:
        for before, after in pairwise(steps):
            if remembers and after.version <= before.version:
                raise Broken(
                    "changes follow one another", f"{race}: version {after.version} was made to {before.version}"
                )
            if before.final and _table(before) != _table(after):
                raise Broken("final places stay", f"{race} changed them from version {before.version} on")
        kept = self._redis.keys.race(race)
        if remembers and kept is None:
            raise Broken("a race is kept for a day", f"{race} is not there any more")
        if kept is not None and kept.start_ms is not None and not kept.final:
            raise Broken("a race has an end", f"{race} is in its {kept.phase.value} still")

    def _judge_record(self, race: str, table: list[dict[str, Any]]) -> None:
        record = self._rows.races.row(race)
        if record is None:
            raise Broken("a race that is over is recorded", f"{race} has no record")
        if _table(record.race) != table:
            raise Broken("the record is what all saw", f"{race}: {_table(record.race)}, and not {table}")

    def _judge_places(self, record: RaceRecord) -> None:
        race = record.race
        if placed(race, self._rules) != race.racers:
            raise Broken("places follow the rules", f"{race.id}: {_table(race)}")
        done = [racer for racer in race.racers if racer.place is not None]
        for racer in race.racers:
            out = racer.state is RacerState.DNF or racer.verdict == "void"
            if out is not (racer.place is None):
                raise Broken("who has finished has a place", f"{race.id}: lane {racer.lane}")
        for one in done:
            better = sum(other.place < one.place for other in done if other.place and one.place)
            if one.place != better + 1:
                raise Broken("places are counted", f"{race.id}: lane {one.lane} is {one.place}. behind {better}")
        if race.options.test.limit_ms is None:
            whole = [racer for racer in done if _typed_whole(race, racer)]
            for one in whole:
                for other in whole:
                    ahead = (other.ms or 0) - (one.ms or 0) > self._rules.tie_ms
                    if ahead and not (one.place or 0) < (other.place or 0):
                        raise Broken("who is first is before the others", f"{race.id}: lanes {one.lane}, {other.lane}")

    def _judge_results(self, record: RaceRecord) -> None:
        for racer in record.race.people:
            if racer.state is not RacerState.FINISHED:
                continue
            assert racer.session is not None
            row = self._rows.row(racer.session)
            if row is None:
                raise Broken("a racer's result is stored", f"{record.id}: lane {racer.lane} has none")
            summary = row.summary
            figures = (racer.ms, racer.wpm, racer.raw, racer.acc)
            wanted = (summary.duration_ms, summary.wpm, summary.raw, summary.acc)
            late = (racer.ms or 0) > summary.duration_ms and racer.acc == summary.acc
            slower = (racer.wpm or 0) <= summary.wpm and (racer.raw or 0) <= summary.raw
            if figures != wanted and not (late and slower):
                raise Broken("a racer's figures are the result's", f"{record.id}: {figures}, and not {wanted}")

    def _judge_again(self, changes: dict[str, list[Race]]) -> None:
        for at_s, who, after in self._asked:
            race = self._came.get((who, after))
            for other_s, other, other_after in self._asked:
                there = self._came.get((other, other_after))
                if other_after != after or other_s > at_s or there is None or race in (None, there):
                    continue
                begun = [step for step in changes[there] if step.phase.value != "lobby" or not step.people]
                if not begun:
                    raise Broken("a rematch has the same racers", f"{who} came into {race}, {other} into {there}")


def _table(race: Race) -> list[dict[str, Any]]:
    """A race's lanes, as they are shown."""
    return [
        {
            "lane": racer.lane,
            "name": racer.name,
            "state": racer.state.value,
            "place": racer.place,
            "ms": racer.ms,
            "wpm": racer.wpm,
            "acc": racer.acc,
            "verdict": racer.verdict,
        }
        for racer in race.racers
    ]


def _typed_whole(race: Race, racer: Racer) -> bool:
    """Whether all of the text is right."""
    return round((racer.wpm or 0) * (racer.ms or 0) / 12_000) >= race.text.clusters
