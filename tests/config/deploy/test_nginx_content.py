"""nginx as the edge of the catalogue, with a real one: files first, then its cache, then Typegate."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.api.bundle import write_bundle
from gateway.app import Gateway
from loadtest.servers.nginx import Nginx
from persistence.catalogue import EmbeddedCatalogue
from tests.config.deploy.test_rules import DEPLOY
from tests.gateway.running import serving

CONFIGURATION = DEPLOY / "nginx-content.conf"


@dataclass
class Edge:
    nginx: httpx.AsyncClient
    typegate: httpx.AsyncClient
    gateway: Gateway
    content: Path


@pytest.fixture(name="edge")
async def _edge(tmp_path: Path) -> AsyncIterator[Edge]:
    missing = Nginx.missing()
    if missing is not None:
        pytest.skip(f"{missing}; loadtest/servers/install installs it")
    content = tmp_path / "content"
    async with EmbeddedCatalogue(None) as catalogue, serving(tmp_path / "data") as (gateway, typegate):
        list(write_bundle(catalogue.shelf, content))
        for folder in (tmp_path, content, content / "v1", content / "v1" / "tests"):
            os.chmod(folder, 0o755)
        nginx = Nginx(
            CONFIGURATION,
            tmp_path / "nginx",
            {
                "worker_processes auto": "worker_processes 1",
                "/run/typegate-nginx.pid": str(tmp_path / "nginx.pid"),
                "/var/cache/typegate-content": str(tmp_path / "cache"),
                "/var/lib/typegate/content": str(content),
                "127.0.0.1:8080": gateway.url.removeprefix("http://").rstrip("/"),
                "127.0.0.1:8088": "127.0.0.1:{port}",
            },
        )
        await asyncio.to_thread(nginx.start)
        try:
            async with httpx.AsyncClient(timeout=60, base_url=f"http://{nginx.address}") as client:
                yield Edge(client, typegate, gateway, content)
        finally:
            await asyncio.to_thread(nginx.stop)


async def test_the_answers_are_typegates_own(edge: Edge) -> None:
    """Byte for byte, from files and through the cache; problems too."""
    tests = (await edge.typegate.get("/v1/tests")).json()["tests"]
    one = tests[0]
    paths = [
        "/v1/languages",
        *(f"/v1/tests/{test['id']}" for test in tests[:5]),
        f"/v1/tests/{one['id']}?version={one['version']}",
        f"/v1/tests?category={one['category']}",
        "/v1/tests/1",
        f"/v1/tests/{one['id']}?version=99",
        f"/v1/tests/{one['id']}?version=abc",
        "/healthz",
    ]
    for path in paths:
        own, through = await edge.typegate.get(path), await edge.nginx.get(path)
        assert (through.status_code, through.content) == (own.status_code, own.content), path
        assert through.headers["content-type"] == own.headers["content-type"], path
        assert through.headers.get("cache-control") == own.headers.get("cache-control"), path


async def test_files_are_revalidated_by_their_tag(edge: Edge) -> None:
    """A second visit costs no bytes."""
    first = await edge.nginx.get("/v1/languages")
    again = await edge.nginx.get("/v1/languages", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


async def test_what_is_no_file_comes_from_typegate_once(edge: Edge) -> None:
    """A list, and a test whose file is not there yet; after that the cache has them, also when Typegate is away."""
    test = (await edge.typegate.get("/v1/tests?limit=1")).json()["tests"][0]
    (edge.content / "v1" / "tests" / f"{test['id']}.json").unlink()
    for path in ("/v1/tests?difficulty=easy", f"/v1/tests/{test['id']}"):
        first, second = await edge.nginx.get(path), await edge.nginx.get(path)
        assert [first.headers["x-cache"], second.headers["x-cache"]] == ["MISS", "HIT"]
        assert first.content == second.content
    await edge.gateway._edge.close(timeout_s=0)
    assert (await edge.nginx.get("/v1/tests?difficulty=easy")).status_code == 200
    assert (await edge.nginx.get("/healthz")).status_code == 502
