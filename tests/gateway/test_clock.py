"""Wall clocks that are set back under a gateway and a worker, by libfaketime: ids, rows, resumes, notices as ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from loadtest.servers.addresses import Addresses
from loadtest.servers.process import unused_port
from persistence.results.bests import DAY_MS
from session.identity import created_at_ms, session_from_text, session_to_text
from tests.gateway.load import typing
from tests.gateway.plant import (
    Plant,
    accounts,
    accounts_of_a_site,
    build,
    committed,
    gateway_program,
    nothing_lost,
    send,
    token_of,
)
from tests.gateway.running import worker_program
from tests.gateway.typing_client import client

TYPISTS = 8
FEW = 4
"""So many tests show that something goes on."""
USER = 77


class Clock:
    """The wall clock of a program; the clock by which it measures times goes on as the machine's does."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, hours: int) -> None:
        """Let it differ from the machine's by so much."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{hours * 3600:+d}\n", encoding="ascii")
        part.rename(self._file)

    @property
    def variables(self) -> dict[str, str]:
        """What makes a program go by it."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


async def hearing(url: str) -> None:
    """Wait until a gateway hears what workers publish."""
    async with httpx.AsyncClient(timeout=60, base_url=url, trust_env=False) as http, asyncio.timeout(120):
        while (await http.get("/readyz")).json()["parts"]["bus"] != "ok":
            pass


def library() -> Path | None:
    """Debian's libfaketime."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture(name="plant")
async def _plant(
    fresh_name: Callable[[str], str], kafka_servers: list[str], mariadb_servers: Addresses, redis_servers: Addresses
) -> Plant:
    if library() is None:
        pytest.skip("libfaketime is not here; tests/system-packages installs it")
    return await build(
        fresh_name, kafka=kafka_servers, mariadb=mariadb_servers, redis=redis_servers["url"], patient=True
    )


async def test_clocks_set_back_under_load(plant: Plant, tmp_path: Path) -> None:
    """By two hours and by 40 days, in mid-test and with a takeover: each result is there once, where its id says."""
    auth = await asyncio.to_thread(accounts, tmp_path)
    site = {
        "TYPEGATE_AUTH_ALGORITHM": auth.algorithm,
        "TYPEGATE_AUTH_KEY_FILE": str(auth.key_file),
        "TYPEGATE_AUTH_ISSUER": auth.issuer,
        "TYPEGATE_AUTH_AUDIENCE": auth.audience,
    }
    port = unused_port()
    clocks = [Clock(tmp_path / name) for name in ("gateway-clock", "worker-clock")]
    of_gateway, of_worker = clocks
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        others = await enter(accounts_of_a_site())
        gateway = await enter(gateway_program(plant, tmp_path, port, **site, **of_gateway.variables))
        await enter(worker_program(tmp_path / "worker", **plant.variables(), **of_worker.variables))
        with typing(("127.0.0.1", port), TYPISTS) as load:
            await load.confirmed(FEW)
            await send(plant, *others.some())
            await committed(plant)  # so the worker knows the boards, and their last places
            for clock in clocks:
                clock.set(-2)
            await load.confirmed(TYPISTS)
            await send(plant, *others.some())
            gateway.process.kill()  # whoever types now has a ticket, and a receipt, of a time to come
            await gateway.process.wait()
            gateway = await enter(gateway_program(plant, tmp_path, port, **site, **of_gateway.variables))
            await load.confirmed(TYPISTS)
            await hearing(gateway.url)
            async with client(gateway.url, token=token_of(USER)) as listener:
                best = others.one(USER)
                await send(plant, best)
                assert (await listener.receive("event"))["session"] == session_to_text(best.session)
            of_gateway.set(-40 * 24)
            await load.confirmed(TYPISTS)
            of_worker.set(0)
            await send(plant, *others.some())
            await load.confirmed(FEW)
        assert not load.meters.errors.keys() & {"ticket", "stale", "conflict", "gone"}, load.meters
        await nothing_lost(plant, load, others.sent)
    days = {created_at_ms(session_from_text(session)) // DAY_MS for session in load.stored}
    today = int(time.time() * 1000) // DAY_MS
    assert min(days) <= today - 40 < today - 1 <= max(days)
