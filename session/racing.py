"""What happens to a race: an input in, the race after it out. Pure; chance was drawn when the race was made.

How a node uses it, inside a compare-and-set::

    race = opened(race_id, options, text, salt=..., band=..., now_ms=now)    # then `Join` its host, in the same step
    after = change(race, Join(user, name, node), now_ms=now, rules=rules)    # a Race, or the Error to send
    after is race                                                            # nothing happened: nothing to write
    due = due_ms(after, rules)                                               # try `Due` then; None: nothing is due

Whatever the input, first comes to pass what was due by then, so that it does not matter which node was first to try.
A result has an instant of its own: it may be long ago when the store was away meanwhile, and what came due after it
comes to pass after it. Where another node has settled the race by then, it counts as long as places may still change.
People are named by their user in what they do themselves (a lane may have changed hands), and by their lane in what
the race finds out of them, from the countdown on. What comes too late (a result after the end, a connection lost that
another has replaced) changes nothing.

A client's clock may run slow, or be made to. So a racer's time is never less than until the last key came here, less
the lag that a network and a good clock may have; speeds are by that time too. The result keeps the client's figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, TypeAlias, assert_never

from session.identity import RANDOM_BITS, mint_session
from session.messages import Error
from session.names import distinct_name
from session.options import Input
from session.places import counts, placed
from session.race import Race, Racer, RaceText
from session.race_options import RaceOptions, RaceRules
from session.state import Phase, RaceInput, RacerInput, RacerState, next_phase, next_racer

__all__ = [
    "Back",
    "Change",
    "Due",
    "Finished",
    "Ghost",
    "Join",
    "Judged",
    "Leave",
    "Lost",
    "Next",
    "NodesGone",
    "Ready",
    "Start",
    "change",
    "due_ms",
    "opened",
]

SALT_BITS: Final = 64

OVERDUE_MS: Final = 1_000
"""A race settled so long after it was due to end may not have heard of all results yet: they are waited for."""


# --- inputs ---


@dataclass(frozen=True, slots=True)
class Join:
    """Somebody joins, or comes back to a lane from a newer connection."""

    user: int
    name: str
    """Clean; a number is added where another racer's looks the same."""
    node: str
    input: Input = "keyboard"
    chosen: bool = False
    """Whether the name was chosen: who comes back to the lobby under another one is called that from then on."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Somebody is ready, or not any more."""

    user: int
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """The host begins."""

    user: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Somebody leaves."""

    user: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody's connection to this node is lost."""

    user: int
    node: str


@dataclass(frozen=True, slots=True)
class Back:
    """Somebody has a connection again, on this node; who left it, or whose lane is gone, stays away."""

    user: int
    node: str
    still: bool = False
    """Whether it never was lost: who has come to another node since is there."""


@dataclass(frozen=True, slots=True)
class NodesGone:
    """Nodes are gone, and all connections that they had."""

    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finished:
    """A racer's test has a result."""

    lane: int
    ms: float
    """Its duration: from the start instant."""
    wpm: float
    raw: float
    acc: float
    verdict: str
    """The provisional one."""
    at_ms: int
    """When it was there, by the race's clock; one that is still to come is now."""
    late_ms: float = 0.0
    """How much longer it took by the race's clock, beyond what lag explains: as `TypingSession.late_ms` has it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A racer's result has its final verdict."""

    lane: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Next:
    """Somebody asks for another race; the first one's id counts, until somebody could not come in there any more."""

    user: int
    race: str
    instead_of: str | None = None
    """The one that they could not come into: another takes its place, if nobody else has put one there."""


@dataclass(frozen=True, slots=True)
class Due:
    """Time has passed."""


Change: TypeAlias = Join | Ready | Start | Leave | Lost | Back | NodesGone | Finished | Judged | Next | Due


@dataclass(frozen=True, slots=True)
class Ghost:
    """A result to race against."""

    session: bytes
    name: str
    ms: float
    wpm: float
    raw: float
    acc: float


