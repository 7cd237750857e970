"""The tables of states, and their rules: of a typing session, of a race, of a racer in it.

Rule 1: everything that decides whether one of these may do something *because of what it did before* stands in its
table. Whether an input comes to pass at all (is the text typed to its end? does the log have a gap?) is the machine's
to decide; by then it is one of the inputs below, and the next state depends on state and input alone.

Rule 2: a pair that is not in the table cannot come to pass: whoever asks for it has a fault, and gets `Illegal`.

Theory of operation. A session is CREATED by `started`. With its first keystroke it is RUNNING and its clock runs; the
text's end, a limit or `finish` make it FINISHED, and it then has exactly one result. It is ABANDONED where it ends
without one. Without its connection it is DETACHED: it is held for a while, takes no keystrokes, and never has a
result; REATTACH makes it RUNNING, also where nothing was typed yet. A session that was forgotten and comes back by its
ticket is a new object in CREATED with the same id: the table does not know about it. FINISHED and ABANDONED are for
ever, and take late inputs of a connection that has not heard of it yet without effect.

A race goes one way only: people meet in its LOBBY, its COUNTDOWN says the start instant and shows the text, it is
RUNNING until the first has finished, CLOSING for a while for the others, and SETTLED for ever. A lobby that everybody
left, or where nothing happened, is settled without a race.

A racer is WAITING in the lobby (who leaves it is no racer any more, so that is no state) and RACING from the countdown
on; DETACHED are those whose connection is lost, and they may come back until the race is settled. Racers have FINISHED
or they did not (DNF), for ever. A GHOST is an old result.
"""

from collections.abc import Mapping, Set
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

__all__ = [
    "FINAL",
    "RACERS",
    "RACES",
    "TABLE",
    "Illegal",
    "Input",
    "Phase",
    "RaceInput",
    "RacerInput",
    "RacerState",
    "State",
    "diagram",
    "next_phase",
    "next_racer",
    "next_state",
    "race_diagram",
    "racer_diagram",
]


class State(Enum):
    """Where a typing session stands."""

    CREATED = "created"
    """Started; nothing typed yet."""
    RUNNING = "running"
    """Being typed."""
    DETACHED = "detached"
    """Without a connection, held for a while."""
    FINISHED = "finished"
    """Over, with a result."""
    ABANDONED = "abandoned"
    """Over, without one."""


class Input(Enum):
    """What may happen to a typing session."""

    KEYS = "keys"
    """Keystrokes."""
    COMPLETE = "complete"
    """The text is typed to its end, or a limit ends the test as it stands."""
    FINISH = "finish"
    """The client's `finish`, where the mode allows it and something was typed."""
    LIMIT = "limit"
    """A timed test's clock is over and the client answered the ping that asked for what is still on its way."""
    EMPTY = "empty"
    """Over by `finish` or by the clock, but nothing was typed."""
    EXPIRE = "expire"
    """The longest duration or log was met in a mode that has no result before its text's end."""
    BREACH = "breach"
    """The log is faster than anybody types: the connection is closed for it."""
    ABORT = "abort"
    """The client's `abort`, or its `start` of another test."""
    DETACH = "detach"
    """The connection is lost."""
    REATTACH = "reattach"
    """The client is back, by `resume`."""
    FORGET = "forget"
    """Held long enough."""


class Illegal(RuntimeError):
    """An input that cannot come to pass in this state: a fault of the caller."""


