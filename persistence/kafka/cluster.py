"""A client of Kafka that is kept through outages: connected while there is somebody to connect to.

aiokafka's client must find a broker when it is started, or it is of no use; started, it goes by the brokers that it
knows, and where all of those are gone for good it never asks the configured ones again. So it is started when it is
needed, again and again, and thrown away when no broker that it knows answers.

Every wait is bounded by its caller. What goes on behind a wait that was given up goes on, and is picked up by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from persistence.errors import StoreError
from persistence.kafka.options import KafkaOptions
from persistence.kafka.reach import why_unreachable

__all__ = ["Cluster"]

log = structlog.get_logger(__name__)

_CLOSE_S = 1.0
"""Closing waits so long for what is in its sockets; a broker that reads nothing would hold it up for ever."""
_FAULTS = (KafkaError, OSError, TimeoutError, KeyError)  # KeyError: aiokafka, on a connection closed under a request


class Cluster:
    """A client for some topics. An async context manager; entering needs no broker."""

    def __init__(self, options: KafkaOptions, topics: Sequence[str], *, client_id: str) -> None:
        self._options = options
        self._topics = tuple(topics)
        self._client_id = client_id
        self._client: AIOKafkaClient | None = None
        self._connecting: asyncio.Task[AIOKafkaClient] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._arguments: dict[str, Any] = {}
        self.connections = 0
        """How often a client was started with success."""
        self.fault: str | None = None
        """Why there is no connection, as far as it is known; None when all is well."""

    async def __aenter__(self) -> Self:
        """Raises StoreError where a file that the options name cannot be used."""
        self._arguments = await asyncio.to_thread(self._options.client, self._client_id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            # let to its end where it can be: cut off amid its talk with a broker, aiokafka leaves that connection open
            await asyncio.wait({connecting}, timeout=_CLOSE_S)
            connecting.cancel()
            await asyncio.wait({connecting})
            if not connecting.cancelled() and connecting.exception() is None:
                self._client = connecting.result()
        client, self._client = self._client, None
        if client is not None:
            self._owned(_close(client))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def connected(self, *, within_s: float) -> None:
        """Return once there is a connection and every topic is known. Raises StoreError where that takes too long."""
        if self._client is not None:
            return
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = self._owned(self._connect())
        await asyncio.wait({connecting}, timeout=within_s)
        if not connecting.done():
            raise StoreError(f"no answer from Kafka at {', '.join(self._options.servers)} yet", retriable=True)
        if self._connecting is connecting:  # the first of those who waited
            self._connecting = None
            if connecting.exception() is None:
                self._client = connecting.result()
                self.connections += 1
                self.fault = None
            else:
                self.fault = str(connecting.exception())
        connecting.result()

    async def _connect(self) -> AIOKafkaClient:
        servers = ", ".join(self._options.servers)
        client = AIOKafkaClient(**self._arguments)
        try:
            try:
                await client.bootstrap()
            except _FAULTS as fault:
                why = await why_unreachable(self._arguments)
                raise StoreError(f"no broker of Kafka can be reached ({why})", retriable=True) from fault
            # Asked by ourselves at first: aiokafka's own question would create a topic where the brokers allow that.
            try:
                found = await client.send(
                    client.get_random_node(), MetadataRequest(list(self._topics), allow_auto_topic_creation=False)
                )
            except _FAULTS as fault:
                raise StoreError(f"Kafka at {servers} says nothing of its topics: {fault}", retriable=True) from fault
            for code, topic, *_ in found.topics:
                if code:
                    raise StoreError(_topic_fault(code, topic), retriable=True)
            if not await client.set_topics(self._topics):
                raise StoreError(f"Kafka at {servers} does not say who leads what", retriable=True)
            return client
        except BaseException:
            await _close(client)
            raise

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises StoreError where that is not known; it is found out by next time."""
        client = self._client
        found = None if client is None else client.cluster.partitions_for_topic(topic)
        if not found:
            self._give_up(client, f"Kafka has the topic {topic} no more")
            raise StoreError(f"Kafka says nothing of the topic {topic} just now", retriable=True)
        return len(found)

    def leader(self, topic: str, partition: int) -> int | None:
        """The broker that takes records for a partition; None where there is none, or none is known."""
        if self._client is None:
            return None
        node: int | None = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if node == -1 else node

    async def refresh(self, *, within_s: float) -> bool:
        """Learn anew who leads what; False where it takes longer. Raises StoreError where no known broker answers."""
        client = self._client
        if client is None:
            return False
        asked = client.force_metadata_update()
        done, _ = await asyncio.wait({asked}, timeout=within_s)
        if not done:
            return False
        if not asked.result():
            self._give_up(client, "none of Kafka's brokers answers")
            raise StoreError("none of Kafka's brokers answers", retriable=True)
        return True

    def _give_up(self, client: AIOKafkaClient | None, why: str) -> None:
        """Throw a client away, so that the next use begins with the configured brokers."""
        if client is not None and self._client is client:
            self.fault = why
            self._client = None
            self._owned(_close(client))

    async def ask(self, request: Any, *, node: int | None = None) -> Any:
        """Send a request to a broker, any by default, and return its answer, within `request_ms` or a few of it.

        Raises StoreError, retriable: whether the broker has done what it was asked is not known then.
        """
        client = self._client
        if client is None:
            raise StoreError("there is no connection to Kafka", retriable=True)
        try:
            return await client.send(client.get_random_node() if node is None else node, request)
        except _FAULTS as fault:
            name = "no broker of Kafka" if node is None else f"Kafka's broker {node}"
            raise StoreError(f"{name} did not answer: {fault!r}", retriable=True) from fault

    def _owned(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _close(client: AIOKafkaClient) -> None:
    """Close a client in bounded time."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
    except TimeoutError:
        log.warning("a connection to Kafka did not close in time and was left")


def _topic_fault(code: int, topic: str) -> str:
    if code == 3:  # UNKNOWN_TOPIC_OR_PARTITION
        return f"Kafka has no topic {topic}; make it with: typegate topics create"
    return f"Kafka says of the topic {topic}: {for_code(code).__name__}"
