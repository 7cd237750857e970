"""A race as one value: who is in it, what they type, how far it is. Immutable; `session.racing.change` makes the next.

A race belongs to no node: all share this value, and change it by compare-and-set. What a racer types is an ordinary
typing session on the racer's node; what the race keeps of it is where it came to. Instants are epoch ms on the race's
clock, which all nodes share. Places are worked out anew with each change.

    packed = race.pack()                       # versioned, at most 32 KiB with 100 racers
    race = Race.unpack(packed)                 # raises DamagedRace
    session = TypingSession.begin(
        race.test_of(racer), material, session=racer.session, user=racer.user, seed=race.text.seed,
        seat=race.seat_of(racer), ...)         # material: as `texts.again(race.ticket(), ...)` makes it
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, cast

import msgpack

from session.identity import is_race
from session.options import Input, TestOptions
from session.passages import Material
from session.race_options import LANES, RACE_MODES, RaceOptions
from session.receipt import Seat, Ticket, hash_of
from session.state import Phase, RacerState

__all__ = ["BANDS", "DamagedRace", "NewerRace", "Race", "RaceText", "Racer", "band_of"]

_VERSION: Final = 1
"""Version of the packed form."""

BANDS: Final = (30, 50, 70, 90, 120)
"""Strangers meet in bands of speed: below the first of these wpm, below the second, ..., from the last one up."""
_MIDDLE: Final = 2


class DamagedRace(ValueError):
    """Bytes that are no packed race."""


class NewerRace(DamagedRace):
    """A race of a version that a newer build packed."""


def band_of(wpm: float | None) -> int:
    """The band of speed, from 0; the middle one where the speed is not known."""
    return _MIDDLE if wpm is None else sum(wpm >= bound for bound in BANDS)


@dataclass(frozen=True, slots=True)
class RaceText:
    """What is typed: all that a node needs to make the text anew. Nobody is told before the countdown."""

    seed: int
    language: str
    test: int | None
    test_version: int
    list_version: int
    generator: int
    text_hash: bytes
    clusters: int
    """How long it is; of a timed race's no more than what is to be had."""

    @classmethod
    def of(cls, material: Material, *, seed: int) -> "RaceText":
        """Of a text ready to be typed, and the seed that it was made by."""
        return cls(
            seed=seed,
            language=material.language,
            test=material.test,
            test_version=material.test_version,
            list_version=material.list_version,
            generator=material.generator,
            text_hash=hash_of(material.text.encode()),
            clusters=len(material.text) if material.breaks is None else len(material.breaks),
        )


@dataclass(frozen=True, slots=True)
class Racer:
    """One lane of a race: a person, or a ghost."""

    lane: int
    user: int
    """Who it is; 0 for a ghost."""
    name: str
    """As others see it."""
    node: str = ""
    """The node that its connection is, or was, on."""
    state: RacerState = RacerState.WAITING
    ready: bool = False
    input: Input = "keyboard"
    away_ms: int | None = None
    """Since when it is without a connection; None while it has one."""
    session: bytes | None = None
    """The session of its test, from the countdown on: the id of its result. A ghost's is the old result's."""
    ms: float | None = None
    """How long it took from the start instant, once finished."""
    wpm: float | None = None
    raw: float | None = None
    acc: float | None = None
    verdict: str | None = None
    """ok, review or void."""
    final: bool = False
    """Whether nothing more comes of it: the verdict is the final one, or it gave up."""
    place: int | None = None
    """1 the first; None without a result, or with one that is void."""

    @property
    def ghost(self) -> bool:
        """Whether it is an old result."""
        return self.state is RacerState.GHOST

    @property
    def racing(self) -> bool:
        """Whether it may still finish."""
        return self.state in (RacerState.RACING, RacerState.DETACHED)

    @property
    def shown(self) -> str:
        """Its state as others are told: in the lobby too somebody without a connection is detached."""
        if self.away_ms is not None and self.state is RacerState.WAITING:
            return RacerState.DETACHED.value
        return self.state.value


