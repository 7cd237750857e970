"""A gateway, Kafka, a worker, MySQL and Redis together: what was typed becomes a row, and all follows from it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from config.webhook import WebhookOptions
from gateway.app import Gateway
from gateway.opening import CannotStart
from gateway.posting import signature
from gateway.worker import WorkerProcess
from loadtest.finished import Typists
from loadtest.servers.addresses import Addresses
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.mysql import MysqlOptions
from persistence.stream.record import key_of, partition_of
from session.identity import session_from_text, session_to_text
from session.options import SessionLimits
from tests.gateway.plant import (
    LONG_SESSION_MS,
    PATIENCE_S,
    Plant,
    accounts_of_a_site,
    build,
    committed,
    figures,
    gateway_of,
    send,
    token_of,
    worker_of,
)
from tests.gateway.running import command, worker_program
from tests.gateway.test_webhook import SECRET, event, listening
from tests.gateway.typing_client import TypingClient, client
from tests.persistence.kafka.brokers import read_all
from tests.persistence.samples import sample


@pytest.fixture(name="plant")
async def _plant(
    fresh_name: Callable[[str], str], kafka_servers: list[str], mariadb_servers: Addresses, redis_servers: Addresses
) -> Plant:
    return await build(
        fresh_name,
        kafka=kafka_servers,
        mariadb=mariadb_servers,
        redis=redis_servers["url"],
        patient=True,
        session_ms=LONG_SESSION_MS,
    )


async def typed(typist: TypingClient, **options: Any) -> dict[str, Any]:
    """Type one test; its result, once it is stored."""
    await typist.start(**options)
    result = await typist.type_all()
    await typist.receive("stored")
    return result


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until a look at the databases or figures finds it so; what it found."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def test_what_was_typed_becomes_a_row_and_all_follows(plant: Plant, tmp_path: Path) -> None:
    """The row, the recent list as another node shows it, the event, and the worker's figures."""
    async with (
        gateway_of(plant, tmp_path / "one", name="one") as one,
        gateway_of(plant, tmp_path / "two", name="two") as two,
        worker_of(plant, tmp_path) as worker,
        client(one.url, token=token_of(7)) as typist,
        reading(two.url, 7) as http,
    ):
        assert (await http.get("/v1/users/7/results")).json()["results"] == [], "now there is a list to push to"
        result = await typed(typist, count=5)
        session = session_from_text(result["session"])
        (row,) = await until(lambda: plant.rows("id, user_id, wpm, raw_wpm"))
        assert row[:2] == (session, 7)
        assert (float(row[2]), float(row[3])) == (result["wpm"], result["raw"])
        (event,) = await until(lambda: read_all(plant.kafka.servers, plant.kafka.analytics_topic))
        assert json.loads(event.value)["id"] == result["session"]
        listed = (await http.get("/v1/users/7/results")).json()["results"]
        assert [(one["session"], one["wpm"], one["series"]) for one in listed] == [
            (result["session"], result["wpm"], result["series"])
        ]
        shown = await until(lambda: _shown(worker))
        assert shown["typegate_processing_seconds_count"] == 1
        writes = [name for name in shown if name.startswith("typegate_db_write_seconds_count")]
        assert sum(shown[name] for name in writes) == 1
        async with httpx.AsyncClient(timeout=60, base_url=worker.admin_url or "", trust_env=False) as admin:
            await until(lambda: is_ready(admin))


