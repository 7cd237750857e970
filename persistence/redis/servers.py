"""Redis as a whole: which server has a key, and calls brought there, standalone and on a Cluster alike.

On a Cluster the map of slots is read from any node that answers, patched by what MOVED says, and read again while a
node is away: its replica may have taken its place.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from persistence.errors import StoreError
from persistence.redis.calls import Answer, Argument, Call
from persistence.redis.node import RedisNode
from persistence.redis.options import RedisOptions

log = structlog.get_logger(__name__)

_SLOTS = 16_384
_ROUNDS = 5
"""How often a call may be sent on (MOVED, ASK, a script not known): a slot that wanders needs three."""
_TRY_AGAIN_S = 0.02
_OF_A_CLUSTER = "Redis at {} is a node of a Cluster; name it by `nodes` instead of `url`"
_OURS = frozenset(("ERR", "WRONGTYPE", "CROSSSLOT", "NOSCRIPT"))
"""Refusals of what we said, which stays wrong; all others are the server's state."""


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What became of calls since this was opened, and who is away."""

    calls: int
    failures: int
    away: tuple[str, ...]
    """Servers that do not answer now, and whose place nobody has taken."""


class _Pending:
    """A call that has no answer yet."""

    __slots__ = ("asking", "at", "call", "node", "whole")

    def __init__(self, at: int, call: Call, node: RedisNode) -> None:
        self.at = at
        self.call = call
        self.node = node
        self.asking = False
        self.whole = False

    def commands(self) -> list[tuple[Argument, ...]]:
        command = self.call.whole if self.whole else self.call.command
        return [("ASKING",), command] if self.asking else [command]


class RedisServers:
    """The standalone server or the Cluster of the settings. Opening it needs no Redis: without one, calls fail."""

    def __init__(self, options: RedisOptions, *, chance: random.Random | None = None) -> None:
        self._options = options
        self._chance = chance or random.Random()
        self._nodes: dict[str, RedisNode] = {}
        self._seeds: list[RedisNode] = []
        self._slots: list[RedisNode | None] = []
        """Who has each slot; empty until it is known."""
        self._masters: set[RedisNode] = set()
        self._mapping: asyncio.Task[None] | None = None
        self._lost = False
        """Whether the map could not be read when it was last tried."""
        self._tending: dict[str, asyncio.Task[None]] = {}
        self._on_return: list[Callable[[], None]] = []
        self._calls = self._failures = 0

    async def __aenter__(self) -> Self:
        """Read what files the settings name. Raises `StoreError` where one cannot be read."""
        self._open = await asyncio.to_thread(self._options.opener)
        self._seeds = [self._node(host, port) for host, port in self._options.seeds()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tending.values(), *([self._mapping] if self._mapping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for node in self._nodes.values():
            await node.close()

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return self._options.prefix

    @property
    def one_place(self) -> bool:
        """Whether all keys lie on one server, so that one call may name any of them; a Cluster's lie by their slots."""
        return not self._cluster

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call this, on the event loop, whenever a server is back that was away."""
        self._on_return.append(callback)

    async def ask(self, call: Call) -> Answer:
        """Bring one call. Raises `StoreError`."""
        (answer,) = await self.each([call])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def each(self, calls: Sequence[Call]) -> list[Answer | StoreError]:
        """Bring calls, those of one server together; what became of each, in their order."""
        answers: list[Answer | StoreError | None] = [None] * len(calls)
        pending: list[_Pending] = []
        for at, call in enumerate(calls):
            try:
                pending.append(_Pending(at, call, await self._node_of(call.key)))
            except StoreError as fault:
                answers[at] = fault
        for _ in range(_ROUNDS):
            if not pending:
                break
            pending = await self._round(pending, answers)
        for one in pending:
            answers[one.at] = StoreError(f"Redis sends a call from server to server: {one.call.key}", retriable=True)
        self._calls += len(calls)
        self._failures += sum(isinstance(answer, StoreError) for answer in answers)
        return [answer for answer in answers if answer is not None]

    async def owner(self, key: str) -> tuple[str, int]:
        """Host and port of the server that has a key. Raises `StoreError` where nobody has it, or nobody says who."""
        node = await self._node_of(key)
        return node.host, node.port

    def look_again(self) -> None:
        """Read soon who has which keys: somebody found it to be otherwise. It has no effect on a standalone server."""
        self._map_soon()

    async def ping(self) -> None:
        """Raise `StoreError` where a server does not answer, or is of the other kind than the settings say."""
        if self._cluster:
            await self._map()
            if None in self._slots:
                raise StoreError("the Redis Cluster has slots without a master", retriable=True)
            for node in self._masters or self._seeds:
                await node.exchange([("PING",)])
            return
        (server,) = self._seeds
        (info,), _ = await server.exchange([("INFO", "server")])
        if isinstance(info, bytes) and b"redis_mode:cluster" in info:  # some keys it takes, others not
            raise StoreError(_OF_A_CLUSTER.format(server.name), retriable=True)

    def facts(self) -> RedisFacts:
        """Facts for metrics; cheap."""
        needed = self._masters or self._seeds
        away = tuple(node.name for node in needed if node.fault is not None)
        return RedisFacts(self._calls, self._failures, away)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def _round(self, pending: Sequence[_Pending], answers: list[Answer | StoreError | None]) -> list[_Pending]:
        """Send each to its server once; those that are to be sent again."""
        groups: dict[RedisNode, list[_Pending]] = {}
        for one in pending:
            groups.setdefault(one.node, []).append(one)
        if len(groups) == 1:
            ((node, group),) = groups.items()
            return await self._send(node, group, answers)
        again = await asyncio.gather(*(self._send(node, group, answers) for node, group in groups.items()))
        return [one for some in again for one in some]

    async def _send(
        self, node: RedisNode, group: Sequence[_Pending], answers: list[Answer | StoreError | None]
    ) -> list[_Pending]:
        try:
            replies, run = await node.exchange([command for one in group for command in one.commands()])
        except StoreError as fault:
            for one in group:
                answers[one.at] = fault
            return []
        again = []
        replied = iter(replies)
        for one in group:
            if one.asking:
                next(replied)
            reply = next(replied)
            if not isinstance(reply, ResponseError):
                answers[one.at] = Answer(reply, run)
            elif await self._sent_on(one, reply):
                again.append(one)
            else:
                answers[one.at] = self._refusal(node, reply)
        return again

    async def _sent_on(self, one: _Pending, reply: ResponseError) -> bool:
        """Whether the call is to be sent again, and where."""
        one.asking = False
        match reply:
            case NoScriptError() if one.call.script is not None and not one.whole:
                one.whole = True
            case MovedError() if self._cluster:
                one.node = self._node(reply.host or one.node.host, reply.port)
                self._slots[reply.slot_id] = one.node
                self._map_soon()
            case MovedError():
                return False
            case AskError():
                one.node, one.asking = self._node(reply.host or one.node.host, reply.port), True
            case TryAgainError():  # some keys of the call are on their way to another server
                await asyncio.sleep(_TRY_AGAIN_S)
            case _:
                return False
        return True

    def _refusal(self, node: RedisNode, reply: ResponseError) -> StoreError:
        why = f"Redis at {node.name} refuses: {str(reply).rstrip('.')}"
        match reply:
            case ClusterDownError():
                self._map_soon()
            case OutOfMemoryError():
                why = f"Redis at {node.name} is full"
            case ReadOnlyError():
                why = f"Redis at {node.name} is a replica"
            case MovedError():
                why = _OF_A_CLUSTER.format(node.name)
        code = reply.status_code or str(reply).partition(" ")[0]
        return StoreError(why, retriable=code not in _OURS)

    # -- servers -------------------------------------------------------------------------------------------------

    @property
    def _cluster(self) -> bool:
        return bool(self._options.nodes)

    async def _node_of(self, key: str) -> RedisNode:
        if not self._cluster:
            return self._seeds[0]
        if not self._slots:
            if (away := self._seeds[0].fault) and all(seed.fault for seed in self._seeds):
                raise StoreError(away, retriable=True)
            await self._map()
        slot = key_slot(key.encode())
        node = self._slots[slot]
        if node is None:
            self._map_soon()
            raise StoreError(f"slot {slot} of the Redis Cluster has no master", retriable=True)
        return node

    def _node(self, host: str, port: int) -> RedisNode:
        """The server at an address."""
        node = self._nodes.get(f"{host}:{port}")
        if node is None:
            options = self._options
            node = RedisNode(
                host,
                port,
                self._open,
                connections=options.connections,
                call_ms=options.call_ms,
                on_away=self._tend,
            )
            self._nodes[node.name] = node
        return node

    def _tend(self, node: RedisNode) -> None:
        """Try a server until it is back."""
        if node.name not in self._tending:
            task = asyncio.get_running_loop().create_task(self._until_back(node), name=f"Redis at {node.name}")
            self._tending[node.name] = task
            task.add_done_callback(lambda _: self._tended(node, task))

    def _tended(self, node: RedisNode, task: asyncio.Task[None]) -> None:
        """It is back, or gone; one that was away again before this was told has nobody who tries it."""
        if self._tending.get(node.name) is task:
            del self._tending[node.name]
            if node.fault is not None and self._nodes.get(node.name) is node and not task.cancelled():
                self._tend(node)

    async def _until_back(self, node: RedisNode) -> None:
        """Tell when a server is back, or when another has its place."""
        wait_ms: float = self._options.retry_min_ms
        replaced = False
        while self._nodes.get(node.name) is node:
            await asyncio.sleep(wait_ms * self._chance.uniform(0.5, 1.0) / 1000)
            wait_ms = min(2 * wait_ms, self._options.retry_max_ms)
            if await node.probe():
                break
            if self._cluster and not replaced:
                try:
                    await self._map()
                except StoreError:
                    continue
                if node not in self._masters:
                    replaced = True
                    self._tell_return()
        self._tell_return()

    def _tell_return(self) -> None:
        for callback in self._on_return:
            callback()

    def _map_soon(self) -> None:
        if self._cluster and self._mapping is None:
            task = self._mapping = asyncio.get_running_loop().create_task(self._read_map(), name="slots of Redis")
            task.add_done_callback(self._mapped)

    def _mapped(self, task: asyncio.Task[None]) -> None:
        self._mapping = None
        if task.cancelled():
            return
        fault = task.exception()
        if fault is not None and not self._lost:
            log.error("the slots of the Redis Cluster cannot be read", why=str(fault))
        self._lost = fault is not None

    async def _map(self) -> None:
        """Learn who has which slots. Raises `StoreError` where nobody says so."""
        self._map_soon()
        assert self._mapping is not None
        await asyncio.shield(self._mapping)

    async def _read_map(self) -> None:
        fault = StoreError("the Redis Cluster has no node that answers", retriable=True)
        known = [node for node in self._nodes.values() if node.fault is None]
        self._chance.shuffle(known)
        for node in dict.fromkeys([*known, *self._seeds]):
            try:
                (reply,), _ = await node.exchange([("CLUSTER", "SLOTS")])
            except StoreError as why:
                fault = why
                continue
            if isinstance(reply, ResponseError):
                fault = StoreError(f"{node.name} is no node of a Redis Cluster: {reply}", retriable=False)
                continue
            await self._take_map(node, reply)
            return
        raise fault

    async def _take_map(self, said: RedisNode, ranges: Sequence[Any]) -> None:
        slots: list[RedisNode | None] = [None] * _SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            master = self._node(host.decode() or said.host, port)
            slots[first : last + 1] = [master] * (last + 1 - first)
        self._slots = slots
        self._masters = {node for node in slots if node is not None}
        for node in [node for node in self._nodes.values() if node not in self._masters and node not in self._seeds]:
            del self._nodes[node.name]
            await node.close()
