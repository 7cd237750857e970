"""The table of states, in full."""

import pytest

from session.state import FINAL, TABLE, Illegal, Input, State, diagram, next_state

LEGAL = {
    ("created", "keys"): "running",
    ("created", "empty"): "abandoned",
    ("created", "abort"): "abandoned",
    ("created", "detach"): "detached",
    ("running", "keys"): "running",
    ("running", "complete"): "finished",
    ("running", "finish"): "finished",
    ("running", "limit"): "finished",
    ("running", "empty"): "abandoned",
    ("running", "expire"): "abandoned",
    ("running", "breach"): "abandoned",
    ("running", "abort"): "abandoned",
    ("running", "detach"): "detached",
    ("detached", "reattach"): "running",
    ("detached", "abort"): "abandoned",
    ("detached", "detach"): "detached",
    ("detached", "forget"): "abandoned",
    ("finished", "keys"): "finished",
    ("finished", "finish"): "finished",
    ("finished", "abort"): "finished",
    ("finished", "detach"): "finished",
    ("abandoned", "keys"): "abandoned",
    ("abandoned", "finish"): "abandoned",
    ("abandoned", "abort"): "abandoned",
    ("abandoned", "detach"): "abandoned",
}


@pytest.mark.parametrize("happened", Input, ids=lambda happened: happened.value)
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_every_pair(state: State, happened: Input) -> None:
    """Each pair of state and input leads where the list above says, or cannot come to pass."""
    after = LEGAL.get((state.value, happened.value))
    if after is None:
        with pytest.raises(Illegal, match=happened.name):
            next_state(state, happened)
    else:
        assert next_state(state, happened) is State(after)


def test_final_states_are_left_by_nothing() -> None:
    for state in FINAL:
        assert set(TABLE[state].values()) == {state}
    assert all(set(TABLE[state].values()) - {state} for state in State if state not in FINAL)


def test_a_detached_session_never_finishes() -> None:
    """A copy without a connection never produces a result."""
    assert State.FINISHED not in TABLE[State.DETACHED].values()


def test_diagram_shows_every_change_of_state() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> created"]
    shown = {
        (state, happened.strip()): after
        for line in lines[2:]
        if ": " in line
        for state, after in [line.split(":")[0].strip().split(" --> ")]
        for happened in line.split(": ")[1].split(",")
    }
    assert shown == {pair: after for pair, after in LEGAL.items() if pair[0] != after}
    assert [line.strip() for line in lines[-2:]] == ["finished --> [*]", "abandoned --> [*]"]
