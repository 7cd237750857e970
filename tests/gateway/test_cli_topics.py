"""`typegate topics` as a process, on real brokers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.running import command


@pytest.fixture
def variables(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> dict[str, str]:
    """The environment of an installation with topics of its own."""
    return {
        "TYPEGATE_KAFKA_SERVERS": ",".join(kafka_servers),
        "TYPEGATE_KAFKA_RESULTS_TOPIC": fresh_name("results"),
        "TYPEGATE_KAFKA_ANALYTICS_TOPIC": fresh_name("analytics"),
        "TYPEGATE_KAFKA_DEAD_LETTER_TOPIC": fresh_name("dead"),
        "TYPEGATE_TOPICS_REPLICATION": "1",
        "TYPEGATE_TOPICS_MIN_INSYNC": "1",
        "TYPEGATE_TOPICS_RESULTS_PARTITIONS": "4",
    }


async def test_topics_are_checked_made_and_checked(variables: dict[str, str], tmp_path: Path) -> None:
    name = variables["TYPEGATE_KAFKA_RESULTS_TOPIC"]
    code, said, errors = await command("topics", "check", folder=tmp_path, **variables)
    assert code == 1
    assert f"topic {name} is missing; make it with: typegate topics create." in said
    assert "3 of 3 topics are weaker than asked for." in errors
    code, said, errors = await command("topics", "create", folder=tmp_path, **variables)
    assert (code, errors) == (0, "")
    assert f"topic {name} was made." in said
    code, said, errors = await command("topics", "check", folder=tmp_path, **variables)
    assert (code, errors) == (0, "")
    assert f"topic {name} is as it should be." in said
    weak = variables | {"TYPEGATE_TOPICS_RESULTS_PARTITIONS": "5"}
    code, said, errors = await command("topics", "create", folder=tmp_path, **weak)
    assert code == 1
    assert f"topic {name} has 4 partitions, 5 are wanted" in said
    assert "1 of 3 topics is weaker than asked for." in errors


async def test_check_tries_kafka_too(variables: dict[str, str], tmp_path: Path) -> None:
    """Weak topics are worth a note, and a fault where the server would not start with them."""
    code, said, errors = await command("check", "--data", "d", folder=tmp_path, **variables)
    assert "1 part would not work" in errors, "there is no MySQL beside it"
    assert f"topic {variables['TYPEGATE_KAFKA_RESULTS_TOPIC']} is missing" in said
    code, said, errors = await command(
        "check", "--data", "d", folder=tmp_path, **variables, TYPEGATE_KAFKA_PRODUCTION="true"
    )
    assert code == 1
    assert "4 parts would not work" in errors
    away = variables | {"TYPEGATE_KAFKA_SERVERS": "127.0.0.1:1"}
    code, said, _ = await command("check", "--data", "d", folder=tmp_path, **away)
    assert code == 1
    assert "no broker of Kafka can be reached (127.0.0.1:1: Connection refused)" in said


async def test_without_kafka_there_are_no_topics(tmp_path: Path) -> None:
    code, _, errors = await command("topics", "check", folder=tmp_path)
    assert code == 1
    assert "There is no Kafka: kafka.servers is empty." in errors


async def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    code, _, errors = await command("topics", "create", folder=tmp_path, TYPEGATE_KAFKA_SERVERS="127.0.0.1:1")
    assert code == 1
    assert "no broker of Kafka can be reached (127.0.0.1:1: Connection refused)" in errors