TABLE: Final[Mapping[State, Mapping[Input, State]]] = MappingProxyType(
    {
        State.CREATED: MappingProxyType(
            {
                Input.KEYS: State.RUNNING,
                Input.EMPTY: State.ABANDONED,
                Input.ABORT: State.ABANDONED,
                Input.DETACH: State.DETACHED,
            }
        ),
        State.RUNNING: MappingProxyType(
            {
                Input.KEYS: State.RUNNING,
                Input.COMPLETE: State.FINISHED,
                Input.FINISH: State.FINISHED,
                Input.LIMIT: State.FINISHED,
                Input.EMPTY: State.ABANDONED,
                Input.EXPIRE: State.ABANDONED,
                Input.BREACH: State.ABANDONED,
                Input.ABORT: State.ABANDONED,
                Input.DETACH: State.DETACHED,
            }
        ),
        State.DETACHED: MappingProxyType(
            {
                Input.REATTACH: State.RUNNING,
                Input.ABORT: State.ABANDONED,
                Input.DETACH: State.DETACHED,
                Input.FORGET: State.ABANDONED,
            }
        ),
        State.FINISHED: MappingProxyType(
            {
                Input.KEYS: State.FINISHED,
                Input.FINISH: State.FINISHED,
                Input.ABORT: State.FINISHED,
                Input.DETACH: State.FINISHED,
            }
        ),
        State.ABANDONED: MappingProxyType(
            {
                Input.KEYS: State.ABANDONED,
                Input.FINISH: State.ABANDONED,
                Input.ABORT: State.ABANDONED,
                Input.DETACH: State.ABANDONED,
            }
        ),
    }
)

FINAL: Final = frozenset({State.FINISHED, State.ABANDONED})
"""States that no input leaves."""


class Phase(Enum):
    """Where a race stands."""

    LOBBY = "lobby"
    """People come, go and make ready."""
    COUNTDOWN = "countdown"
    """The start instant is set, and the text is there to be read."""
    RUNNING = "running"
    """Being typed by everybody."""
    CLOSING = "closing"
    """The first has finished; the others have a while left."""
    SETTLED = "settled"
    """Over."""


class RaceInput(Enum):
    """What may happen to a race as a whole."""

    BEGIN = "begin"
    """Everybody is ready, or has waited long enough, or the host said so."""
    START = "start"
    """The start instant has come."""
    FIRST = "first"
    """The first racer has finished the text, and others are still racing."""
    OVER = "over"
    """Nobody is racing any more, or time is up."""
    EXPIRE = "expire"
    """Nobody is in the lobby any more, or nothing happens there."""


class RacerState(Enum):
    """Where a racer stands."""

    WAITING = "waiting"
    """In the lobby."""
    RACING = "racing"
    """In the countdown, or typing."""
    DETACHED = "detached"
    """Racing, but without a connection."""
    FINISHED = "finished"
    DNF = "dnf"
    """Did not finish, as far as is known: the result of one who did in time may still be on its way."""
    GHOST = "ghost"
    """A result from before, that others race against."""


class RacerInput(Enum):
    """What may happen to a racer."""

    BEGIN = "begin"
    """The countdown begins."""
    LOST = "lost"
    """Its connection, or its node, is lost."""
    BACK = "back"
    """It has a connection again, or a newer one."""
    FINISH = "finish"
    """It has a result."""
    GIVE_UP = "give up"
    """It left."""
    OVER = "over"
    """The race is over."""


RACES: Final[Mapping[Phase, Mapping[RaceInput, Phase]]] = MappingProxyType(
    {
        Phase.LOBBY: MappingProxyType({RaceInput.BEGIN: Phase.COUNTDOWN, RaceInput.EXPIRE: Phase.SETTLED}),
        Phase.COUNTDOWN: MappingProxyType({RaceInput.START: Phase.RUNNING, RaceInput.OVER: Phase.SETTLED}),
        Phase.RUNNING: MappingProxyType({RaceInput.FIRST: Phase.CLOSING, RaceInput.OVER: Phase.SETTLED}),
        Phase.CLOSING: MappingProxyType({RaceInput.OVER: Phase.SETTLED}),
        Phase.SETTLED: MappingProxyType({}),
    }
)

