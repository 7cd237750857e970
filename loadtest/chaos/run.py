"""One run: a cluster and its people, the schedule's faults, and the verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from loadtest.chaos import checks, races
from loadtest.chaos.checks import Check, within
from loadtest.chaos.faults import WELL_S, Faults, Suffered, parts_of
from loadtest.chaos.losses import may_be_lost
from loadtest.chaos.schedule import ScheduleOptions, draw
from loadtest.chaos.typing import People
from loadtest.chaos.watching import Watch
from loadtest.client import ClientOptions
from loadtest.cluster.cluster import Cluster, ClusterOptions
from loadtest.racer import RaceEnd
from loadtest.report import machine
from loadtest.share import SwarmOptions

__all__ = ["ChaosOptions", "Outcome", "run"]

Progress = Callable[[float, str], None]
"""The share of the run that is done, and what is done now."""

_LOOK_S = 0.25
_COME_S = 120.0
_RACE_S = 120.0  # until at least one race has come to its end
_SETTLE_S = 300.0  # after the last key: a slow typist of a long quote types for almost seven minutes
_ROWS_S = 300.0
_LOST_S = 60.0  # for the records of races that may be lost


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """One run."""

    seed: int = 1
    typists: int = 1_000
    racers: int = 200
    """Of the typists, how many race each other."""
    race_words: int = 20
    mix: str = "mix"
    rest_ms: float = 2_000.0
    """Mean pause of a typist between two tests."""
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    @classmethod
    def brief(cls, seed: int = 1) -> ChaosOptions:
        """Every kind of fault once, and a few people with short tests: about a minute."""
        return cls(
            seed=seed,
            typists=24,
            racers=8,
            race_words=4,
            mix="time5",
            rest_ms=500.0,
            schedule=ScheduleOptions(seconds=0.0, every_s=2.0, longest_s=3.0),
            cluster=ClusterOptions(variables={"TYPEGATE_STOP_GRACE_S": "2"}),
        )

    def swarm(self) -> SwarmOptions:
        """Its typists."""
        return SwarmOptions(
            typists=self.typists,
            seconds=1.0,
            ramp_s=max(1.0, self.typists / 200),
            seed=self.seed,
            racers=self.racers,
            race_words=self.race_words,
            mix=self.mix,
            rest_ms=self.rest_ms,
            client=ClientOptions(keep=True, unsaved=8, tries=10_000, retry_ms=(500.0, 10_000.0)),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    checks: list[Check]
    facts: dict[str, Any]
    """All of it, for a report."""

    @property
    def holds(self) -> bool:
        """Whether all that must hold does."""
        return all(check.holds for check in self.checks)


def run(options: ChaosOptions, folder: Path, *, progress: Progress = lambda share, what: None) -> Outcome:
    """Run it; all data and logs are in the folder. However it ends, nothing that it started goes on."""
    progress(0.0, "the cluster")
    with ExitStack() as opened:
        cluster = opened.enter_context(Cluster(folder, options.cluster))
        people = People(options.swarm(), cluster.address)
        opened.callback(people.close)
        begun_s = time.monotonic()
        people.begin()
        progress(0.02, "typists come")
        if not within(lambda: people.meters.ready >= options.typists or people.settled, within_s=_COME_S):
            raise RuntimeError(f"{people.meters.ready} of {options.typists} typists came: {dict(people.meters.errors)}")
        begun_s, begun_ms = time.monotonic(), time.time() * 1000

        def clock() -> float:
            return time.monotonic() - begun_s

        schedule = draw(options.seed, parts_of(cluster), options.schedule)
        last_s = max(fault.at_s + fault.lasts_s for fault in schedule)
        faults = Faults(cluster, schedule, clock=clock)
        watch = Watch(people, cluster, clock=clock)
        opened.callback(watch.stop)
        with ExitStack() as failing:
            failing.callback(faults.abort)
            watch.begin()
            faults.begin()
            while not (faults.done or people.settled):
                time.sleep(_LOOK_S)
                faults.look()
                now = ", ".join(f"{one.fault.part} {one.fault.kind}" for one in faults.now)
                progress(0.05 + 0.75 * min(1.0, clock() / last_s), now or "all is well")
            faults.stop()
            failing.pop_all()
        calm_s = clock()
        progress(0.82, "all parts come back")
        unwell = _unwell(cluster)
        well_s = clock()
        progress(0.85, "the last tests")
        within(lambda: options.racers < 2 or bool(races.told_by(people.clients)), within_s=_RACE_S)
        people.settle(_SETTLE_S)
        within(lambda: people.settled, within_s=inf)  # it has its own end
        told = {session: kept for client in people.clients for session, kept in client.sessions.items()}
        progress(0.9, "the last rows")
        raced = races.told_by(people.clients)

        def lost(end: RaceEnd) -> bool:
            told = {node: (at_ms - begun_ms) / 1000 for node, at_ms in end.nodes.items()}
            return may_be_lost((end.start_ms - begun_ms) / 1000, told, faults.suffered)

        perhaps = races.losable(raced, lost)
        within(
            lambda: not checks.rows_there(cluster, told) and not races.unrecorded(cluster, raced, but=perhaps),
            within_s=_ROWS_S,
        )
        within(lambda: not races.unrecorded(cluster, raced), within_s=_LOST_S)
        settled_s = clock()
        watch.stop()
        progress(0.93, "what is in the shards")
        stored = asyncio.run(checks.read_store(cluster, list(told)))
        progress(0.95, "what is kept of races")
        recorded = asyncio.run(races.read_races(cluster, raced))
        cluster.stop()
        found = [
            *checks.everything(people, told, stored, cluster),
            *races.of_races(raced, recorded, stored, may_be_lost=lost),
            *checks.of_faults(faults, unwell),
        ]
        facts = {
            "seed": options.seed,
            "options": asdict(options),
            "machine": machine(),
            "calm_s": round(calm_s, 1),
            "well_s": round(well_s, 1),
            "settled_s": round(settled_s, 1),
            "faults": [_suffered(one) for one in faults.suffered],
            "parts": parts_of(cluster),
            "moments": watch.facts(),
            "people": _counts(people) | {"races": len(recorded.shown)},
            "checks": [asdict(check) for check in found],
            "holds": all(check.holds for check in found),
        }
    return Outcome(found, facts)


def _unwell(cluster: Cluster) -> list[str]:
    """What is not well when the time for it is over. All is once all is well at one look: races go on, and each of them
    has a channel of the bus that is not there yet for a moment."""
    found: list[str] = []

    def well() -> bool:
        found[:] = checks.all_well(cluster)
        return not found

    within(well, within_s=WELL_S)
    return found


def _suffered(one: Suffered) -> dict[str, Any]:
    fault = one.fault
    times = {"begun_s": one.begun_s, "ended_s": one.ended_s, "well_s": one.well_s}
    return {
        "part": fault.part,
        "sort": fault.sort,
        "kind": fault.kind,
        "words": fault.words,
        "trouble": one.trouble,
        **{name: None if at_s is None else round(at_s, 2) for name, at_s in times.items()},
    }


def _counts(people: People) -> dict[str, Any]:
    meters = people.meters
    times: Mapping[str, Any] = {name: one.facts() for name, one in meters.times().items() if one.n}
    return {
        "started": meters.started,
        "accepted": meters.accepted,
        "stored": meters.stored,
        "raced": meters.raced,
        "reconnects": meters.reconnects,
        "resumed": meters.resumed,
        "resent_events": meters.resent,
        "events": meters.events,
        "errors": dict(meters.errors),
        "verdicts": dict(meters.verdicts),
        "given_up": dict(meters.given_up),
        "notes": meters.notes,
        "times_ms": times,
        "late_ms": people.lateness.facts(),
    }