# --- a new race ---


def opened(
    race_id: str,
    options: RaceOptions,
    text: RaceText,
    *,
    salt: int,
    band: int,
    now_ms: int,
    ghosts: Sequence[Ghost] = (),
) -> Race:
    """A race without people yet: let its host join in the same step. `salt` are 64 random bits."""
    race = Race(
        id=race_id,
        version=0,
        options=options,
        text=text,
        salt=salt,
        band=band,
        created_ms=now_ms,
        active_ms=now_ms,
    )
    return race.with_racers(
        Racer(
            lane=options.most + number,
            user=0,
            name=ghost.name,
            state=RacerState.GHOST,
            ready=True,
            session=ghost.session,
            ms=ghost.ms,
            wpm=ghost.wpm,
            raw=ghost.raw,
            acc=ghost.acc,
            verdict="ok",
            final=True,
        )
        for number, ghost in enumerate(ghosts)
    )


# --- changes ---


def change(race: Race, what: Change, *, now_ms: int, rules: RaceRules) -> Race | Error:
    """The race after an input, the same object where nothing changed; or the error to send, and nothing changed."""
    at_ms = min(what.at_ms, now_ms) if isinstance(what, Finished) else now_ms
    before = _advanced(race, now_ms, rules, at_ms=at_ms)
    after = _apply(before, what, now_ms, rules)
    if isinstance(after, Error):
        return after
    if after is not before:
        after = _placed(after, rules)
    after = _advanced(after, now_ms, rules, at_ms=now_ms)
    return race if after is race or after == race else replace(after, version=race.version + 1)


def due_ms(race: Race, rules: RaceRules) -> int | None:
    """When `Due` is to be tried; None where nothing is due."""
    if race.phase is not Phase.LOBBY:
        return race.until_ms
    instants = [race.active_ms + rules.lobby_ms]
    if race.until_ms is not None:
        instants.append(race.until_ms)
    instants += [racer.away_ms + rules.away_ms for racer in race.racers if racer.away_ms is not None]
    return min(instants)


def _advanced(race: Race, now_ms: int, rules: RaceRules, *, at_ms: int) -> Race:
    """What was due by an instant, done now; once settled, what is due by now."""
    while (due := due_ms(race, rules)) is not None and due <= (now_ms if race.phase is Phase.SETTLED else at_ms):
        race = _placed(_due(race, now_ms, rules), rules)
    return race


def _due(race: Race, now_ms: int, rules: RaceRules) -> Race:
    match race.phase:
        case Phase.LOBBY:
            gone = {
                racer.lane
                for racer in race.people
                if racer.away_ms is not None and racer.away_ms + rules.away_ms <= now_ms
            }
            if gone:
                return _without(race, gone, now_ms, rules)
            if race.until_ms is not None and race.until_ms <= now_ms:
                return _begun(race, now_ms, rules)
            return _settled(race, RaceInput.EXPIRE, now_ms, rules, over_ms=now_ms)
        case Phase.COUNTDOWN:
            return replace(race, phase=next_phase(race.phase, RaceInput.START), until_ms=_end_ms(race, rules))
        case Phase.RUNNING | Phase.CLOSING:
            assert race.until_ms is not None, "until it is settled it has an end"
            return _settled(race, RaceInput.OVER, now_ms, rules, over_ms=race.until_ms)
        case Phase.SETTLED:
            return replace(race, until_ms=None)
        case _:
            assert_never(race.phase)


