"""A race as a value: packed and back, damaged, too new; what a node takes from it."""

from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.options import TestOptions
from session.race import BANDS, DamagedRace, NewerRace, Race, Racer, RaceText, band_of
from session.race_options import LANES, RaceOptions
from session.racing import Start
from session.receipt import Seat, hash_of
from session.state import Phase, RacerState
from tests.session.play import material_for
from tests.session.races import GHOST, RACE, T0_MS, TEXT, Play, a_race, running

FIRST = 1 << 53


def largest() -> Race:
    """A race of as many bytes as there can be."""
    test = TestOptions("words", count=10_000, language="x" * 70, category="c" * 40, difficulty="medium")
    text = replace(TEXT, language="x" * 70, seed=2**64 - 1, clusters=100_000)
    racers = [
        Racer(
            lane,
            -FIRST + lane,
            "😀" * 20,
            "n" * 70,
            RacerState.DETACHED,
            True,
            "assistive",
            T0_MS,
            bytes(16),
            1e9 / 3,
            1e3 / 3,
            1e3 / 7,
            1e2 / 7,
            "review",
            True,
            100,
        )
        for lane in range(LANES)
    ]
    race = replace(a_race(), options=RaceOptions(test, True, 100), text=text, phase=Phase.SETTLED, next=RACE)
    return replace(
        race.with_racers(racers), start_ms=T0_MS, until_ms=T0_MS, wait_ms=T0_MS, over_ms=T0_MS, salt=2**64 - 1
    )


@pytest.mark.parametrize(
    "race",
    [
        a_race(),
        a_race(ghosts=(GHOST,), public=True),
        running(1, 2).race,
        running(1, 2, race=a_race(TestOptions("time", seconds=15, punctuation=True, numbers=True))).race,
        largest(),
    ],
    ids=["new", "with a ghost", "running", "timed", "largest"],
)
def test_packed_and_back(race: Race) -> None:
    assert Race.unpack(race.pack()) == race


def test_a_hundred_racers_fit_into_32_kib() -> None:
    assert len(largest().pack()) <= 32 * 1024


def test_a_newer_race_is_told_from_a_damaged_one() -> None:
    """A node that is not brought up to date yet leaves it alone, and says why."""
    values = msgpack.unpackb(a_race().pack())
    with pytest.raises(NewerRace, match="version 2; known is 1"):
        Race.unpack(msgpack.packb([2, "whatever", *values[1:]]))
    for other in (0, "1", None):
        with pytest.raises(DamagedRace, match="version") as caught:
            Race.unpack(msgpack.packb([other, *values[1:]]))
        assert not isinstance(caught.value, NewerRace)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb(5), msgpack.packb([]), msgpack.packb({}), b"\x91\x01"])
def test_what_is_no_race(data: bytes) -> None:
    with pytest.raises(DamagedRace):
        Race.unpack(data)


def test_a_cut_off_race_is_damaged() -> None:
    packed = running(1, 2).race.pack()
    for cut in range(0, len(packed), 5):
        with pytest.raises(DamagedRace):
            Race.unpack(packed[:cut])


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "0123456789abi"},
        {"next": "short"},
        {"version": -1},
        {"version": 1.5},
        {"until_ms": "soon"},
        {"start_ms": None},
        {"racers": ()},
        {"host": None},
        {"options": RaceOptions(TestOptions("zen"))},
        {"text": replace(TEXT, clusters=-1)},
    ],
)
def test_a_race_that_says_what_none_can_be_is_damaged(odd: dict[str, Any]) -> None:
    race = replace(running(1, 2).race, **odd)
    if odd == {"racers": ()}:
        assert Race.unpack(race.pack()) == race
        return
    with pytest.raises(DamagedRace):
        Race.unpack(race.pack())


@pytest.mark.parametrize(
    "odd",
    [
        {"lane": 100},
        {"lane": -1},
        {"lane": 1},
        {"user": "1"},
        {"name": 5},
        {"node": None},
        {"session": None},
        {"session": b"short"},
        {"away_ms": 0.5},
        {"wpm": "fast"},
    ],
)
def test_so_is_one_with_a_racer_that_nobody_can_be(odd: dict[str, Any]) -> None:
    race = running(1, 2).race
    packed = replace(race, racers=(replace(race.racers[0], **odd), race.racers[1])).pack()
    with pytest.raises(DamagedRace):
        Race.unpack(packed)


@given(st.binary(max_size=200), st.data())
def test_noise_is_a_race_or_damaged(noise: bytes, data: st.DataObject) -> None:
    """No bytes raise anything else."""
    packed = bytearray(running(1, 2).race.pack())
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    for some in (noise, bytes(packed)):
        try:
            race = Race.unpack(some)
        except DamagedRace:
            continue
        assert isinstance(race, Race)


def test_every_field_is_packed() -> None:
    """A field that is added to a race or a racer is not forgotten on its way."""
    assert len(msgpack.unpackb(largest().pack())[-1][0]) == len(fields(Racer))
    race = largest()
    for field in fields(Race):
        assert getattr(Race.unpack(race.pack()), field.name) == getattr(race, field.name)


def test_bands_of_speed() -> None:
    """Below 30, 50, 70, 90, 120, and more; who has no result yet is in the middle."""
    assert [band_of(wpm) for wpm in (0.0, 29.9, 30.0, 69.0, 70.0, 119.9, 120.0, 300.0)] == [0, 0, 1, 2, 3, 4, 5, 5]
    assert band_of(None) == 2
    assert len(BANDS) == 5


def test_what_a_node_makes_a_racer_s_session_of() -> None:
    """Its options with the racer's own input, its seat, and a ticket's words by which the text is made anew."""
    options = TestOptions("words", count=5, punctuation=True)
    material = material_for(options, seed=3)
    text = RaceText.of(material, seed=3)
    assert (text.clusters, text.text_hash) == (len(material.text), hash_of(material.text.encode()))
    play = Play(replace(a_race(options), text=text))
    play.join(1, 2)
    play.do(Start(1))
    racer = replace(play.racer(2), input="touch")
    assert play.race.test_of(racer) == replace(options, language="en", input="touch")
    assert play.race.seat_of(racer) == Seat(RACE, 1, play.now_ms + 5_000)
    ticket = play.race.ticket()
    assert (ticket.seed, ticket.list_version, ticket.generator, ticket.text_hash) == (3, 3, 1, text.text_hash)
    assert material_for(ticket.options, seed=ticket.seed).text == material.text


def test_clusters_are_counted_where_characters_are_more() -> None:
    material = replace(material_for(TestOptions("quote")), breaks=[1, 2, 1])
    assert RaceText.of(material, seed=1).clusters == 3


def test_who_is_where() -> None:
    race = running(5, 6, race=a_race(ghosts=(GHOST,))).race
    assert [racer.user for racer in race.people] == [5, 6]
    assert race.racer_of(0) is None  # ghosts are nobody's
    assert race.lane(1) is race.racer_of(6)
    assert race.lane(7) is None
    ghost = race.lane(5)
    assert ghost is not None
    assert (ghost.ghost, ghost.racing, ghost.shown) == (True, False, "ghost")
