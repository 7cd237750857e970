"""The whole server as a process: it starts, serves, stops with grace, and loses nothing when it is killed."""

import asyncio
import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.process import raise_file_limit
from persistence.keys import SETTLED_MS, rotate_keys
from session.result import Result
from tests.gateway.running import PATIENCE_S, command, environment, program
from tests.gateway.typing_client import Closed, TypingClient, client


def bearer(typist: TypingClient) -> dict[str, str]:
    return {"authorization": f"Bearer {typist.ready['token']}"}


async def results_of(url: str, token: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(timeout=60, base_url=url, trust_env=False) as http:
        response = await http.get("/v1/users/me/results", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


# --- stopping ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_sends_idle_clients_away_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    async with program(tmp_path / "data") as server, client(server.url) as typist:
        server.signal(number)
        reconnect = await typist.receive("reconnect")
        assert reconnect["after_ms"] >= 0
        assert (await typist.closed()).code in (1012, 4001)
        code, errors = await server.ended()
        assert code == 0
        assert "Traceback" not in errors


async def test_who_types_may_finish_and_gets_the_result_stored(tmp_path: Path) -> None:
    """From the signal on the server is not ready and takes nobody in; a running test ends as ever."""
    async with program(tmp_path / "data") as server, client(server.url) as typist, client(server.url) as idle:
        await typist.start(mode="words", count=2)
        await typist.keys(typist.started["text"][0])
        server.signal(signal.SIGTERM)
        await idle.receive("reconnect")
        async with httpx.AsyncClient(timeout=60, base_url=server.url, trust_env=False) as http:
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
        with pytest.raises(Exception, match="503"):
            async with client(server.url):
                pass
        await typist.keys(*typist.started["text"][1:])
        result = await typist.finish()
        assert (await typist.receive("stored"))["session"] == result["session"]
        await typist.closed()
        assert (await server.ended())[0] == 0
    async with program(tmp_path / "data") as server:
        found = await results_of(server.url, typist.ready["token"])
        assert [row["session"] for row in found] == [result["session"]]


async def test_a_stop_that_hangs_ends_all_the_same(tmp_path: Path) -> None:
    hanging = "import time; from gateway.process import exit_after; exit_after(0.05); time.sleep(600)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", hanging, env=environment(), cwd=tmp_path)
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 1


async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    async with program(tmp_path / "data", TYPEGATE_STOP_GRACE_S="600") as server, client(server.url) as typist:
        await typist.start(mode="words", count=2)
        await typist.keys(typist.started["text"][0])
        server.signal(signal.SIGTERM)
        async with httpx.AsyncClient(timeout=60, base_url=server.url, trust_env=False) as http, asyncio.timeout(60):
            while (await http.get("/readyz")).status_code != 503:
                pass
        server.signal(signal.SIGTERM)
        assert (await typist.closed()).code in (1012, 4001)
        code, errors = await server.ended()
        assert code == 0
        assert "not in the store yet" not in errors, "nothing was spooled"


async def test_grace_is_bounded(tmp_path: Path) -> None:
    async with program(tmp_path / "data", TYPEGATE_STOP_GRACE_S="0.2") as server, client(server.url) as typist:
        await typist.start(mode="words", count=2)
        await typist.keys(typist.started["text"][0])
        server.signal(signal.SIGTERM)
        assert (await typist.closed()).code in (1012, 4001)
        assert (await server.ended())[0] == 0


# --- kill -9 ---


async def test_killed_in_mid_test_the_test_goes_on_and_is_stored_once(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server, client(server.url) as typist:
        await typist.start(mode="words", count=6)
        text = typist.started["text"]
        half = len(text) // 2
        await typist.keys(*text[:half])
        tick = await typist.receive("tick")
        server.signal(signal.SIGKILL)
        with pytest.raises(Closed):
            await typist.receive("never")
        before = typist
    async with program(tmp_path / "data") as server, client(server.url, token=before.ready["token"]) as typist:
        assert typist.ready["user"] == before.ready["user"]
        await typist.send(
            "resume",
            session=before.started["session"],
            ticket=before.started["ticket"],
            receipt=tick["r"],
            n=half,
        )
        resumed = await typist.receive("resumed", "error")
        assert resumed["t"] == "resumed", resumed
        typist.started = before.started
        typist.log = before.log[: 2 * resumed["n"]]
        await typist.keys(*text[resumed["n"] :])
        result = await typist.finish()
        assert result["session"] == before.started["session"]
        assert result["chars"][0] == len(text)
        await typist.receive("stored")
        found = await results_of(server.url, before.ready["token"])
        assert [row["session"] for row in found] == [result["session"]]


async def test_killed_right_after_accepted_the_result_is_stored_by_the_next_one(tmp_path: Path) -> None:
    """`accepted` is durable: the next process finds it in the spool."""
    async with program(tmp_path / "data") as server, client(server.url) as typist:
        await typist.start(mode="words", count=2)
        result = await typist.type_all()
        server.signal(signal.SIGKILL)
        await server.ended()
    async with program(tmp_path / "data") as server, client(server.url, token=typist.ready["token"]) as again:
        await again.send("resume", session=result["session"], ticket=typist.started["ticket"], n=len(typist.log) // 2)
        assert (await again.receive("result", "resumed"))["t"] == "result"
        assert (await again.receive("stored"))["session"] == result["session"]
        found = await results_of(server.url, typist.ready["token"])
        assert [row["session"] for row in found] == [result["session"]]


async def test_after_the_keys_were_rotated_guests_and_tests_go_on(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server, client(server.url) as before:
        await before.start(mode="words", count=3)
        await before.keys(before.started["text"][0])
        tick = await before.receive("tick")
        code, output, errors = await command("keys", "rotate", folder=tmp_path)
        assert code == 0, errors
        assert output.startswith("Key 2 seals")
        server.signal(signal.SIGKILL)
        await server.ended()
    async with program(tmp_path / "data") as server, client(server.url, token=before.ready["token"]) as after:
        assert after.ready["user"] == before.ready["user"]
        ticket = before.started["ticket"]
        await after.send("resume", session=before.started["session"], ticket=ticket, receipt=tick["r"], n=1)
        assert (await after.receive("resumed", "error"))["t"] == "resumed"


async def test_a_running_server_takes_rotated_keys_at_sighup(tmp_path: Path) -> None:
    """New guests are sealed by the new key; a guest's token, a ticket and a receipt of the old one go on."""
    long_ago_ms = time.time_ns() // 1_000_000 - SETTLED_MS
    async with program(tmp_path / "data") as server, client(server.url) as before:
        assert before.sealed_by == 1
        await before.start(mode="words", count=3)
        text = before.started["text"]
        await before.keys(text[0])
        tick = await before.receive("tick")
        rotate_keys(tmp_path / "data" / "keys.json", now_ms=long_ago_ms, entropy=os.urandom)
        server.signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with client(server.url) as new:
                    if new.sealed_by == 2:
                        break
        await before.keys(text[1])  # under way: it goes on with the key that it began with
        await before.receive("tick")
        async with client(server.url, token=before.ready["token"]) as after:
            assert after.ready["user"] == before.ready["user"]
            started = before.started
            await after.send("resume", session=started["session"], ticket=started["ticket"], receipt=tick["r"], n=2)
            assert (await after.receive("resumed", "error"))["t"] == "resumed"


# --- beside a running server ---


async def test_replay_reads_the_store_of_a_running_server(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server, client(server.url) as typist:
        await typist.start(mode="words", count=3)
        result = await typist.type_all()
        await typist.receive("stored")
        code, output, errors = await command("replay", result["session"], "--export", "one.tgr", folder=tmp_path)
        assert (tmp_path / "one.tgr").stat().st_mode & 0o077 == 0, "keystroke timing identifies people"
        assert code == 0, errors
        assert "The digits agree." in output
        assert f"{result['wpm']:.2f}".removesuffix(".00") in output
    code, output, _ = await command("replay", "one.tgr", folder=tmp_path)
    assert code == 0
    assert result["session"] in output
    missing = "019e0000-0000-7000-8000-000000000000"
    assert "has no result" in (await command("replay", missing, folder=tmp_path))[2]


async def test_a_changed_figure_is_told_by_replay(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server, client(server.url) as typist:
        await typist.start(mode="words", count=3)
        result = await typist.type_all()
        await typist.receive("stored")
        await command("replay", result["session"], "--export", "one.tgr", folder=tmp_path)
    path = tmp_path / "one.tgr"
    honest = Result.unpack(path.read_bytes())
    path.write_bytes(replace(honest, summary=replace(honest.summary, wpm=honest.summary.wpm + 1)).pack())
    code, output, errors = await command("replay", "one.tgr", folder=tmp_path)
    assert code == 1
    assert "The digits differ: wpm" in errors
    assert "differs" in output


# --- what it takes and what it leaves ---


def test_the_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1000), hard))
        assert raise_file_limit() >= min(hard, 1000) or hard == resource.RLIM_INFINITY
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == (soft if hard == resource.RLIM_INFINITY else hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_log_has_no_personal_data(tmp_path: Path) -> None:
    async with program(tmp_path / "data", "--log-level", "debug", "--log-format", "json") as server:
        async with client(server.url) as typist:
            await typist.start(mode="text", text="mysecretwords and more")
            await typist.type_all()
            await typist.receive("stored")
            async with httpx.AsyncClient(timeout=60, base_url=server.url, trust_env=False) as http:
                await http.get("/v1/users/me/results", headers=bearer(typist))
                await http.get("/v1/users/me/results", headers={"authorization": "Bearer wrongtoken"})
        server.signal(signal.SIGTERM)
        _, errors = await server.ended()
    assert "serving" in errors
    for private in ("mysecretwords", typist.ready["token"], "wrongtoken", typist.ready["user"]):
        assert private not in errors
    for line in errors.splitlines():
        json.loads(line)
