from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.kafka.lot import Outgoing
from persistence.stream.record import (
    SCHEMA,
    Malformed,
    NewerSchema,
    accepted_of,
    attempt_of,
    decode,
    encode,
    key_of,
    partition_for,
    partition_of,
)
from persistence.stream.record import read as record_of_any_kind
from session.identity import bucket_of_race, bucket_of_user
from session.race_record import RaceRecord
from session.result import Result
from tests.persistence.samples import sample
from tests.session.races import over

RESULT = sample(1, user=-17)


def read(record: Outgoing, **changed: Any) -> Result:
    record = record._replace(**changed)
    return decode(record.key, record.value, record.headers)


def a_record(values: list[object] | None = None) -> Outgoing:
    """The sample's record; with other values where they are given."""
    record = encode(RESULT, node="n1", timestamp_ms=5, accepted_ms=4)
    return record if values is None else record._replace(value=msgpack.packb(values))


def values_of(record: Outgoing) -> list[object]:
    assert record.value is not None
    values: list[object] = msgpack.unpackb(record.value)
    return values


def test_a_record_bears_the_user_the_trace_and_the_result() -> None:
    record = encode(RESULT, node="n1", timestamp_ms=5, accepted_ms=4, attempt=3)
    assert record.key == b"-17"
    assert dict(record.headers) == {
        "schema": b"1",
        "trace": RESULT.session.hex().encode(),
        "attempt": b"3",
        "node": b"n1",
        "accepted": b"4",
    }
    assert record.timestamp_ms == 5
    assert attempt_of(record.headers) == 3
    assert read(record) == RESULT


def test_the_version_in_the_header_is_the_packed_one() -> None:
    """A new version of the packed form is a new schema: both are changed together."""
    assert values_of(a_record())[0] == SCHEMA


def test_an_old_worker_passes_over_fields_that_a_new_gateway_appended() -> None:
    assert read(a_record([*values_of(a_record()), None, "appended later", {"and": "another"}])) == RESULT


def test_a_new_worker_takes_the_default_of_a_field_that_an_old_gateway_did_not_know() -> None:
    """`text` and `race` are the last fields, and have defaults; a result of no race is written without the last."""
    assert [field.name for field in fields(Result)[-2:]] == ["text", "race"]
    own = replace(RESULT, text="my own words")
    record = encode(own, node="n1", timestamp_ms=5, accepted_ms=4)
    assert read(a_record(values_of(record)[:-1])) == replace(own, text=None)
    raced = replace(RESULT, race="0123456789abc")
    record = encode(raced, node="n1", timestamp_ms=5, accepted_ms=4)
    assert read(record) == raced
    assert read(a_record(values_of(record)[:-1])) == RESULT


def test_records_without_headers_are_read_by_what_their_value_says() -> None:
    assert read(a_record(), headers=[]) == RESULT
    assert attempt_of([]) == 1


def test_unknown_headers_are_passed_over() -> None:
    assert read(a_record(), headers=[("schema", b"1"), ("moon", b"full")]) == RESULT


