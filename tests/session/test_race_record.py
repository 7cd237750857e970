"""A race's record: what it keeps and what not, packed and back, and all that is refused."""

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.identity import BUCKETS, bucket_of_race, mint_race
from session.options import TestOptions
from session.race import DamagedRace, NewerRace, Race
from session.race_options import LANES
from session.race_record import RaceRecord, is_record, lasts
from session.racing import Leave
from session.state import Phase, RacerState
from tests.session.races import GHOST, RACE, a_race, over, running

RACE_OVER = over(1, 2, -3, ghosts=(GHOST,))


def test_a_record_has_all_that_the_table_shows_and_nothing_of_the_race_s_making() -> None:
    record = RaceRecord.of(RACE_OVER)
    assert (record.id, record.started_ms) == (RACE, RACE_OVER.start_ms)
    assert record.race.salt == 0
    assert {(racer.node, racer.away_ms) for racer in record.race.racers} == {("", None)}
    shown = [(one.lane, one.user, one.name, one.state, one.place, one.wpm, one.session) for one in record.race.racers]
    assert shown == [(x.lane, x.user, x.name, x.state, x.place, x.wpm, x.session) for x in RACE_OVER.racers]
    assert record.race.version == RACE_OVER.version


def test_a_record_comes_back_as_it_was_packed() -> None:
    record = RaceRecord.of(RACE_OVER)
    assert RaceRecord.unpack(record.pack()) == record
    assert is_record(record.pack())


def test_a_result_is_no_record() -> None:
    for packed in (msgpack.packb((1, "race")), msgpack.packb((2, ["race"], 4, b"race")), b""):
        assert not is_record(packed)


def test_what_lasts_has_begun_and_is_final() -> None:
    """A lobby that was closed, and a race whose places may still change, are not kept."""
    play = running(1, 2)
    assert not lasts(play.race)
    play.finish(1, ms=30_000)
    play.do(Leave(2))
    assert (play.phase, lasts(play.race)) == ("settled", False)
    play.due()
    assert lasts(play.race)
    closed = replace(a_race(), phase=Phase.SETTLED)
    assert closed.final
    assert not lasts(closed)
    with pytest.raises(AssertionError):
        RaceRecord.of(closed)


def test_a_record_of_a_newer_build_is_newer() -> None:
    packed = RACE_OVER.pack()
    form, *fields = msgpack.unpackb(packed)
    for newer in (("race", 2, packed), ("race", 2, packed, "more"), ("race", 1, msgpack.packb([form + 1, *fields]))):
        with pytest.raises(NewerRace):
            RaceRecord.unpack(msgpack.packb(newer))


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (b"", "no packed record"),
        (b"\xc1", "no packed record"),
        (msgpack.packb(5), "no packed record"),
        (msgpack.packb(["race"]), "no packed record"),
        (msgpack.packb(["rice", 1, b""]), "does not begin as one"),
        (msgpack.packb(["race", "1", b""]), "does not begin as one"),
        (msgpack.packb(["race", 1]), "other parts"),
        (msgpack.packb(["race", 1, "text"]), "other parts"),
        (msgpack.packb(["race", 1, b"", 4]), "other parts"),
        (msgpack.packb(["race", 1, b""]), "no packed race"),
        (msgpack.packb(["race", 1, bytes(50_000)]), "at most 49152"),
    ],
)
def test_bytes_that_are_no_record(packed: bytes, why: str) -> None:
    with pytest.raises(DamagedRace, match=why):
        RaceRecord.unpack(packed)


def _racer(lane: int, **changes: Any) -> Race:
    return RACE_OVER.with_racers([replace(RACE_OVER.racers[lane], **changes)])


def _text(**changes: Any) -> Race:
    return replace(RACE_OVER, text=replace(RACE_OVER.text, **changes))


@pytest.mark.parametrize(
    ("race", "why"),
    [
        (replace(RACE_OVER, until_ms=RACE_OVER.start_ms), "phase"),
        (running(1, 2).race, "phase"),
        (replace(RACE_OVER, start_ms=10**15), "start_ms"),
        (replace(RACE_OVER, version=1 << 63), "version"),
        (replace(RACE_OVER, options=replace(RACE_OVER.options, most=LANES + 1)), "most"),
        (replace(RACE_OVER, racers=RACE_OVER.racers[3:]), "racers"),
        (_racer(1, user=1), "racers"),
        (_text(language="x" * 72), "language"),
        (_text(language=7), "language"),
        (_text(test=0), "test"),
        (_text(test="9"), "test"),
        (_text(test_version=1.5), "version"),
        (replace(RACE_OVER, options=replace(RACE_OVER.options, test=TestOptions("words", count=1 << 63))), "test"),
        (_racer(0, state=RacerState.RACING), "lane 0"),
        (_racer(0, user=0), "lane 0"),
        (_racer(0, user=1 << 53), "lane 0"),
        (_racer(3, user=5), "lane 3"),
        (_racer(0, name="x" * 401), "lane 0"),
        (_racer(0, ms=-1), "lane 0"),
        (_racer(0, wpm=float("nan")), "lane 0"),
        (_racer(0, acc=float("inf")), "lane 0"),
        (_racer(0, raw=1e12), "lane 0"),
        (_racer(0, verdict="fine"), "lane 0"),
        (_racer(0, verdict=["ok"]), "lane 0"),
        (_racer(0, place=0), "lane 0"),
        (_racer(0, place=1.0), "lane 0"),
        (_racer(0, place=LANES + 1), "lane 0"),
    ],
)
def test_a_race_that_says_what_none_can_be_is_refused(race: Race, why: str) -> None:
    with pytest.raises(DamagedRace, match=why):
        RaceRecord.unpack(RaceRecord(race).pack())


@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 20))
def test_whatever_happens_to_its_bytes(at: int, byte: int, cut: int) -> None:
    """A record with a byte changed and some left out is some record, or refused."""
    packed = bytearray(RaceRecord.of(RACE_OVER).pack())
    packed[at % len(packed)] = byte
    try:
        found = RaceRecord.unpack(bytes(packed[: len(packed) - cut]))
    except DamagedRace:
        return
    assert lasts(found.race)


def test_races_are_spread_over_the_buckets() -> None:
    """As users are: the same id has the same bucket everywhere, for ever."""
    assert bucket_of_race(RACE) == 2120
    buckets = {bucket_of_race(mint_race(number << 20)) for number in range(2_000)}
    assert all(0 <= bucket < BUCKETS for bucket in buckets)
    assert len(buckets) > 1_400
