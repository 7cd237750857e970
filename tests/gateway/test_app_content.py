"""Gateways on one content database: what is imported once is everywhere; while it is away everybody goes on typing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from loadtest.servers.mariadb import MariaDbServer
from persistence.catalogue import NewTest
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.catalogue.upkeep import migrate_content
from persistence.mysql import MysqlOptions
from tests.gateway.running import serving
from tests.gateway.typing_client import client
from tests.persistence.mysql_shards import patient
from tests.servers import skip_without

ZOO = NewTest("A zoo", "One two.", "zoo", "easy", "en", 2, id=17)


async def imported(options: MysqlOptions, test: NewTest) -> None:
    async with MysqlCatalogue(options) as catalogue:
        await catalogue.add([test], created_at_ms=5)


async def listed(http: httpx.AsyncClient, category: str) -> list[str]:
    """Wait until a node lists tests of a category."""
    async with asyncio.timeout(60):
        while True:
            answer = await http.get("/v1/tests", params={"category": category})
            assert answer.status_code == 200
            if rows := answer.json()["tests"]:
                return [row["id"] for row in rows]
            await asyncio.sleep(0.05)


async def test_what_is_imported_once_is_on_every_node(tmp_path: Path, content_database: str) -> None:
    options = patient(content=content_database)
    async with (
        serving(tmp_path / "one", mysql=options) as (one, http_one),
        serving(tmp_path / "two", mysql=options) as (two, http_two),
    ):
        await imported(options, ZOO)
        for http in (http_one, http_two):
            assert await listed(http, "zoo") == ["17"]
            assert (await http.get("/v1/tests/17")).json()["text"] == "One two."
        for gateway in (one, two):
            async with client(gateway.url) as typist:
                started = await typist.start("quote", test="17")
                assert started["text"] == "One two."
    assert not (tmp_path / "one" / "catalogue.db").exists()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MariaDbServer]:
    skip_without("mariadb")
    own = MariaDbServer(tmp_path / "mariadb")
    yield own
    own.stop()


async def state(gateway: Gateway, http: httpx.AsyncClient, expected: str) -> dict[str, str]:
    """Wait until the node says this of itself; what it says of its catalogue. It takes traffic all the time."""
    async with asyncio.timeout(60):
        while True:
            assert (await http.get("/readyz")).status_code == 200
            said, parts = await gateway.health.state()
            if said == expected:
                return parts
            await asyncio.sleep(0.05)


async def test_a_node_serves_while_the_content_database_is_away(tmp_path: Path, server: MariaDbServer) -> None:
    """Away at the start there is what is built in; what was read once stays, whatever becomes of the database."""
    options = patient(content=server.dsn("content"), retry_ms=50)
    async with serving(tmp_path / "data", mysql=options) as (gateway, http), client(gateway.url) as typist:
        assert "cannot connect" in (await state(gateway, http, "degraded"))["catalogue"]
        await typist.start("quote", language="en")
        await typist.type_all()
        await typist.receive("stored")
        await asyncio.to_thread(server.start)
        server.ask("CREATE DATABASE content")
        await migrate_content(options)
        await imported(options, ZOO)
        assert await listed(http, "zoo") == ["17"]
        await state(gateway, http, "ready")
        server.kill()
        assert "content database" in (await state(gateway, http, "degraded"))["catalogue"]
        assert (await typist.start("quote", test="17"))["text"] == "One two."
        await typist.type_all()
        await typist.receive("stored")
        assert (await http.get("/v1/tests/17")).json()["title"] == "A zoo"