def _apply(race: Race, what: Change, now_ms: int, rules: RaceRules) -> Race | Error:
    match what:
        case Due():
            return race
        case Join():
            return _join(race, what, now_ms, rules)
        case NodesGone(nodes):
            lost = [racer for racer in race.people if racer.node in nodes and racer.away_ms is None]
            return _away(race, lost, now_ms) if lost else race
        case Finished():
            return _finished(race, what, now_ms, rules)
        case Judged(lane, verdict):
            return _judged(race, lane, verdict, rules)
        case _:
            racer = race.racer_of(what.user)
            if racer is None:
                return race if isinstance(what, Lost) else Error("not_racing", "you are not in this race")
    match what:
        case Ready(_, ready):
            return _ready(race, racer, ready, now_ms, rules)
        case Start():
            return _start(race, racer, now_ms, rules)
        case Leave():
            return _leave(race, racer, now_ms, rules)
        case Lost(_, node):
            here = racer.node == node and racer.away_ms is None
            return _away(race, [racer], now_ms) if here else race
        case Back(_, node, still):
            return race if still and racer.node != node else _back(race, racer, node)
        case Next(_, following, instead_of):
            if race.phase is not Phase.SETTLED:
                return Error("not_racing", "the race is not over yet; `race.again` asks for another after it")
            return replace(race, next=following) if race.next == instead_of else race
        case _:
            assert_never(what)


# --- people ---


def _join(race: Race, join: Join, now_ms: int, rules: RaceRules) -> Race | Error:
    racer = race.racer_of(join.user)
    if racer is not None:
        called = _called(race, racer, join)
        return _back(race if called is racer else race.with_racers([called]), called, join.node)
    match race.phase:
        case Phase.LOBBY:
            pass
        case Phase.SETTLED:
            return Error("race_over", "this race is over; create or join another")
        case Phase.COUNTDOWN | Phase.RUNNING | Phase.CLOSING:
            return Error("race_running", "this race has begun without you; you may watch it")
        case _:
            assert_never(race.phase)
    people = race.people
    taken = {racer.lane for racer in people}
    if len(taken) >= race.options.most:
        return Error("race_full", f"all {race.options.most} lanes of this race are taken")
    racer = Racer(
        lane=min(set(range(race.options.most)) - taken),
        user=join.user,
        name=distinct_name(join.name, [racer.name for racer in race.racers]),
        node=join.node,
        input=join.input,
    )
    after = replace(race.with_racers([racer]), active_ms=now_ms)
    if not people:
        after = replace(after, host=racer.lane)
    return _timed(race, after, now_ms, rules, joined=True)


def _ready(race: Race, racer: Racer, ready: bool, now_ms: int, rules: RaceRules) -> Race | Error:
    if race.phase is not Phase.LOBBY:
        return Error("not_racing", "the race has begun; who is in it is ready")
    if racer.ready is ready:
        return race
    after = replace(race.with_racers([replace(racer, ready=ready)]), active_ms=now_ms)
    return _timed(race, after, now_ms, rules)


def _start(race: Race, racer: Racer, now_ms: int, rules: RaceRules) -> Race | Error:
    if racer.lane != race.host:
        return Error("not_host", "only the host begins a race without waiting; say that you are ready")
    if race.phase is not Phase.LOBBY:
        return Error("not_racing", "the race has begun")
    if not _enough(race):
        return Error("options", "a race needs 2 racers, or 1 and a ghost")
    return _begun(race, now_ms, rules)


def _leave(race: Race, racer: Racer, now_ms: int, rules: RaceRules) -> Race:
    if race.phase is Phase.LOBBY:
        return _without(race, {racer.lane}, now_ms, rules)
    if race.phase is Phase.SETTLED:
        return race
    state = next_racer(racer.state, RacerInput.GIVE_UP)
    if state is racer.state:
        return race
    return _closed(race.with_racers([replace(racer, state=state, final=True)]), now_ms, rules)


def _without(race: Race, lanes: set[int], now_ms: int, rules: RaceRules) -> Race:
    """The lobby without these; where the host is among them the next one by lane is host."""
    after = replace(race, racers=tuple(racer for racer in race.racers if racer.lane not in lanes), active_ms=now_ms)
    people = after.people
    if not people:
        return _settled(after, RaceInput.EXPIRE, now_ms, rules, over_ms=now_ms)
    if race.host in lanes:
        after = replace(after, host=min((racer.lane for racer in people), key=lambda lane: (lane < race.host, lane)))
    return _timed(race, after, now_ms, rules)


