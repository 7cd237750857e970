"""A dead letter as a record: what could not be processed, as it was, and why.

    place    by the partition that it came from: what lay there in order lies here in order
    key, value as they were
    headers  its own, then these of ours, each once
             dead.reason     one word: malformed, implausible, newer, refused, fault, webhook
             dead.error      a sentence
             dead.from       topic/partition/offset
             dead.by         the worker that could not process it
             dead.at         when that was (epoch ms)

Put back, it is the record that it was, with its attempt counted up. A value that is too large for the dead letters'
topic is left out; `dead.from` says where it lies, as long as that topic keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from persistence.kafka.lot import Outgoing

__all__ = ["Buried", "bury", "exhume"]

_OURS = "dead."
_ERROR_BYTES = 1_000


class Buried(NamedTuple):
    """What a dead letter says of itself."""

    reason: str
    error: str
    topic: str
    """Where it came from."""
    partition: int
    offset: int
    worker: str
    at_ms: int
    headers: list[tuple[str, bytes]]
    """Its own."""


def bury(
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    *,
    reason: str,
    error: str,
    topic: str,
    partition: int,
    offset: int,
    worker: str,
    at_ms: int,
) -> Outgoing:
    """A record as a dead letter."""
    ours = {
        "reason": reason,
        "error": error,
        "from": f"{topic}/{partition}/{offset}",
        "by": worker,
        "at": str(at_ms),
    }
    return Outgoing(
        key,
        value,
        [
            *((name, said) for name, said in headers if not name.startswith(_OURS)),
            *((_OURS + name, said.encode("utf-8", "replace")[:_ERROR_BYTES]) for name, said in ours.items()),
        ],
        at_ms,
    )


def exhume(headers: Iterable[tuple[str, bytes]]) -> Buried | None:
    """What a dead letter's headers say; None where they are not those of one."""
    own: list[tuple[str, bytes]] = []
    said: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_OURS):
            said[name.removeprefix(_OURS)] = (value or b"").decode("utf-8", "replace")
        else:
            own.append((name, value))
    try:
        topic, partition, offset = said["from"].rsplit("/", 2)
        return Buried(
            said["reason"], said["error"], topic, int(partition), int(offset), said["by"], int(said["at"]), own
        )
    except (KeyError, ValueError):
        return None
