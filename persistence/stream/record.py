"""A result as a record of the stream: what every gateway writes and every worker reads, whatever their builds.

    place    by the user's bucket: one user's results lie in one partition, in order, and neighbours lie together
    key      the user's id in decimal digits
    headers  schema   version of the value's form, in digits
             trace    the session's id in hexadecimal: a valid W3C trace id, and what every log line about it bears
             attempt  1, and one more each time that the record is put back from the dead letters
             node     who sent it
             accepted when it became durable on that node (epoch ms, by its clock)
    value    msgpack: the version, then the fields of `Result` in their order

A race's record (`session.race_record`) is a record of the same topic:

    place    by the race's bucket, as its row's shard is
    key      "race:" and the race's id
    headers  kind     race; without this header it is a result
             schema   2 or higher, counted apart. Builds that know no kinds take it for a result of a newer schema, and
                      keep it among the dead letters (`newer`) until a newer worker reads it
             attempt, node, accepted as above
    value    as `RaceRecord.pack` has it

Rules of the form, so that old workers read what new gateways write, and the other way round:

- A field may be appended to `Result`, with a default. Whoever does not know it passes over it; whoever misses it takes
  the default. That is no new version.
- Everything else (a field taken away, or that means something else; anything within a field) is a new version. Who does
  not know it says `NewerSchema`: such a record is sound, and is to be kept until somebody can read it.
- Headers that are not known are passed over, but a `kind` that is not known is a newer version, too. Records without
  headers are read by what their value says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final

import msgpack

from persistence.kafka.lot import Outgoing
from session.identity import BUCKETS, bucket_of_race, bucket_of_user
from session.race import DamagedRace, NewerRace
from session.race_record import RaceRecord, is_record
from session.result import Damaged, Result

__all__ = [
    "SCHEMA",
    "Malformed",
    "NewerSchema",
    "accepted_of",
    "attempt_of",
    "decode",
    "encode",
    "key_of",
    "key_of_race",
    "partition_for",
    "partition_of",
    "read",
]

SCHEMA: Final = 1
"""The version that is written, and the newest that is read; `Result.pack` writes it first."""

_RACE: Final = ("kind", b"race")
_RACE_SCHEMA: Final = 2
_FIELDS: Final = fields(Result)
_SCHEMA_TEXT: Final = str(SCHEMA).encode()


class Malformed(ValueError):
    """A record that is no result; the message says what is wrong with it."""


class NewerSchema(Exception):
    """A record in a form newer than this build knows: keep it, a newer worker reads it."""


def key_of(user: int) -> bytes:
    """The key of a user's records."""
    return b"%d" % user


def key_of_race(race: str) -> bytes:
    """The key of a race's record."""
    return b"race:" + race.encode()


def partition_for(record: Result | RaceRecord, partitions: int) -> int:
    """The partition of a record, of so many."""
    if isinstance(record, RaceRecord):
        return bucket_of_race(record.id) * partitions // BUCKETS
    return partition_of(record.user, partitions)


def partition_of(user: int, partitions: int) -> int:
    """The partition of a user's records, of so many.

    Buckets are dealt out in ranges, as they are to the store's shards: so what a worker takes from neighbouring
    partitions goes to one shard in one transaction, and a shard that is away holds up its own partitions and no others.
    """
    return bucket_of_user(user) * partitions // BUCKETS


def encode(
    result: Result | RaceRecord, *, node: str, timestamp_ms: int, accepted_ms: int, attempt: int = 1
) -> Outgoing:
    """A result, or a race's, as a record. `node`: who sends it, which may be another than who made it."""
    headers = [
        ("attempt", b"%d" % attempt),
        ("node", node.encode()),
        ("accepted", b"%d" % accepted_ms),
    ]
    if isinstance(result, RaceRecord):
        headers = [_RACE, ("schema", b"%d" % _RACE_SCHEMA), *headers]
        return Outgoing(key_of_race(result.id), result.pack(), headers, timestamp_ms)
    headers = [("schema", _SCHEMA_TEXT), ("trace", result.session.hex().encode()), *headers]
    return Outgoing(key_of(result.user), result.pack(), headers, timestamp_ms)


def read(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Result | RaceRecord:
    """What a record holds, of whichever kind. Raises as `decode` does."""
    headers = list(headers)
    kind = next((said for name, said in headers if name == "kind"), None)
    if kind is None and (value is None or not is_record(value)):
        return decode(key, value, headers)
    if kind not in (None, _RACE[1]):
        raise NewerSchema(f"a record of the kind {kind!r:.40}, which this build does not know")
    return _decode_race(key, value, headers)


def _decode_race(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> RaceRecord:
    if value is None:
        raise Malformed("a race's record without a value")
    for name, said in headers:
        if name == "schema" and (_number(said) or 0) > _RACE_SCHEMA:
            raise NewerSchema(f"a race's record of schema {_number(said)}; this build reads up to {_RACE_SCHEMA}")
    try:
        record = RaceRecord.unpack(value)
    except NewerRace as newer:
        raise NewerSchema(str(newer)) from None
    except DamagedRace as damaged:
        raise Malformed(str(damaged)) from None
    if key != key_of_race(record.id):
        raise Malformed(f"the record of race {record.id} under the key {key!r:.40}")
    return record


def decode(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Result:
    """The result that a record of results holds; what its fields say has not been checked.

    Raises `Malformed`, or `NewerSchema` where it is sound and only too new.
    """
    if value is None:
        raise Malformed("a record without a value")
    for name, said in headers:
        if name == "schema" and said != _SCHEMA_TEXT and (_number(said) or 0) > SCHEMA:
            raise NewerSchema(f"a record of schema {_number(said)}; this build reads up to {SCHEMA}")
    try:
        result = Result.unpack(value)
    except Damaged:
        result = _decode_slowly(value)
    if key != key_of(result.user):
        raise Malformed(f"a result of user {result.user!r:.40} under the key {key!r:.40}")
    return result


def attempt_of(headers: Sequence[tuple[str, bytes]]) -> int:
    """Which attempt a record is; 1 where its headers do not say."""
    for name, said in headers:
        if name == "attempt":
            return max(1, _number(said) or 1)
    return 1


def accepted_of(headers: Sequence[tuple[str, bytes]]) -> int | None:
    """When the result became durable on its node (epoch ms); None where the headers do not say."""
    for name, said in headers:
        if name == "accepted":
            return _number(said)
    return None


def _decode_slowly(value: bytes) -> Result:
    """A value that is not as this build writes it: of another build, or broken."""
    try:
        values = msgpack.unpackb(value)
    except (ValueError, TypeError) as error:  # msgpack's own errors are ValueErrors
        raise Malformed(f"a value that is no msgpack: {error}") from None
    if not isinstance(values, list) or not values or type(values[0]) is not int:
        raise Malformed("a value that does not begin with the version of its form")
    version, *rest = values
    if version > SCHEMA:
        raise NewerSchema(f"a record of schema {version}; this build reads up to {SCHEMA}")
    known: list[Any] = rest[: len(_FIELDS)]
    for missing in _FIELDS[len(known) :]:
        if missing.default is MISSING:
            raise Malformed(f"a value of {len(rest)} fields, which ends before {missing.name}")
        known.append(missing.default)
    try:
        return Result.unpack(msgpack.packb([version, *known]))
    except Damaged as error:
        raise Malformed(str(error)) from None


def _number(text: bytes | None) -> int | None:
    """A whole number in digits; None where it is none. (Kafka's headers may bear nothing.)"""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else None
