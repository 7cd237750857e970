"""What is sent: records, by lots; and what is known of a lot's fate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from persistence.errors import StoreError

__all__ = ["Identity", "Lot", "Outgoing", "in_lots"]

_LOT_BYTES = 768 * 1024
"""Most bytes in a lot; a broker takes batches up to 1 MiB unless it is told otherwise (`max.message.bytes`)."""
_BESIDE_BYTES = 1_000
"""About the most that a record has beside its value."""


class Outgoing(NamedTuple):
    """A record to be sent."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


class Identity(NamedTuple):
    """What brokers know a producer by."""

    id: int
    epoch: int


class Lot:
    """Records for one partition, at least one, which are kept together or not at all; and their fate as far as known.

    Made of more than `in_lots` puts together it may be refused.
    """

    __slots__ = ("answer", "identity", "kept", "partition", "records", "request", "sequence", "topic", "wire")

    def __init__(self, topic: str, partition: int, records: Sequence[Outgoing]) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.kept = False
        """Whether all replicas in step have it."""
        self.answer: StoreError | None = None
        """What was last said of it, where that is not that it is kept."""
        # the producer's own
        self.identity: Identity | None = None
        self.sequence = 0
        self.wire = b""
        self.request: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether it is still to be brought, or to be heard of."""
        return not self.kept and (self.answer is None or self.answer.retriable)


def in_lots(records: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    """Records for one partition in as many parts as brokers take as lots, in their order."""
    parts: list[list[Outgoing]] = []
    size = _LOT_BYTES
    for record in records:
        bytes_ = len(record.value or b"") + _BESIDE_BYTES
        size += bytes_
        if size > _LOT_BYTES:
            parts.append([])
            size = bytes_
        parts[-1].append(record)
    return list(parts)
