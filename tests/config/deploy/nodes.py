"""Nodes behind a balancer, each with a store of its own, and what a test asks of all of them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from loadtest.client import ClientOptions
from loadtest.cluster.programs import Node
from loadtest.line import Address
from loadtest.swarm import Swarm, SwarmOptions
from persistence.results import SqliteResults
from session.identity import session_from_text

GRACE_S = 20.0
"""A node that stops lets its tests end; those of the swarm take 5 s."""


@contextmanager
def cluster(
    folder: Path, *, count: int = 2, stop_grace_s: float = GRACE_S, variables: Mapping[str, str] | None = None
) -> Iterator[list[Node]]:
    """Nodes, node-1 and so on."""
    settings = {"TYPEGATE_STOP_GRACE_S": str(stop_grace_s), "TYPEGATE_LOG_LEVEL": "error", **(variables or {})}
    with ExitStack() as stack:
        keys = folder / "keys.json"
        names = [f"node-{number}" for number in range(1, count + 1)]
        yield [stack.enter_context(Node(folder, name, keys=keys, variables=settings)) for name in names]


PATIENCE_S = 300.0


def swarm_of(typists: int, address: Address, *, mix: str = "time5") -> Swarm:
    """Typists, who type until what there is to see was seen."""
    options = SwarmOptions(
        typists=typists,
        seconds=PATIENCE_S,
        mix=mix,
        rest_ms=200.0,
        kill_every_s=1.0,
        client=ClientOptions(retry_ms=(100.0, 1_000.0)),
    )
    return Swarm(options, address, pid=lambda: None)


async def typed(swarm: Swarm, *, fault: Callable[[], None], over: Callable[[], bool]) -> dict[str, Any]:
    """Let a swarm type until it is over, with its fault once a second; the facts of it."""
    try:
        return await asyncio.to_thread(swarm.run, progress=lambda share, what: None, restart=fault, over=over)
    finally:
        swarm.close()


class Amid:
    """A fault that comes once, and not before so many type."""

    def __init__(self, swarm: Swarm, typists: int, fault: Callable[[], None]) -> None:
        self.came = False
        self._swarm, self._typists, self._fault = swarm, typists, fault

    def __call__(self) -> None:
        if not self.came and self._swarm.typing() >= self._typists:
            self.came = True
            self._fault()


def clean(facts: dict[str, Any]) -> None:
    """Fail where a client lost a test, or got another result than it typed."""
    assert facts["stored"] == facts["accepted"] == facts["started"] - facts["cut_short"] > 0, facts
    assert facts["mismatched"] == facts["doubled"] == facts["unfinished"] == 0, facts


async def without_row(nodes: Sequence[Node], sessions: Sequence[str]) -> set[str]:
    """Which of these no node's store has, after all were stopped."""
    missing = set(sessions)
    for node in nodes:
        async with SqliteResults(node.data / "results.db") as store:
            for session in sorted(missing):
                if await store.by_id(session_from_text(session)) is not None:
                    missing.discard(session)
    return missing


def stored_somewhere(nodes: Sequence[Node], swarm: Swarm) -> None:
    """Stop the nodes, and fail where a result that a client saw stored is in no store."""
    for node in nodes:
        node.stop()
    sessions = swarm.sessions()
    assert len(set(sessions)) == len(sessions)
    assert asyncio.run(without_row(nodes, sessions)) == set()
