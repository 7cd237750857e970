"""Gateways on one content database: what is imported once is everywhere; while it is away everybody goes on typing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from loadtest.servers.mariadb import MariaDbServer
from persistence.bans import Ban
from persistence.bans.mysql import MysqlBans
from persistence.catalogue import NewTest
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.catalogue.upkeep import migrate_content
from persistence.redis import RedisOptions
from tests.gateway.running import command, serving
from tests.gateway.typing_client import client
from tests.persistence.mysql_shards import patient
from tests.servers import skip_without

ZOO = NewTest("A zoo", "One two.", "zoo", "easy", "en", 2, id=17)


async def listed(http: httpx.AsyncClient, category: str) -> list[str]:
    """Wait until a node lists tests of a category."""
    async with asyncio.timeout(60):
        while True:
            answer = await http.get("/v1/tests", params={"category": category})
            assert answer.status_code == 200
            if rows := answer.json()["tests"]:
                return [row["id"] for row in rows]
            await asyncio.sleep(0.05)


async def test_what_is_imported_once_is_on_every_node(
    tmp_path: Path, content_database: str, redis_single: RedisOptions, fresh_name: Callable[[str], str]
) -> None:
    """By its number at once, also where it was asked for before; among the others with the next refresh."""
    options = patient(content=content_database)
    redis = replace(redis_single, prefix=f"{fresh_name('content')}:")
    async with (
        serving(tmp_path / "one", mysql=options, redis=redis) as (one, http_one),
        serving(tmp_path / "two", mysql=options, redis=redis) as (two, http_two),
    ):
        assert (await http_one.get("/v1/tests/17")).status_code == 404
        rows = tmp_path / "rows.json"
        rows.write_text('[{"id": 17, "title": "A zoo", "text": "One two.", "language": "en", "category": "zoo"}]')
        environment = {"TYPEGATE_MYSQL_CONTENT": content_database}
        environment |= {"TYPEGATE_REDIS_URL": redis.url, "TYPEGATE_REDIS_PREFIX": redis.prefix}
        environment |= {"TYPEGATE_REDIS_CALL_MS": str(redis.call_ms)}
        code, _, errors = await command("tests", "import", str(rows), folder=tmp_path, **environment)
        assert code == 0, errors
        for http in (http_one, http_two):
            answer = await http.get("/v1/tests/17")
            assert (answer.status_code, answer.json()["text"]) == (200, "One two.")
        for http in (http_one, http_two):
            assert await listed(http, "zoo") == ["17"]
        for gateway in (one, two):
            async with client(gateway.url) as typist:
                assert (await typist.start("quote", test="17"))["text"] == "One two."
    assert not (tmp_path / "one" / "catalogue.db").exists()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MariaDbServer]:
    skip_without("mariadb")
    own = MariaDbServer(tmp_path / "mariadb")
    yield own
    own.stop()


async def catalogue_is(gateway: Gateway, said: str) -> None:
    """Wait until a node says this of its catalogue."""
    async with asyncio.timeout(60):
        while True:
            if said in (await gateway.health.parts())["catalogue"]:
                return
            await asyncio.sleep(0.05)


async def banned(gateway: Gateway, user: int) -> None:
    """Wait until a node knows of a ban."""
    async with asyncio.timeout(60):
        while gateway.hub.ban_of(user) is None:  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.05)


async def test_a_node_serves_while_the_content_database_is_away(tmp_path: Path, server: MariaDbServer) -> None:
    """Away at the start there is what is built in; what was read once stays, whatever becomes of the database.

    So it does at a node that is started again without the database, and whoever was banned is so still. Where another
    is started, which has nothing of it, a test under way is taken up when the database is back, not given up before.
    """
    options = patient(content=server.dsn("content"), retry_ms=50)
    async with serving(tmp_path / "data", mysql=options) as (gateway, http), client(gateway.url) as typist:
        await catalogue_is(gateway, "cannot connect")
        await typist.start("quote", language="en")
        await typist.type_all()
        await typist.receive("stored")
        some = await http.get("/v1/tests")
        assert (some.status_code, some.headers["cache-control"]) == (200, "no-store")
        unknown = await http.get("/v1/tests/17")
        assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1")
        assert server.address not in unknown.text
        await asyncio.to_thread(server.start)
        server.ask("CREATE DATABASE content")
        await migrate_content(options)
        async with MysqlCatalogue(options) as catalogue:
            await catalogue.add([ZOO], created_at_ms=5)
        async with MysqlBans(options) as bans:
            await bans.add(Ban(17, "a bot", "ops", 1))
        assert await listed(http, "zoo") == ["17"]
        assert (await http.get("/v1/tests")).headers["cache-control"] == "public, max-age=300"
        await catalogue_is(gateway, "ok")
        await banned(gateway, 17)
        server.kill()
        await catalogue_is(gateway, "the content database")
        started = await typist.start("quote", test="17")
        await typist.keys("O", "n")
        assert (await http.get("/v1/tests/17")).json()["title"] == "A zoo"
        token, log = typist.ready["token"], typist.log

    async with serving(tmp_path / "data", mysql=options) as (gateway, _), client(gateway.url) as other:
        await catalogue_is(gateway, "cannot connect")
        assert (await other.start("quote", test="17"))["text"] == "One two."
        await banned(gateway, 17)

    (tmp_path / "data" / "catalogue.copy").unlink()
    async with (
        serving(tmp_path / "data", mysql=options) as (gateway, http),
        client(gateway.url, token=token) as typist,
    ):
        resume = {"session": started["session"], "ticket": started["ticket"], "n": len(log) // 2}
        await typist.send("resume", **resume)
        error = await typist.receive("error")
        assert (error["code"], error["retry"]) == ("stale", 2_000)
        began_ms = round(time.time() * 1000) - 600_000
        offline = {"mode": "quote", "test": "17", "test_version": 1, "language": "en", "started_at": began_ms}
        offline |= {"events": [value for key in "One two." for value in (110, key)], "seed": "1"}
        headers = {"authorization": f"Bearer {token}"}
        answer = await http.post("/v1/results", json=offline, headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text
        await typist.send("start", mode="quote", test="17")
        error = await typist.receive("error")
        assert (error["code"], error["retry"]) == ("unknown_test", 2_000)
        await asyncio.to_thread(server.start)
        await catalogue_is(gateway, "ok")
        assert (await http.post("/v1/results", json=offline, headers=headers)).status_code == 202
        await typist.send("resume", **resume)
        assert (await typist.receive("resumed"))["session"] == started["session"]