RACERS: Final[Mapping[RacerState, Mapping[RacerInput, RacerState]]] = MappingProxyType(
    {
        RacerState.WAITING: MappingProxyType(
            {
                RacerInput.BEGIN: RacerState.RACING,
                RacerInput.LOST: RacerState.WAITING,
                RacerInput.BACK: RacerState.WAITING,
                RacerInput.OVER: RacerState.WAITING,
            }
        ),
        RacerState.RACING: MappingProxyType(
            {
                RacerInput.LOST: RacerState.DETACHED,
                RacerInput.BACK: RacerState.RACING,
                RacerInput.FINISH: RacerState.FINISHED,
                RacerInput.GIVE_UP: RacerState.DNF,
                RacerInput.OVER: RacerState.DNF,
            }
        ),
        RacerState.DETACHED: MappingProxyType(
            {
                RacerInput.LOST: RacerState.DETACHED,
                RacerInput.BACK: RacerState.RACING,
                RacerInput.FINISH: RacerState.FINISHED,
                RacerInput.GIVE_UP: RacerState.DNF,
                RacerInput.OVER: RacerState.DNF,
            }
        ),
        RacerState.FINISHED: MappingProxyType(
            {
                RacerInput.LOST: RacerState.FINISHED,
                RacerInput.BACK: RacerState.FINISHED,
                RacerInput.FINISH: RacerState.FINISHED,
                RacerInput.GIVE_UP: RacerState.FINISHED,
                RacerInput.OVER: RacerState.FINISHED,
            }
        ),
        RacerState.DNF: MappingProxyType(
            {
                RacerInput.LOST: RacerState.DNF,
                RacerInput.BACK: RacerState.DNF,
                RacerInput.FINISH: RacerState.FINISHED,
                RacerInput.GIVE_UP: RacerState.DNF,
                RacerInput.OVER: RacerState.DNF,
            }
        ),
        RacerState.GHOST: MappingProxyType({RacerInput.BEGIN: RacerState.GHOST, RacerInput.OVER: RacerState.GHOST}),
    }
)


def next_state(state: State, happened: Input) -> State:
    """The state after an input. Raises `Illegal` where it cannot come to pass."""
    after = TABLE[state].get(happened)
    if after is None:
        raise Illegal(f"{happened.name} cannot happen to a session that is {state.value}")
    return after


def next_phase(phase: Phase, happened: RaceInput) -> Phase:
    """The phase after an input. Raises `Illegal` where it cannot come to pass."""
    after = RACES[phase].get(happened)
    if after is None:
        raise Illegal(f"{happened.name} cannot happen to a race that is {phase.value}")
    return after


def next_racer(state: RacerState, happened: RacerInput) -> RacerState:
    """A racer's state after an input. Raises `Illegal` where it cannot come to pass."""
    after = RACERS[state].get(happened)
    if after is None:
        raise Illegal(f"{happened.name} cannot happen to a racer that is {state.value}")
    return after


def diagram() -> str:
    """The sessions' table as a Mermaid state diagram, for PROTOCOL.md; inputs that change nothing are left out."""
    return _diagram(TABLE, State.CREATED, FINAL)


def race_diagram() -> str:
    """The races' table, likewise."""
    return _diagram(RACES, Phase.LOBBY, {Phase.SETTLED})


def racer_diagram() -> str:
    """The racers' table, likewise, without ghosts."""
    people = {state: row for state, row in RACERS.items() if state is not RacerState.GHOST}
    return _diagram(people, RacerState.WAITING, {RacerState.FINISHED, RacerState.DNF})


def _diagram(table: Mapping[Any, Mapping[Any, Enum]], first: Enum, final: Set[Enum]) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first.value}"]
    for state, row in table.items():
        for after in type(state):
            inputs = [happened.value for happened, to in row.items() if to is after and to is not state]
            if inputs:
                lines.append(f"    {state.value} --> {after.value}: {', '.join(inputs)}")
    lines += [f"    {state.value} --> [*]" for state in type(first) if state in final]
    return "\n".join(lines) + "\n"
