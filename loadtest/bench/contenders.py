"""Who is compared: how each server program is had, and what it does."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from loadtest.bench import builds
from loadtest.bench.builds import Absent
from loadtest.served import Child

__all__ = ["CONTENDERS", "OURS", "Contender", "Work"]

Work = Literal["echo", "paced", "scored"]

OURS = "Typegate's wire"


@dataclass(frozen=True, slots=True)
class Contender:
    """One server of the comparison."""

    name: str
    what: str
    """What it is, in a few words."""
    command: Callable[[], list[str]]
    """The program and its arguments but for the work. Raises Absent."""
    works: frozenset[Work]
    speaks: Literal["websocket", "raw", "deflate"] = "websocket"
    scores: Literal["the protocol", "plain frames"] = "plain frames"
    """How it takes `scored` work: as `typegate.v1.msgpack`, or text first and then frames of keys."""
    heavy: bool = False
    """It cannot hold the paced load of the others: it gets fewer connections."""

    def child(self, work: Work, *, core: int | None) -> Child:
        """The server as a child that is yet to be started. Raises Absent where it cannot be had."""
        variables = {"GOMAXPROCS": "1"}  # what other languages leave alone
        return Child(self.name, [*self.command(), work], core=core, variables=variables)


def _python(program: str, *, module: str | None = None) -> list[str]:
    if module is not None and importlib.util.find_spec(module) is None:
        raise Absent(f"not here: {module} is not installed")
    return [sys.executable, "-m", "loadtest.bench.serve", program]


_ALL: frozenset[Work] = frozenset(("echo", "paced", "scored"))
_BARE: frozenset[Work] = frozenset(("echo", "paced"))


def _library(name: str, what: str, program: str, *, deflate: bool) -> Contender:
    return Contender(
        name,
        what,
        partial(_python, program),
        _BARE if deflate else _ALL,
        speaks="deflate" if deflate else "websocket",
        scores="the protocol",
        heavy=True,
    )


CONTENDERS = (
    Contender("raw TCP", "uvloop, no WebSocket: the floor for Python", partial(_python, "raw"), _BARE, speaks="raw"),
    Contender("uWebSockets", "C++, its own epoll loop", builds.uwebsockets, _ALL),
    Contender("fastwebsockets", "Rust, one tokio thread", builds.fastwebsockets, _ALL),
    Contender(OURS, "edge and wire, plain Python on uvloop", partial(_python, "wire"), _BARE),
    Contender("picows", "Cython on uvloop", partial(_python, "picows", module="picows"), _BARE),
    Contender("nbio", "Go, epoll, GOMAXPROCS=1", partial(builds.go, "nbio"), _ALL),
    Contender("gorilla", "Go, a goroutine each, GOMAXPROCS=1", partial(builds.go, "gorilla"), _ALL),
    Contender("Node ws", "JavaScript, compression off", builds.node, _ALL),
    _library("websockets", "asyncio.serve on uvloop, compression and pings off", "websockets", deflate=False),
    _library("websockets, default", "asyncio.serve on uvloop as it comes", "websockets-default", deflate=True),
    _library(
        "websockets, stock", "asyncio.serve on asyncio, compression and pings off", "websockets-stock", deflate=False
    ),
    _library(
        "websockets, stock default", "asyncio.serve on asyncio as it comes", "websockets-stock-default", deflate=True
    ),
)
