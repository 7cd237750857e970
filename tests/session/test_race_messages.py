"""What is said of races: read, refused, written."""

from typing import Any

import pytest

from session.identity import session_to_text
from session.messages import ClientMessage, Malformed, parse
from session.race_messages import (
    RaceAgain,
    RaceCreate,
    RaceGhost,
    RaceJoin,
    RaceLeave,
    RaceProgress,
    RaceReady,
    RaceStart,
    RaceStateMessage,
    Unwatch,
    Watch,
    Watched,
    WatchEnd,
    WatchKeys,
    WatchState,
)
from tests.session.play import session_id

ID = session_id()
NAME = session_to_text(ID)
RACE = "0123456789abc"


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({"t": "race.create", "mode": "quote"}, RaceCreate("quote")),
        (
            {"t": "race.create", "mode": "words", "count": 25, "racers": 7, "public": True, "ghosts": [NAME, NAME]},
            RaceCreate("words", count=25, racers=7, public=True, ghosts=(ID, ID)),
        ),
        ({"t": "race.join"}, RaceJoin()),
        ({"t": "race.join", "race": RACE, "name": "Ann"}, RaceJoin(RACE, "Ann")),
        ({"t": "race.ready"}, RaceReady(True)),
        ({"t": "race.ready", "ready": False}, RaceReady(False)),
        ({"t": "race.start"}, RaceStart()),
        ({"t": "race.leave"}, RaceLeave()),
        ({"t": "race.again"}, RaceAgain()),
        ({"t": "watch", "race": RACE}, Watch(RACE)),
        ({"t": "watch", "session": NAME}, Watch(session=ID)),
        ({"t": "unwatch"}, Unwatch()),
    ],
)
def test_parse(wire: dict[str, Any], message: ClientMessage) -> None:
    assert parse(wire) == message


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        ({"t": "race.create"}, "race.create.mode is missing"),
        ({"t": "race.create", "mode": "quote", "racers": "5"}, "race.create.racers must be a whole number"),
        ({"t": "race.create", "mode": "quote", "public": 1}, "race.create.public must be true or false"),
        ({"t": "race.create", "mode": "quote", "ghosts": ["x"]}, "race.create.ghosts must be a list of results' ids"),
        ({"t": "race.create", "mode": "quote", "ghosts": NAME}, "race.create.ghosts must be a list of results' ids"),
        ({"t": "race.join", "race": 5}, "race.join.race must be a string"),
        ({"t": "race.ready", "ready": "yes"}, "race.ready.ready must be true or false"),
        ({"t": "watch", "session": "x"}, "watch.session must be"),
    ],
)
def test_malformed(wire: dict[str, Any], fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(wire)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            RaceStateMessage(RACE, 3, "lobby", False, 5, "quote", "en", [{"lane": 0}], host=0),
            {
                "t": "race.state", "race": RACE, "version": 3, "phase": "lobby", "public": False, "most": 5,
                "mode": "quote", "language": "en", "racers": [{"lane": 0}], "host": 0,
            },
        ),
        (RaceProgress(RACE, [[0, 17, 61.2, 1]]), {"t": "race.progress", "race": RACE, "p": [[0, 17, 61.2, 1]]}),
        (
            RaceGhost(RACE, 2, 100, [0, 1]),
            {"t": "race.ghost", "race": RACE, "lane": 2, "step_ms": 100, "at": [0, 1]},
        ),
        (
            Watched(ID, "words", "to be", "en", "ltr", False, True, False, False, name="Guest 1234", count=2),
            {
                "t": "watched", "session": NAME, "mode": "words", "text": "to be", "language": "en",
                "direction": "ltr", "cyclic": False, "punctuation": True, "numbers": False, "own": False,
                "name": "Guest 1234", "count": 2,
            },
        ),
        (
            WatchKeys(3, ["t", "\b"], 812, 51.5, 60.0, 75.0, 1),
            {"t": "watch.keys", "n": 3, "k": ["t", "\b"], "ms": 812, "wpm": 51.5, "raw": 60.0, "acc": 75.0, "err": 1},
        ),
        (WatchState(ID, "away"), {"t": "watch.state", "session": NAME, "state": "away"}),
        (
            WatchEnd(ID, "finished", wpm=51.5, chars=[5, 0, 0, 0], verdict="ok"),
            {"t": "watch.end", "session": NAME, "how": "finished", "wpm": 51.5, "chars": [5, 0, 0, 0], "verdict": "ok"},
        ),
    ],
    ids=["state", "progress", "ghost", "watched", "keys", "watch state", "end"],
)  # fmt: skip
def test_to_wire(message: Any, wire: dict[str, Any]) -> None:
    assert message.to_wire() == wire


def test_a_list_of_ids_is_written_as_it_is_read() -> None:
    """Clients of ours send it."""
    kind = RaceCreate.wire_fields()["ghosts"][0].kind
    assert kind.write is not None
    assert kind.write((ID, ID)) == [NAME, NAME]


def test_readiness_may_be_left_out() -> None:
    """A switch with a default of its own is no field that must be there."""
    assert RaceReady.wire_fields()["ready"][1]
