"""The one table of a typing session's states, and its rules.

Rule 1: everything that decides whether a session may do something *because of what it did before* stands in `TABLE`.
Whether an input comes to pass at all (is the text typed to its end? does the log have a gap?) is the machine's to
decide; by then it is one of the inputs below, and the next state depends on state and input alone.

Rule 2: a pair that is not in the table cannot come to pass: whoever asks for it has a fault, and gets `Illegal`.

Theory of operation. A session is CREATED by `started`. With its first keystroke it is RUNNING and its clock runs; the
text's end, a limit or `finish` make it FINISHED, and it then has exactly one result. It is ABANDONED where it ends
without one. Without its connection it is DETACHED: it is held for a while, takes no keystrokes, and never has a
result; REATTACH makes it RUNNING, also where nothing was typed yet. A session that was forgotten and comes back by its
ticket is a new object in CREATED with the same id: the table does not know about it. FINISHED and ABANDONED are for
ever, and take late inputs of a connection that has not heard of it yet without effect.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

__all__ = ["FINAL", "TABLE", "Illegal", "Input", "State", "diagram", "next_state"]


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


def next_state(state: State, happened: Input) -> State:
    """The state after an input. Raises `Illegal` where it cannot come to pass."""
    after = TABLE[state].get(happened)
    if after is None:
        raise Illegal(f"{happened.name} cannot happen to a session that is {state.value}")
    return after


def diagram() -> str:
    """The table as a Mermaid state diagram, for PROTOCOL.md; inputs that change nothing are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.CREATED.value}"]
    for state, row in TABLE.items():
        for after in State:
            inputs = [happened.value for happened, to in row.items() if to is after and to is not state]
            if inputs:
                lines.append(f"    {state.value} --> {after.value}: {', '.join(inputs)}")
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"
