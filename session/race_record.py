"""A race that is over, as it is kept for good: who was in it, what became of each, and in which place.

A race is a value that all nodes share and change (`session.race`), and forgotten a day after its end. Once its places
are final its *record* is made, which goes the way of results. It is the race without what only a race under way needs:
where its racers were connected, and the chance that their sessions' ids were made of. Of two records of one race the
one of the greater version is kept; so it does no harm to make it twice.

    packed    msgpack: "race", the version of this form, the packed race
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

import msgpack

from session.identity import MAX_USER
from session.race import DamagedRace, NewerRace, Race, Racer
from session.race_options import LANES
from session.state import RacerState

__all__ = ["RaceRecord", "is_record", "lasts"]

_FORM: Final = 1
_MARK: Final[bytes] = msgpack.packb("race")
_MOST_BYTES: Final = 48 * 1024
"""Of a packed one: with 100 racers it has up to 32 KiB."""
_LAST_MS: Final = 253_402_300_799_999
"""The last instant of the year 9999: databases have no later ones."""
_ENDED: Final = frozenset({RacerState.FINISHED, RacerState.DNF, RacerState.GHOST})
_VERDICTS: Final = (None, "ok", "review", "void")


def lasts(race: Race) -> bool:
    """Whether a race is to be kept: it has begun, and its places change no more."""
    return race.final and race.start_ms is not None


def is_record(packed: bytes) -> bool:
    """Whether these bytes, which something of the session package was packed to, are a record's."""
    return packed[1 : 1 + len(_MARK)] == _MARK


@dataclass(frozen=True, slots=True)
class RaceRecord:
    """The record of a race."""

    race: Race

    @classmethod
    def of(cls, race: Race) -> "RaceRecord":
        """Of a race that `lasts`."""
        assert lasts(race), "its places may still change, or it never began"
        racers = tuple(replace(racer, node="", away_ms=None) for racer in race.racers)
        return cls(replace(race, salt=0, racers=racers))

    @property
    def id(self) -> str:
        """The race's id."""
        return self.race.id

    @property
    def started_ms(self) -> int:
        """The start instant, epoch ms."""
        assert self.race.start_ms is not None, "it has begun"
        return self.race.start_ms

    def pack(self) -> bytes:
        """As bytes, for spool, stream and store."""
        packed: bytes = msgpack.packb(("race", _FORM, self.race.pack()))
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> "RaceRecord":
        """What `pack` packed.

        Raises `DamagedRace`, with a sentence that says what no race can be, or `NewerRace` where a newer build packed
        it.
        """
        if len(data) > _MOST_BYTES:
            raise DamagedRace(f"a record of {len(data)} bytes; at most {_MOST_BYTES} are allowed")
        try:
            mark, form, *rest = msgpack.unpackb(data)
        except (ValueError, TypeError) as exc:  # msgpack's own errors are ValueErrors
            raise DamagedRace(f"no packed record of a race: {exc}") from None
        if mark != "race" or type(form) is not int:
            raise DamagedRace("no packed record of a race: it does not begin as one")
        if form > _FORM:
            raise NewerRace(f"a race's record of version {form}; known is {_FORM}")
        if len(rest) != 1 or type(rest[0]) is not bytes:
            raise DamagedRace("no packed record of a race: it has other parts")
        race = Race.unpack(rest[0])
        _check(race)
        return cls(race)


def _check(race: Race) -> None:
    """Raise `DamagedRace` where a race says what none that is over can: a row lives for long."""
    test, text = race.options.test, race.text
    rules: tuple[tuple[str, bool, str], ...] = (
        ("phase", race.final, "the last one, with final places"),
        ("start_ms", race.start_ms is not None and 0 <= race.start_ms <= _LAST_MS, "an instant before the year 10000"),
        ("version", race.version < 1 << 63, "a whole number below 2^63"),
        ("most", 1 <= race.options.most <= LANES, f"a whole number, 1 to {LANES}"),
        ("racers", bool(race.people), "one person or more"),
        ("racers", len({racer.user for racer in race.people}) == len(race.people), "everybody in one lane"),
        ("language", _short(text.language, 71), "text of at most 71 bytes"),
        ("test", all(map(_natural, (test.count, test.seconds, text.test))), "whole numbers from 1, or nothing"),
        ("test's version", type(text.test_version) is int, "a whole number"),
    )
    for name, right, allowed in rules:
        if not right:
            raise DamagedRace(f"a race whose {name} cannot be; allowed is {allowed}")
    for racer in race.racers:
        if not _possible(racer):
            raise DamagedRace(f"a race whose lane {racer.lane} says what no racer's can at the end")


def _possible(racer: Racer) -> bool:
    figures = (racer.ms, racer.wpm, racer.raw, racer.acc)
    return (
        racer.state in _ENDED
        and (racer.user == 0 if racer.ghost else 1 <= abs(racer.user) <= MAX_USER)
        and _short(racer.name, 400)
        and all(figure is None or (isfinite(figure) and 0 <= figure < 1e12) for figure in figures)
        and racer.verdict in _VERDICTS
        and (racer.place is None or (type(racer.place) is int and 1 <= racer.place <= LANES))
    )


def _short(value: Any, most: int) -> bool:
    return type(value) is str and len(value.encode()) <= most


def _natural(value: Any) -> bool:
    return value is None or (type(value) is int and 0 < value < 1 << 63)