@pytest.mark.parametrize(
    "record",
    [
        a_record()._replace(headers=[("schema", b"2")]),
        a_record()._replace(headers=[("schema", b"2")], value=b"any form it likes"),
        a_record([2, "who", "knows"])._replace(headers=[]),
    ],
    ids=["header", "header and another form", "value"],
)
def test_a_newer_schema_is_told_from_a_broken_record(record: Outgoing) -> None:
    """It is kept for a newer worker, and never counted among the poison."""
    with pytest.raises(NewerSchema, match=r"schema 2; this build reads up to 1"):
        read(record)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "without a value"),
        (b"", "no msgpack"),
        (b"\xc1", "no msgpack"),
        (msgpack.packb(5), "does not begin with the version"),
        (msgpack.packb([]), "does not begin with the version"),
        (msgpack.packb(["1"]), "does not begin with the version"),
        (msgpack.packb([True]), "does not begin with the version"),
        (msgpack.packb({"version": 1}), "does not begin with the version"),
        (msgpack.packb([1]), "ends before session"),
        (msgpack.packb([0, *[None] * 40]), "version 0"),
        (msgpack.packb([1, *[None] * 40]), "no packed result"),
    ],
)
def test_what_is_no_result_is_malformed(value: bytes | None, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        read(a_record(), value=value)


@pytest.mark.parametrize("key", [None, b"", b"17", b"-18", b"-17 "])
def test_a_result_under_somebody_else_s_key_is_malformed(key: bytes | None) -> None:
    """It would lie in another partition than its user's others."""
    with pytest.raises(Malformed, match="user -17 under the key"):
        read(a_record(), key=key)


@given(st.binary(max_size=200), st.lists(st.tuples(st.sampled_from(["schema", "attempt"]), st.binary(max_size=12))))
def test_whatever_bytes_come_it_is_one_of_the_two_errors(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    attempt_of(headers)
    with pytest.raises((Malformed, NewerSchema)):
        decode(b"1", value, headers)


def test_the_key_of_a_guest_is_negative() -> None:
    assert key_of(-5) == b"-5"


@given(user=st.integers(-(2**53) + 1, 2**53 - 1), partitions=st.integers(1, 5000))
def test_a_user_s_partition_is_of_those_that_there_are(user: int, partitions: int) -> None:
    assert 0 <= partition_of(user, partitions) < partitions


def test_partitions_are_ranges_of_buckets() -> None:
    """Every partition has its share, and neighbouring buckets lie together."""
    found = {bucket_of_user(user): partition_of(user, 100) for user in range(1, 60_000)}
    assert len(found) == 4096
    in_order = [found[bucket] for bucket in sorted(found)]
    assert in_order == sorted(in_order)
    shares = [in_order.count(partition) for partition in range(100)]
    assert (min(shares), max(shares)) == (40, 41)


def test_a_record_says_when_its_result_became_durable() -> None:
    """By its node's clock; who does not know it passes over it."""
    assert (
        accepted_of(encode(RESULT, node="n", timestamp_ms=9, accepted_ms=1_790_000_000_123).headers)
        == 1_790_000_000_123
    )
    for headers in ([], [("accepted", b"")], [("accepted", b"soon")], [("accepted", b"9" * 16)]):
        assert accepted_of(headers) is None


RACE = RaceRecord.of(over(1, -2))


def a_race_s(**changed: Any) -> Outgoing:
    return encode(RACE, node="n1", timestamp_ms=5, accepted_ms=4)._replace(**changed)


def read_any(record: Outgoing) -> Result | RaceRecord:
    return record_of_any_kind(record.key, record.value, record.headers)


def test_a_race_s_record_bears_its_kind_and_its_id() -> None:
    record = a_race_s()
    assert record.key == b"race:" + RACE.id.encode()
    headers = {"kind": b"race", "schema": b"2", "attempt": b"1", "node": b"n1", "accepted": b"4"}
    assert dict(record.headers) == headers
    assert read_any(record) == RACE
    assert read_any(record._replace(headers=[])) == RACE
    assert read_any(a_record()) == RESULT


def test_a_worker_that_knows_no_races_keeps_them() -> None:
    """It reads results alone, and takes a race for one of a newer schema; only without headers is it malformed."""
    with pytest.raises(NewerSchema):
        read(a_race_s())
    with pytest.raises(Malformed):
        read(a_race_s(headers=[]))


@pytest.mark.parametrize(
    "record",
    [
        a_race_s(headers=[("kind", b"race"), ("schema", b"3")]),
        a_race_s(headers=[("kind", b"tournament"), ("schema", b"2")]),
        a_race_s(value=msgpack.packb(("race", 2, b"x", "more"))),
        a_record()._replace(headers=[("kind", b"tournament")]),
    ],
)
def test_what_a_newer_build_sends_is_kept(record: Outgoing) -> None:
    with pytest.raises(NewerSchema):
        read_any(record)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"value": None}, "without a value"),
        ({"value": b"rubbish"}, "no packed record of a race"),
        ({"value": RACE.pack()[:-1]}, "no packed record of a race"),
        ({"value": RESULT.pack()}, "does not begin as one"),
        ({"key": b"race:0123456789abd"}, "under the key"),
        ({"key": b"1"}, "under the key"),
        ({"key": None}, "under the key"),
    ],
)
def test_a_malformed_race_says_what_is_wrong(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_any(a_race_s(**changed))


@pytest.mark.parametrize("partitions", [1, 6, 100, 5_000])
def test_a_race_lies_where_its_bucket_does(partitions: int) -> None:
    """So what a worker takes from neighbouring partitions goes to one shard, of races too."""
    place = partition_for(RACE, partitions)
    assert place == bucket_of_race(RACE.id) * partitions // 4096 < partitions
    assert partition_for(RESULT, partitions) == partition_of(RESULT.user, partitions)
