"""The composition root: every part over real sockets, and whatever was opened closed again."""

import asyncio
import json
import ssl
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from config.edge import EdgeOptions
from config.gateway import AdminOptions, NodeOptions, StopOptions, TlsOptions
from gateway.app import Gateway, tls_context
from gateway.opening import CannotStart
from loadtest.servers.certificate import write_certificate
from tests.gateway.running import command, serving, settings
from tests.gateway.typing_client import client


async def test_imported_tests_reach_a_running_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.opening.REFRESH_S", 0.05)
    row = {"id": 77, "title": "New", "text": "One two three four five six.", "category": "zoo"}
    (tmp_path / "rows.json").write_text(json.dumps([row | {"difficulty": "easy", "language": "en"}]))
    async with serving(tmp_path / "data") as (gateway, http):
        assert (await http.get("/v1/tests/77")).status_code == 404
        code, _, errors = await command("tests", "import", "rows.json", folder=tmp_path)
        assert code == 0, errors
        async with asyncio.timeout(60):
            while (await http.get("/v1/tests/77")).status_code != 200:
                pass
        async with client(gateway.url) as typist:
            assert (await typist.start(mode="quote", test="77"))["title"] == "New"


async def test_rotated_keys_reach_a_running_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By themselves; tokens of the older key stay good."""
    monkeypatch.setattr("gateway.opening.REFRESH_S", 0.05)
    monkeypatch.setattr("persistence.keys.SETTLED_MS", 0)
    async with serving(tmp_path / "data") as (gateway, _), client(gateway.url) as before:
        code, _, errors = await command("keys", "rotate", folder=tmp_path)
        assert code == 0, errors
        async with asyncio.timeout(60):
            while True:
                async with client(gateway.url) as new:
                    if new.sealed_by == 2:
                        break
        async with client(gateway.url, token=before.ready["token"]) as again:
            assert again.ready["user"] == before.ready["user"]


async def test_what_happens_is_in_the_metrics(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as (gateway, _), client(gateway.url) as typist:
        await typist.start(mode="words", count=3)
        await typist.type_all()
        await typist.receive("stored")
        await typist.send("start", mode="none")
        await typist.receive("error")
        async with (
            httpx.AsyncClient(timeout=60, base_url=gateway.admin_url or "", trust_env=False) as admin,
            asyncio.timeout(60),
        ):
            while "typegate_queue_depth 0.0" not in (text := (await admin.get("/metrics")).text).splitlines():
                pass  # what was told is dropped a moment later
    events = len(typist.log) // 2
    for line in (
        'typegate_ws_connections{node="node-1",process="0"} 1.0',
        'typegate_ws_handshakes_total{outcome="accepted"} 1.0',
        'typegate_auth_total{kind="guest",outcome="ok"} 1.0',
        "typegate_tests_started_total 1.0",
        "typegate_started_seconds_count 1.0",
        f"typegate_events_scored_total {events}.0",
        'typegate_errors_total{code="options"} 1.0',
        "typegate_accepted_seconds_count 1.0",
        "typegate_processing_seconds_count 1.0",
        'typegate_db_write_seconds_count{shard="0"} 1.0',
        "typegate_queue_depth 0.0",
    ):
        assert line in text.splitlines(), line
    assert 'typegate_results_submitted_total{mode="words"' in text


async def test_page_api_and_websocket_over_tls(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=cert)
    sections = settings(tmp_path / "data", tls=TlsOptions(cert=cert, key=key))
    async with Gateway(sections) as gateway:
        assert gateway.url.startswith("https://")
        async with httpx.AsyncClient(timeout=60, base_url=gateway.url, verify=trust, trust_env=False) as http:
            page = await http.get("/")
            assert page.status_code == 200
            assert page.headers["strict-transport-security"] == "max-age=31536000"
        async with client(gateway.url, ssl=trust) as typist:
            await typist.start(mode="words", count=1)
            await typist.type_all()


async def test_a_renewed_certificate_is_taken_in(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    async with Gateway(settings(tmp_path / "data", tls=TlsOptions(cert=cert, key=key))) as gateway:
        write_certificate(tmp_path)
        trust = ssl.create_default_context(cafile=cert)
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient(timeout=60, verify=trust, trust_env=False).get(gateway.url)
        gateway.reload()
        async with httpx.AsyncClient(timeout=60, verify=trust, trust_env=False) as http:
            assert (await http.get(gateway.url)).status_code == 200
        cert.write_text("spoilt")
        gateway.reload()
        async with httpx.AsyncClient(timeout=60, verify=trust, trust_env=False) as http:
            assert (await http.get(gateway.url)).status_code == 200, "what cannot be read leaves the old one"


async def test_a_certificate_and_another_s_key_are_no_pair(tmp_path: Path) -> None:
    cert, _ = write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = write_certificate(tmp_path / "other")
    with pytest.raises(CannotStart, match="not a pair of PEM files"):
        tls_context(settings(tmp_path, tls=TlsOptions(cert=cert, key=key)))


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """The folder's lock, the threads and the ports are free again: the next start succeeds."""
    with pytest.raises(CannotStart, match="no address of this machine"):
        async with Gateway(settings(tmp_path / "data", admin=AdminOptions(host="203.0.113.1"))):
            pass
    async with Gateway(settings(tmp_path / "data")):
        pass


async def test_a_shared_port_is_left_by_who_drains(tmp_path: Path) -> None:
    """Whoever comes then comes to the other one; a test that runs goes on to its end."""
    shared = EdgeOptions(port=0, reuse_port=True)
    nodes = [NodeOptions(name=name, data=tmp_path / name) for name in ("a", "b")]
    slowly = StopOptions(grace_s=120)
    async with (
        serving(tmp_path / "a", server=shared, node=nodes[0], stop=slowly) as (going, _),
        client(going.url) as typist,
    ):
        await typist.start(mode="words", count=2)
        await typist.keys(typist.started["text"][0])
        port = int(going.url.rstrip("/").rpartition(":")[2])
        async with serving(tmp_path / "b", server=replace(shared, port=port), node=nodes[1]) as (stays, _):
            draining = asyncio.get_running_loop().create_task(going.drain(asyncio.Event()))
            await asyncio.sleep(0)  # it begins
            assert going.health.draining
            for _ in range(10):
                async with client(stays.url) as other:
                    assert other.seen[0]["node"] == "b"
            await typist.keys(*typist.started["text"][1:])
            await typist.finish()
            await typist.receive("stored")
            await draining


async def test_a_server_of_websockets_alone_has_no_page(tmp_path: Path) -> None:
    node = NodeOptions(name="a", data=tmp_path / "data", roles=("ws",))
    async with serving(tmp_path / "data", node=node) as (gateway, http), client(gateway.url) as typist:
        await typist.start(mode="words", count=1)
        await typist.type_all()
        for path in ("/", "/v1/tests", "/docs"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/readyz")).json()["status"] == "ready"


async def test_a_server_of_pages_alone_takes_no_websocket(tmp_path: Path) -> None:
    node = NodeOptions(name="a", data=tmp_path / "data", roles=("api",))
    async with serving(tmp_path / "data", node=node) as (gateway, http):
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/readyz")).json()["status"] == "ready"
        with pytest.raises(InvalidStatus, match="404"):
            async with client(gateway.url):
                pass