@dataclass(frozen=True, slots=True)
class Race:
    """One race."""

    id: str
    """13 characters, by `identity.mint_race`."""
    version: int
    """Grows by one with each change; 0 before the first racer."""
    options: RaceOptions
    text: RaceText
    salt: int
    """64 random bits that no client is told: sessions' ids are made from them."""
    band: int
    """Of the speed of whoever made it; strangers are led to races of their own."""
    created_ms: int
    active_ms: int
    """When somebody last did something in the lobby."""
    phase: Phase = Phase.LOBBY
    host: int = 0
    """The host's lane."""
    racers: tuple[Racer, ...] = ()
    """By lane."""
    wait_ms: int | None = None
    """In a public lobby: when it begins, ready or not."""
    start_ms: int | None = None
    """The start instant, from the countdown on."""
    until_ms: int | None = None
    """When the present phase ends, if nothing ends it before; None where only people can."""
    next: str | None = None
    """The race that those who asked for another one are in."""
    latest_ms: int | None = None
    """In a public lobby: to when those who join may put off its beginning, and no further."""
    over_ms: int | None = None
    """Once settled: when it was due to end, which may be long before a node could see to it."""

    @property
    def final(self) -> bool:
        """Whether places change no more."""
        return self.phase is Phase.SETTLED and self.until_ms is None

    @property
    def people(self) -> tuple[Racer, ...]:
        """The racers that are no ghosts."""
        return tuple(racer for racer in self.racers if not racer.ghost)

    @property
    def open(self) -> bool:
        """Whether strangers may join."""
        return self.phase is Phase.LOBBY and self.options.public and 0 < len(self.people) < self.options.most

    def racer_of(self, user: int) -> Racer | None:
        """The user's lane; None where it has none. Ghosts are nobody's."""
        return next((racer for racer in self.racers if racer.user == user and not racer.ghost), None)

    def lane(self, lane: int) -> Racer | None:
        """The racer in a lane."""
        return next((racer for racer in self.racers if racer.lane == lane), None)

    def with_racers(self, racers: Iterable[Racer]) -> "Race":
        """The same with these in their lanes instead of who was there."""
        by_lane = {racer.lane: racer for racer in chain(self.racers, racers)}
        return replace(self, racers=tuple(by_lane[lane] for lane in sorted(by_lane)))

    def test_of(self, racer: Racer) -> TestOptions:
        """What the racer's session is begun with."""
        return replace(self.options.test, input=racer.input, language=self.text.language)

    def seat_of(self, racer: Racer) -> Seat:
        """The racer's place, for the session's ticket; from the countdown on."""
        assert self.start_ms is not None, "the countdown sets it"
        return Seat(self.id, racer.lane, self.start_ms)

    def ticket(self) -> Ticket:
        """The words of a ticket that nobody is given: what the text is made anew by (`Texts.again`)."""
        text = self.text
        return Ticket(
            session=bytes(16),
            user=0,
            options=replace(self.options.test, test=text.test, language=text.language),
            seed=text.seed,
            test_version=text.test_version,
            list_version=text.list_version,
            generator=text.generator,
            text_hash=text.text_hash,
            scoring_version="",
            started_ms=0,
        )

    def pack(self) -> bytes:
        """As bytes, for the store and the bus: msgpack of [version of the form, fields in their order]."""
        test, options, text = self.options.test, self.options, self.text
        packed: bytes = msgpack.packb(
            (
                _VERSION,
                self.id,
                self.version,
                (test.mode, test.count, test.seconds, test.test, test.language, test.category, test.difficulty),
                (test.punctuation, test.numbers, options.public, options.most),
                (text.seed, text.language, text.test, text.test_version, text.list_version, text.generator),
                (text.text_hash, text.clusters),
                (self.salt, self.band, self.created_ms, self.active_ms, self.phase.value, self.host),
                (self.wait_ms, self.start_ms, self.until_ms, self.next, self.latest_ms, self.over_ms),
                [
                    (
                        racer.lane,
                        racer.user,
                        racer.name,
                        racer.node,
                        racer.state.value,
                        racer.ready,
                        racer.input,
                        racer.away_ms,
                        racer.session,
                        racer.ms,
                        racer.wpm,
                        racer.raw,
                        racer.acc,
                        racer.verdict,
                        racer.final,
                        racer.place,
                    )
                    for racer in self.racers
                ],
            )
        )
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> "Race":
        """What `pack` packed. Raises `DamagedRace`, or `NewerRace` where a newer build packed it."""
        try:
            form, *fields = msgpack.unpackb(data)
            if type(form) is int and form > _VERSION:
                raise NewerRace(f"a race of version {form}; known is {_VERSION}: another node is newer than this one")
            if form != _VERSION:
                raise DamagedRace(f"a race of version {form!r:.20}; known is {_VERSION}")
            race_id, version, test, flags, source, measure, facts, instants, racers = fields
            mode, count, seconds, chosen, language, category, difficulty = test
            punctuation, numbers, public, most = flags
            salt, band, created_ms, active_ms, phase, host = facts
            race = cls(
                race_id,
                version,
                RaceOptions(
                    TestOptions(
                        mode,
                        count,
                        seconds,
                        chosen,
                        language,
                        category,
                        difficulty,
                        punctuation,
                        numbers,
                    ),
                    public,
                    most,
                ),
                RaceText(*source, *measure),
                salt,
                band,
                created_ms,
                active_ms,
                Phase(phase),
                host,
                tuple(_racer(*values) for values in racers),
                *instants,
            )
            _check(race)
            return race
        except DamagedRace:
            raise
        except (ValueError, TypeError, AttributeError) as exc:  # msgpack's own errors are ValueErrors
            raise DamagedRace(f"no packed race: {exc}") from None


def _check(race: Race) -> None:
    """Raise where a race says what none can be: what is on a bus may come from anywhere."""
    options, text, racers = race.options, race.text, race.racers
    lanes = [racer.lane for racer in racers]
    people = race.people
    whole = [race.version, race.salt, race.created_ms, race.active_ms, race.band, race.host, options.most]
    whole += [text.seed, text.clusters, *lanes]
    instants = [
        race.wait_ms,
        race.start_ms,
        race.until_ms,
        race.latest_ms,
        race.over_ms,
        *(racer.away_ms for racer in racers),
    ]
    figures = [figure for racer in racers for figure in (racer.ms, racer.wpm, racer.raw, racer.acc)]
    names = [name for racer in racers for name in (racer.name, racer.node, racer.input)]
    sessions = [racer.session for racer in racers]
    right = (
        is_race(race.id)
        and (race.next is None or is_race(race.next))
        and options.test.mode in RACE_MODES
        and all(type(value) is int and value >= 0 for value in whole)
        and all(value is None or (type(value) is int and value >= 0) for value in instants)
        and all(value is None or type(value) in (int, float) for value in figures)
        and all(type(value) is str for value in names)
        and all(type(racer.user) is int for racer in racers)
        and all(value is None or (type(value) is bytes and len(value) == 16) for value in sessions)
        and lanes == sorted(set(lanes))
        and all(lane < LANES for lane in lanes)
        and all((racer.session is None) is (race.start_ms is None) for racer in people)
    )
    if not right:
        raise ValueError("it says what no race can be")


def _racer(lane: int, user: int, name: str, node: str, state: str, *rest: Any) -> Racer:
    return Racer(lane, user, name, node, RacerState(state), *cast(Any, rest))
