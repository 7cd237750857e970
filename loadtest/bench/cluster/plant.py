"""Redis and gateway nodes as real programs of this run's own, and what they cost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from loadtest.cluster.programs import Node
from loadtest.line import Address
from loadtest.served import cpu_s
from loadtest.servers.process import HOST
from loadtest.servers.redis import Redis, RedisServer
from persistence.keys import load_keys

__all__ = ["Nodes", "Spent", "at"]


def _needed() -> None:
    """Raises RuntimeError where Redis is not installed."""
    if (why := Redis.missing()) is not None:
        raise RuntimeError(f"{why}; loadtest/servers/install installs it")


def at(node: Node) -> Address:
    """Where clients come to."""
    return HOST, node.port


@dataclass(frozen=True, slots=True)
class Spent:
    """What Redis and the nodes have done so far; of two of them the later less the earlier is what lies between."""

    at_s: float
    nodes_s: float
    """CPU seconds of all nodes."""
    redis_s: float
    publishes: float
    in_bytes: float
    """What Redis was sent."""
    out_bytes: float
    """What it sent: what is published goes out once to each who listens."""

    def __sub__(self, before: Self) -> Spent:
        return Spent(*(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)))


class Nodes:
    """Redis and so many nodes that share it and their keys."""

    def __init__(self, folder: Path, redis: RedisServer, count: int) -> None:
        keys = folder / "keys.json"
        load_keys(keys, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom)
        self.redis = redis
        self.keys = keys
        """The nodes' common file of keys."""
        variables = {
            "TYPEGATE_REDIS_URL": f"redis://{redis.address}/0",
            "TYPEGATE_LOG_LEVEL": "warning",
            "TYPEGATE_STOP_GRACE_S": "1",
        }
        self.each = [Node(folder, f"node-{number + 1}", keys=keys, variables=variables) for number in range(count)]

    @classmethod
    @contextmanager
    def running(cls, count: int) -> Iterator[Nodes]:
        """All of it started, with data in a temporary folder; ended by their process ids."""
        _needed()
        with TemporaryDirectory(prefix="typegate-bench-") as name, ExitStack() as opened:
            folder = Path(name)
            redis = opened.enter_context(RedisServer(folder / "redis"))
            nodes = cls(folder, redis, count)
            for node in nodes.each:
                opened.callback(node.kill)
                node.launch()
            for node in nodes.each:
                node.wait_ready()
            yield nodes

    def spent(self) -> Spent:
        """What they have done until now."""
        stats, commands = self._info("stats"), self._info("commandstats")
        publish = dict(part.split("=") for part in commands.get("cmdstat_publish", "calls=0").split(","))
        return Spent(
            at_s=time.monotonic(),
            nodes_s=sum(cpu_s(node.pid) for node in self.each if node.alive),
            redis_s=cpu_s(self.redis.pid),
            publishes=float(publish["calls"]),
            in_bytes=float(stats["total_net_input_bytes"]),
            out_bytes=float(stats["total_net_output_bytes"]),
        )

    def _info(self, section: str) -> dict[str, str]:
        lines = (line.partition(":") for line in self.redis.ask("info", section).splitlines())
        return {name: value for name, _, value in lines if value}
