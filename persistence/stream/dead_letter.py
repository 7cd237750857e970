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
topic is left out, and so are key and headers of its own where they are; `dead.from` says where it lies, as long as that
topic keeps it.

A letter that was put back or dropped is *settled*, by a second record behind it in its partition, without a value:

    headers  dead.settles    partition/offset of the letter
             dead.how        replayed, dropped
             dead.at         when that was (epoch ms)

Letters are settled one by one and in any order, which committed offsets could not say; and nothing is taken away before
the topic's retention does it, so a letter that was dropped by mistake can still be put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from persistence.kafka.lot import Outgoing
from persistence.stream.record import attempt_of

__all__ = ["Buried", "Settlement", "bare", "bury", "exhume", "put_back", "settle", "settlement"]

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


def bare(letter: Outgoing) -> Outgoing:
    """What a dead letter says of itself, and nothing of what it was."""
    ours = [(name, said) for name, said in letter.headers if name.startswith(_OURS)]
    return letter._replace(key=None, value=None, headers=ours)


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


def put_back(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], *, at_ms: int) -> Outgoing:
    """The record that a dead letter was, with its attempt counted up. `headers`: its own."""
    attempt = b"%d" % (attempt_of(headers) + 1)
    counted = [(name, attempt if name == "attempt" else said) for name, said in headers]
    if ("attempt", attempt) not in counted:
        counted.append(("attempt", attempt))
    return Outgoing(key, value, counted, at_ms)


class Settlement(NamedTuple):
    """That a letter is settled."""

    partition: int
    offset: int
    how: str
    """replayed or dropped."""
    at_ms: int


def settle(
    key: bytes | None, *, partition: int, offset: int, how: Literal["replayed", "dropped"], at_ms: int
) -> Outgoing:
    """The record that settles a letter; it belongs into the letter's partition."""
    headers = [
        (_OURS + "settles", b"%d/%d" % (partition, offset)),
        (_OURS + "how", how.encode()),
        (_OURS + "at", b"%d" % at_ms),
    ]
    return Outgoing(key, None, headers, at_ms)


def settlement(headers: Iterable[tuple[str, bytes]]) -> Settlement | None:
    """What a record settles; None where it settles nothing."""
    said = {name.removeprefix(_OURS): value or b"" for name, value in headers if name.startswith(_OURS)}
    try:
        partition, offset = said["settles"].split(b"/")
        return Settlement(int(partition), int(offset), said["how"].decode("utf-8", "replace"), int(said["at"]))
    except (KeyError, ValueError):
        return None
