"""`typegate dlq` as a process, on dead letters that a worker has buried."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from persistence.kafka.options import KafkaOptions
from persistence.stream.record import attempt_of, encode
from persistence.workers.batch import DeadLetter
from persistence.workers.outgoing import KafkaLetters, Sender
from session.identity import session_to_text
from tests.gateway.running import command
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.samples import sample


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
async def kafka(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> KafkaOptions:
    names = {name: fresh_name(name) for name in ("results_topic", "analytics_topic", "dead_letter_topic")}
    for name in names.values():
        await make_topic(kafka_servers, name)
    return KafkaOptions(servers=tuple(kafka_servers), **names, request_ms=30_000)  # type: ignore[arg-type]  # topics by name


async def run(kafka: KafkaOptions, folder: Path, *words: str) -> tuple[int, str, str]:
    variables = {
        "TYPEGATE_KAFKA_SERVERS": ",".join(kafka.servers),
        "TYPEGATE_KAFKA_RESULTS_TOPIC": kafka.results_topic,
        "TYPEGATE_KAFKA_ANALYTICS_TOPIC": kafka.analytics_topic,
        "TYPEGATE_KAFKA_DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
        "TYPEGATE_KAFKA_REQUEST_MS": str(kafka.request_ms),
    }
    return await command("dlq", *words, folder=folder, **variables)


@pytest.fixture
async def letters(kafka: KafkaOptions) -> None:
    """Three dead letters, 0/0 to 0/2: two results that met a fault, and something that is no result."""
    records = []
    for i in (1, 2):
        record = encode(sample(i, user=i), node="n1", timestamp_ms=5, accepted_ms=4)
        records.append(Dead(kafka.results_topic, 0, i, 5, record.key, record.value, record.headers))
    garbage = Dead(kafka.results_topic, 0, 3, 5, b"key", b"\xc1[red]", [])
    async with Sender(kafka, client_id="test") as sender:
        await KafkaLetters(sender, kafka, worker="worker-1").bury(
            [
                *(DeadLetter(record, "fault", "decoding it failed: KeyError()") for record in records),
                DeadLetter(garbage, "malformed", "a value that is no msgpack"),
            ]
        )


@pytest.mark.usefixtures("letters")
async def test_letters_are_listed_shown_put_back_and_dropped(kafka: KafkaOptions, tmp_path: Path) -> None:
    code, said, errors = await run(kafka, tmp_path, "list")
    assert code == 0, errors
    assert said.splitlines()[-1] == "2 fault, 1 malformed."
    row = next(line for line in said.splitlines() if "0/1" in line)
    assert "decoding it failed: KeyError()" in row

    code, said, errors = await run(kafka, tmp_path, "show", "0/0", "--value", "letter.bin")
    assert code == 0, errors
    for line in (
        "reason     fault",
        f"from       {kafka.results_topic}, partition 0, offset 1",
        "by         worker-1",
        "header     node = 'n1'",
        f"result     {session_to_text(sample(1, user=1).session)}",
        "user       1",
    ):
        assert line in said.splitlines()
    assert (tmp_path / "letter.bin").read_bytes() == sample(1, user=1).pack()
    assert (tmp_path / "letter.bin").stat().st_mode & 0o777 == 0o600

    code, said, errors = await run(kafka, tmp_path, "replay", "--reason", "fault")
    assert (code, said) == (0, "Put back: 2.\n"), errors
    records = await read_all(kafka.servers, kafka.results_topic)
    assert [(record.key, attempt_of(record.headers)) for record in records] == [(b"1", 2), (b"2", 2)]

    code, said, errors = await run(kafka, tmp_path, "drop", "--all", "--yes")
    assert (code, said) == (0, "Dropped: 1.\n"), errors
    code, said, _ = await run(kafka, tmp_path, "list")
    assert (code, said) == (0, "There are no dead letters.\n")
    code, said, _ = await run(kafka, tmp_path, "list", "--settled")
    assert code == 0
    assert sum("replayed" in line for line in said.splitlines()) == 2
    assert sum("dropped" in line for line in said.splitlines()) == 1


@pytest.mark.usefixtures("letters")
async def test_what_is_not_there_and_what_cannot_be_read(kafka: KafkaOptions, tmp_path: Path) -> None:
    code, said, errors = await run(kafka, tmp_path, "show", "0/2")
    assert code == 0, errors
    assert "read as    no result: a value that is no msgpack: " in said
    code, _, errors = await run(kafka, tmp_path, "show", "0/9")
    assert code == 1
    assert "There is no letter 0/9" in errors
    code, said, errors = await run(kafka, tmp_path, "replay", "0/0", "0/9")
    assert code == 1
    assert "Only 1 of 2 letters are there" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "3"], "'3' is no letter; a letter is named as `typegate dlq list` shows it, such as 3/1204"),
        (["show", "3/x"], "is no letter"),
        (["replay"], "Name letters, or give --reason or --all"),
        (["drop", "--all", "--reason", "fault"], "one of the three"),
    ],
)
async def test_a_wrong_choice_is_told(words: list[str], message: str, tmp_path: Path) -> None:
    code, _, errors = await command("dlq", *words, folder=tmp_path)
    assert code == 2
    assert message in errors


async def test_without_kafka_there_are_no_dead_letters(tmp_path: Path) -> None:
    code, _, errors = await command("dlq", "list", folder=tmp_path)
    assert code == 1
    assert "There is no Kafka: kafka.servers is empty" in errors


async def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    code, _, errors = await command("dlq", "list", folder=tmp_path, TYPEGATE_KAFKA_SERVERS="127.0.0.1:1")
    assert code == 1
    assert errors.splitlines()[-1].startswith("Error: Kafka cannot be read: ")
