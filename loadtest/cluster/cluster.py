"""Three gateway nodes behind HAProxy, workers, Kafka, MariaDB shards and Redis, each part with ways of its own.

    with Cluster(folder, ClusterOptions(nodes=3)) as cluster:
        ...                                  # clients come to cluster.address
        cluster.nodes[0].kill()
        cluster.links["node-2", "kafka"].silence()

Every part runs as a plain process on 127.0.0.1, dies with this one, and is ended by its process id alone. Data and logs
are in the folder that is given.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.cluster.balancer import Balancer, Behind
from loadtest.cluster.links import Link
from loadtest.cluster.programs import Node, Program, Worker
from loadtest.line import Address
from loadtest.servers.haproxy import HAProxy
from loadtest.servers.kafka import Kafka
from loadtest.servers.kinds import kind_named
from loadtest.servers.mariadb import MariaDbServer
from loadtest.servers.process import HOST, ServerProcess, unused_port
from loadtest.servers.redis import RedisServer
from loadtest.servers.toxiproxy import Toxiproxy, Way
from persistence.kafka.admin import create_topics
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions
from persistence.keys import load_keys
from persistence.mysql import MysqlOptions
from persistence.results.mysql import Upkeep

__all__ = ["Cluster", "ClusterOptions", "missing"]

BALANCER = "balancer"
_DATABASE = "typegate"
_STOP_S = 30.0
_TOPICS_MS = 60_000  # brokers that are just up take their time


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What there is of each part."""

    nodes: int = 3
    workers: int = 2
    brokers: int = 1
    """Kafka's; 3 where the machine bears it, and each record is in two of them at least then."""
    partitions: int = 12
    """Of the topic of results."""
    links: bool = True
    """Whether parts reach each other through Toxiproxy, so that their ways can be broken; else directly."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further settings of all nodes and workers."""
    balancing: Mapping[str, str] = field(default_factory=dict)
    """Lines of HAProxy's configuration, and what is to stand there instead."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 16 or not 1 <= self.workers <= 16:
            raise ValueError("nodes and workers are 1 to 16 each")
        if self.brokers not in (1, 3):
            raise ValueError(f"brokers is {self.brokers}; allowed are 1 and 3")
        if not 1 <= self.partitions <= 1_000:
            raise ValueError(f"partitions is {self.partitions}; allowed are 1 to 1,000")


def missing() -> str | None:
    """Why a cluster cannot run on this machine, and what to install; None where it can."""
    kinds = [kind_named(name).missing for name in ("kafka", "mariadb", "redis")]
    return next((why for found in (*kinds, HAProxy.missing, Toxiproxy.missing) if (why := found()) is not None), None)


class Cluster:
    """The parts, all of them made at once and started on entering."""

    def __init__(self, folder: Path, options: ClusterOptions | None = None) -> None:
        self.folder = folder
        self.options = options = options or ClusterOptions()
        nodes = [f"node-{number}" for number in range(1, options.nodes + 1)]
        workers = [f"worker-{number}" for number in range(1, options.workers + 1)]
        self._who = [*nodes, *workers]
        self._kafka_ways = (
            {_listener(name): [unused_port() for _ in range(options.brokers)] for name in self._who}
            if options.links
            else {}
        )
        self.kafka = Kafka(folder, brokers=options.brokers, ways=self._kafka_ways, quick=True)
        self.shards = {
            name: MariaDbServer(folder / f"shard-{name}", name=f"shard-{name}", number=number)
            for number, name in enumerate("ab", 1)
        }
        self.redis = RedisServer(folder / "redis")
        self.toxiproxy = Toxiproxy(folder / "toxiproxy")
        self.links: dict[tuple[str, str], Link] = {}
        """By who goes and where: `("node-1", "redis")`, and `("balancer", "node-1")`."""
        self.nodes: list[Node] = []
        self.workers: list[Worker] = []
        self.balancer: Balancer
        self._names = nodes, workers
        self._opened = ExitStack()

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where clients come to."""
        return HOST, self.balancer.port

    @property
    def programs(self) -> list[Program]:
        """Nodes and workers."""
        return [*self.nodes, *self.workers]

    @property
    def servers(self) -> dict[str, ServerProcess]:
        """All processes that may be killed, by name: Toxiproxy's end would be every way's at once."""
        others = (*self.kafka.brokers, *self.shards.values(), self.redis)
        return {BALANCER: self.balancer} | {one.name: one for one in (*self.nodes, *self.workers, *others)}

    @property
    def mysql(self) -> MysqlOptions:
        """The shards, reached directly; a busy one is waited for."""
        return MysqlOptions(
            shards=tuple(self._shard_lines({name: one.address for name, one in self.shards.items()})),
            connect_ms=60_000,
            wait_ms=60_000,
            read_ms=60_000,
            write_ms=60_000,
        )

    @property
    def kafka_options(self) -> KafkaOptions:
        """The brokers, reached directly."""
        return KafkaOptions(servers=tuple(self.kafka.addresses()["bootstrap"]), request_ms=_TOPICS_MS)

    @property
    def _topics(self) -> TopicOptions:
        copies = self.options.brokers
        return TopicOptions(
            replication=copies,
            min_insync=min(2, copies),
            results_partitions=self.options.partitions,
            analytics_partitions=2,
            dead_letter_partitions=2,
        )

    def _shard_lines(self, addresses: Mapping[str, str]) -> list[str]:
        buckets = {"a": "0-2047", "b": "2048-4095"}
        return [
            f"{name} {buckets[name]} {shard.dsn(_DATABASE).replace(shard.address, addresses[name])}"
            for name, shard in self.shards.items()
        ]

    def _variables(self, name: str) -> dict[str, str]:
        """The settings by which a part finds what is behind it."""
        topics = self._topics
        redis = self._way(name, "redis", self.redis)[0]
        kafka = self._way(name, "kafka", *self.kafka.brokers)
        shards = {one: self._way(name, server.name, server)[0] for one, server in self.shards.items()}
        return {
            "TYPEGATE_KAFKA_SERVERS": ",".join(kafka),
            "TYPEGATE_TOPICS_REPLICATION": str(topics.replication),
            "TYPEGATE_TOPICS_MIN_INSYNC": str(topics.min_insync),
            "TYPEGATE_TOPICS_RESULTS_PARTITIONS": str(topics.results_partitions),
            "TYPEGATE_TOPICS_ANALYTICS_PARTITIONS": str(topics.analytics_partitions),
            "TYPEGATE_TOPICS_DEAD_LETTER_PARTITIONS": str(topics.dead_letter_partitions),
            "TYPEGATE_MYSQL_SHARDS": json.dumps(self._shard_lines(shards)),
            "TYPEGATE_REDIS_URL": f"redis://{redis}/0",
            "TYPEGATE_LOG_LEVEL": "warning",
            **self.options.variables,
        }

    def _way(self, part: str, to: str, *servers: ServerProcess) -> list[str]:
        """The addresses at which a part finds these servers."""
        link = self.links.get((part, to))
        return [server.address for server in servers] if link is None else link.addresses

    # -- coming and going ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.callback(self._end)
            self._start()
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _start(self) -> None:
        behind: list[Callable[[], None]] = [self.kafka.start, self.redis.start]
        behind += [shard.start for shard in self.shards.values()]
        if self.options.links:
            behind.append(self.toxiproxy.start)
        _together(behind)
        asyncio.run(self._prepare())
        if self.options.links:
            self._lead()
        keys = self.folder / "keys.json"
        load_keys(keys, now_ms=time.time_ns() // 1_000_000, entropy=os.urandom)
        nodes, workers = self._names
        self.nodes = [Node(self.folder, name, keys=keys, variables=self._variables(name)) for name in nodes]
        self.workers = [Worker(self.folder, name, variables=self._variables(name)) for name in workers]
        if self.options.links:
            for node in self.nodes:
                way = self.toxiproxy.way(f"{BALANCER}-{node.name}", node.port)
                self.links[BALANCER, node.name] = Link(BALANCER, node.name, [way])
        self.balancer = Balancer(
            self.folder / BALANCER,
            [Behind(node.name, _port(self._way(BALANCER, node.name, node)[0]), node.agent_port) for node in self.nodes],
            self.options.balancing,
        )
        _together([*(program.start for program in self.programs), self.balancer.start])

    async def _prepare(self) -> None:
        """Make databases, their schema, and topics."""
        for shard in self.shards.values():
            shard.ask(f"CREATE DATABASE IF NOT EXISTS {_DATABASE}")
        async with Upkeep(self.mysql) as upkeep:
            await upkeep.migrate()
        await create_topics(self.kafka_options, self._topics)

    def _lead(self) -> None:
        """Make each part's ways to what is behind it."""
        for name in self._who:
            listener = _listener(name)
            brokers = [
                self._led(f"{name}-{broker.name}", behind, port)
                for broker, behind, port in zip(
                    self.kafka.brokers, self.kafka.behind[listener], self._kafka_ways[listener], strict=True
                )
            ]
            self.links[name, "kafka"] = Link(name, "kafka", brokers)
            for server in (*self.shards.values(), self.redis):
                self.links[name, server.name] = Link(
                    name, server.name, [self._led(f"{name}-{server.name}", server.port)]
                )

    def _led(self, name: str, to: int, port: int | None = None) -> Way:
        return self.toxiproxy.way(name, to, port=port)

    def stop(self) -> None:
        """Stop nodes and workers, as an operator does: their spools are handed on."""
        _together([(lambda one=program: one.stop(_STOP_S)) for program in self.programs])  # type: ignore[misc]

    def _end(self) -> None:
        """End everything at once."""
        mine = [*self.programs, *self.kafka.brokers, *self.shards.values(), self.redis, self.toxiproxy]
        for one in (*mine, *([self.balancer] if hasattr(self, "balancer") else [])):
            one.kill()


def _together(calls: Iterable[Callable[[], None]]) -> None:
    """Make these calls at once and wait for all of them; the first fault is raised."""
    calls = list(calls)
    with ThreadPoolExecutor(len(calls)) as threads:
        done = [threads.submit(call) for call in calls]
    for one in done:
        one.result()


def _listener(name: str) -> str:
    """The name of a part's listener at Kafka."""
    return name.upper().replace("-", "_")


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
