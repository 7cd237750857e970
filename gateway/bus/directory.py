"""Who is there: the processes of the cluster, as far as one of them knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["Directory", "LocalDirectory", "Node", "Watch"]

_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Node:
    """A process of the cluster, as it describes itself."""

    id: str
    """Its name, which no other process has at the time."""
    run: str
    """Another one at each start."""
    version: str
    """Its Typegate."""
    url: str = ""
    """Where it serves; empty: it does not say."""
    admin_url: str = ""
    """Its admin port; empty: it has none."""
    since_ms: int = 0
    """When it started (epoch ms)."""

    def to_map(self) -> dict[str, Any]:
        """As it is kept."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, found: object) -> Node:
        """A node as it was kept; what a newer version says more of it is passed over. Raises ValueError."""
        if not isinstance(found, dict):
            raise ValueError("no node")
        known: dict[str, Any] = {}
        for field in fields(cls):
            value = found.get(field.name, field.default)
            kind = int if field.name == "since_ms" else str
            if type(value) is not kind or (isinstance(value, str) and len(value) > _LONGEST):
                raise ValueError(f"no node: {field.name} is {value!r:.80}")
            known[field.name] = value
        return cls(**known)


Watch = Callable[[Node, bool], None]
"""Called with a node that came (True), or is gone: on the event loop, and quick."""


class Directory(Protocol):
    """Knows which nodes are there, this process's own included.

    Guarantee: a process that ends in good order is gone from the others' directories at once, one that dies or hangs
    after its lease. While nobody can be asked all stay as they were: nobody is taken for dead because Redis is away.
    """

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Those that are there now, by id."""
        ...

    @property
    def learnt(self) -> bool:
        """Whether it was asked who is there; until then nobody is known but this process itself."""
        ...

    def watch(self, watch: Watch) -> None:
        """Tell of every node that comes or goes from now on. One that starts anew goes and comes."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where this process is not known to the others, or they not to it."""
        ...


class LocalDirectory:
    """Where there is one process, and it is alone."""

    def __init__(self, node: Node) -> None:
        self.nodes: Mapping[str, Node] = {node.id: node}
        self.learnt = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def watch(self, watch: Watch) -> None:
        """Nobody comes or goes."""

    async def ping(self) -> None:
        """There is nobody else to know."""


def epoch_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000
