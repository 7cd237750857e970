"""The comparison's other servers: had where their toolchains are, absent with a sentence else, and equally right."""

from random import Random
from typing import Any

import msgpack
import pytest
from websockets.sync.client import connect

from loadtest.bench.builds import Absent, go
from loadtest.bench.contenders import CONTENDERS, Contender
from loadtest.crowd import Crowd
from scoring.scorer import Scorer

BY_NAME = {contender.name: contender for contender in CONTENDERS}
TEXT = tuple(f"{word} " for word in Random(7).choices(["the", "quick", "brown", "foxes", "jump", "over", "it"], k=120))
KEYS = 300


@pytest.mark.parametrize("name", ["uWebSockets", "nbio", "gorilla", "Node ws"])  # Rust takes a minute to build
def test_a_server_in_another_language_scores_as_the_scorer_does(name: str) -> None:
    """A test with errors and corrections, sent as the page sends it: the last tick has the scorer's figures."""
    typed = Crowd(3).person(4).type(TEXT, chance=Random(5))
    frames = []
    for n in range(0, KEYS, 3):
        message = {"t": "keys", "n": n, "e": typed.events(n, n + 3), "h": typed.held(max(0, n - 3), n)}
        frames.append(msgpack.packb(message))
    scorer = Scorer(TEXT)
    scorer.feed(typed.events(0, KEYS))
    wpm, raw, acc, word, cluster, err = scorer.figures()
    assert err > 3
    try:
        child = BY_NAME[name].child("scored", core=None)
    except Absent:
        return  # no toolchain: the bench does without it, too
    with child, connect(f"ws://127.0.0.1:{child.address[1]}/ws", compression=None) as connection:
        connection.send("".join(TEXT).encode())
        for frame in frames:
            connection.send(frame)
        tick: dict[str, Any] = {"n": 0}
        while tick["n"] < KEYS:
            tick = msgpack.unpackb(connection.recv(timeout=120))
    assert (tick["t"], tick["pos"], tick["err"]) == ("tick", [word, cluster], err)
    assert tick["wpm"] == pytest.approx(wpm, abs=0.01)
    assert tick["raw"] == pytest.approx(raw, abs=0.01)
    assert tick["acc"] == pytest.approx(acc, abs=0.01)


def test_what_is_absent_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name in ("uWebSockets", "fastwebsockets", "nbio", "gorilla", "Node ws"):
        with pytest.raises(Absent, match="not here: no "):
            BY_NAME[name].child("echo", core=None)


def test_a_build_that_fails_says_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And is tried again the next time."""
    folder = tmp_path_factory.mktemp("tools")
    tool = folder / "go"
    tool.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for _ in range(2):
        with pytest.raises(Absent, match=r"go could not build it \(no space left\)"):
            go("nbio")
    tool.write_text("#!/bin/sh\nexit 0\n")
    assert go("nbio")[0].endswith("bin/nbio")
    tool.unlink()
    tool.write_text("#!/bin/sh\nexit 1\n")
    tool.chmod(0o755)
    assert go("nbio")[0].endswith("bin/nbio"), "what was built is kept"


def test_a_python_module_that_is_missing_is_named() -> None:
    from loadtest.bench.contenders import _python

    with pytest.raises(Absent, match="not here: no_such_module_at_all is not installed"):
        Contender("x", "y", lambda: _python("raw", module="no_such_module_at_all"), frozenset()).child(
            "echo", core=None
        )