def _away(race: Race, racers: Sequence[Racer], now_ms: int) -> Race:
    return race.with_racers(
        replace(racer, away_ms=now_ms, state=next_racer(racer.state, RacerInput.LOST)) for racer in racers
    )


def _called(race: Race, racer: Racer, join: Join) -> Racer:
    """Who comes back, by the name that is chosen now."""
    if not join.chosen or race.phase is not Phase.LOBBY:
        return racer
    name = distinct_name(join.name, [other.name for other in race.racers if other is not racer])
    return racer if name == racer.name else replace(racer, name=name)


def _back(race: Race, racer: Racer, node: str) -> Race:
    state = next_racer(racer.state, RacerInput.BACK)
    after = replace(racer, away_ms=None, node=node, state=state)
    return race if after == racer else race.with_racers([after])


# --- beginning ---


def _enough(race: Race) -> bool:
    people = len(race.people)
    return people >= 2 or people == 1 < len(race.racers)


def _all_ready(race: Race) -> bool:
    return _enough(race) and all(racer.ready for racer in race.racers)


def _timed(before: Race, race: Race, now_ms: int, rules: RaceRules, *, joined: bool = False) -> Race:
    """A lobby with the instant at which it begins, by who is in it and who is ready."""
    wait_ms, latest_ms = race.wait_ms, race.latest_ms
    if not race.options.public or not _enough(race):
        wait_ms = None
    else:
        if wait_ms is None:
            wait_ms = now_ms + rules.public_ms
            latest_ms = wait_ms + rules.public_ms
        elif joined:
            # whoever comes and goes and comes again does not put it off for ever
            longer_ms = now_ms + rules.joined_ms
            wait_ms = max(wait_ms, longer_ms if latest_ms is None else min(longer_ms, latest_ms))
        if len(race.people) == race.options.most:
            wait_ms = min(wait_ms, now_ms + rules.ready_ms)
    until_ms = wait_ms
    if _all_ready(race):
        kept = before.until_ms if before.until_ms is not None and _all_ready(before) else now_ms + rules.ready_ms
        until_ms = kept if wait_ms is None else min(kept, wait_ms)
    return replace(race, wait_ms=wait_ms, latest_ms=latest_ms, until_ms=until_ms)


def _begun(race: Race, now_ms: int, rules: RaceRules) -> Race:
    start_ms = now_ms + rules.countdown_ms
    racers = []
    for racer in race.racers:
        state = next_racer(racer.state, RacerInput.BEGIN)
        if racer.ghost:
            racers.append(racer)
            continue
        if racer.away_ms is not None:
            state = next_racer(state, RacerInput.LOST)
        chance = blake2b(
            f"{race.id} {racer.lane}".encode(), key=race.salt.to_bytes(8, "big"), digest_size=8, person=b"typegate race"
        )
        session = mint_session(
            racer.user, epoch_ms=now_ms, random_bits=int.from_bytes(chance.digest(), "big") % (1 << RANDOM_BITS)
        )
        racers.append(replace(racer, state=state, session=session))
    return replace(
        race,
        phase=next_phase(race.phase, RaceInput.BEGIN),
        racers=tuple(racers),
        wait_ms=None,
        start_ms=start_ms,
        until_ms=start_ms,
    )


def _end_ms(race: Race, rules: RaceRules) -> int:
    """When a race ends by itself."""
    assert race.start_ms is not None, "the countdown sets it"
    limit_ms = race.options.test.limit_ms
    if limit_ms is not None:
        return race.start_ms + limit_ms + rules.timed_grace_ms
    slowest_ms = round(race.text.clusters * 12_000 / rules.slowest_wpm)
    return race.start_ms + min(max(slowest_ms, rules.shortest_ms), rules.longest_ms)