async def is_ready(admin: httpx.AsyncClient) -> bool:
    """Whether all parts answer; one that takes its time is asked again."""
    ready = await admin.get("/readyz")
    return (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_a_best_is_on_the_board_and_told_at_every_node(plant: Plant, tmp_path: Path) -> None:
    """To all browsers of its user, wherever they are connected; nobody else hears of it."""
    async with EmbeddedCatalogue(None) as catalogue:
        typists = Typists(Texts(catalogue, limits=SessionLimits()), epoch_ms=int(time.time() * 1000))
        best = replace(typists.finish(user=7, mode="words", count=50), verdict="ok", reasons=())
        other = replace(typists.finish(user=9, mode="words", count=50), verdict="ok", reasons=())
    async with (
        gateway_of(plant, tmp_path / "one", name="one") as one,
        gateway_of(plant, tmp_path / "two", name="two") as two,
        worker_of(plant, tmp_path),
        client(one.url, token=token_of(7)) as here,
        client(two.url, token=token_of(7)) as there,
        client(two.url, token=token_of(8)) as stranger,
        reading(one.url, 8) as http,
    ):
        for node in (one, two):
            await until(lambda node=node: hears(node))  # type: ignore[misc]  # bound early
        await send(plant, other, best)
        for browser in (here, there):
            news = await browser.receive("event")
            assert (news["session"], news["board"]) == (session_to_text(best.session), "words-50-en")
        order = sorted((best, other), key=lambda result: -result.summary.wpm)
        await until(lambda: on_the_board(http, [str(result.user) for result in order]))
        assert not [message for message in stranger.seen if message["t"] == "event"]


async def hears(gateway: Gateway) -> bool:
    """Whether a gateway hears what workers publish."""
    return (await gateway.health.parts())["bus"] == "ok"


async def on_the_board(http: httpx.AsyncClient, users: list[str]) -> bool:
    """Whether these have the places of the board; each comes when its own partition was read."""
    board = (await http.get("/v1/leaderboards/words-50-en")).json()
    return [entry["user"] for entry in board["entries"]] == users


def reading(url: str, user: int) -> httpx.AsyncClient:
    """Somebody who reads from a gateway's API."""
    return httpx.AsyncClient(
        timeout=60, base_url=url, trust_env=False, headers={"authorization": f"Bearer {token_of(user)}"}
    )


async def _shown(worker: WorkerProcess) -> dict[str, float] | None:
    """The worker's figures, once it has committed."""
    shown = await figures(worker.admin_url)
    return shown if shown.get('typegate_worker_step_seconds_count{step="commit"}') else None


async def test_the_webhook_is_told_of_news_and_not_of_what_is_old(plant: Plant, tmp_path: Path) -> None:
    """Switched on for the first time: what has lain in Kafka for longer than news are news is not posted."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    old = event(sample(1, user=7, created_ms=int(time.time() * 1000) - 120_000))
    partition = partition_of(7, plant.topics.analytics_partitions)
    producer = AIOKafkaProducer(bootstrap_servers=list(plant.kafka.servers))
    await producer.start()
    await producer.send_and_wait(plant.kafka.analytics_topic, old, partition=partition)
    await producer.stop()
    await asyncio.sleep(1.1)  # it is the brokers' clock that says how old it is, and it must be older than `give_up_s`
    async with accounts_of_a_site() as theirs, listening() as site:
        group = f"webhook-{plant.group}"
        options = WebhookOptions(url=site.url, secret_file=secret, group=group, limit_s=60.0, give_up_s=1.0)
        async with worker_of(plant, tmp_path, webhook=options):
            best = theirs.one(7)
            await send(plant, best)
            await site.until(1)
    first = site.posts[0]
    assert first.body["id"] == session_to_text(best.session), "a user's news are posted in order: an old one came first"
    epoch_s = int(first.header("Typegate-Signature").split(",")[0].removeprefix("t="))
    assert first.header("Typegate-Signature") == signature(SECRET, first.raw, epoch_s=epoch_s)


async def test_malformed_records_become_dead_letters(plant: Plant, tmp_path: Path) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=list(plant.kafka.servers))
    await producer.start()
    for value, headers in ((b"rubbish", []), (b"\x91\x09", [("schema", b"9")])):
        await producer.send_and_wait(plant.kafka.results_topic, value, key=key_of(5), headers=headers, partition=1)
    await producer.stop()
    async with (
        gateway_of(plant, tmp_path / "one") as gateway,
        worker_of(plant, tmp_path),
        client(gateway.url) as typist,
    ):
        await typed(typist)
        await until(lambda: plant.rows())
        letters = await until(lambda: two_letters(plant))
    said = [dict(letter.headers) for letter in letters]
    assert [(one["dead.reason"], letter.value) for one, letter in zip(said, letters, strict=True)] == [
        (b"malformed", b"rubbish"),
        (b"newer", b"\x91\x09"),
    ]


async def two_letters(plant: Plant) -> list[Any] | None:
    """The dead letters, once there are two."""
    found = await read_all(plant.kafka.servers, plant.kafka.dead_letter_topic)
    return found if len(found) >= 2 else None


async def test_rewind_brings_back_what_a_database_lost(plant: Plant, tmp_path: Path) -> None:
    """And leaves the rest as it is, beside a worker that runs."""
    async with gateway_of(plant, tmp_path / "one") as gateway, worker_of(plant, tmp_path):
        async with client(gateway.url) as typist:
            sessions = {session_from_text((await typed(typist))["session"]) for _ in range(3)}
        rows = await until(lambda: rows if len(rows := plant.rows("*")) == 3 else None)
        await committed(plant)  # else they might be read again by themselves
        lost = min(sessions)
        plant.ask(f"DELETE FROM test_results WHERE id = x'{lost.hex()}'")
        assert len(plant.rows()) == 2
        code, said, errors = await command("worker", "rewind", "--since", "1h", folder=tmp_path, **plant.variables())
        assert code == 0, errors
        assert said == "3 results read again: 1 had been missing, 0 were changed, 2 were there; 0 are dead letters.\n"
        assert sorted(plant.rows("*")) == sorted(rows)


async def test_a_worker_stops_in_good_order(plant: Plant, tmp_path: Path) -> None:
    """And it begins, and stores what it can, while the content database is away."""
    variables = plant.variables() | {"TYPEGATE_MYSQL_CONTENT": "mysql://nobody@127.0.0.1:1/content"}
    async with gateway_of(plant, tmp_path / "one") as gateway, client(gateway.url) as typist:
        async with worker_program(tmp_path / "w", **variables) as worker:
            await typed(typist)
            await until(lambda: plant.rows())
            worker.signal(signal.SIGTERM)
            code, errors = await worker.ended()
        assert code == 0, errors
        assert "left" not in errors
        assert "tests and word lists cannot be read" in errors


async def test_a_worker_with_another_shard_map_is_refused(plant: Plant, tmp_path: Path) -> None:
    a, b = plant.dsns
    other = MysqlOptions(shards=(f"a 0-99 {a}", f"b 100-4095 {b}"))
    with pytest.raises(CannotStart, match="shard"):
        async with worker_of(plant, tmp_path, mysql=other):
            pass


async def test_a_worker_without_servers_says_what_it_needs(tmp_path: Path) -> None:
    code, _, errors = await command("worker", folder=tmp_path)
    assert code == 2
    assert "set kafka.servers, mysql.shards and redis.url" in errors
    code, _, errors = await command("worker", folder=tmp_path, TYPEGATE_KAFKA_SERVERS="127.0.0.1:9")
    assert code == 2
    assert "there is a Kafka and no MySQL" in errors


@pytest.mark.parametrize("since", ["15", "m", "-3m", "0h", "1w", ""])
async def test_rewind_wants_a_time(tmp_path: Path, since: str) -> None:
    code, _, errors = await command("worker", "rewind", "--since", since, folder=tmp_path)
    assert code == 2
    assert "write 90s, 15m, 2h or 1d" in errors


async def test_check_tries_every_part(plant: Plant, tmp_path: Path) -> None:
    """With all of them there, and each of them away."""
    variables = plant.variables() | {"TYPEGATE_WEBHOOK_URL": "https://example.com/hook"}
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret that is long enough")
    code, said, errors = await command("check", folder=tmp_path, **variables, TYPEGATE_WEBHOOK_SECRET_FILE=str(secret))
    assert code == 0, said + errors
    for part in ("Kafka", "MySQL", "Redis", "webhook"):
        assert re.search(rf"{part}\s.*\bok\b", said), said
    away = {
        "TYPEGATE_KAFKA_SERVERS": "127.0.0.1:9",
        "TYPEGATE_MYSQL_SHARDS": "a 0-4095 mysql://nobody@127.0.0.1:9/none",
        "TYPEGATE_REDIS_URL": "redis://127.0.0.1:9/0",
        "TYPEGATE_WEBHOOK_SECRET_FILE": str(tmp_path / "none"),
    }
    code, said, errors = await command("check", folder=tmp_path, **variables | away)
    assert code == 1
    for part in ("Kafka", "MySQL", "Redis", "webhook"):
        assert re.search(rf"{part}\s.*\bfault\b", said), said


async def test_replay_finds_a_result_in_mysql(plant: Plant, tmp_path: Path) -> None:
    async with gateway_of(plant, tmp_path / "one") as gateway, worker_of(plant, tmp_path):
        async with client(gateway.url) as typist:
            session = (await typed(typist))["session"]
        await until(lambda: plant.rows())
        code, said, errors = await command("replay", session, folder=tmp_path, **plant.variables())
    assert code == 0, said + errors
    assert "The digits agree." in said
