"""Malformed records of every kind: each becomes a dead letter with a reason and a sentence, and none anything else."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.gateway import NodeOptions
from config.processes import ProcessesOptions
from loadtest.finished import Typists
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.stream.record import encode, key_of
from persistence.workers.batch import Undecodable
from persistence.workers.decoding import decode
from scoring.slices import at_once
from session.messages import Error
from session.offline import OfflineTest
from session.options import SessionLimits, TestOptions
from session.race_record import RaceRecord
from session.receipt import KeyRing
from session.result import Result
from tests.persistence.samples import T0_MS
from tests.persistence.workers.memory import MemoryRecord
from tests.session.races import over

RACE = RaceRecord.of(over(1, 2))


@pytest.fixture(name="honest")
async def _honest() -> AsyncIterator[Result]:
    async with EmbeddedCatalogue(None) as catalogue:
        yield Typists(Texts(catalogue, limits=SessionLimits())).finish(mode="words", count=5)


def record(result: Result | RaceRecord, **changes: Any) -> MemoryRecord:
    sent = encode(result, node="node-1", timestamp_ms=5, accepted_ms=4)
    fields: dict[str, Any] = {"key": sent.key, "value": sent.value, "headers": tuple(sent.headers)}
    return MemoryRecord("test-results", 0, 0, 5, **(fields | changes))


def test_what_a_gateway_sends_is_what_a_worker_gets(honest: Result) -> None:
    assert decode(record(honest)) == honest


def test_the_longest_that_settings_allow_is_let_through(honest: Result) -> None:
    """Else what a client saw stored would end among the dead letters, every result of a node with a long name."""
    name = NodeOptions(name="n" * 64).name
    of_a_process = f"{name}-{ProcessesOptions(count=256).count - 1}"
    longest = replace(honest, node=of_a_process, text="x" * SessionLimits(text_bytes=65_536).text_bytes)
    assert decode(record(longest)) == longest
    with pytest.raises(ValueError, match="text_bytes is 65537; allowed is 1 to 65536"):
        SessionLimits(text_bytes=65_537)


@pytest.mark.parametrize("length", [1, 9, 11, 100, 2_000])
async def test_what_is_pasted_is_let_through(length: int) -> None:
    """All of it within a millisecond, as an input method may bring it: a speed beyond all typing, and a result."""
    text = ("hello world " * 500)[:length].strip()
    limits = SessionLimits()
    events = [part for at, key in enumerate(text, 1) for part in (int(at == len(text)), key)]
    pasted = OfflineTest(
        user=7,
        options=TestOptions("text", text=text),
        seed=0,
        test_version=0,
        list_version=0,
        generator=0,
        started_ms=T0_MS,
        events=events,
        holds=(),
    )
    ring = KeyRing([(1, bytes(32))])
    async with EmbeddedCatalogue(None) as catalogue:
        material = at_once(Texts(catalogue, limits=limits).again(pasted.ticket(), text=text, ref=None))
        assert not isinstance(material, Error)
        session = at_once(pasted.scoring(material, ring=ring, limits=limits, now_ms=1e6, epoch_ms=T0_MS + 60_000))
    assert not isinstance(session, str)
    result = session.settle(node="node-1")
    assert decode(record(result)) == result


def reason_of(bad: MemoryRecord) -> tuple[str, str]:
    with pytest.raises(Undecodable) as refused:
        decode(bad)
    return refused.value.reason, str(refused.value)


def test_a_record_that_is_no_result(honest: Result) -> None:
    for value in (None, b"", b"\xc1", b"rubbish", msgpack.packb([1]), msgpack.packb([1, 2, 3]), honest.pack()[:-3]):
        assert reason_of(record(honest, value=value))[0] == "malformed", value


def test_a_record_under_another_s_key(honest: Result) -> None:
    reason, error = reason_of(record(honest, key=key_of(1)))
    assert reason == "malformed"
    assert "under the key b'1'" in error
    assert reason_of(record(honest, key=None))[0] == "malformed"


def test_a_schema_newer_than_this_build_is_told_apart(honest: Result) -> None:
    """It is sound, and a newer worker can read it: whoever sorts dead letters finds it by its reason."""
    headers = (("schema", b"9"),)
    assert reason_of(record(honest, headers=headers)) == ("newer", "a record of schema 9; this build reads up to 1")
    value = msgpack.packb([9, *msgpack.unpackb(honest.pack())[1:]])
    assert reason_of(record(honest, headers=(), value=value))[0] == "newer"


def test_a_result_of_a_user_that_there_cannot_be(honest: Result) -> None:
    for user in (2**63, 2**53, 0):
        other = replace(honest, user=user)
        reason, error = reason_of(record(honest, key=key_of(user), value=other.pack()))
        assert reason == "implausible"
        assert str(user) in error


def test_a_result_whose_core_was_changed(honest: Result) -> None:
    changed = replace(honest, summary=replace(honest.summary, wpm=250.0))
    assert reason_of(record(changed)) == (
        "implausible",
        "the result's core does not have the hash that was sent with it",
    )


def test_a_race_is_read_and_what_is_none_is_refused() -> None:
    """A malformed one is told from one of a newer build, which is kept for a newer worker."""
    assert decode(record(RACE)) == RACE
    for value in (None, b"", b"rubbish", RACE.pack()[:-3]):
        assert reason_of(record(RACE, value=value))[0] == "malformed", value
    assert reason_of(record(RACE, key=b"race:0123456789abd"))[0] == "malformed"
    twice = replace(RACE.race, racers=(RACE.race.racers[0], replace(RACE.race.racers[1], user=1)))
    assert reason_of(record(RACE, value=RaceRecord(twice).pack())) == (
        "malformed",
        "a race whose racers cannot be; allowed is everybody in one lane",
    )
    newer = (("kind", b"race"), ("schema", b"3"))
    assert reason_of(record(RACE, headers=newer)) == (
        "newer",
        "a race's record of schema 3; this build reads up to 2",
    )
    assert reason_of(record(RACE, headers=(("kind", b"cup"), ("schema", b"2"))))[0] == "newer"


@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.integers(0, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_to_its_bytes(honest: Result, at: int, byte: int, cut: int) -> None:
    """A value with a byte changed and some left out is read as it was meant, or refused with a reason."""
    packed = bytearray(honest.pack())
    packed[at % len(packed)] = byte
    try:
        found = decode(record(honest, value=bytes(packed[: len(packed) - cut])))
    except Undecodable as refused:
        reason = refused.reason
    else:
        assert isinstance(found, Result)
        assert found.core_hash == honest.core_hash
        return
    assert reason in ("malformed", "newer", "implausible")


@given(value=st.binary(max_size=200), key=st.none() | st.binary(max_size=20), header=st.binary(max_size=12))
def test_whatever_bytes_come(value: bytes, key: bytes | None, header: bytes) -> None:
    sent = MemoryRecord("test-results", 0, 0, 5, key, value, (("schema", header), ("attempt", header)))
    with pytest.raises(Undecodable) as refused:
        decode(sent)
    assert refused.value.reason in ("malformed", "newer", "implausible")