# --- finishing ---


def _finished(race: Race, result: Finished, now_ms: int, rules: RaceRules) -> Race | Error:
    racer = race.lane(result.lane)
    if racer is None or not (racer.racing or _may_yet_finish(race, racer, result.at_ms)):
        return race
    if race.phase in (Phase.LOBBY, Phase.COUNTDOWN):
        return race
    ms = result.ms + result.late_ms
    share = result.ms / ms if result.late_ms else 1.0
    racer = replace(
        racer,
        state=next_racer(racer.state, RacerInput.FINISH),
        ms=ms,
        wpm=round(result.wpm * share, 2),
        raw=round(result.raw * share, 2),
        acc=result.acc,
        verdict=result.verdict,
    )
    first = counts(race, racer, rules) and not any(counts(race, other, rules) for other in race.racers)
    race = race.with_racers([racer])
    if race.phase is not Phase.SETTLED and first and any(other.racing for other in race.racers):
        if race.phase is Phase.RUNNING:
            race = replace(race, phase=next_phase(race.phase, RaceInput.FIRST))
        grace_ms = min(max(rules.closing_ms, round(rules.closing_share * ms)), rules.closing_most_ms)
        race = replace(race, until_ms=min(result.at_ms, now_ms) + grace_ms)
    return _closed(race, now_ms, rules)


def _may_yet_finish(race: Race, racer: Racer, at_ms: int) -> bool:
    """Whether a racer whom the race's end has overtaken was there before it, and places may still change."""
    overtaken = racer.state is RacerState.DNF and not racer.final
    return overtaken and race.over_ms is not None and at_ms <= race.over_ms and not race.final


def _judged(race: Race, lane: int, verdict: str, rules: RaceRules) -> Race:
    racer = race.lane(lane)
    if racer is None or racer.state is not RacerState.FINISHED or racer.final or race.final:
        return race
    race = race.with_racers([replace(racer, verdict=verdict, final=True)])
    if race.phase is Phase.CLOSING and not any(counts(race, other, rules) for other in race.racers):
        # what hurried the others was nothing: they have the time that they had
        race = replace(race, until_ms=_end_ms(race, rules))
    return race


def _closed(race: Race, now_ms: int, rules: RaceRules) -> Race:
    """The race settled, where nobody is racing any more."""
    if race.phase is Phase.SETTLED or any(racer.racing for racer in race.racers):
        return race
    return _settled(race, RaceInput.OVER, now_ms, rules, over_ms=now_ms)


def _settled(race: Race, by: RaceInput, now_ms: int, rules: RaceRules, *, over_ms: int) -> Race:
    racers = tuple(replace(racer, state=next_racer(racer.state, RacerInput.OVER)) for racer in race.racers)
    until_ms = None if race.start_ms is None else now_ms + rules.verdicts_ms  # or when `_placed` finds nothing awaited
    return replace(
        race, phase=next_phase(race.phase, by), racers=racers, wait_ms=None, until_ms=until_ms, over_ms=over_ms
    )


def _placed(race: Race, rules: RaceRules) -> Race:
    """The race with everybody's place; once settled, final as soon as no verdict and no result is awaited."""
    if race.start_ms is None or race.phase is Phase.COUNTDOWN or race.final:
        return race
    awaiting = {RacerState.FINISHED}
    if race.until_ms is not None and race.over_ms is not None:
        settled_ms = race.until_ms - rules.verdicts_ms
        if settled_ms - race.over_ms >= OVERDUE_MS:
            awaiting.add(RacerState.DNF)
    awaited = any(racer.state in awaiting and not racer.final for racer in race.racers)
    until_ms = race.until_ms if awaited or race.phase is not Phase.SETTLED else None
    return replace(race, racers=placed(race, rules), until_ms=until_ms)
