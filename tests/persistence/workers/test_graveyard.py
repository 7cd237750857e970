"""Dead letters as operators see them, on real brokers."""

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from persistence.kafka.options import KafkaOptions
from persistence.stream.dead_letter import Settlement, exhume, settle, settlement
from persistence.stream.record import attempt_of, decode, encode, key_of, partition_of
from persistence.workers.batch import DeadLetter
from persistence.workers.graveyard import Graveyard, Letter
from persistence.workers.outgoing import KafkaLetters, Sender
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.samples import sample

NOW_MS = 1_900_000_000_000


class Dead(NamedTuple):
    """A record that a worker could not process."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@pytest.fixture
async def options(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> KafkaOptions:
    names = {name: fresh_name(name) for name in ("results_topic", "analytics_topic", "dead_letter_topic")}
    for name, partitions in zip(names.values(), (5, 1, 3), strict=True):
        await make_topic(kafka_servers, name, partitions, message_timestamp_type="LogAppendTime")
    return KafkaOptions(servers=tuple(kafka_servers), **names, request_ms=30_000)  # type: ignore[arg-type]  # by name


@pytest.fixture
async def yard(options: KafkaOptions) -> AsyncIterator[Graveyard]:
    async with Graveyard(options, client_id="test", clock_ms=lambda: NOW_MS) as yard:
        yield yard


def a_result(options: KafkaOptions, i: int, *, attempt: int = 1, **changes: Any) -> Dead:
    """The i-th result's record, as it lay in its topic."""
    record = encode(sample(i, user=i), node="n1", timestamp_ms=5, accepted_ms=4, attempt=attempt)
    dead = Dead(options.results_topic, partition_of(i, 5), 10 + i, 5, record.key, record.value, record.headers)
    return dead._replace(**changes)


async def buried(options: KafkaOptions, *records: Dead, reason: str = "fault") -> None:
    async with Sender(options, client_id="test") as sender:
        letters = KafkaLetters(sender, options, worker="w1", clock_ms=lambda: NOW_MS - 1)
        await letters.bury([DeadLetter(record, reason, f"because of {reason}") for record in records])


async def listed(yard: Graveyard, **how: Any) -> list[Letter]:
    return [letter async for letter in yard.letters(**how)]


async def test_letters_are_what_was_buried(options: KafkaOptions, yard: Graveyard) -> None:
    assert await listed(yard) == []
    dead = [a_result(options, i) for i in (1, 2, 3)]
    await buried(options, *dead)
    letters = sorted(await listed(yard), key=lambda letter: letter.key or b"")
    assert [letter.key for letter in letters] == [b"1", b"2", b"3"]
    for letter, record in zip(letters, dead, strict=True):
        assert letter.value == record.value
        assert letter.settled is None
        assert letter.buried is not None
        assert (letter.buried.reason, letter.buried.worker) == ("fault", "w1")
        assert (letter.buried.topic, letter.buried.partition, letter.buried.offset) == record[:3]


async def test_a_letter_put_back_is_the_record_that_it_was_with_one_more_attempt(
    options: KafkaOptions, yard: Graveyard
) -> None:
    dead = [a_result(options, 1), a_result(options, 2, attempt=4)]
    await buried(options, *dead)
    await yard.put_back(await listed(yard))
    records = sorted(await read_all(options.servers, options.results_topic), key=lambda record: record.key)
    for record, was in zip(records, dead, strict=True):
        assert (record.key, record.value) == (was.key, was.value)
        assert record.partition == was.partition
        assert decode(record.key, record.value, record.headers) in (sample(1, user=1), sample(2, user=2))
        assert attempt_of(record.headers) == attempt_of(was.headers) + 1
        assert [h for h in record.headers if h[0] != "attempt"] == [h for h in was.headers if h[0] != "attempt"]
        assert [name for name, _ in record.headers] == [name for name, _ in was.headers]


async def test_what_is_settled_is_listed_no_more_unless_asked_for(options: KafkaOptions, yard: Graveyard) -> None:
    await buried(options, *(a_result(options, i) for i in (1, 2, 3)))
    first, second, third = sorted(await listed(yard), key=lambda letter: letter.key or b"")
    await yard.drop([first])
    await yard.put_back([third])
    assert await listed(yard) == [second]
    every = {letter.key: letter.settled for letter in await listed(yard, settled_too=True)}
    assert every == {
        b"1": Settlement(first.partition, first.offset, "dropped", NOW_MS),
        b"2": None,
        b"3": Settlement(third.partition, third.offset, "replayed", NOW_MS),
    }


async def test_a_dropped_letter_can_still_be_put_back(options: KafkaOptions, yard: Graveyard) -> None:
    """Nothing is taken out of the topic before its retention does it."""
    await buried(options, a_result(options, 1))
    await yard.drop(await listed(yard))
    (letter,) = await listed(yard, settled_too=True)
    await yard.put_back([letter])
    (record,) = await read_all(options.servers, options.results_topic)
    assert record.key == b"1"
    (letter,) = await listed(yard, settled_too=True)
    assert letter.settled is not None
    assert letter.settled.how == "replayed"


async def test_a_record_whose_key_names_nobody_goes_back_to_its_own_partition(
    options: KafkaOptions, yard: Graveyard
) -> None:
    dead = [a_result(options, 1, key=key, partition=3) for key in (None, b"", b"nobody", b"\xff", b"0")]
    await buried(options, *dead, reason="malformed")
    await yard.put_back(await listed(yard))
    records = await read_all(options.servers, options.results_topic)
    assert {record.partition for record in records} == {3}
    assert len(records) == 5


async def test_what_cannot_be_put_back_says_why(options: KafkaOptions, yard: Graveyard) -> None:
    await buried(options, a_result(options, 1, value=None), a_result(options, 2, topic="elsewhere"))
    (empty, foreign) = sorted(await listed(yard), key=lambda letter: letter.key or b"")
    assert "it has no value; what it was lies in" in (yard.obstacle(empty) or "")
    assert "came from the topic elsewhere, which is none of ours" in (yard.obstacle(foreign) or "")
    stranger = empty._replace(buried=None)
    assert yard.obstacle(stranger) == "it does not say where it came from"
    await yard.drop([empty, foreign])
    assert await listed(yard) == []


def test_a_settlement_is_no_letter_and_a_letter_settles_nothing() -> None:
    record = settle(key_of(5), partition=2, offset=2**40, how="dropped", at_ms=7)
    assert settlement(record.headers) == Settlement(2, 2**40, "dropped", 7)
    assert exhume(record.headers) is None
    assert record.value is None
    for headers in ([], [("dead.from", b"t/0/1")], [("dead.settles", b"x/1"), ("dead.how", b"d"), ("dead.at", b"1")]):
        assert settlement(headers) is None
