"""Who is compared: how each server program is had, and what it does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loadtest.served import Child

__all__ = ["CONTENDERS", "Contender", "Work"]

Work = Literal["echo", "paced", "scored"]

_SOURCES = Path(__file__).parent / "others"
_BUILD_S = 180.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One server of the comparison."""

    name: str
    what: str
    """What it is, in a few words."""
    kind: Literal["python", "node", "go"]
    program: str
    """The server's name in `loadtest.bench.serve`; for Node and Go the work is all that they are told."""
    module: str | None = None
    """A Python module that must be there."""
    speaks: Literal["websocket", "raw", "deflate"] = "websocket"
    spins: bool = False
    """It polls without waiting: its CPU time measures nothing unless it is busy all the time."""

    def command(self) -> list[str] | str:
        """The program and its arguments but for the work; or why it is not here."""
        if self.kind == "python":
            if self.module is not None and importlib.util.find_spec(self.module) is None:
                return f"not here: {self.module} is not installed"
            return [sys.executable, "-m", "loadtest.bench.serve", self.program]
        return _node() if self.kind == "node" else _go()

    def child(self, work: Work, *, core: int | None) -> Child | str:
        """The server as a child that is yet to be started; or why it is not here."""
        command = self.command()
        if isinstance(command, str):
            return command
        variables = {"GOMAXPROCS": "1"} if self.kind == "go" else {}
        return Child(self.name, [*command, work], core=core, variables=variables)


CONTENDERS = (
    Contender("raw TCP", "uvloop, no WebSocket: the floor for Python", "python", "raw", speaks="raw"),
    Contender(
        "uWebSockets", "C++, by PyPI socketify (calls Python, polls)", "python", "uwebsockets", "socketify", spins=True
    ),
    Contender("typegate's wire", "edge and wire, plain Python", "python", "wire"),
    Contender("picows", "Cython", "python", "picows", "picows"),
    Contender("gorilla", "Go, GOMAXPROCS=1", "go", ""),
    Contender("Node ws", "JavaScript, compression off", "node", ""),
    Contender("websockets", "asyncio.serve, compression and pings off", "python", "websockets"),
    Contender("websockets, default", "asyncio.serve as it comes", "python", "websockets-deflate", speaks="deflate"),
)


def _cache() -> Path:
    """Where programs are built: kept between runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "typegate-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _node() -> list[str] | str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "not here: no node or npm"
    folder = _cache() / "node"
    _copy(folder, "echo.js", "package.json")
    if not (folder / "node_modules" / "ws").exists():
        failed = _build([npm, "install", "--silent", "--no-audit", "--no-fund"], folder)
        if failed:
            return f"not here: npm could not get ws ({failed})"
    return [node, str(folder / "echo.js")]


def _go() -> list[str] | str:
    go = shutil.which("go")
    if go is None:
        return "not here: no go"
    folder = _cache() / "go"
    changed = _copy(folder, "main.go", "go.mod")
    if changed or not (folder / "echo").exists():
        failed = _build([go, "mod", "tidy"], folder) or _build([go, "build", "-o", "echo", "."], folder)
        if failed:
            return f"not here: go could not build it ({failed})"
    return [str(folder / "echo")]


def _copy(folder: Path, *names: str) -> bool:
    """Put sources into the build folder; whether one was new."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = False
    for name in names:
        source = (_SOURCES / name).read_bytes()
        kept = folder / f"{name}.source"
        if not kept.exists() or kept.read_bytes() != source:
            (folder / name).write_bytes(source)
            kept.write_bytes(source)
            changed = True
    return changed


def _build(command: list[str], folder: Path) -> str:
    """Run a build; the end of what it said where it failed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)[:200]
    return done.stderr.decode(errors="replace").strip()[-200:] or "failed" if done.returncode else ""
