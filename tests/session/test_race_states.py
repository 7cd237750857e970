"""The tables of races and racers, in full."""

import pytest

from session.state import (
    RACERS,
    RACES,
    Illegal,
    Phase,
    RaceInput,
    RacerInput,
    RacerState,
    next_phase,
    next_racer,
    race_diagram,
    racer_diagram,
)

PHASES = {
    ("lobby", "begin"): "countdown",
    ("lobby", "expire"): "settled",
    ("countdown", "start"): "running",
    ("countdown", "over"): "settled",
    ("running", "first"): "closing",
    ("running", "over"): "settled",
    ("closing", "over"): "settled",
}
STATES = {
    ("waiting", "begin"): "racing",
    ("waiting", "lost"): "waiting",
    ("waiting", "back"): "waiting",
    ("waiting", "over"): "waiting",
    ("racing", "lost"): "detached",
    ("racing", "back"): "racing",
    ("racing", "finish"): "finished",
    ("racing", "give up"): "dnf",
    ("racing", "over"): "dnf",
    ("detached", "lost"): "detached",
    ("detached", "back"): "racing",
    ("detached", "finish"): "finished",
    ("detached", "give up"): "dnf",
    ("detached", "over"): "dnf",
    **{("finished", happened.value): "finished" for happened in RacerInput if happened is not RacerInput.BEGIN},
    **{("dnf", happened.value): "dnf" for happened in RacerInput if happened is not RacerInput.BEGIN},
    ("dnf", "finish"): "finished",
    ("ghost", "begin"): "ghost",
    ("ghost", "over"): "ghost",
}


@pytest.mark.parametrize("happened", RaceInput, ids=lambda happened: happened.value)
@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
def test_every_phase(phase: Phase, happened: RaceInput) -> None:
    """Each pair of phase and input leads where the list above says, or cannot come to pass."""
    after = PHASES.get((phase.value, happened.value))
    if after is None:
        with pytest.raises(Illegal, match=f"{happened.name} cannot happen to a race that is {phase.value}"):
            next_phase(phase, happened)
    else:
        assert next_phase(phase, happened) is Phase(after)


@pytest.mark.parametrize("happened", RacerInput, ids=lambda happened: happened.value)
@pytest.mark.parametrize("state", RacerState, ids=lambda state: state.value)
def test_every_state_of_a_racer(state: RacerState, happened: RacerInput) -> None:
    after = STATES.get((state.value, happened.value))
    if after is None:
        with pytest.raises(Illegal, match=f"{happened.name} cannot happen to a racer that is {state.value}"):
            next_racer(state, happened)
    else:
        assert next_racer(state, happened) is RacerState(after)


def test_a_race_goes_one_way_only() -> None:
    order = list(Phase)
    for phase, row in RACES.items():
        assert all(order.index(after) > order.index(phase) for after in row.values())


def test_who_is_through_stays_so() -> None:
    for state in (RacerState.FINISHED, RacerState.GHOST):
        assert set(RACERS[state].values()) == {state}
    assert {happened for happened, to in RACERS[RacerState.DNF].items() if to is not RacerState.DNF} == {
        RacerInput.FINISH
    }, "only a result that was on its way"


@pytest.mark.parametrize(
    ("diagram", "pairs", "first", "final"),
    [
        (race_diagram(), PHASES, "lobby", ["settled"]),
        (
            racer_diagram(),
            {pair: to for pair, to in STATES.items() if pair[0] != "ghost"},
            "waiting",
            ["finished", "dnf"],
        ),
    ],
    ids=["races", "racers"],
)
def test_diagrams_show_every_change(
    diagram: str, pairs: dict[tuple[str, str], str], first: str, final: list[str]
) -> None:
    lines = diagram.splitlines()
    assert lines[:2] == ["stateDiagram-v2", f"    [*] --> {first}"]
    shown = {
        (state, happened.strip()): after
        for line in lines[2:]
        if ": " in line
        for state, after in [line.split(":")[0].strip().split(" --> ")]
        for happened in line.split(": ")[1].split(",")
    }
    assert shown == {pair: after for pair, after in pairs.items() if pair[0] != after}
    assert [line.strip() for line in lines[-len(final) :]] == [f"{state} --> [*]" for state in final]
