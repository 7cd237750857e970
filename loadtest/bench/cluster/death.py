"""(b) kill -9 of a node: how soon its typists type again, and what is lost.

Two nodes behind HAProxy, with as many typists on each as are to lose theirs. They come back as the page does, each
after a chance part of a back-off that doubles, and HAProxy leads them to the node that is left. The clock runs from
the signal to the last `resumed`. Afterwards all type their tests to the end, and every result is held against the
client's own scoring of its whole log: a key that is in no result, or in one that differs, is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.bench.cluster.plant import Nodes
from loadtest.bench.paced import SteadyPlan, opened
from loadtest.bench.rounds import Bench, Part
from loadtest.client import ClientOptions, TypingClient
from loadtest.cluster.balancer import Balancer, Behind
from loadtest.cluster.scraping import total
from loadtest.engine import Engine
from loadtest.meters import Meters, Times
from loadtest.served import cpu_s
from loadtest.servers.haproxy import HAProxy
from loadtest.servers.process import HOST

__all__ = ["TARGET_S", "Killed", "kill_under", "node_killed"]

TARGET_S = 5.0

_BACK_S = 60.0
_UP_S = 60.0
_LAST_S = 60.0
_BEFORE_S = 3.0
_ALIKE = {" agent-check agent-port 9070 agent-inter 1s slowstart 10s": ""}
"""Nodes' weights stay the same, so that half of the typists are on each."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What a death showed."""

    typists: int
    lost: int
    """Typists who were on the node."""
    all_back_s: float
    """From the signal to the last `resumed`."""
    to_resumed: Times
    """Of each, from its connection's end."""
    stored: int
    mismatched: int
    keys_lost: int
    """Keys of tests whose result did not come, or is not what was typed."""
    node_cpu_ms: float
    """Of the node that is left, from the signal to the last `resumed`, for each who came."""
    late_ms: float | None
    errors: dict[str, int]
    notes: list[str]


def kill_under(nodes: Nodes, folder: Path, typists: int, seconds: int) -> Killed:
    """Kill the first of two nodes under so many typists in all, whose tests last so long.

    Raises RuntimeError where they do not come, or not come back.
    """
    dies, stays = nodes.each
    behind = [Behind(node.name, node.port, node.agent_port) for node in nodes.each]
    engine, meters = Engine(), Meters()
    plan = [SteadyPlan(number, seconds=seconds) for number in range(typists)]
    clients = [
        TypingClient(engine, number, plan[number], options=ClientOptions(), meters=meters) for number in range(typists)
    ]
    with Balancer(folder / "balancer", behind, _ALIKE) as balancer:
        try:
            until = time.monotonic() + _UP_S
            while set(balancer.states().values()) != {"UP"}:
                if time.monotonic() > until:
                    raise RuntimeError(f"HAProxy's nodes are not up: {balancer.states()}")
                time.sleep(0.05)
            opened(engine, clients, (HOST, balancer.port))
            _turn(engine, clients, lambda: False, _BEFORE_S)
            lost = round(total(dies.figures(within_s=_UP_S) or {}, "typegate_ws_connections"))
            engine.lateness.clear()
            resumed, cpu, killed_s = meters.resumed, cpu_s(stays.pid), time.monotonic()
            dies.kill()
            if not _turn(engine, clients, lambda: meters.resumed - resumed >= lost, _BACK_S):
                raise RuntimeError(f"{meters.resumed - resumed} of {lost} came back in {_BACK_S:g} s")
            back_s, cpu = time.monotonic() - killed_s, cpu_s(stays.pid) - cpu
            late_ms = engine.lateness.quantile(0.99)
            to_resumed = meters.to_resumed.copy()
            for client in clients:
                client.stop()
            _turn(engine, clients, partial(_all_done, clients), seconds + _LAST_S)
        finally:
            for client in clients:
                client.abandon()
            engine.close()
    each = 8 * seconds - 1
    return Killed(
        typists=typists,
        lost=lost,
        all_back_s=back_s,
        to_resumed=to_resumed,
        stored=meters.stored,
        mismatched=meters.mismatched,
        keys_lost=each * (typists - meters.stored + meters.mismatched),
        node_cpu_ms=1000 * cpu / max(1, lost),
        late_ms=late_ms,
        errors=dict(meters.errors),
        notes=meters.notes,
    )


def _turn(engine: Engine, clients: list[TypingClient], there: Callable[[], bool], limit_s: float) -> bool:
    """Type until it is there or the time is over; each client looks once a second whether its connection is dead."""
    until = time.monotonic() + limit_s
    while (left_s := until - time.monotonic()) > 0:
        if engine.run(there, limit_s=min(1.0, left_s)):
            return True
        for client in clients:
            client.look()
    return False


def _all_done(clients: list[TypingClient]) -> bool:
    return all(client.done for client in clients)


def node_killed(bench: Bench) -> Part:
    """Measure one death."""
    if (why := HAProxy.missing()) is not None:
        raise RuntimeError(f"{why}; loadtest/servers/install installs it")
    each, seconds = (100, 20) if bench.quick else (1_000, 45)
    bench.progress(0.0, f"kill -9 under {each:,} typists")
    with Nodes.running(2) as nodes, TemporaryDirectory(prefix="typegate-bench-") as folder:
        killed = kill_under(nodes, Path(folder), 2 * each, seconds)
    row: list[object] = [
        f"{killed.lost:,} of {killed.typists:,} typists",
        round(killed.all_back_s, 2),
        *(killed.to_resumed.quantile(share) for share in (0.5, 0.99)),
        killed.keys_lost,
        killed.stored,
        killed.mismatched,
        round(killed.node_cpu_ms, 2),
        killed.late_ms,
    ]
    facts: dict[str, Any] = {
        "typists": killed.typists,
        "lost": killed.lost,
        "all_back_s": killed.all_back_s,
        "to_resumed_ms": killed.to_resumed.facts(),
        "keys_lost": killed.keys_lost,
        "stored": killed.stored,
        "mismatched": killed.mismatched,
        "errors": killed.errors,
        "notes": killed.notes,
        "node_cpu_ms": killed.node_cpu_ms,
        "generator_late_p99_ms": killed.late_ms,
    }
    return Part(
        "(b) kill -9 of a node",
        (
            "lost their node",
            "all type again, s",
            "lost to resumed: p50 ms",
            "p99 ms",
            "keys lost",
            "results",
            "that differ",
            "other node's CPU ms each",
            "load late p99 ms",
        ),
        [row],
        facts,
        notes=(f"Target: all within {TARGET_S:g} s with full jitter from half a second on, no key lost.",),
    )
