"""The directory in Redis: each process holds a lease `node:{id}`, and a set `nodes` says whose leases to look at.

A lease is renewed without writing anything new, so that a Redis that is full lets those live who are there. Who comes
or leaves says so on the bus, and the others look at once; else they look from time to time, and find that a lease has
run out. Of two processes with one name the later has it, and the other says so: it goes on, but nobody can ask for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import msgpack
import structlog

from config.bus import BusOptions
from gateway.bus.bus import Bus
from gateway.bus.directory import Node, Watch
from persistence.errors import StoreError
from persistence.redis import Call, RedisServers, Script

__all__ = ["LeasedDirectory", "read_nodes"]

CHANNEL = "nodes"
MOST_NODES = 1_000
"""Beyond these the rest is not looked at; a cluster has some dozens."""

_HELD, _TAKEN, _ANOTHERS = 1, 2, 0

_RENEW = Script(
    """
    local held = redis.call('GET', KEYS[1])
    if held == ARGV[1] then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        return 1
    end
    if held and ARGV[3] == '0' then
        return 0
    end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 2
    """
)
"""Renew our lease; take it where nobody has it, or another has and ARGV[3] says so."""

_LEAVE = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")

log = structlog.get_logger(__name__)


class LeasedDirectory:
    """A `Directory` by leases in Redis. Opening needs no Redis; it is told in `ping` where there is none."""

    def __init__(self, servers: RedisServers, bus: Bus, node: Node, options: BusOptions | None = None) -> None:
        self._servers = servers
        self._bus = bus
        self._node = node
        self._options = options or BusOptions()
        self._lease = msgpack.packb(node.to_map())
        self._key = f"{servers.prefix}node:{node.id}"
        self._nodes: dict[str, Node] = {node.id: node}
        self.learnt = False
        self._watches: list[Watch] = []
        self._look = asyncio.Event()
        self._runs: dict[str, str] = {}
        """Which run of which server last answered for a node."""
        self._doubts: dict[str, float] = {}
        """Until when a node without a lease is thought to be there all the same, by the loop's clock."""
        self._faults: dict[str, str] = {"lease": "not renewed yet", "directory": "not read yet"}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._subscription = self._bus.subscribe(CHANNEL, self._told, resync=self._look.set)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._renewing(), name="lease"),
            loop.create_task(self._looking(), name="directory"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._subscription.close()
        try:
            await self._servers.ask(_LEAVE.call((self._key,), self._lease))
            await self._bus.publish(CHANNEL, [self._node.id, False])
        except StoreError as fault:
            log.info("others learn by our lease's end that we are gone", why=str(fault))

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Those that are there now, by id."""
        return self._nodes

    def watch(self, watch: Watch) -> None:
        """Tell of every node that comes or goes from now on."""
        self._watches.append(watch)

    async def ping(self) -> None:
        """Raise `StoreError` where this process is not known to the others, or they not to it."""
        for what, fault in self._faults.items():
            raise StoreError(f"{what}: {fault}", retriable=True)

    # -- our lease -----------------------------------------------------------------------------------------------

    async def _renewing(self) -> None:
        take = True  # whoever had the name before is dead: we have been started in its place
        told = False
        while True:
            try:
                answer = await self._servers.ask(
                    _RENEW.call((self._key,), self._lease, self._options.lease_ms, int(take))
                )
                held = answer.value
                if held != _ANOTHERS:
                    await self._be_in_the_index()
            except StoreError as fault:
                self._faults["lease"] = str(fault)
            else:
                take = False
                if held == _ANOTHERS:
                    why = f"another process calls itself {self._node.id}; give each its own name (--node)"
                    self._faults["lease"] = why
                    if not told:
                        log.error("the lease of this process is another's", why=why)
                    told = True
                else:
                    self._faults.pop("lease", None)
                    told = False
                    if held == _TAKEN:
                        self._bus.post(CHANNEL, [self._node.id, True])
            await asyncio.sleep(self._options.lease_ms / 5000)

    async def _be_in_the_index(self) -> None:
        """A full Redis refuses to add even what is there, so it is asked first."""
        index, id_ = self._index, self._node.id
        if not (await self._servers.ask(Call(index, ("SISMEMBER", index, id_)))).value:
            await self._servers.ask(Call(index, ("SADD", index, id_)))

    @property
    def _index(self) -> str:
        return f"{self._servers.prefix}nodes"

    # -- the others' ---------------------------------------------------------------------------------------------

    def _told(self, message: Any) -> None:
        """Somebody came or left; what it says is no more than a reason to look."""
        self._look.set()

    async def _looking(self) -> None:
        while True:
            try:
                await self._read()
            except StoreError as fault:
                self._faults["directory"] = str(fault)
            else:
                self._faults.pop("directory", None)
                self.learnt = True
            try:
                async with asyncio.timeout(self._options.lease_ms / 2500):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()

    async def _read(self) -> None:
        found = await _read(self._servers, self._index, self._nodes)
        now = asyncio.get_running_loop().time()
        there = {self._node.id: self._node}
        for id_, (node, run) in found.items():
            if run != self._runs.get(id_, run):
                # This Redis has started anew, or taken another's place: it may have lost the lease, but its holder
                # is given the time to renew it.
                self._doubts[id_] = now + self._options.lease_ms / 1000
            self._runs[id_] = run
            if id_ == self._node.id:
                continue
            if node is not None:
                there[id_] = node
            elif id_ in self._nodes and now < self._doubts.get(id_, 0):
                there[id_] = self._nodes[id_]
            else:
                await self._servers.ask(Call(self._index, ("SREM", self._index, id_)))
        for kept in (self._runs, self._doubts):
            for id_ in kept.keys() - found.keys():
                del kept[id_]
        before, self._nodes = self._nodes, there
        for id_, node in before.items():
            if there.get(id_) != node:
                self._tell(node, came=False)
        for id_, node in there.items():
            if before.get(id_) != node:
                self._tell(node, came=True)

    def _tell(self, node: Node, *, came: bool) -> None:
        log.info("a process came" if came else "a process is gone", node=node.id)
        for watch in self._watches:
            try:
                watch(node, came)
            except Exception:
                log.exception("who watches the directory failed", node=node.id)


async def read_nodes(servers: RedisServers) -> list[Node]:
    """The nodes that are there, by name, for who looks once. Raises `StoreError`."""
    found = await _read(servers, f"{servers.prefix}nodes", ())
    return sorted((node for node, _ in found.values() if node is not None), key=lambda node: node.id)


async def _read(servers: RedisServers, index: str, known: Iterable[str]) -> dict[str, tuple[Node | None, str]]:
    """What the leases say of all who are in the index or `known`: None of one that has run out; and who answered."""
    answer = await servers.ask(Call(index, ("SMEMBERS", index)))
    ids = sorted({*known, *(id_.decode("utf-8", "replace") for id_ in answer.value[:MOST_NODES])})
    leases = await servers.each(
        [Call(f"{servers.prefix}node:{id_}", ("GET", f"{servers.prefix}node:{id_}")) for id_ in ids]
    )
    found = {}
    for id_, lease in zip(ids, leases, strict=True):
        if isinstance(lease, StoreError):
            raise lease
        found[id_] = (None if lease.value is None else _node(id_, lease.value), lease.run)
    return found


def _node(id_: str, lease: bytes) -> Node | None:
    try:
        return Node.of(msgpack.unpackb(lease))
    except Exception as fault:  # whatever msgpack stumbles over; it is somebody else's
        log.warning("a lease cannot be read", node=id_, why=str(fault))
        return None
