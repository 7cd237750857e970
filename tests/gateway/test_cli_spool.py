"""`typegate spool` as a process, on spools that a server has left."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.process import unused_port
from persistence.boards import BoardsOptions
from persistence.cache import CacheOptions
from persistence.folder import DataFolder
from persistence.front import in_front_of
from persistence.redis import RedisOptions
from persistence.results import BestRules, Period, Span, SqliteResults
from persistence.results.bests import board_of
from persistence.results.mysql import MysqlResults
from persistence.stream import Spool
from persistence.stream.record import decode
from tests.gateway.running import command, program
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.mysql_shards import MysqlShards
from tests.persistence.samples import ranked, sample, texts


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """A data folder with seven results in its spool, one of them in a second process's."""
    data = tmp_path / "data"
    folder = DataFolder(data)
    folder.open()
    async with Spool(folder.spool) as first, Spool(folder.spool) as second:
        await asyncio.gather(*(first.put(sample(i)) for i in range(6)))
        await second.put(sample(6))
    return data


def waiting(data: Path) -> int:
    """How many results lie in the spools."""
    count = 0
    for path in (data / "spool").glob("spool-*.db"):
        connection = sqlite3.connect(path)
        count += connection.execute("SELECT count(*) FROM spool").fetchone()[0]
        connection.close()
    return count


async def test_list_says_what_waits_and_since_when(left: Path, tmp_path: Path) -> None:
    code, said, errors = await command("spool", "list", "--data", str(left), folder=tmp_path)
    assert (code, errors) == (0, "")
    (first,) = [line for line in said.splitlines() if "spool-0.db" in line]
    assert [cell.strip() for cell in first.split("│")][2] == "6"
    assert "s ago" in first
    assert said.splitlines()[-1] == "7 results wait."
    assert waiting(left) == 7


