"""The checks of races find what is wrong: a record that is missing, doubled, says otherwise, or is on no list."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.races.shown import state_of
from loadtest.chaos.checks import Stored
from loadtest.chaos.races import Recorded, of_races
from loadtest.finished import Typists
from loadtest.racer import RaceEnd
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from session.identity import session_to_text
from session.options import SessionLimits
from session.race import Race
from session.race_record import RaceRecord
from session.result import Result
from tests.session.races import RACE, over

THERE = (
    "Every race that a racer saw end has a record in MySQL, or its servers and Redis had died before its places were"
    " final"
)
ONCE = "... exactly one, with each of its racers once"
TOLD = "... with the places and figures that its racers were told"
PLACED = "... in places that follow from its figures"
RESULTS = "... with the figures of the results that are stored"
SHOWN = "... and whoever asks is shown the same"
LISTED = "Each racer has the race on the own list, once, in the lane that it had"


START_MS = 1_000.0


@dataclass
class Found:
    """Three racers, of whom the last did not finish: what they were told, and what is there."""

    told: dict[str, dict[str, RaceEnd]]
    rows: Counter[str]
    racers: Counter[tuple[str, int]]
    records: dict[str, RaceRecord | str]
    shown: dict[str, list[dict[str, Any]] | str]
    lists: dict[str, Counter[tuple[str, int]] | str]
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def race(self) -> Race:
        """As it is recorded."""
        record = self.records[RACE]
        assert isinstance(record, RaceRecord)
        return record.race

    def record(self, lane: int, **changed: Any) -> None:
        """Record other things of a lane than there are."""
        racers = (replace(one, **changed) if one.lane == lane else one for one in self.race.racers)
        self.records[RACE] = RaceRecord(replace(self.race, racers=tuple(racers)))

    def tell(self) -> None:
        """Let everybody be told, and shown, what is recorded."""
        rows = state_of(self.race)["racers"]
        self.shown[RACE] = rows
        for ends in self.told.values():
            ends[RACE] = replace(ends[RACE], racers=rows)

    def result(self, lane: int, **changed: Any) -> None:
        """Store other things of a result than there are."""
        session = self.race.racers[lane].session
        assert session is not None
        self.results[session_to_text(session)] = replace(self.results[session_to_text(session)], **changed)

    def broken(self, may_be_lost: Callable[[RaceEnd], bool] = lambda end: False) -> list[str]:
        """The laws that do not hold."""
        recorded = Recorded(self.rows, self.racers, self.records, self.shown, self.lists)
        stored = Stored(Counter(self.results.keys()), self.results, Counter(), [])
        return [
            check.law for check in of_races(self.told, recorded, stored, may_be_lost=may_be_lost) if not check.holds
        ]


@pytest.fixture(name="found")
async def _found() -> Found:
    record = RaceRecord.of(over(-7, -8, -9))
    rows, people = state_of(record.race)["racers"], record.race.people
    found = Found(
        told={
            f"token {one.lane}": {RACE: RaceEnd(one.lane, True, START_MS, rows, {"node-1": START_MS})} for one in people
        },
        rows=Counter([RACE]),
        racers=Counter((RACE, one.lane) for one in people),
        records={RACE: record},
        shown={RACE: rows},
        lists={f"token {one.lane}": Counter([(RACE, one.lane)]) for one in people},
    )
    async with EmbeddedCatalogue(None) as catalogue:
        typists = Typists(Texts(catalogue, limits=SessionLimits()), people=1)
        for one in people[:2]:
            result = typists.finish(mode="words", count=3)
            assert one.session is not None
            assert None not in (one.ms, one.wpm, one.raw, one.acc)
            summary = replace(
                result.summary,
                duration_ms=one.ms or 0.0,
                wpm=one.wpm or 0.0,
                raw=one.raw or 0.0,
                acc=one.acc or 0.0,
            )
            found.results[session_to_text(one.session)] = replace(
                result, session=one.session, user=one.user, summary=summary, verdict="ok", reasons=()
            )
    return found


def test_all_holds_where_all_is_there_once(found: Found) -> None:
    assert found.race.racers[0].place == 1
    assert found.broken() == []


def test_who_saw_places_that_were_not_final_saw_no_others(found: Found) -> None:
    """They have the race on their list all the same."""
    end = found.told["token 1"][RACE]
    found.told["token 1"][RACE] = replace(end, final=False, racers=[{**row, "place": 1} for row in end.racers])
    assert found.broken() == []
    found.lists["token 1"] = Counter()
    assert found.broken() == [LISTED]


def test_a_record_that_is_missing_is_found(found: Found) -> None:
    found.rows.clear()
    found.racers.clear()
    found.records.clear()
    assert found.broken() == [THERE]  # a race may be shown from where live ones are, and on lists it is not


def test_a_race_may_be_lost_before_its_places_are_final(found: Found) -> None:
    """With its servers and Redis; it is on no list then. Once anybody was told final places it may not."""
    found.rows.clear()
    found.racers.clear()
    found.records.clear()
    found.lists = {token: Counter() for token in found.told}
    assert found.broken(lambda end: True) == [THERE, LISTED]
    for ends in found.told.values():
        ends[RACE] = replace(ends[RACE], final=False)
    assert found.broken(lambda end: end.start_ms == START_MS) == []
    assert found.broken() == [THERE, LISTED]
    assert found.broken(lambda end: end.lane != 1) == [THERE, LISTED], "whoever told one racer of it lived on"


def test_what_is_doubled_or_cannot_be_read_is_found(found: Found) -> None:
    """Be it in another shard; or one lane of it, where users look."""
    found.rows[RACE] += 1
    assert found.broken() == [ONCE]
    found.rows[RACE] = 1
    found.racers[RACE, 1] += 1
    assert found.broken() == [ONCE]
    found.racers[RACE, 1] = 0
    assert found.broken() == [ONCE]
    found.racers[RACE, 1] = 1
    found.records[RACE] = "a stored race cannot be read"
    assert ONCE in found.broken()


@pytest.mark.parametrize(
    ("lane", "changed", "laws"),
    [
        (0, {"place": 2}, [TOLD, PLACED, SHOWN]),
        (1, {"acc": 97.6}, [TOLD, RESULTS, SHOWN]),
        (1, {"verdict": "review"}, [TOLD, RESULTS, SHOWN]),
        (0, {"raw": 1.0}, [RESULTS]),  # which nobody is shown
        (0, {"user": -10}, [RESULTS]),
        (0, {"session": bytes(16)}, [RESULTS]),
    ],
)
def test_another_record_is_found(found: Found, lane: int, changed: dict[str, Any], laws: list[str]) -> None:
    found.record(lane, **changed)
    assert found.broken() == laws


def test_places_that_do_not_follow_are_found_though_all_were_told_them(found: Found) -> None:
    found.record(0, place=2)
    found.record(1, place=1)
    found.tell()
    assert found.broken() == [PLACED]


@pytest.mark.parametrize(
    "plant",
    [
        lambda found: found.shown.update({RACE: found.shown[RACE][:2]}),
        lambda found: found.shown.update({RACE: "404 there is no such race"}),
    ],
)
def test_what_is_shown_otherwise_is_found(found: Found, plant: Callable[[Found], None]) -> None:
    plant(found)
    assert found.broken() == [SHOWN]


@pytest.mark.parametrize("listed", [Counter(), Counter([(RACE, 1)]), Counter([(RACE, 0)] * 2), "503 away"])
def test_a_list_without_the_race_or_in_another_lane_is_found(
    found: Found, listed: Counter[tuple[str, int]] | str
) -> None:
    found.lists["token 0"] = listed
    assert found.broken() == [LISTED]


def test_a_time_that_is_longer_than_the_results_slows_the_speed(found: Found) -> None:
    """A racer whose keys came late: the race counts until they were there."""
    racer = found.race.racers[0]
    assert racer.ms is not None
    assert racer.wpm is not None
    slow = {"ms": 2 * racer.ms, "wpm": round(racer.wpm / 2, 2), "raw": round((racer.raw or 0) / 2, 2)}
    found.record(0, **slow, place=2)
    found.record(1, place=1)
    found.tell()
    assert found.broken() == []
    found.record(0, wpm=racer.wpm)
    found.tell()
    assert found.broken() == [RESULTS]


def test_a_result_that_is_not_there_is_found(found: Found) -> None:
    found.results.popitem()
    assert found.broken() == [RESULTS]