async def test_list_of_a_running_server_s_folder(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server:
        code, said, _ = await command("spool", "list", "--data", "data", folder=tmp_path)
        assert code == 0
        assert f"in use by process {server.process.pid}" in said
        code, _, errors = await command("spool", "drain", "--data", "data", folder=tmp_path)
        assert code == 1
        assert f"process {server.process.pid}" in errors


async def test_list_and_drain_without_a_spool_make_none(tmp_path: Path) -> None:
    for verb in ("list", "drain"):
        code, said, _ = await command("spool", verb, "--data", "data", folder=tmp_path)
        assert (code, said) == (0, "There is no spool in data: nothing waits.\n")
    assert not (tmp_path / "data").exists()


async def test_list_names_what_is_damaged(left: Path, tmp_path: Path) -> None:
    (left / "spool" / "spool-0.db").write_bytes(b"no database" * 1000)
    (left / "spool" / "spool-1.damaged-5.db").write_bytes(b"?")
    (left / "spool" / "spool-1.salvaged-4.db").write_bytes(b"?")
    code, said, _ = await command("spool", "list", "--data", str(left), folder=tmp_path)
    assert code == 0
    assert "it cannot be read: file is not a database" in said
    assert "damaged; the next start takes over what it can" in said
    assert "damaged; all that can be read of it was taken over" in said


async def test_what_is_refused_is_kept_and_list_says_why(
    left: Path, tmp_path: Path, kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    """A topic that takes nothing of that size."""
    topic = fresh_name("small")
    await make_topic(kafka_servers, topic, max_message_bytes=100)
    variables = {"TYPEGATE_KAFKA_SERVERS": ",".join(kafka_servers), "TYPEGATE_KAFKA_RESULTS_TOPIC": topic}
    code, _, errors = await command("spool", "drain", "--data", str(left), folder=tmp_path, **variables)
    assert code == 1
    assert "7 results were refused and are set aside" in errors
    code, said, _ = await command("spool", "list", "--data", str(left), folder=tmp_path)
    assert code == 0
    assert "0 results wait." in said
    assert f"7 set aside: Kafka does not take records for partition 0 of {topic}: MessageSizeTooLargeError." in said
    assert waiting(left) == 7


async def test_drain_brings_everything_to_the_embedded_store(left: Path, tmp_path: Path) -> None:
    async with SqliteResults(left / "results.db"):
        pass
    code, said, errors = await command("spool", "drain", "--data", str(left), folder=tmp_path)
    assert code == 0, errors
    assert said == f"Handed on to {left}/results.db: 7.\nNothing is left in the spools.\n"
    assert waiting(left) == 0
    async with SqliteResults(left / "results.db") as store:
        page = await store.by_user(7, limit=10)
        assert {result.session for result in page.results} == {sample(i).session for i in range(7)}


async def test_drain_with_settings_that_are_not_the_server_s_touches_nothing(left: Path, tmp_path: Path) -> None:
    """A server with Kafka has no store in its folder: what went into a new one would be thrown away with the disk."""
    code, said, errors = await command("spool", "drain", "--data", str(left), folder=tmp_path)
    assert (code, said) == (1, "")
    assert "name neither Kafka nor MySQL" in errors
    assert "--config" in errors
    assert waiting(left) == 7
    assert not (left / "results.db").exists()


async def test_drain_tells_shared_lists_and_boards(
    tmp_path: Path, mysql_shards: MysqlShards, redis_single: RedisOptions, fresh_name: Callable[[str], str]
) -> None:
    """MySQL and Redis without Kafka: as that server does itself, so that nobody reads an old list."""
    data, redis = tmp_path / "data", replace(redis_single, prefix=fresh_name("drain") + ":")
    folder = DataFolder(data)
    folder.open()
    mysql_shards.clear()
    result = ranked(0, wpm=80, user=5)
    async with Spool(folder.spool) as spool:
        await spool.put(result)
    async with (
        MysqlResults(mysql_shards.options, texts=texts()) as store,
        in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions(), alone=True) as front,
    ):
        board = board_of(result, BestRules())
        assert board is not None
        assert await front.recent.of(5) == []
        await front.boards.rebuild(board, Period(Span.ALL, 0))
        variables = {
            "TYPEGATE_MYSQL_SHARDS": json.dumps(mysql_shards.options.shards),
            **{f"TYPEGATE_MYSQL_{name}_MS": "60000" for name in ("CONNECT", "WAIT", "READ", "WRITE")},
            "TYPEGATE_REDIS_URL": redis.url,
            "TYPEGATE_REDIS_PREFIX": redis.prefix,
            "TYPEGATE_REDIS_CALL_MS": str(redis.call_ms),
        }
        code, said, errors = await command("spool", "drain", "--data", "data", folder=tmp_path, **variables)
        assert code == 0, errors
        assert "Handed on to MySQL: 1." in said
        assert [one.session for one in await front.recent.of(5)] == [result.session]
        page = await front.boards.page(board, Period(Span.ALL, 0), offset=0, count=10)
        assert [entry.best.session for entry in page.entries] == [result.session]


async def test_drain_brings_everything_to_kafka(
    left: Path, tmp_path: Path, kafka_servers: list[str], fresh_name: Callable[[str], str]
) -> None:
    topic = fresh_name("results")
    await make_topic(kafka_servers, topic, 3)
    variables = {"TYPEGATE_KAFKA_SERVERS": ",".join(kafka_servers), "TYPEGATE_KAFKA_RESULTS_TOPIC": topic}
    code, said, _ = await command("spool", "drain", "--data", str(left), folder=tmp_path, **variables)
    assert code == 0
    assert f"Handed on to Kafka's topic {topic}: 7." in said
    assert waiting(left) == 0
    records = await read_all(kafka_servers, topic)
    assert {decode(r.key, r.value, r.headers).session for r in records} == {sample(i).session for i in range(7)}


async def test_drain_without_kafka_gives_up_in_time_and_loses_nothing(left: Path, tmp_path: Path) -> None:
    variables = {"TYPEGATE_KAFKA_SERVERS": f"127.0.0.1:{unused_port()}", "TYPEGATE_STREAM_CLOSE_MS": "100"}
    arguments = ("spool", "drain", "--data", str(left), "--timeout", "0")
    code, said, errors = await command(*arguments, folder=tmp_path, **variables)
    assert code == 1
    assert "Handed on to Kafka's topic test-results: 0." in said
    assert f"7 results still wait in {left}/spool: no broker of Kafka can be reached" in errors
    assert waiting(left) == 7
